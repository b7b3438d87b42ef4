//! How much a queue and its consumer sustain: the search for the highest rate, and what makes a rate too high.
//!
//! It reads no clock and sends nothing: rates come out, and what became of them goes in. It does *not* own the curve's
//! page (`page`).

mod page;

use std::{fmt, time::Duration};

use serde::Serialize;

pub use page::write;

use crate::{
    manifest::Sent,
    observe::{Observed, Second},
};

/// A backlog grows where more than this share of the messages is added to it, and that by more than this many standard
/// errors.
const GROWTH_MAX: f64 = 0.02;
const CERTAIN: f64 = 4.0;

/// A rate of which no more than this share is sent is not taken.
const TAKEN_MIN: f64 = 0.98;

/// Of at least this share of the seconds it has to be known how much waits.
const KNOWN_MIN: f64 = 0.5;

/// What is searched, and how closely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Ticks per second to begin with; at least 1.
    pub from: u64,
    /// Not more is tried.
    pub to: u64,
    /// The search ends when what is too much is within this share of what is sustained.
    pub precision: f64,
}

/// The search: doubles what is sustained, halves what is not, and then tries between the two.
#[derive(Debug, Clone)]
pub struct Search {
    limits: Limits,
    sustained: Option<u64>,
    too_much: Option<u64>,
}

impl Search {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, sustained: None, too_much: None }
    }

    /// The rate to try next; `None` at the end.
    #[must_use]
    pub fn next_rate(&self) -> Option<u64> {
        let Limits { from, to, precision } = self.limits;
        let close = |low: u64, high: u64| (high - low) as f64 <= (low as f64 * precision).max(1.0);
        match (self.sustained, self.too_much) {
            (None, None) => Some(from.clamp(1, to)),
            (Some(low), None) => (low < to).then(|| low.saturating_mul(2).min(to)),
            (None, Some(high)) => (high > 1).then_some(high / 2),
            // Rates are compared by their ratio.
            (Some(low), Some(high)) => (!close(low, high)).then(|| {
                let between = (low as f64 * high as f64).sqrt() as u64;
                between.clamp(low + 1, high - 1)
            }),
        }
    }

    /// Hears whether a rate was sustained.
    pub fn tell(&mut self, rate: u64, is_sustained: bool) {
        if is_sustained {
            self.sustained = self.sustained.max(Some(rate));
        } else {
            self.too_much = Some(self.too_much.map_or(rate, |least| least.min(rate)));
        }
    }

    /// The highest rate that was sustained, and the lowest that was not.
    #[must_use]
    pub fn found(&self) -> (Option<u64>, Option<u64>) {
        (self.sustained, self.too_much)
    }
}

/// What became of a rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// Ticks per second that were asked for, and that were sent.
    pub asked_per_s: u64,
    /// See `asked_per_s`.
    pub sent_per_s: f64,
    /// Messages per second that were sent.
    pub messages_per_s: f64,
    /// From when a tick was due until it was in the lake, seconds: the median.
    pub p50_s: f64,
    /// The 99th percentile.
    pub p99_s: f64,
    /// Messages that waited in the queues when the last one was sent.
    pub waiting: u64,
    /// By how many messages per second they grew in the second half of the trial.
    pub growth_per_s: f64,
    /// Whether the pair sustains it.
    pub verdict: Verdict,
}

/// Whether a rate is sustained, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Sustained,
    /// Ticks take too long into the lake.
    Late,
    /// Messages come faster than they go.
    Growing,
    /// Some were not in the lake when patience was over, or could not be watched for.
    Missing,
    /// The queue did not take them in time: all calls that may be were under way.
    NotTaken,
    /// The queues do not say what waits in them.
    Unknown,
    /// The generator did not keep its own schedule: nothing is known of the consumer.
    Generator,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sustained => "sustained",
            Self::Late => "late",
            Self::Growing => "backlog grows",
            Self::Missing => "ticks are missing",
            Self::NotTaken => "the queue does not take it",
            Self::Unknown => "the queues do not answer",
            Self::Generator => "the generator cannot",
        })
    }
}

impl Trial {
    /// Judges a run at an even rate, whose ticks are to be in the lake within `latency_max`. One that was stopped was
    /// hopeless.
    #[must_use]
    pub fn judge(asked_per_s: u64, sent: &Sent, observed: &Observed, latency_max: Duration) -> Self {
        let elapsed_s = sent.elapsed.as_secs_f64().max(1e-9);
        let messages_per_s = sent.messages as f64 / elapsed_s;
        let latency_s = |quantile| {
            observed.in_lake.as_ref().map_or(0.0, |seen| seen.latency_us.value_at_quantile(quantile) as f64 / 1e6)
        };
        let sending = || observed.seconds.iter().filter(|second| second.at_s <= elapsed_s);
        let waiting: Vec<(f64, f64)> =
            sending().filter_map(|second| Some((second.at_s, second.waiting? as f64))).collect();
        let (growth_per_s, error) = slope(&waiting[waiting.len() / 2..]);
        let sent_per_s = sent.ticks as f64 / elapsed_s;
        let verdict = match () {
            () if !sent.is_valid() => Verdict::Generator,
            () if sent.is_whole && sent_per_s < TAKEN_MIN * asked_per_s as f64 => Verdict::NotTaken,
            () if latency_s(0.99) > latency_max.as_secs_f64() => Verdict::Late,
            () if (waiting.len() as f64) < KNOWN_MIN * sending().count() as f64 => Verdict::Unknown,
            () if growth_per_s > (GROWTH_MAX * messages_per_s).max(CERTAIN * error) => Verdict::Growing,
            () if !observed.is_whole() || !sent.is_whole => Verdict::Missing,
            () => Verdict::Sustained,
        };
        Self {
            asked_per_s,
            sent_per_s,
            messages_per_s,
            p50_s: latency_s(0.5),
            p99_s: latency_s(0.99),
            waiting: waiting.last().map_or(0, |(_, waiting)| *waiting as u64),
            growth_per_s,
            verdict,
        }
    }

    /// Whether a trial that is under way is hopeless: what arrives is twice as late as it may be.
    #[must_use]
    pub fn is_hopeless(second: &Second, latency_max: Duration) -> bool {
        second.lake.is_some_and(|lake| lake.p99_ms > 2e3 * latency_max.as_secs_f64())
    }
}

/// Of the line through the points with the least squared distances, and its standard error; infinite for fewer than
/// three.
fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    if points.len() < 3 {
        return (0.0, f64::INFINITY);
    }
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let squared: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / squared;
    let rest: f64 = points.iter().map(|point| (point.1 - y - slope * (point.0 - x)).powi(2)).sum();
    (slope, (rest / (count - 2.0) / squared).sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::watch::Seen;

    proptest! {
        /// The twin is the limit itself.
        #[test]
        fn search_ends_next_to_the_limit(limit in 1_u64..10_000_000, from in 1_u64..1_000_000, to in 1_u64..20_000_000) {
            let mut search = Search::new(Limits { from, to, precision: 0.05 });
            let mut trials = 0;
            while let Some(rate) = search.next_rate() {
                prop_assert!(rate <= to && rate >= 1);
                search.tell(rate, rate <= limit);
                trials += 1;
                prop_assert!(trials <= 40);
            }
            let (found, too_much) = search.found();
            let found = found.unwrap();
            prop_assert!(found <= limit && found >= limit.min(to) * 95 / 100 - 1, "{} for {}", found, limit.min(to));
            prop_assert!(too_much.is_none_or(|rate| rate > limit));
        }
    }

    #[test]
    fn nothing_sustained_ends_the_search_as_well() {
        let mut search = Search::new(Limits { from: 100, to: 1_000, precision: 0.05 });
        while let Some(rate) = search.next_rate() {
            search.tell(rate, false);
        }
        assert_eq!(search.found(), (None, Some(1)));
    }

    /// A run of 20 s with 100 messages a second; the waiting ones by second.
    fn run(latency_ms: u64, waiting: impl Fn(f64) -> f64) -> (Sent, Observed) {
        let elapsed = Duration::from_secs(20);
        let sent = Sent { ticks: 20_000, messages: 2_000, elapsed, ..Sent::nothing() };
        let second = |at: u32| {
            let at_s = f64::from(at);
            Second { at_s, waiting: Some(waiting(at_s) as u64), ..Second::default() }
        };
        let mut seen = Seen::nothing();
        seen.latency_us.record_n(latency_ms * 1_000, 20_000).unwrap();
        (sent, Observed { seconds: (1..40).map(second).collect(), in_lake: Some(seen), ..Observed::default() })
    }

    #[test]
    fn rate_is_sustained_unless_something_says_that_it_is_not() {
        let verdict =
            |(sent, observed): &(Sent, Observed)| Trial::judge(1_000, sent, observed, Duration::from_secs(5)).verdict;
        assert_eq!(verdict(&run(2_000, |_| 50.0)), Verdict::Sustained);
        assert_eq!(verdict(&run(6_000, |_| 50.0)), Verdict::Late);
        assert_eq!(verdict(&run(2_000, |at| 10.0 * at)), Verdict::Growing);
        assert_eq!(verdict(&run(2_000, |at| 3.0 * at)), Verdict::Growing, "by three in a hundred");
        assert_eq!(verdict(&run(2_000, |at| 1.0 * at)), Verdict::Sustained, "by one in a hundred");
        let saw = |at: f64| 300.0 * (at / 7.0).fract();
        assert_eq!(verdict(&run(2_000, saw)), Verdict::Sustained, "it comes and goes");
        assert_eq!(verdict(&run(2_000, |at| if at < 8.0 { 100.0 * at } else { 800.0 })), Verdict::Sustained);
        assert_eq!(verdict(&run(2_000, |at| if at > 20.0 { 100.0 * at } else { 0.0 })), Verdict::Sustained, "after it");
        let behind = Duration::from_secs(1);
        let (sent, observed) = run(9_000, |_| 0.0);
        assert_eq!(verdict(&(Sent { behind, ..sent }, observed)), Verdict::Generator);
        let (sent, observed) = run(9_000, |_| 0.0);
        assert_eq!(verdict(&(Sent { ticks: 19_000, ..sent }, observed)), Verdict::NotTaken);
        for observe in [
            |observed| Observed { not_in_lake: 1, ..observed },
            |observed| Observed { unwatched: 1, ..observed },
            |observed| Observed { is_blind: true, ..observed },
        ] {
            let (sent, observed) = run(2_000, |_| 0.0);
            assert_eq!(verdict(&(sent, observe(observed))), Verdict::Missing);
        }
        let (sent, mut observed) = run(2_000, |_| 0.0);
        observed.seconds.iter_mut().skip(5).for_each(|second| second.waiting = None);
        assert_eq!(verdict(&(sent, observed)), Verdict::Unknown);
        let (sent, observed) = run(2_000, |at| 7.0 * at);
        let trial = Trial::judge(1_000, &sent, &observed, Duration::MAX);
        assert!((trial.growth_per_s - 7.0).abs() < 1e-9 && trial.waiting == 140 && trial.messages_per_s == 100.0);
    }
}
