//! Where spikes are planted and how large they are.
//!
//! A detector needs to know what is normal before it can know what is not. So a symbol gets its first spike only when
//! it has shown enough ticks over enough event time, and the next one only after as much again.

use std::{collections::VecDeque, time::Duration};

use crate::random::Random;

/// The spikes to plant: single ticks whose price is off by a part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikeConfig {
    /// How many to plant. Where the symbols are too quiet for as many, fewer are; the truth lists those that were.
    pub count: u32,
    /// The smallest size, as a fraction of the price.
    pub size_min: f64,
    /// The largest size, as a fraction of the price.
    pub size_max: f64,
    /// Ticks that a symbol shows before its first spike and between two.
    pub quiet_ticks: i64,
    /// Event time that passes in a symbol before its first spike and between two.
    pub quiet: Duration,
}

impl Default for SpikeConfig {
    /// Twenty of 3 % to 5 %, each after 100 ticks and 60 s of quiet.
    fn default() -> Self {
        Self { count: 20, size_min: 0.03, size_max: 0.05, quiet_ticks: 100, quiet: Duration::from_mins(1) }
    }
}

/// Since when a symbol has been quiet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    pub(super) seq: i64,
    pub(super) ts_us: i64,
}

/// Plants the spikes of one lane.
#[derive(Debug, Clone)]
pub(super) struct Planter {
    config: SpikeConfig,
    quiet_us: i64,
    /// Ticks of the lane from which on a spike is due, ascending. It goes to the first symbol that can take it.
    due: VecDeque<u64>,
    random: Random,
}

impl Planter {
    /// Spreads `count` spikes over a lane of `ticks` ticks which lasts `span`: one in each of as many equal stretches,
    /// the first of which begins when the quiet time has passed. The last twentieth stays free, so that a spike that
    /// waits for a symbol still finds one.
    pub(super) fn new(config: &SpikeConfig, count: u64, ticks: u64, span: Duration, mut random: Random) -> Self {
        let quiet = (config.quiet.as_secs_f64() / span.as_secs_f64()).min(1.0);
        let first = (ticks as f64 * quiet) as u64;
        let last = (ticks - ticks / 20).max(first);
        let stretch = (last - first) / count.max(1);
        let due = (0..count).map(|i| first + i * stretch + random.below(stretch)).collect();
        let quiet_us = i64::try_from(config.quiet.as_micros()).unwrap_or(i64::MAX);
        Self { config: config.clone(), quiet_us, due, random }
    }

    /// The price to send instead of `cents`, if tick `index` of the lane, which is tick `seq` of its symbol, is to be a
    /// spike.
    pub(super) fn plant(&mut self, index: u64, seq: i64, ts_us: i64, quiet: Quiet, cents: i64) -> Option<i64> {
        if self.due.front().is_none_or(|&due| index < due)
            || seq - quiet.seq < self.config.quiet_ticks
            || ts_us - quiet.ts_us < self.quiet_us
        {
            return None;
        }
        self.due.pop_front();
        let size = self.config.size_min + (self.config.size_max - self.config.size_min) * self.random.unit();
        let sign = if self.random.bits() & 1 == 0 { 1.0 } else { -1.0 };
        Some((cents as f64 * (1.0 + sign * size)).round() as i64)
    }
}
