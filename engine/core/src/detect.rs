//! Anomaly detection per symbol, tick by tick, in the order in which the ticks arrive.
//!
//! Every tick is shown to the detectors of its symbol, which say whether its price is an anomaly: *spike* (far from the
//! recent prices) and *threshold* (crossed a configured line). An anomaly becomes an alert unless its detector raised
//! one for the symbol within the cool-down. Two runs over the same ticks in the same order raise the same alerts, with
//! the same ids.
//!
//! This file owns the way from a batch to alerts. It does *not* own the detectors, which are in [`spike`] and [`mod@line`],
//! nor what becomes of alerts. All state is per symbol, so that symbols can be spread over several [`Detectors`], each of
//! which is a [`Shard`].

mod config;

mod shard;
mod watch_list;
mod watched;

mod line;
mod spike;

mod deviation;
mod median;

mod anomaly;
mod cool_down;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trades;

use std::time::Duration;

pub use config::{DetectConfig, DetectConfigError, SpikeConfig, ThresholdConfig};

pub use self::shard::Shard;

use self::watch_list::WatchList;
use self::watched::{Observation, Rules, Watched};
use crate::alert::Alert;
use crate::names::Names;
use crate::tick::TickBatch;

/// All detectors, and what they know of the symbols seen so far.
#[derive(Debug)]
pub struct Detectors {
    shard: Shard,
    rules: Rules,
    symbols: WatchList<Watched>,
    suppressed: u64,
    unwatched: u64,
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
            suppressed: 0,
            unwatched: 0,
        }
    }

    /// Shows every tick of a batch to the detectors, and adds the alerts that they raise to `alerts`. Of the ticks of other
    /// shards' symbols nothing but the time is looked at: who fell silent must not depend on the number of shards.
    ///
    /// `symbols` is the table of the batch's symbols, the same in every call; `detected_at_us` is now, in microseconds
    /// since the Unix epoch. Nothing is allocated but for alerts and for symbols that are new.
    pub fn observe(&mut self, ticks: &TickBatch, symbols: &Names, detected_at_us: i64, alerts: &mut Vec<Alert>) {
        let rows = ticks.symbol.iter().zip(&ticks.ts_us).zip(&ticks.price);
        for ((&symbol, &ts_us), &price) in rows {
            self.symbols.advance(ts_us, detected_at_us);
            let Some(place) = self.shard.place(symbol) else { continue };
            let Some(watched) = self.symbols.state(place, || Some(self.rules.watch(symbols.get(symbol)?))) else {
                self.unwatched += 1;
                continue;
            };
            let tick = Observation { ts_us, price, detected_at_us };
            self.suppressed += self.rules.observe(watched, tick, alerts);
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

    /// How many symbols are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.symbols.len()
    }
}

/// `duration` in microseconds; one that is longer than these can say counts as the longest.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
