//! One symbol's last minute, and what is unusual about it: volume, volatility, moves, silence, prices beyond a band.
//!
//! This file owns when each is looked at. It does *not* own the formulas, or which anomalies are one event.

use super::anomaly::{Anomaly, Detector, Window};
use super::config::{DetectConfig, GapConfig, LimitBandConfig, MoveConfig, VolatilityConfig, VolumeConfig};
use super::limit_band::{self, Blocks, LimitBand};
use super::movement::{self, Movement};
use super::panes::{MINUTE, PANE_US, Panes, Step};
use super::silence::{self, Ended, Silence};
use super::time_of_day::{HalfHour, TimeOfDay};
use super::volatility::{self, Volatility};
use super::volume::{self, Volume};
use crate::alert::{Direction, Severity};

/// The detectors as configured, the same for many symbols.
#[derive(Debug)]
pub(super) struct ActivityRules {
    volume: Option<VolumeConfig>,
    volatility: Option<VolatilityConfig>,
    movement: Option<MoveConfig>,
    gap: Option<GapConfig>,
    limit_band: Option<LimitBandConfig>,
}

impl ActivityRules {
    pub(super) fn new(config: &DetectConfig) -> Self {
        Self {
            volume: config.volume.enabled.then(|| config.volume.clone()),
            volatility: config.volatility.enabled.then(|| config.volatility.clone()),
            movement: config.r#move.enabled.then(|| config.r#move.clone()),
            gap: config.gap.enabled.then(|| config.gap.clone()),
            limit_band: config.limit_band.enabled.then(|| config.limit_band.clone()),
        }
    }

    /// From when on a symbol, or the feed, is silent for too long. `ends` is that of [`Silence::too_long_us`].
    pub(super) fn too_long_us(&self, silence: &Silence, ends: impl FnOnce() -> f64) -> Option<i64> {
        self.gap.as_ref().and_then(|gap| silence.too_long_us(gap.probability, gap.least, ends))
    }

    fn has_panes(&self) -> bool {
        self.volume.is_some() || self.volatility.is_some() || self.movement.is_some() || self.limit_band.is_some()
    }
}

/// What is known of one symbol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activity {
    panes: Panes,
    volume: Volume,
    volatility: Volatility,
    movement: Movement,
    limit_band: LimitBand,
    pub(super) silence: Silence,
    /// When the timer for the next look at its silence runs out, or [`NEVER_US`]; microseconds since the Unix epoch.
    pub(super) due_us: i64,
    half_hour: HalfHour,
}

/// What is known of one symbol and hardly any tick touches.
#[derive(Debug, Default)]
pub(super) struct Background {
    pub(super) day: TimeOfDay,
    blocks: Blocks,
}

/// No timer is set.
pub(super) const NEVER_US: i64 = i64::MIN;

/// Microseconds over which the usual fades: of volumes, of volatility, and of silence.
const FADES_US: f64 = volume::FADES * PANE_US as f64;
const VOLATILITY_FADES_US: f64 = volatility::FADES * PANE_US as f64;
pub(super) const SILENCE_FADES_US: f64 = silence::FADES * 1e6;

impl Activity {
    /// The activity of a symbol whose first tick is at `ts_us`.
    pub(super) fn new(ts_us: i64) -> Self {
        let (volume, volatility, movement, limit_band) = Default::default();
        let (panes, silence) = (Panes::new(), Silence::new(ts_us));
        Self {
            panes,
            volume,
            volatility,
            movement,
            limit_band,
            silence,
            due_us: NEVER_US,
            half_hour: HalfHour::default(),
        }
    }

    /// Takes a tick. Adds anomalies to `found`, with their times. Returns the silence that ended, if one did, and
    /// whether the tick is too late for all panes.
    pub(super) fn observe(
        &mut self,
        rules: &ActivityRules,
        background: &mut Background,
        (ts_us, price, volume): (i64, f64, f64),
        found: &mut Vec<(Anomaly, i64)>,
    ) -> (Option<Ended>, bool) {
        let mut ended = None;
        if rules.gap.is_some() {
            ended = self.silence.seen(ts_us);
            if let Some(Ended { counts, .. }) = ended.filter(|ended| ended.counts > 0) {
                self.half_hour.silent(u16::try_from(counts).unwrap_or(u16::MAX), ts_us, &mut background.day);
            }
        }
        if !rules.has_panes() {
            return (ended, false);
        }
        loop {
            match self.panes.step(ts_us) {
                Step::Stays => break,
                Step::Began => {
                    (self.volume, self.volatility, self.movement, self.limit_band) = Default::default();
                    background.blocks = Blocks::default();
                    break;
                }
                Step::Closed => {
                    self.closed(rules, background, found);
                    let skipped = self.panes.skip(ts_us);
                    if skipped > 0 {
                        self.skipped(skipped, rules, background);
                    }
                }
            }
        }
        let in_time = ts_us >= self.panes.open_us();
        if !self.panes.add(ts_us, price, volume) {
            return (ended, true);
        }
        if !in_time {
            self.volume.resum(&self.panes);
        }
        if let Some(config) = &rules.volume
            && let Some(burst) =
                self.volume.judge(&self.panes, config.threshold, || background.day.volume_rise(ts_us, FADES_US))
        {
            found.push((Anomaly::burst(Detector::Volume, burst, config.threshold), ts_us.max(self.panes.open_us())));
        }
        if rules.limit_band.is_some()
            && in_time
            && let Some(beyond) = self.limit_band.judge(self.panes.back(0).price)
        {
            found.push((Anomaly::beyond(beyond, self.panes.back(0).price), ts_us));
        }
        (ended, false)
    }

    /// `skipped` panes without a tick were closed at once.
    fn skipped(&mut self, skipped: u32, rules: &ActivityRules, background: &mut Background) {
        let price = self.panes.back(0).price;
        self.volume.skipped(skipped);
        self.volatility.skipped(skipped);
        self.movement.skipped(skipped, price > 0.0);
        if let Some(config) = &rules.limit_band {
            self.limit_band.skipped(skipped, price, &mut background.blocks, config);
        }
    }

    /// A pane was closed.
    fn closed(&mut self, rules: &ActivityRules, background: &mut Background, found: &mut Vec<(Anomaly, i64)>) {
        let Self { panes, volume, volatility, movement, limit_band, half_hour, .. } = self;
        let closed_us = panes.open_us();
        let day = &mut background.day;
        half_hour.closed(panes.back(1), closed_us - PANE_US, day);
        volume.closed(panes);
        if let Some(config) = &rules.volatility
            && let Some(burst) =
                volatility.closed(panes, config.threshold, || day.way_rise(closed_us, VOLATILITY_FADES_US))
        {
            found.push((Anomaly::burst(Detector::Volatility, burst, config.threshold), closed_us));
        }
        if let Some(config) = &rules.movement
            && let Some(moved) = movement.closed(panes, config.least, config.threshold)
        {
            found.push((Anomaly::moved(moved, config.threshold), closed_us));
        }
        if let Some(config) = &rules.limit_band {
            limit_band.closed(panes.back(1).price, &mut background.blocks, config);
        }
    }
}

impl Anomaly {
    fn burst(detector: Detector, found: volume::Found, threshold: f64) -> Self {
        let panes = if detector == Detector::Volume { volume::WINDOW } else { MINUTE };
        Self {
            window: Window::Seconds(panes as i64 * PANE_US / 1_000_000),
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

    fn beyond(found: limit_band::Found, price: f64) -> Self {
        Self {
            severity: Severity::of_score(found.score, 1.0),
            direction: if price > found.edge { Direction::Up } else { Direction::Down },
            observed: price,
            expected: found.edge,
            scale: found.half_width,
            score: found.score,
            threshold: 1.0,
            window: Window::Seconds(300),
            detector: Detector::LimitBand,
        }
    }

    fn moved(found: movement::Found, threshold: f64) -> Self {
        let score = (found.price - found.before).abs() / found.scale;
        Self {
            severity: Severity::of_score(score, threshold),
            direction: if found.price > found.before { Direction::Up } else { Direction::Down },
            observed: found.price,
            expected: found.before,
            scale: found.scale,
            score,
            threshold,
            window: Window::Seconds(60),
            detector: Detector::Move,
        }
    }

    /// The anomaly of a symbol, or of the feed, that has been silent from its last tick to `until_us`.
    pub(super) fn gap(silence: &Silence, until_us: i64) -> Self {
        let (observed, expected) = (until_us.saturating_sub(silence.last_us()) as f64 / 1e6, silence.usual());
        let score = observed / expected;
        Self {
            // All gaps are equally unlikely: a silence becomes one at a fixed probability.
            severity: Severity::Warning,
            direction: Direction::Down,
            observed,
            expected,
            scale: expected,
            score,
            threshold: score,
            window: Window::Seconds(observed as i64),
            detector: Detector::Gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The twin closes every pane, with or without a tick.
        #[test]
        fn panes_that_are_skipped_are_as_many_that_were_closed(
            ticks in vec((0..12_000_000_i64, 9_900_u32..10_100, 1_u32..900), 100..400),
            pause_panes in 1..SESSION_PANES,
        ) {
            let config = DetectConfig { limit_band: LimitBandConfig { enabled: false, ..LimitBandConfig::default() }, ..DetectConfig::default() };
            let rules = ActivityRules::new(&config);
            let (mut skipping, mut background, mut found) = (Activity::new(0), Background::default(), Vec::new());
            let mut ts_us = 0;
            for (step_us, cents, volume) in ticks {
                ts_us += step_us;
                skipping.observe(&rules, &mut background, (ts_us, f64::from(cents) / 100.0, f64::from(volume)), &mut found);
            }
            let mut naive = skipping;
            ts_us += pause_panes * PANE_US;
            skipping.observe(&rules, &mut background, (ts_us, 100.0, 1.0), &mut found);
            while naive.panes.step(ts_us) == Step::Closed {
                naive.closed(&rules, &mut background, &mut found);
            }
            naive.panes.add(ts_us, 100.0, 1.0);
            let near = |a: &super::super::baseline::Baseline, b: &super::super::baseline::Baseline| {
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * (1e-3 + a.abs().max(b.abs()));
                close(a.weight(), b.weight()) && close(a.mean(), b.mean()) && close(a.variance(0.0, 1e-9), b.variance(0.0, 1e-9))
            };
            prop_assert!(near(skipping.volume.usual(), naive.volume.usual()), "{:?} {:?}", skipping.volume, naive.volume);
            for (a, b) in skipping.volatility.usual().iter().zip(naive.volatility.usual()) {
                prop_assert!(near(a, b), "{:?} {:?}", skipping.volatility, naive.volatility);
            }
            prop_assert!(near(skipping.movement.usual(), naive.movement.usual()), "{:?} {:?}", skipping.movement, naive.movement);
            prop_assert_eq!(skipping.panes.open_us(), naive.panes.open_us());
            for back in 0..=MINUTE {
                prop_assert_eq!(skipping.panes.back(back), naive.panes.back(back));
            }
        }
    }

    /// Longer pauses end a session.
    const SESSION_PANES: i64 = 180;
}
