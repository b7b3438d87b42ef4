//! One symbol's last minute, and what is unusual about it: volume, volatility, moves, silence.
//!
//! This file owns when each is looked at, and that one event is one alert however long it lasts. It does *not* own the formulas.

use super::anomaly::{Anomaly, Detector};
use super::config::{DetectConfig, GapConfig, MoveConfig, VolatilityConfig, VolumeConfig};
use super::movement::Movement;
use super::panes::{Panes, Step};
use super::silence::Silence;
use super::volatility::Volatility;
use super::volume::Volume;
use crate::alert::{Direction, Severity};

/// The detectors as configured, the same for all symbols.
#[derive(Debug)]
pub(super) struct ActivityRules {
    volume: Option<VolumeConfig>,
    volatility: Option<VolatilityConfig>,
    movement: Option<MoveConfig>,
    gap: Option<GapConfig>,
    cool_down_us: i64,
}

impl ActivityRules {
    pub(super) fn new(config: &DetectConfig, cool_down_us: u64) -> Self {
        Self {
            volume: config.volume.enabled.then(|| config.volume.clone()),
            volatility: config.volatility.enabled.then(|| config.volatility.clone()),
            movement: config.r#move.enabled.then(|| config.r#move.clone()),
            gap: config.gap.enabled.then(|| config.gap.clone()),
            cool_down_us: i64::try_from(cool_down_us).unwrap_or(i64::MAX),
        }
    }

    /// Whether silence is an anomaly.
    pub(super) fn has_gaps(&self) -> bool {
        self.gap.is_some()
    }

    /// From when on a symbol, or the feed, is silent for too long.
    pub(super) fn too_long_us(&self, silence: &Silence) -> Option<i64> {
        self.gap.as_ref().and_then(|gap| silence.too_long_us(gap.probability, gap.least))
    }

    fn has_panes(&self) -> bool {
        self.volume.is_some() || self.volatility.is_some() || self.movement.is_some()
    }
}

/// What is known of one symbol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activity {
    panes: Panes,
    volume: Volume,
    volatility: Volatility,
    movement: Movement,
    pub(super) silence: Silence,
    /// When the timer for the next look at its silence runs out, or [`NEVER_US`]; microseconds since the Unix epoch.
    pub(super) due_us: i64,
    episodes: [Episode; 3],
}

/// No timer is set.
pub(super) const NEVER_US: i64 = i64::MIN;

/// An event that lasts, of one kind.
#[derive(Debug, Clone, Copy)]
struct Episode {
    /// When it last was unusual.
    last_us: i64,
}

impl Episode {
    const NEVER: Self = Self { last_us: i64::MIN };

    /// Takes note that it is unusual at `ts_us`. Whether that begins another event: it was not, for as long as the cool-down.
    fn begins(&mut self, ts_us: i64, cool_down_us: i64) -> bool {
        let begins = ts_us.saturating_sub(self.last_us) >= cool_down_us;
        self.last_us = self.last_us.max(ts_us);
        begins
    }
}

impl Activity {
    /// Of a symbol whose first tick is at `ts_us`.
    pub(super) fn new(ts_us: i64) -> Self {
        let (volume, volatility, movement) = Default::default();
        let (panes, silence) = (Panes::new(), Silence::new(ts_us));
        Self { panes, volume, volatility, movement, silence, due_us: NEVER_US, episodes: [Episode::NEVER; 3] }
    }

    /// Shows it a tick. `raise` takes anomalies with their times, and what is held back because its event goes on is counted.
    pub(super) fn observe(
        &mut self,
        rules: &ActivityRules,
        (ts_us, price, volume): (i64, f64, f64),
        raise: &mut impl FnMut(Anomaly, i64),
    ) -> u64 {
        if rules.has_gaps() {
            self.silence.seen(ts_us);
        }
        if !rules.has_panes() {
            return 0;
        }
        let mut held_back = 0;
        let mut found = |episode: &mut Episode, anomaly: Anomaly, ts_us: i64| {
            if episode.begins(ts_us, rules.cool_down_us) {
                raise(anomaly, ts_us);
            } else {
                held_back += 1;
            }
        };
        let [of_volume, of_volatility, of_move] = &mut self.episodes;
        loop {
            match self.panes.step(ts_us) {
                Step::Stays => break,
                Step::Began => {
                    (self.volume, self.volatility, self.movement) = Default::default();
                    // Time may have gone back, too.
                    [*of_volume, *of_volatility, *of_move] = [Episode::NEVER; 3];
                    break;
                }
                Step::Closed => {}
            }
            self.volume.closed(&self.panes);
            let closed_us = self.panes.open_us();
            if let Some(config) = &rules.volatility
                && let Some(burst) = self.volatility.closed(&self.panes, config.threshold)
            {
                found(of_volatility, Anomaly::burst(Detector::Volatility, burst, config.threshold), closed_us);
            }
            if let Some(config) = &rules.movement
                && let Some(moved) = self.movement.closed(&self.panes, config.least, config.threshold)
            {
                found(of_move, Anomaly::moved(moved, config.threshold), closed_us);
            }
        }
        let in_time = ts_us >= self.panes.open_us();
        if !self.panes.add(ts_us, price, volume) {
            return held_back;
        }
        if !in_time {
            self.volume.resum(&self.panes);
        }
        if let Some(config) = &rules.volume
            && let Some(burst) = self.volume.judge(&self.panes, config.threshold)
        {
            found(of_volume, Anomaly::burst(Detector::Volume, burst, config.threshold), ts_us);
        }
        held_back
    }
}

impl Anomaly {
    fn burst(detector: Detector, found: super::volume::Found, threshold: f64) -> Self {
        Self {
            severity: Severity::of_score(found.score, threshold),
            direction: Direction::Up,
            observed: found.observed,
            expected: found.expected,
            scale: found.scale,
            score: found.score,
            threshold,
            detector,
        }
    }

    fn moved(found: super::movement::Found, threshold: f64) -> Self {
        let score = (found.price - found.before).abs() / found.scale;
        Self {
            severity: Severity::of_score(score, threshold),
            direction: if found.price > found.before { Direction::Up } else { Direction::Down },
            observed: found.price,
            expected: found.before,
            scale: found.scale,
            score,
            threshold,
            detector: Detector::Move,
        }
    }

    /// Of a symbol, or of the feed, that has been silent from its last tick to `until_us`.
    pub(super) fn gap(silence: &Silence, until_us: i64) -> Self {
        let (observed, expected) = (until_us.saturating_sub(silence.last_us()) as f64 / 1e6, silence.usual());
        let score = observed / expected;
        Self {
            // How unlikely it is, is in how long it took to be one.
            severity: Severity::Warning,
            direction: Direction::Down,
            observed,
            expected,
            scale: expected,
            score,
            threshold: score,
            detector: Detector::Gap,
        }
    }
}
