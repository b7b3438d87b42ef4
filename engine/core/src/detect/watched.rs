//! One watched symbol: the state of every detector for it.
//!
//! This file owns the order in which the detectors see a tick, and that an anomaly becomes an alert unless its
//! detector cools down. It does *not* own which symbols are watched.

use std::sync::Arc;

use super::activity::{Activity, ActivityRules};
use super::anomaly::{Anomaly, Detector};
use super::config::{DetectConfig, ThresholdConfig};
use super::cool_down::CoolDown;
use super::line::Line;
use super::micros;
use super::spike::{Spike, SpikeState};
use crate::alert::{Alert, Direction};

/// The detectors as configured, the same for all symbols.
#[derive(Debug)]
pub(super) struct Rules {
    spike: Option<Spike>,
    thresholds: Vec<ThresholdConfig>,
    tick_size: f64,
    cool_down_us: u64,
    pub(super) activity: ActivityRules,
}

/// What the detectors know of one symbol: here what every tick touches, in the box what hardly any does.
#[derive(Debug)]
pub(super) struct Watched {
    spike: SpikeState,
    has_lines: bool,
    pub(super) activity: Activity,
    seldom: Box<Seldom>,
}

#[derive(Debug)]
struct Seldom {
    symbol: Arc<str>,
    /// Of spikes up and down.
    spike: [CoolDown; 2],
    lines: Box<[(Line, CoolDown)]>,
}

/// The price of one tick, and when it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) ts_us: i64,
    pub(super) price: f64,
    pub(super) volume: f64,
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
            activity: ActivityRules::new(config, micros(config.cool_down)),
        }
    }

    /// Bytes that a tick which is no anomaly reads and writes of its symbol, beside the symbol's [`Watched`].
    pub(super) fn window_bytes(&self) -> usize {
        self.spike.as_ref().map_or(0, Spike::window_bytes)
    }

    /// The state of a symbol of which nothing is known, and which has `slot` from now on.
    pub(super) fn watch(&mut self, slot: usize, symbol: Arc<str>, ts_us: i64) -> Watched {
        let lines = Line::of(&self.thresholds, &symbol, self.tick_size);
        let lines: Box<[_]> = lines.into_iter().map(|line| (line, CoolDown::default())).collect();
        Watched {
            spike: self.spike.as_mut().map(|spike| spike.watch(slot)).unwrap_or_default(),
            activity: Activity::new(ts_us),
            has_lines: !lines.is_empty(),
            seldom: Box::new(Seldom { symbol, spike: Default::default(), lines }),
        }
    }

    /// Shows a tick of the symbol in `slot` to its detectors. Returns how many anomalies a cool-down held back.
    pub(super) fn observe(
        &mut self,
        slot: usize,
        watched: &mut Watched,
        tick: Observation,
        alerts: &mut Vec<Alert>,
    ) -> u64 {
        let mut suppressed = 0;
        let cool_down_us = self.cool_down_us;
        let mut raise = |anomaly: Anomaly, symbol: &Arc<str>, cool_down: &mut CoolDown| {
            // How far beyond a line the price is says nothing: whoever drew it wants to know that it was crossed.
            let score = if anomaly.detector == Detector::Spike { anomaly.score } else { 1.0 };
            if cool_down.admits(tick.ts_us, score, cool_down_us) {
                alerts.push(anomaly.alert(symbol, tick.ts_us, tick.detected_at_us));
            } else {
                suppressed += 1;
            }
        };
        if let Some(spike) = &mut self.spike
            && let Some(anomaly) = spike.observe(slot, &mut watched.spike, tick.ts_us, tick.price)
        {
            let Seldom { symbol, spike, .. } = &mut *watched.seldom;
            let cool_down = &mut spike[usize::from(anomaly.direction == Direction::Down)];
            raise(anomaly, symbol, cool_down);
        }
        if watched.has_lines {
            let Seldom { symbol, lines, .. } = &mut *watched.seldom;
            for (line, cool_down) in lines {
                if let Some(anomaly) = line.observe(tick.price) {
                    raise(anomaly, symbol, cool_down);
                }
            }
        }
        let Seldom { symbol, .. } = &*watched.seldom;
        // A tick from the future is no sign of what comes until then.
        let ts_us = tick.ts_us.min(tick.detected_at_us);
        let mut raise = |anomaly: Anomaly, ts_us| alerts.push(anomaly.alert(symbol, ts_us, tick.detected_at_us));
        suppressed + watched.activity.observe(&self.activity, (ts_us, tick.price, tick.volume), &mut raise)
    }
}

impl Watched {
    /// The alert that the symbol has been silent until `until_us`.
    pub(super) fn gap(&self, until_us: i64, detected_at_us: i64) -> Alert {
        Anomaly::gap(&self.activity.silence, until_us).alert(&self.seldom.symbol, until_us, detected_at_us)
    }
}
