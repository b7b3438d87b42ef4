//! The feed as a whole: when all symbols are silent, and how late ticks come.
//!
//! Every shard knows it, for it is made from all ticks. Only the first shard raises alerts about it. This file does
//! *not* own what is known of single symbols.

use super::anomaly::{Anomaly, Detector};
use super::events::Events;
use super::lateness::Lateness;
use super::observation::Now;
use super::rules::Rules;
use super::silence::{Ended, Silence};
use crate::alert::{Alert, Direction};
use crate::names::NameId;

/// The symbol that stands for all symbols.
const SYMBOL: &str = "*";
const GAP: (Detector, Direction) = (Detector::Gap, Direction::Down);

/// What is known of all symbols together.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// `None` before the first tick.
    silence: Option<Silence>,
    events: Events,
    lateness: Lateness,
    /// The symbol of the first tick, and whether later ticks have other symbols.
    first: Option<NameId>,
    has_several: bool,
}

/// The silence of all symbols, which has lasted too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    /// When the last tick was, microseconds since the Unix epoch, rounded down to a second.
    pub(super) since_us: i64,
    until_us: i64,
}

impl Feed {
    /// Begins with a first tick at `ts_us`, unless there was one already.
    pub(super) fn begin(&mut self, ts_us: i64) {
        self.silence.get_or_insert_with(|| Silence::new(ts_us));
    }

    /// Whether there was a tick.
    pub(super) fn has_begun(&self) -> bool {
        self.silence.is_some()
    }

    /// Whether there is more than one symbol: one alone is no feed.
    pub(super) fn has_several(&self) -> bool {
        self.has_several
    }

    /// Notes a tick while the clock stands at `now_us`.
    pub(super) fn note(&mut self, symbol: NameId, ts_us: i64, now_us: i64) {
        self.lateness.note(ts_us, now_us);
        self.has_several |= *self.first.get_or_insert(symbol) != symbol;
    }

    /// How late ticks come, in microseconds.
    pub(super) fn delay_us(&self) -> i64 {
        self.lateness.delay_us()
    }

    /// When the second of the last tick is over. Never (`i64::MAX`), if there is no tick yet.
    pub(super) fn over_us(&self) -> i64 {
        self.silence.map_or(i64::MAX, |silence| silence.over_us())
    }

    /// The silence of all symbols, if it has lasted for too long by now.
    pub(super) fn gap(&self, rules: &Rules, now_us: i64) -> Option<Gap> {
        let silence = self.silence.as_ref().filter(|_| self.has_several)?;
        let until_us = rules.activity.too_long_us(silence, || 1.0).filter(|until_us| *until_us <= now_us)?;
        Some(Gap { since_us: silence.last_us(), until_us })
    }

    /// Notes a gap. Adds the alert about it if the gap is new and this shard `tells`.
    pub(super) fn set_gap(&mut self, gap: Gap, tells: bool, rules: &Rules, now: Now, alerts: &mut Vec<Alert>) {
        let Some(silence) = &mut self.silence else { return };
        if tells && self.events.worst(GAP).is_none() {
            let (anomaly, symbol) = (Anomaly::gap(silence, gap.until_us), SYMBOL.into());
            self.events.take(anomaly, gap.until_us, &rules.scene(&symbol, now, &Vec::new), alerts);
            self.events.hold(GAP, None, gap.until_us);
        }
        silence.set_gap(gap.until_us);
    }

    /// A tick has come now. Adds the alert that a gap is over, if it ends one.
    pub(super) fn seen(&mut self, rules: &Rules, now: Now, alerts: &mut Vec<Alert>) {
        let ended = self.silence.as_mut().and_then(|silence| silence.seen(now.clock_us));
        if let Some(Ended { seconds, was_gap: true, .. }) = ended {
            let (found, symbol) = (|gap: &mut Anomaly| gap.observed = seconds as f64, SYMBOL.into());
            self.events.end(GAP, found, now.clock_us, &rules.scene(&symbol, now, &Vec::new), alerts);
        }
    }
}
