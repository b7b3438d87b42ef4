//! One watched symbol: the state of every detector for it.
//!
//! This file owns the order in which the detectors see a tick, and that an anomaly becomes an alert unless its
//! detector cools down. It does *not* own which symbols are watched.

use std::sync::Arc;

use super::anomaly::Anomaly;
use super::config::{DetectConfig, ThresholdConfig};
use super::cool_down::CoolDown;
use super::line::Line;
use super::micros;
use super::spike::{Spike, SpikeState};
use crate::alert::Alert;

/// The detectors as configured, the same for all symbols.
#[derive(Debug)]
pub(super) struct Rules {
    spike: Option<Spike>,
    thresholds: Vec<ThresholdConfig>,
    tick_size: f64,
    cool_down_us: u64,
}

/// What the detectors know of one symbol.
#[derive(Debug)]
pub(super) struct Watched {
    symbol: Arc<str>,
    spike: Option<(SpikeState, CoolDown)>,
    lines: Box<[(Line, CoolDown)]>,
}

/// The price of one tick, and when it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) ts_us: i64,
    pub(super) price: f64,
    /// Given, not read from a clock.
    pub(super) detected_at_us: i64,
}

impl Rules {
    pub(super) fn new(config: &DetectConfig) -> Self {
        Self {
            spike: Spike::new(&config.spike),
            thresholds: config.threshold.clone(),
            tick_size: config.spike.tick_size,
            cool_down_us: micros(config.cool_down),
        }
    }

    /// The state of a symbol of which nothing is known.
    pub(super) fn watch(&self, symbol: Arc<str>) -> Watched {
        let lines = Line::of(&self.thresholds, &symbol, self.tick_size);
        Watched {
            spike: self.spike.as_ref().map(|spike| (spike.state(), CoolDown::default())),
            lines: lines.into_iter().map(|line| (line, CoolDown::default())).collect(),
            symbol,
        }
    }

    /// Shows a tick of `watched`'s symbol to its detectors. Returns how many anomalies a cool-down held back.
    pub(super) fn observe(&self, watched: &mut Watched, tick: Observation, alerts: &mut Vec<Alert>) -> u64 {
        let mut suppressed = 0;
        let symbol = &watched.symbol;
        let mut raise = |anomaly: Option<Anomaly>, cool_down: &mut CoolDown| {
            let Some(anomaly) = anomaly else { return };
            if cool_down.admits(tick.ts_us, self.cool_down_us) {
                alerts.push(anomaly.alert(symbol, tick.ts_us, tick.price, tick.detected_at_us));
            } else {
                suppressed += 1;
            }
        };
        if let (Some(spike), Some((state, cool_down))) = (&self.spike, &mut watched.spike) {
            raise(spike.observe(state, tick.ts_us, tick.price), cool_down);
        }
        for (line, cool_down) in &mut watched.lines {
            raise(line.observe(tick.price), cool_down);
        }
        suppressed
    }
}
