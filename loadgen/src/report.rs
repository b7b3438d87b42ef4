//! The files of a run for other tools: its figures as JSON, and its latencies as a percentile distribution.
//!
//! It does *not* own what was sent, which the manifest lists.

use std::io;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::manifest::Sent;

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Whether the generator kept its own schedule.
    pub is_valid: bool,
    /// Whether all that was asked for was sent.
    pub is_whole: bool,
    /// How far it was behind it at worst, milliseconds.
    pub behind_ms: f64,
    /// Ticks per second that were asked for; `None` is a closed loop.
    pub rate: Option<u64>,
    /// How that changed over time.
    pub shape: Option<String>,
    /// Seconds from the first call to the last answer.
    pub elapsed_s: f64,
    /// Ticks that were sent, and per second.
    pub ticks: u64,
    /// See `ticks`.
    pub ticks_per_s: f64,
    /// Messages, bytes and calls.
    pub messages: u64,
    /// See `messages`.
    pub bytes: u64,
    /// See `messages`.
    pub calls: u64,
    /// Messages sent again, and calls without an answer.
    pub retries: u64,
    /// See `retries`.
    pub unanswered_calls: u64,
    /// Messages that the queue did not take because it was asked too much.
    pub throttled: u64,
    /// From when a batch was due until the queue had it, milliseconds, by percentile.
    pub latency_ms: Vec<(f64, f64)>,
}

/// The percentiles that a report names.
const PERCENTILES: [f64; 7] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];

impl Figures {
    /// Those of a run.
    #[must_use]
    pub fn of(sent: &Sent) -> Self {
        let elapsed_s = sent.elapsed.as_secs_f64();
        let latency = |percentile| (percentile, sent.latency_us.value_at_percentile(percentile) as f64 / 1e3);
        Self {
            is_valid: sent.is_valid(),
            is_whole: sent.is_whole,
            behind_ms: sent.behind.as_secs_f64() * 1e3,
            rate: sent.rate,
            shape: sent.shape.clone(),
            elapsed_s,
            ticks: sent.ticks,
            ticks_per_s: sent.ticks as f64 / elapsed_s.max(1e-9),
            messages: sent.messages,
            bytes: sent.bytes,
            calls: sent.calls,
            retries: sent.retries,
            unanswered_calls: sent.unanswered_calls,
            throttled: sent.throttled,
            latency_ms: PERCENTILES.map(latency).to_vec(),
        }
    }
}

/// Writes a histogram of microseconds as the percentile distribution in milliseconds that `HdrHistogram` prints
/// (<https://github.com/HdrHistogram/HdrHistogram>, `outputPercentileDistribution`) and its plotters read.
pub fn write_hgrm(histogram: &Histogram<u64>, mut to: impl io::Write) -> io::Result<()> {
    /// Steps within each half of the way to 100 %.
    const STEPS: u32 = 5;
    let ms = |us: f64| us / 1e3;
    writeln!(to, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    for value in histogram.iter_quantiles(STEPS) {
        let (quantile, at) = (value.quantile(), ms(value.value_iterated_to() as f64));
        write!(to, "{at:>12.3} {quantile:>2.12} {:>10}", histogram.count_between(0, value.value_iterated_to()))?;
        if quantile < 1.0 {
            write!(to, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(to)?;
    }
    let (mean, deviation) = (ms(histogram.mean()), ms(histogram.stdev()));
    writeln!(to, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    writeln!(to, "#[Max     = {:>12.3}, Total count    = {:>12}]", ms(histogram.max() as f64), histogram.len())?;
    writeln!(to, "#[Buckets = {:>12}, SubBuckets     = {:>12}]", histogram.buckets(), histogram.distinct_values())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::no_latencies;

    #[test]
    fn distribution_has_the_values_of_the_histogram() {
        let mut histogram = no_latencies();
        (1..=1_000_u64).for_each(|ms| histogram.record(ms * 1_000).unwrap());
        let mut text = Vec::new();
        write_hgrm(&histogram, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]), "{text}");
        let half = rows.iter().find(|row| (row[1] - 0.5).abs() < 1e-9).unwrap();
        assert!(
            (half[0] - 500.0).abs() < 1.0 && (half[2] - 500.0).abs() <= 1.0 && (half[3] - 2.0).abs() < 1e-9,
            "{half:?}"
        );
        let last = rows.last().unwrap();
        assert!((last[0] - 1_000.0).abs() < 1.0 && last[1..] == [1.0, 1_000.0], "{last:?}");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
