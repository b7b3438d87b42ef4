//! What becomes of a far price: a spike or a level shift. The prices that follow it decide.
//!
//! This file owns the alerts about it, and what the window learns from it. It does *not* own how the prices decide
//! ([`Suspect`]).

use std::sync::Arc;

use super::anomaly::{Anomaly, Detector, Window};
use super::events::{Events, Scene};
use super::median::{MedianWindows, Ring};
use super::observation::{Now, Observation};
use super::recent::Recent;
use super::rules::{Rules, micros};
use super::suspect::{Next, Suspect, Verdict};
use crate::alert::{Alert, AlertTick, Severity};

/// The last ticks, and the current one if there is one. `price` is that of [`Recent::ticks`].
pub(super) fn shown(
    recent: &Recent,
    tick: Option<Observation>,
    now_us: i64,
    price: impl Fn(usize) -> Option<f64>,
) -> Vec<AlertTick> {
    let Some(Observation { ts_us, price: at_hand, volume, .. }) = tick else { return recent.ticks(now_us, price) };
    // Its price is already in the window, but its time and volume are not in `recent` yet.
    let mut ticks = recent.ticks(ts_us, |back| price(back + 1));
    ticks.push(AlertTick { ts_us: ts_us.div_euclid(1_000) * 1_000, price: at_hand, volume });
    ticks
}

/// What is needed to follow a far price.
pub(super) struct SuspectDesk<'a> {
    pub(super) rules: &'a Rules,
    pub(super) windows: &'a mut MedianWindows,
    pub(super) slot: usize,
    pub(super) ring: &'a mut Ring,
    pub(super) recent: &'a Recent,
    pub(super) tick: Option<Observation>,
    pub(super) now: Now,
    pub(super) symbol: &'a Arc<str>,
    pub(super) events: &'a mut Events,
    pub(super) alerts: &'a mut Vec<Alert>,
    pub(super) held_back: u64,
}

impl SuspectDesk<'_> {
    /// Takes the next price of the symbol, which may be `far`.
    pub(super) fn next(&mut self, (ts_us, price): (i64, f64), far: Option<Anomaly>, suspect: &mut Option<Suspect>) {
        let before = suspect.take();
        let mut far = far;
        if let Some(mut before) = before {
            match before.next(price, far.is_some()) {
                Next::Open => {
                    *suspect = Some(before);
                    self.held_back += u64::from(far.take().is_some());
                }
                Next::Decided(verdict) => {
                    self.conclude(before, verdict);
                    self.held_back += u64::from(far.take().is_some());
                }
                // Too few prices stayed for a level.
                Next::Another => self.conclude(before, Verdict::Spike),
            }
        }
        if let Some(anomaly) = far {
            *suspect = self.begin(anomaly, ts_us);
        }
    }

    /// Takes a far price that no earlier one explains. Without the level shift detector, it is a spike at once.
    fn begin(&mut self, anomaly: Anomaly, ts_us: i64) -> Option<Suspect> {
        let Some(config) = &self.rules.level_shift else {
            self.take(anomaly, ts_us);
            return None;
        };
        let wait_us = i64::try_from(micros(config.wait)).unwrap_or(i64::MAX);
        Some(Suspect::new(anomaly, ts_us, self.now.clock_us.saturating_add(wait_us)))
    }

    /// Reports `suspect` as what `verdict` says.
    pub(super) fn conclude(&mut self, suspect: Suspect, verdict: Verdict) {
        let Suspect { anomaly, ts_us, .. } = suspect;
        let (Verdict::LevelShift, Some(config)) = (verdict, &self.rules.level_shift) else {
            self.take(anomaly, ts_us);
            return;
        };
        let count = suspect.ticks();
        let level = self.windows.get(self.slot, self.ring).adopt(count, anomaly.expected);
        let distance = (level - anomaly.expected).abs();
        let score = distance / anomaly.scale;
        let shift = Anomaly {
            observed: level,
            score,
            severity: Severity::of_score(score, anomaly.threshold),
            window: Window::Ticks(count),
            detector: Detector::LevelShift,
            ..anomaly
        };
        // A return to the level before an opposite shift is the end of that shift.
        let other = (Detector::LevelShift, shift.direction.opposite());
        let is_back =
            |before: &Anomaly| (level - before.expected).abs() < 0.5 * (before.observed - before.expected).abs();
        if self.events.worst(other).is_some_and(is_back) {
            self.with_scene(|events, scene, alerts| events.end(other, |_| (), ts_us, scene, alerts));
        } else if distance < config.least * anomaly.expected {
            self.held_back += 1;
        } else {
            self.take(shift, ts_us);
            let returns_us = i64::try_from(micros(config.returns)).unwrap_or(i64::MAX);
            self.events.hold(shift.key(), Some(self.now.clock_us.saturating_add(returns_us)), ts_us);
        }
    }

    fn take(&mut self, anomaly: Anomaly, ts_us: i64) {
        let is_said = self.with_scene(|events, scene, alerts| events.take(anomaly, ts_us, scene, alerts));
        self.held_back += u64::from(!is_said);
    }

    fn with_scene(&mut self, what: impl FnOnce(&mut Events, &Scene<'_>, &mut Vec<Alert>) -> bool) -> bool {
        let Self { rules, windows, slot, ring, recent, tick, now, symbol, events, alerts, .. } = self;
        let ticks = || shown(recent, *tick, now.clock_us, |back| windows.latest(*slot, **ring, back));
        what(events, &rules.scene(symbol, *now, &ticks), alerts)
    }
}
