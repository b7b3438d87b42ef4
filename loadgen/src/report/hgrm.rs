//! Latencies as the percentile distribution that plotters of `HdrHistogram` read.

use std::io;

use hdrhistogram::Histogram;

/// Writes a histogram of microseconds as the percentile distribution in milliseconds that `HdrHistogram` prints
/// (<https://github.com/HdrHistogram/HdrHistogram>, `outputPercentileDistribution`) and its plotters read.
pub(super) fn write(histogram: &Histogram<u64>, mut to: impl io::Write) -> io::Result<()> {
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
        write(&histogram, &mut text).unwrap();
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
