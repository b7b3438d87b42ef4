//! The rules of a symbol: its detectors as configured.
//!
//! This file also owns the check of event times. It does *not* own which symbols the rules are for.

use std::sync::Arc;
use std::time::Duration;

use super::activity::ActivityRules;
use super::anomaly::{Anomaly, Detector, Window};
use super::config::{ClockConfig, DetectConfig, LevelShiftConfig};
use super::events::Scene;
use super::observation::Now;
use super::spike::Spike;
use crate::alert::{AlertTick, Direction, Severity};

/// The scale of a line if the tick size is not configured.
const CENT: f64 = 0.01;

/// The detectors as configured, the same for many symbols.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) spike: Option<Spike>,
    pub(super) level_shift: Option<LevelShiftConfig>,
    pub(super) activity: ActivityRules,
    pub(super) tick_size: f64,
    pub(super) cool_down_us: i64,
    /// How far ahead and how far behind an event time may be, microseconds.
    clock_us: Option<(i64, i64)>,
}

impl Rules {
    pub(super) fn new(config: &DetectConfig) -> Self {
        let micros = |duration| i64::try_from(micros(duration)).unwrap_or(i64::MAX);
        let ClockConfig { enabled, future, past } = config.clock;
        Self {
            spike: Spike::new(&config.spike),
            level_shift: config.level_shift.enabled.then(|| config.level_shift.clone()),
            activity: ActivityRules::new(config),
            tick_size: config.spike.tick_size.unwrap_or(CENT),
            cool_down_us: micros(config.cool_down),
            clock_us: enabled.then(|| (micros(future), micros(past))),
        }
    }

    pub(super) fn scene<'a>(&self, symbol: &'a Arc<str>, now: Now, ticks: &'a dyn Fn() -> Vec<AlertTick>) -> Scene<'a> {
        let (detected_at_us, clock_us) = (now.detected_at_us(), now.clock_us);
        Scene { symbol, detected_at_us, clock_us, cool_down_us: self.cool_down_us, ticks }
    }

    /// The anomaly of an event time that cannot be right.
    pub(super) fn wrong_clock(&self, ts_us: i64, now: Now) -> Option<Anomaly> {
        let (future_us, past_us) = self.clock_us?;
        let ahead_us = now.decoded_at_us.map_or(0, |decoded_at_us| ts_us.saturating_sub(decoded_at_us));
        let behind_us = now.clock_us.saturating_sub(ts_us);
        let (off_us, most_us, direction) = match () {
            () if ahead_us > future_us => (ahead_us, future_us, Direction::Up),
            () if behind_us > past_us => (behind_us, past_us, Direction::Down),
            () => return None,
        };
        let (observed, scale) = (off_us as f64 / 1e6, (most_us as f64 / 1e6).max(1.0));
        Some(Anomaly {
            severity: Severity::Warning,
            direction,
            observed,
            expected: 0.0,
            scale,
            score: observed / scale,
            threshold: most_us as f64 / 1e6 / scale,
            window: Window::Ticks(1),
            detector: Detector::Clock,
        })
    }
}

/// `duration` in microseconds. A duration that is too long counts as the longest.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
