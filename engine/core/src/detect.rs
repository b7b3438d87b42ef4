//! Anomaly detection per symbol, tick by tick, in the order in which the ticks arrive.
//!
//! Every tick is shown to the detectors of its symbol: *spike* (a price far from the recent ones), *threshold* (one that crossed
//! a configured line), *move*, *volatility*, *volume* (of the last minute, see [`activity`]) and *gap* (no tick for too long, which
//! the ticks of others tell). An anomaly becomes an alert unless one of the same event was raised: within the cool-down, or for as
//! long as it lasts. Two runs over the same ticks in the same order raise the same alerts, with the same ids.
//!
//! This file owns the way from a batch to alerts, and the clock that tells silence. It does *not* own the detectors, which are in
//! [`spike`], [`mod@line`] and [`activity`], nor what becomes of alerts. All other state is per symbol, so that symbols can be spread
//! over several [`Detectors`], each of
//! which is a [`Shard`].

mod config;

mod shard;
mod timers;
mod watch_list;
mod watched;

mod line;
mod spike;

mod deviation;
mod median;

mod activity;
mod baseline;
mod lateness;
mod movement;
mod panes;
mod silence;
mod volatility;
mod volume;

mod anomaly;
mod cool_down;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trades;

use std::time::Duration;

pub use config::{
    DetectConfig, DetectConfigError, GapConfig, MoveConfig, SpikeConfig, ThresholdConfig, VolatilityConfig,
    VolumeConfig,
};

pub use self::shard::Shard;

use self::activity::NEVER_US;
use self::anomaly::Anomaly;
use self::lateness::Lateness;
use self::silence::Silence;
use self::timers::Timers;
use self::watch_list::WatchList;
use self::watched::{Observation, Rules, Watched};
use crate::alert::Alert;
use crate::names::{NameId, Names};
use crate::tick::TickBatch;

/// All detectors, and what they know of the symbols seen so far.
#[derive(Debug)]
pub struct Detectors {
    shard: Shard,
    rules: Rules,
    symbols: WatchList<Watched>,
    /// The ticks of a batch that are this shard's, and room for more; kept between batches.
    own: Vec<OwnTick>,
    suppressed: u64,
    unwatched: u64,
    timers: Timers,
    /// Of any symbol, if any was seen.
    feed: Option<Silence>,
    lateness: Lateness,
    /// Of the ticks so far: the first one's symbol, and whether there are others.
    first: Option<NameId>,
    has_several: bool,
    /// Up to when all have come that will.
    waited_us: i64,
}

impl Detectors {
    /// Detectors that have seen nothing yet. `config` must be [valid](DetectConfig::validate).
    #[must_use]
    pub fn new(config: &DetectConfig) -> Self {
        Self::of_shard(config, Shard::WHOLE)
    }

    /// The same for the symbols of one shard. All shards together watch at most [`DetectConfig::symbols_max`] symbols, and
    /// as long as these suffice they raise the same alerts as one, if each is shown all ticks.
    #[must_use]
    pub fn of_shard(config: &DetectConfig, shard: Shard) -> Self {
        Self {
            shard,
            rules: Rules::new(config),
            symbols: WatchList::new(shard.share(config.symbols_max), micros(config.idle_max)),
            own: Vec::new(),
            suppressed: 0,
            unwatched: 0,
            timers: Timers::default(),
            feed: None,
            lateness: Lateness::default(),
            first: None,
            has_several: false,
            waited_us: i64::MIN,
        }
    }

    /// Shows every tick of a batch to the detectors, and adds the alerts that they raise to `alerts`. Of the ticks of other
    /// shards' symbols nothing but the time is looked at: who fell silent must not depend on the number of shards.
    ///
    /// `symbols` is the table of the batch's symbols, the same in every call; `detected_at_us` is now, in microseconds
    /// since the Unix epoch. Nothing is allocated but for alerts and for symbols that are new.
    pub fn observe(&mut self, ticks: &TickBatch, symbols: &Names, detected_at_us: i64, alerts: &mut Vec<Alert>) {
        let moved_on = |now_us, ts_us| WatchList::<Watched>::moved_on(now_us, ts_us, detected_at_us);
        let rows = ticks.symbol.iter().zip(&ticks.ts_us);
        let mut now_us = self.symbols.now_us();
        if self.feed.is_none() && self.rules.activity.has_gaps() {
            self.feed = ticks.ts_us.first().map(|&ts_us| Silence::new(moved_on(now_us, ts_us)));
        }
        if self.shard == Shard::WHOLE {
            for ((&symbol, &ts_us), row) in rows.zip(0_u32..) {
                now_us = moved_on(now_us, ts_us);
                self.note(symbol, ts_us, now_us);
                let (place, _) = self.shard.place(symbol);
                self.judge(OwnTick { row, place, now_us }, ticks, symbols, detected_at_us, alerts);
            }
            return;
        }
        // First which ticks are this shard's, without a branch on whose they are, and then what is to be said of them.
        let mut own = std::mem::take(&mut self.own);
        if own.len() < ticks.len() {
            own.resize(ticks.len(), OwnTick::default());
        }
        let mut count = 0;
        for ((&symbol, &ts_us), row) in rows.zip(0_u32..) {
            now_us = moved_on(now_us, ts_us);
            self.note(symbol, ts_us, now_us);
            let (place, is_own) = self.shard.place(symbol);
            // Whosever tick it is that lets the list look for the silent, all that came before it must have been seen.
            if self.is_due(now_us) {
                own[..count].iter().for_each(|tick| self.judge(*tick, ticks, symbols, detected_at_us, alerts));
                count = 0;
                self.advance(now_us, detected_at_us, alerts);
            }
            own[count] = OwnTick { row, place, now_us };
            count += usize::from(is_own);
        }
        own[..count].iter().for_each(|tick| self.judge(*tick, ticks, symbols, detected_at_us, alerts));
        self.advance(now_us, detected_at_us, alerts);
        self.own = own;
    }

    /// Takes note of a tick, whoever's it is.
    fn note(&mut self, symbol: NameId, ts_us: i64, now_us: i64) {
        self.lateness.note(ts_us, now_us);
        self.has_several |= *self.first.get_or_insert(symbol) != symbol;
    }

    /// Moves the clock on to `now_us`, event time, and adds alerts about who has been silent for too long by then. Where all were
    /// silent at once, that is one alert, of the feed, and the first shard raises it.
    fn advance(&mut self, now_us: i64, detected_at_us: i64, alerts: &mut Vec<Alert>) {
        self.symbols.advance(now_us);
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.is_over(now_us)) else { return };
        let (since_us, too_long_us) = (feed.last_us(), self.rules.activity.too_long_us(feed));
        let is_feed = self.has_several && too_long_us.is_some_and(|too_long_us| too_long_us <= now_us);
        let waited_us = now_us.saturating_sub(self.lateness.delay_us());
        self.waited_us = self.waited_us.max(waited_us);
        while let Some((due_us, slot)) = self.timers.next(waited_us) {
            let Some(watched) = self.symbols.at(slot).filter(|watched| watched.activity.due_us == due_us) else {
                continue;
            };
            watched.activity.due_us = NEVER_US;
            let silence = &mut watched.activity.silence;
            match self.rules.activity.too_long_us(silence) {
                Some(until_us) if until_us > waited_us => {
                    watched.activity.due_us = until_us;
                    self.timers.set(until_us, slot);
                }
                // Together with all others. Whether it stays silent when they come back is looked at again.
                Some(until_us) if is_feed && until_us > since_us => {
                    silence.set_gap();
                    let due_us = now_us.saturating_add(until_us - since_us);
                    watched.activity.due_us = due_us;
                    self.timers.set(due_us, slot);
                }
                Some(until_us) => {
                    silence.set_gap();
                    alerts.push(watched.gap(until_us, detected_at_us));
                }
                // Not for long enough on the list: the next tick sets it again.
                None => {}
            }
        }
        if let Some(feed) = &mut self.feed {
            if let Some(until_us) = too_long_us.filter(|_| is_feed && self.shard.is_first()) {
                let anomaly = Anomaly::gap(feed, until_us);
                alerts.push(anomaly.alert(&"*".into(), until_us, detected_at_us));
            }
            if is_feed {
                feed.set_gap();
            }
            feed.seen(now_us);
        }
    }

    /// Whether [`Detectors::advance`] does more at `now_us` than to move the clock.
    fn is_due(&self, now_us: i64) -> bool {
        self.symbols.is_due(now_us) || self.feed.is_some_and(|feed| feed.is_over(now_us))
    }

    fn judge(
        &mut self,
        tick: OwnTick,
        ticks: &TickBatch,
        symbols: &Names,
        detected_at_us: i64,
        alerts: &mut Vec<Alert>,
    ) {
        let OwnTick { row, place, now_us } = tick;
        let row = row as usize;
        let ts_us = ticks.ts_us[row];
        self.advance(now_us, detected_at_us, alerts);
        let watch = |slot| Some(self.rules.watch(slot, symbols.get(ticks.symbol[row])?, ts_us.min(detected_at_us)));
        let Some((slot, watched)) = self.symbols.state(place as usize, watch) else {
            self.unwatched += 1;
            return;
        };
        let tick = Observation { ts_us, price: ticks.price[row], volume: ticks.volume[row], detected_at_us };
        self.suppressed += self.rules.observe(slot, watched, tick, alerts);
        // A late tick tells nothing of a silence that is over, or was alerted.
        if watched.activity.due_us == NEVER_US
            && let Some(due_us) = self.rules.activity.too_long_us(&watched.activity.silence)
            && due_us > self.waited_us
        {
            watched.activity.due_us = due_us;
            self.timers.set(due_us, slot);
        }
    }

    /// How many anomalies did not become alerts because their detector was cooling down.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// How many ticks were not judged because as many symbols as [`DetectConfig::symbols_max`] were watched already.
    #[must_use]
    pub fn unwatched(&self) -> u64 {
        self.unwatched
    }

    /// Bytes that a tick which is no anomaly reads and writes of its symbol, where no line is drawn for it.
    #[must_use]
    pub fn hot_bytes_per_symbol(&self) -> usize {
        WatchList::<Watched>::entry_bytes() + self.rules.window_bytes()
    }

    /// How many symbols are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.symbols.len()
    }
}

/// A tick of one of a shard's symbols.
#[derive(Debug, Clone, Copy, Default)]
struct OwnTick {
    row: u32,
    place: u32,
    /// The list's clock at that tick.
    now_us: i64,
}

/// `duration` in microseconds; one that is longer than these can say counts as the longest.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
