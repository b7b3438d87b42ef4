//! What was sent: the manifest that an audit compares a lake with, and the figures of the run.
//!
//! It is small whatever the number of ticks: per symbol one checksum and the runs of its sequence numbers.

mod seqs;

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub use seqs::{Run, SeqSet};

use crate::{
    tick::{SymbolHash, Tick},
    truth::Anomaly,
};

/// What one symbol was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The sum of [`Tick::checksum`] over its ticks, as often as they were sent, with wrap-around. In JSON 16
    /// hexadecimal digits, for many readers of JSON round large integers.
    #[serde(with = "hexadecimal")]
    pub checksum: u64,
    /// The sequence numbers of its ticks.
    pub seqs: SeqSet,
    /// Those of them that were sent twice.
    #[serde(default, skip_serializing_if = "SeqSet::is_empty")]
    pub again: SeqSet,
}

impl Tally {
    /// Counts a tick; `false` where its sequence number was there before.
    #[must_use]
    pub fn add(&mut self, symbol: SymbolHash, tick: &Tick<'_>) -> bool {
        let is_new = self.seqs.insert(tick.seq);
        if is_new {
            self.checksum = self.checksum.wrapping_add(tick.checksum(symbol));
        }
        is_new
    }

    /// Counts a tick that is sent a second time.
    pub fn again(&mut self, symbol: SymbolHash, tick: &Tick<'_>) {
        if self.again.insert(tick.seq) {
            self.checksum = self.checksum.wrapping_add(tick.checksum(symbol));
        }
    }

    /// How many ticks were sent, those that were sent twice counted twice.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.seqs.len() + self.again.len()
    }
}

/// A run in which the generator was further behind its own schedule says nothing of the queue.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// What a run has sent, and how that went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// By symbol.
    pub symbols: BTreeMap<String, Tally>,
    /// The anomalies that were planted, in the order of event time.
    pub truth: Vec<Anomaly>,
    /// Ticks in all messages, those that were sent twice counted twice.
    pub ticks: u64,
    /// Malformed ticks that were sent besides.
    #[serde(default)]
    pub malformed: u64,
    /// Messages that the queue has taken.
    pub messages: u64,
    /// Their size, as SQS counts it: bodies and attributes.
    pub bytes: u64,
    /// Calls of `SendMessageBatch`, repeated ones included.
    pub calls: u64,
    /// Messages that were sent again because the queue had not taken them.
    pub retries: u64,
    /// Calls that got no answer and were repeated. Their messages may be in the queue twice, which an audit then shows
    /// as duplicates that are not the consumer's.
    pub unanswered_calls: u64,
    /// Messages that the queue did not take because it was asked too much; they are among those sent again.
    #[serde(default)]
    pub throttled: u64,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// The rate that was asked for, in ticks per second: an open loop. `None` is a closed loop, as fast as the queue
    /// takes it.
    pub rate: Option<u64>,
    /// How the rate changed over time, in an open loop.
    #[serde(default)]
    pub shape: Option<String>,
    /// How many times as fast as it went a recording was replayed: an open loop, too.
    #[serde(default)]
    pub speed: Option<f64>,
    /// How far the generator itself was behind its schedule, at worst: batches that were due and not prepared, while
    /// somebody waited for them. A slow queue is no reason; it shows in the latency.
    #[serde(default)]
    pub behind: Duration,
    /// Whether all that was asked for was sent; not if the run was stopped.
    #[serde(default = "yes")]
    pub is_whole: bool,
    /// Microseconds from when a batch was due until the queue had all of it. In an open loop it was due by the
    /// schedule, however late it was sent; in a closed loop when it was first sent. Not part of the JSON.
    #[serde(skip, default = "no_latencies")]
    pub latency_us: Histogram<u64>,
}

/// Both runs sent a tick of the same symbol and sequence number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to merge two manifests: both hold tick {seq} of {symbol:?}")]
pub struct Overlap {
    /// The symbol.
    pub symbol: String,
    /// A sequence number that both hold.
    pub seq: i64,
}

impl Sent {
    /// Nothing sent yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            symbols: BTreeMap::new(),
            truth: Vec::new(),
            ticks: 0,
            malformed: 0,
            messages: 0,
            bytes: 0,
            calls: 0,
            retries: 0,
            unanswered_calls: 0,
            throttled: 0,
            elapsed: Duration::ZERO,
            rate: None,
            shape: None,
            speed: None,
            behind: Duration::ZERO,
            is_whole: true,
            latency_us: no_latencies(),
        }
    }

    /// Whether the generator kept its own schedule: what a run that it did not says of a queue or a consumer is wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.behind <= BEHIND_MAX
    }

    /// Adds what another run has sent into the same lake.
    pub fn merge(&mut self, other: Sent) -> Result<(), Overlap> {
        for (symbol, tally) in other.symbols {
            let mine = self.symbols.entry(symbol.clone()).or_default();
            let merged = mine.seqs.merge(&tally.seqs).and_then(|()| mine.again.merge(&tally.again));
            merged.map_err(|seq| Overlap { symbol, seq })?;
            mine.checksum = mine.checksum.wrapping_add(tally.checksum);
        }
        self.truth.extend(other.truth);
        self.truth.sort_by_key(|anomaly| anomaly.ts_us);
        self.ticks += other.ticks;
        self.malformed += other.malformed;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.calls += other.calls;
        self.retries += other.retries;
        self.unanswered_calls += other.unanswered_calls;
        self.throttled += other.throttled;
        self.elapsed += other.elapsed;
        self.rate = self.rate.filter(|_| self.rate == other.rate);
        self.shape = self.shape.take().filter(|shape| Some(shape) == other.shape.as_ref());
        self.speed = self.speed.filter(|_| self.speed == other.speed);
        self.behind = self.behind.max(other.behind);
        self.is_whole &= other.is_whole;
        // Both have the bounds of `no_latencies`, so that every value fits.
        let added = self.latency_us.add(&other.latency_us);
        debug_assert!(added.is_ok(), "{added:?}");
        Ok(())
    }
}

fn yes() -> bool {
    true
}

/// An empty histogram of microseconds, with 3 digits up to 10 minutes; what is longer counts as that.
pub(crate) fn no_latencies() -> Histogram<u64> {
    let histogram = Histogram::new_with_bounds(1, 600_000_000, 3);
    #[expect(clippy::expect_used, reason = "the bounds are constants that the library accepts")]
    histogram.expect("bounds are in range")
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let (ticks, messages) = (self.ticks as f64, self.messages as f64);
        let pace = match (self.rate, self.speed) {
            (Some(rate), _) => {
                let shape = self.shape.as_deref().filter(|shape| *shape != "constant");
                format!(
                    "open loop, {rate} ticks/s asked{}",
                    shape.map(|shape| format!(", {shape}")).unwrap_or_default()
                )
            }
            (None, Some(speed)) => format!("open loop, {speed} times as fast as it was recorded"),
            (None, None) => "closed loop, as fast as the queue takes it".to_owned(),
        };
        writeln!(f, "pace       {pace}")?;
        write!(f, "ticks      {} of {} symbols, {} anomalies", self.ticks, self.symbols.len(), self.truth.len())?;
        let again: u64 = self.symbols.values().map(|tally| tally.again.len()).sum();
        let besides = [(again, "sent twice"), (self.malformed, "malformed besides")];
        for (ticks, what) in besides.into_iter().filter(|(ticks, _)| *ticks > 0) {
            write!(f, ", {ticks} {what}")?;
        }
        writeln!(f)?;
        write!(f, "messages   {} in {} calls, {} sent again", self.messages, self.calls, self.retries)?;
        writeln!(f, "{}", if self.throttled > 0 { format!(", {} throttled", self.throttled) } else { String::new() })?;
        writeln!(f, "bytes      {}, {:.1} per tick", self.bytes, self.bytes as f64 / ticks.max(1.0))?;
        writeln!(
            f,
            "took       {seconds:.2} s: {:.0} ticks/s, {:.0} messages/s, {:.2} MB/s",
            ticks / seconds,
            messages / seconds,
            self.bytes as f64 / seconds / 1e6
        )?;
        let ms = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1_000.0;
        write!(f, "latency    p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", ms(0.5), ms(0.99), ms(0.999))?;
        if !self.is_whole {
            write!(f, "\nstopped    before everything was sent; what was is all in the queue")?;
        }
        if !self.is_valid() {
            write!(
                f,
                "\nINVALID    the generator was {:.0} ms behind its own schedule: take more --threads, larger messages or a lower rate",
                self.behind.as_secs_f64() * 1e3
            )?;
        }
        if self.unanswered_calls > 0 {
            write!(
                f,
                "\nwarning    {} calls got no answer and were repeated: duplicates are possible",
                self.unanswered_calls
            )?;
        }
        Ok(())
    }
}

mod hexadecimal {
    //! A `u64` as 16 hexadecimal digits.

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{value:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let digits = String::deserialize(from)?;
        u64::from_str_radix(&digits, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Number;

    fn sent(symbol: &str, seqs: std::ops::Range<i64>) -> Sent {
        let mut sent = Sent::nothing();
        for seq in seqs {
            let (price, volume) = (Number::Cents(100 + seq), Number::Whole(1));
            let tick = Tick { symbol, ts_us: seq, price, volume, seq, venue: None, conditions: None };
            assert!(sent.symbols.entry(symbol.to_owned()).or_default().add(SymbolHash::of(symbol), &tick));
            sent.ticks += 1;
        }
        sent
    }

    #[test]
    fn json_of_a_manifest_reads_back_to_the_same() {
        let mut written = sent("AAPL", 0..10);
        written.merge(sent("AAPL", 20..30)).unwrap();
        written.elapsed = Duration::from_millis(1_234);
        let json = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<Sent>(&json).unwrap(), written);
    }

    #[test]
    fn parts_merge_to_the_whole_in_any_order() {
        let whole = sent("AAPL", 0..30);
        let (mut forwards, mut backwards) = (sent("AAPL", 0..12), sent("AAPL", 12..30));
        let (a, b) = (forwards.clone(), backwards.clone());
        forwards.merge(b).unwrap();
        backwards.merge(a).unwrap();
        assert_eq!(forwards, whole);
        assert_eq!(backwards, whole);
    }

    #[test]
    fn overlapping_parts_do_not_merge() {
        let error = sent("AAPL", 0..12).merge(sent("AAPL", 11..30)).unwrap_err();
        assert_eq!(error, Overlap { symbol: "AAPL".to_owned(), seq: 11 });
    }
}
