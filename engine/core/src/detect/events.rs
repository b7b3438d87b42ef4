//! The events of a symbol: which anomalies form one event, and which alerts report it.
//!
//! An event opens with its first anomaly, and closes when none came for the cool-down. So it lasts as long as its
//! cause. In between, an alert reports when it got twice as bad. This file owns these rules, and the ids. It does *not*
//! own what an anomaly is, or the clock.

use std::sync::Arc;

use super::anomaly::{Anomaly, Detector};
use crate::alert::{Alert, AlertTick, Direction, State};

/// An anomaly of this many times the score is another event, or an update of its event.
const WORSE: f64 = 2.0;

/// The most events that are remembered of one symbol. With one more, the oldest is over: a backlog may bring many while
/// the clock stands still.
const EVENTS_MAX: usize = 64;

/// How many events of one detector and direction are remembered, closed ones included. If ticks of a backlog and of the
/// live feed alternate, each would otherwise make the other's anomalies new.
const REMEMBERED: usize = 2;

/// The events of one symbol that are open, and those whose late anomalies may still come.
#[derive(Debug, Default)]
pub(super) struct Events(Vec<Event>);

#[derive(Debug, Clone)]
struct Event {
    opened_us: i64,
    /// The first and the last event time of its anomalies.
    first_us: i64,
    last_us: i64,
    /// The anomaly with the highest score.
    worst: Anomaly,
    /// The score that the last alert about it reported.
    told: f64,
    alerts: u32,
    suppressed: u64,
    /// When it is over on the clock, unless it goes on. `None` if the clock does not end it. Once it is not open any
    /// more, an alert has reported its end.
    until_us: Option<i64>,
    is_open: bool,
}

/// What an alert says in addition to its event.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) symbol: &'a Arc<str>,
    pub(super) detected_at_us: i64,
    /// The latest event time of the feed.
    pub(super) clock_us: i64,
    /// After how long without an anomaly an event is over.
    pub(super) cool_down_us: i64,
    /// Returns the last ticks. It is called only if there is an alert.
    pub(super) ticks: &'a dyn Fn() -> Vec<AlertTick>,
}

impl Events {
    /// Takes an anomaly at `ts_us`. Adds an alert if it opens an event, or makes one much worse. `false` if it is held
    /// back, because an alert already reported its event.
    pub(super) fn take(&mut self, anomaly: Anomaly, ts_us: i64, scene: &Scene<'_>, alerts: &mut Vec<Alert>) -> bool {
        let Scene { clock_us, cool_down_us, .. } = *scene;
        // A late anomaly may belong to an event that is over. One that lies after that event does not.
        let lasts = |event: &&mut Event| {
            let from_us = event.first_us.saturating_sub(cool_down_us);
            let to_us = event.last_us.saturating_add(if event.is_open { cool_down_us } else { 1 });
            from_us < ts_us && ts_us < to_us
        };
        let is_other = |event: &Event| anomaly.detector.is_of_one_tick() && anomaly.score >= WORSE * event.worst.score;
        let mut same = self.0.iter_mut().filter(|event| event.worst.key() == anomaly.key()).filter(lasts);
        if let Some(event) = same.find(|event| !is_other(event)) {
            if !event.is_open {
                return false;
            }
            event.first_us = event.first_us.min(ts_us);
            event.last_us = event.last_us.max(ts_us);
            event.until_us = event.until_us.map(|_| clock_us.saturating_add(cool_down_us));
            event.suppressed += 1;
            if anomaly.score > event.worst.score {
                event.worst = anomaly;
            }
            let is_worse = anomaly.detector.has_scale() && anomaly.score >= WORSE * event.told;
            if !is_worse {
                return false;
            }
            event.told = anomaly.score;
            event.suppressed -= 1;
            let alert = event.alert(State::Update, &anomaly, ts_us, scene);
            alerts.push(alert);
            return true;
        }
        let mut event = Event::new(anomaly, ts_us, clock_us.saturating_add(cool_down_us));
        // Two events that begin at the same time must have different ids.
        while self.0.iter().any(|other| other.worst.key() == anomaly.key() && other.opened_us == event.opened_us) {
            event.opened_us = event.opened_us.saturating_add(1);
        }
        alerts.push(event.alert(State::Open, &anomaly, ts_us, scene));
        self.remember(event, scene, alerts);
        true
    }

    /// Keeps the latest events of each kind, and those that are open.
    fn remember(&mut self, event: Event, scene: &Scene<'_>, alerts: &mut Vec<Alert>) {
        if self.0.len() >= EVENTS_MAX {
            let mut oldest = self.0.remove(0);
            if oldest.is_open {
                oldest.close(oldest.last_us, scene, alerts);
            }
        }
        let key = event.worst.key();
        let same = |other: &Event| other.worst.key() == key;
        if self.0.iter().filter(|other| same(other)).count() >= REMEMBERED
            && let Some(at) = self.0.iter().position(|other| same(other) && !other.is_open)
        {
            self.0.remove(at);
        }
        self.0.push(event);
    }

    /// Closes the events that are over by the clock, and adds their alerts.
    pub(super) fn close_due(&mut self, scene: &Scene<'_>, alerts: &mut Vec<Alert>) {
        for event in self.0.iter_mut().filter(|event| event.is_open) {
            if event.until_us.is_some_and(|until_us| until_us <= scene.clock_us) {
                event.close(event.last_us, scene, alerts);
            }
        }
        // Late anomalies of a closed event may still come, but not of one that lies far back on the clock.
        let forgotten_us = scene.clock_us.saturating_sub(scene.cool_down_us.saturating_mul(2));
        self.0.retain(|event| event.is_open || event.until_us.is_none_or(|until_us| until_us >= forgotten_us));
    }

    /// Closes all events, and adds their alerts: the symbol is forgotten.
    pub(super) fn close_all(&mut self, scene: &Scene<'_>, alerts: &mut Vec<Alert>) {
        for mut event in self.0.drain(..).filter(|event| event.is_open) {
            event.close(event.last_us, scene, alerts);
        }
    }

    /// When the next event is over by the clock.
    pub(super) fn next_us(&self) -> Option<i64> {
        self.0.iter().filter(|event| event.is_open).filter_map(|event| event.until_us).min()
    }

    /// The open event of this key that began last.
    fn open(&mut self, key: (Detector, Direction)) -> Option<&mut Event> {
        self.0.iter_mut().rev().find(|event| event.is_open && event.worst.key() == key)
    }

    /// Lets the open event of this key last at `ts_us`, and from then on until `until_us` on the clock. With `None`, it
    /// lasts until it is [ended](Self::end).
    pub(super) fn hold(&mut self, key: (Detector, Direction), until_us: Option<i64>, ts_us: i64) {
        if let Some(event) = self.open(key) {
            event.last_us = event.last_us.max(ts_us);
            event.until_us = until_us;
        }
    }

    /// The worst anomaly of the open event of this key, if there is one.
    pub(super) fn worst(&mut self, key: (Detector, Direction)) -> Option<&Anomaly> {
        self.open(key).map(|event| &event.worst)
    }

    /// Ends the open event of this key at `ts_us`, and lets `found` update its worst anomaly. `false` if there is none.
    pub(super) fn end(
        &mut self,
        key: (Detector, Direction),
        found: impl FnOnce(&mut Anomaly),
        ts_us: i64,
        scene: &Scene<'_>,
        alerts: &mut Vec<Alert>,
    ) -> bool {
        let Some(event) = self.open(key) else { return false };
        found(&mut event.worst);
        event.last_us = event.last_us.max(ts_us);
        event.until_us = Some(scene.clock_us);
        event.close(ts_us, scene, alerts);
        true
    }
}

impl Event {
    fn new(anomaly: Anomaly, ts_us: i64, until_us: i64) -> Self {
        Self {
            opened_us: ts_us,
            first_us: ts_us,
            last_us: ts_us,
            worst: anomaly,
            told: anomaly.score,
            alerts: 0,
            suppressed: 0,
            until_us: Some(until_us),
            is_open: true,
        }
    }

    fn close(&mut self, ts_us: i64, scene: &Scene<'_>, alerts: &mut Vec<Alert>) {
        self.is_open = false;
        let worst = self.worst;
        alerts.push(self.alert(State::Close, &worst, ts_us, scene));
    }

    fn alert(&mut self, state: State, anomaly: &Anomaly, ts_us: i64, scene: &Scene<'_>) -> Alert {
        let event = Alert::id_of(&anomaly.detector.name(anomaly.direction), scene.symbol, self.opened_us);
        let number = self.alerts;
        self.alerts += 1;
        Alert {
            id: Alert::id_of_state(&event, state, number),
            event,
            kind: anomaly.detector.kind(),
            state,
            severity: anomaly.severity,
            symbol: scene.symbol.clone(),
            direction: anomaly.direction,
            ts_us,
            detected_at_us: scene.detected_at_us,
            observed: anomaly.observed,
            expected: anomaly.expected,
            scale: anomaly.scale,
            // The largest price over the smallest scale would be infinite, which JSON cannot express.
            score: anomaly.score.min(f64::MAX),
            threshold: anomaly.threshold,
            window: anomaly.window.text(),
            suppressed: self.suppressed,
            ticks: (scene.ticks)(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::anomaly::Window;
    use super::*;
    use crate::alert::Severity;

    const COOL_DOWN_US: i64 = 30;

    fn anomaly(score: f64) -> Anomaly {
        Anomaly {
            severity: Severity::Info,
            direction: Direction::Up,
            observed: score,
            expected: 0.0,
            scale: 1.0,
            score,
            threshold: 1.0,
            window: Window::Seconds(60),
            detector: Detector::Volatility,
        }
    }

    fn scene(symbol: &Arc<str>, clock_us: i64) -> Scene<'_> {
        Scene { symbol, detected_at_us: clock_us, clock_us, cool_down_us: COOL_DOWN_US, ticks: &Vec::new }
    }

    const KEY: (Detector, Direction) = (Detector::Volatility, Direction::Up);

    #[test]
    fn event_that_is_over_takes_what_comes_late_and_nothing_else() {
        let (mut events, mut alerts, symbol) = (Events::default(), Vec::new(), "A".into());
        let mut said = |events: &mut Events, ts_us, clock_us| {
            alerts.clear();
            events.close_due(&scene(&symbol, clock_us), &mut alerts);
            events.take(anomaly(2.0), ts_us, &scene(&symbol, clock_us), &mut alerts);
            alerts.iter().map(|alert| (alert.state, alert.ts_us)).collect::<Vec<_>>()
        };
        assert_eq!(said(&mut events, 10, 10), [(State::Open, 10)]);
        assert_eq!(said(&mut events, 20, 20), []);
        assert_eq!(said(&mut events, 19, 50), [(State::Close, 20)], "and what is late is part of it");
        assert_eq!(said(&mut events, 21, 50), [(State::Open, 21)]);
        let mut ended = Vec::new();
        assert!(events.end(KEY, |_| (), 30, &scene(&symbol, 60), &mut ended));
        assert_eq!(said(&mut events, 40, 60), [(State::Open, 40)], "right behind an end");
    }

    #[test]
    fn events_of_the_same_time_have_their_own_ids_and_of_many_the_oldest_is_over() {
        let (mut events, mut alerts, symbol) = (Events::default(), Vec::new(), "A".into());
        let spike = |score| Anomaly { detector: Detector::Spike, ..anomaly(score) };
        for score in [1.0, 2.0, 4.0, 8.0] {
            events.take(spike(score), 10, &scene(&symbol, 10), &mut alerts);
        }
        let ids: std::collections::BTreeSet<_> = alerts.iter().map(|alert| alert.id.clone()).collect();
        assert_eq!(ids.len(), 4, "{ids:?}");
        for at in 0..200 {
            events.take(spike(1.0), at * 100, &scene(&symbol, 10), &mut alerts);
        }
        let count = |state| alerts.iter().filter(|alert| alert.state == state).count();
        assert_eq!((events.0.len(), count(State::Open) - count(State::Close)), (EVENTS_MAX, EVENTS_MAX));
    }

    proptest! {
        /// The twin cuts the anomalies where none came for the cool-down, and sums each part up by itself.
        #[test]
        fn events_are_the_anomalies_between_pauses(anomalies in vec((0_i64..45, 1.0..9.0_f64), 1..60)) {
            let (mut events, mut alerts, symbol) = (Events::default(), Vec::new(), "A".into());
            let scene = |clock_us| scene(&symbol, clock_us);
            let (mut ts_us, mut parts) = (0, Vec::<Vec<(i64, f64)>>::new());
            for (step_us, score) in anomalies {
                ts_us += step_us;
                events.close_due(&scene(ts_us), &mut alerts);
                events.take(anomaly(score), ts_us, &scene(ts_us), &mut alerts);
                match parts.last_mut().filter(|part| part.last().is_some_and(|last| ts_us - last.0 < COOL_DOWN_US)) {
                    Some(part) => part.push((ts_us, score)),
                    None => parts.push(vec![(ts_us, score)]),
                }
            }
            events.close_due(&scene(i64::MAX), &mut alerts);
            prop_assert_eq!(events.next_us(), None);
            let mut naive = Vec::new();
            for part in parts {
                let (mut told, mut updates) = (part[0].1, 0);
                naive.push((State::Open, part[0].0, part[0].1, 0));
                for (at, &(ts_us, score)) in part.iter().enumerate().skip(1) {
                    if score >= WORSE * told {
                        (told, updates) = (score, updates + 1);
                        naive.push((State::Update, ts_us, score, at as u64 - updates));
                    }
                }
                let worst = part.iter().map(|(_, score)| *score).fold(0.0, f64::max);
                naive.push((State::Close, part[part.len() - 1].0, worst, part.len() as u64 - 1 - updates));
            }
            let said: Vec<_> = alerts.iter().map(|alert| (alert.state, alert.ts_us, alert.score, alert.suppressed)).collect();
            prop_assert_eq!(said, naive);
            let ids: std::collections::BTreeSet<_> = alerts.iter().map(|alert| &alert.id).collect();
            prop_assert_eq!(ids.len(), alerts.len());
        }
    }
}
