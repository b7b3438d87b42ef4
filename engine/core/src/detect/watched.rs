//! One watched symbol: the state of every detector for it.
//!
//! This file owns the order in which the detectors see a tick, and which rules hold for the symbol. It does *not* own
//! which symbols are watched, or which anomalies are one event.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::activity::{Activity, Background, NEVER_US, SILENCE_FADES_US};
use super::anomaly::{Anomaly, Detector};
use super::config::DetectConfig;
use super::events::Events;
use super::line::{Line, News};
use super::median::MedianWindows;
use super::observation::{Now, Observation};
use super::recent::Recent;
use super::rules::Rules;
use super::silence::Ended;
use super::spike::{Band, SpikeState};
use super::suspect::Suspect;
use super::suspicion::{SuspectDesk, shown};
use crate::alert::{Alert, Direction};

/// All rules, and the windows of all symbols.
#[derive(Debug)]
pub(super) struct Watchers {
    config: DetectConfig,
    /// One for each set of overrides that a symbol has. The first is for no overrides.
    rules: Vec<Rules>,
    by_overrides: FxHashMap<Vec<usize>, u16>,
    windows: MedianWindows,
    /// The anomalies of one tick, with their times. The buffer is kept between ticks.
    found: Vec<(Anomaly, i64)>,
    /// Ticks that were too late for the panes of their symbol.
    pub(super) late: u64,
}

/// What the detectors know of one symbol. Every tick touches these fields, and hardly any tick touches the box.
#[derive(Debug)]
pub(super) struct Watched {
    spike: SpikeState,
    rules: u16,
    has_lines: bool,
    is_suspicious: bool,
    pub(super) activity: Activity,
    recent: Recent,
    seldom: Box<Seldom>,
}

#[derive(Debug)]
struct Seldom {
    symbol: Arc<str>,
    events: Events,
    suspect: Option<Suspect>,
    lines: Box<[Line]>,
    background: Background,
    /// When the timer for the next look at suspect and events runs out, or [`NEVER_US`].
    look_us: i64,
}

impl Watchers {
    pub(super) fn new(config: &DetectConfig) -> Self {
        Self {
            windows: MedianWindows::new(config.spike.window),
            rules: vec![Rules::new(config)],
            by_overrides: FxHashMap::from_iter([(Vec::new(), 0)]),
            config: config.clone(),
            found: Vec::new(),
            late: 0,
        }
    }

    /// The rules for symbols without overrides, and for the feed.
    pub(super) fn usual(&self) -> &Rules {
        &self.rules[0]
    }

    /// The bytes that a tick without an anomaly reads and writes of its symbol, besides the symbol's [`Watched`].
    pub(super) fn window_bytes(&self) -> usize {
        self.windows.window_bytes()
    }

    /// The state of a new symbol, which has `slot` from now on.
    pub(super) fn watch(&mut self, slot: usize, symbol: Arc<str>, ts_us: i64) -> Watched {
        let rules = self.rules_of(&symbol);
        let tick_size = self.rules[usize::from(rules)].tick_size;
        let lines: Box<[_]> = Line::of(&self.config.threshold, &symbol, tick_size).into();
        self.windows.clear(slot);
        Watched {
            spike: SpikeState::default(),
            rules,
            has_lines: !lines.is_empty(),
            is_suspicious: false,
            activity: Activity::new(ts_us),
            recent: Recent::default(),
            seldom: Box::new(Seldom {
                symbol,
                events: Events::default(),
                suspect: None,
                lines,
                background: Background::default(),
                look_us: NEVER_US,
            }),
        }
    }

    fn rules_of(&mut self, symbol: &str) -> u16 {
        let overrides: Vec<usize> = self.config.overrides_of(symbol).collect();
        if let Some(&rules) = self.by_overrides.get(&overrides) {
            return rules;
        }
        // Neither fails: overrides that are valid one by one are valid together, and no feed has symbols with so many
        // sets of overrides.
        let (Ok(config), Ok(rules)) = (self.config.with_overrides(&overrides), u16::try_from(self.rules.len())) else {
            return 0;
        };
        self.rules.push(Rules::new(&config));
        self.by_overrides.insert(overrides, rules);
        rules
    }

    /// Shows a tick of the symbol in `slot` to its detectors. Returns how many anomalies were held back.
    pub(super) fn observe(
        &mut self,
        slot: usize,
        watched: &mut Watched,
        tick: Observation,
        alerts: &mut Vec<Alert>,
    ) -> u64 {
        let rules = &self.rules[usize::from(watched.rules)];
        let Observation { ts_us, price, volume, now } = tick;
        let mut far = None;
        if let Some(spike) = &rules.spike {
            far = spike.observe(&mut self.windows, slot, &mut watched.spike, (ts_us, price));
        }
        let mut held_back = 0;
        if far.is_some() || watched.is_suspicious {
            held_back = self.follow(slot, watched, tick, far, alerts);
        }
        let rules = &self.rules[usize::from(watched.rules)];
        self.found.clear();
        if let Some(anomaly) = rules.wrong_clock(ts_us, now) {
            // Its event time is wrong, so it counts at the clock's time.
            self.found.push((anomaly, now.clock_us));
        }
        // A tick from the future counts as one of now: it does not show what happens until its event time.
        let seen_us = ts_us.min(now.decoded_at_us.unwrap_or(i64::MAX));
        let tick_seen = (seen_us, price, volume);
        let background = &mut watched.seldom.background;
        let (ended, is_late) = watched.activity.observe(&rules.activity, background, tick_seen, &mut self.found);
        if watched.has_lines || ended.is_some() || !self.found.is_empty() {
            held_back += self.report(slot, watched, tick, ended, alerts);
        }
        watched.recent.push(ts_us, volume);
        self.late += u64::from(is_late);
        held_back
    }

    /// Follows a far price: this one, or an earlier one that is not decided yet.
    #[cold]
    fn follow(
        &mut self,
        slot: usize,
        watched: &mut Watched,
        tick: Observation,
        far: Option<Anomaly>,
        alerts: &mut Vec<Alert>,
    ) -> u64 {
        let rules = &self.rules[usize::from(watched.rules)];
        let Watched { spike, recent, seldom, is_suspicious, .. } = watched;
        let Seldom { symbol, events, suspect, .. } = &mut **seldom;
        let (windows, ring, now) = (&mut self.windows, &mut spike.ring, tick.now);
        let mut desk = SuspectDesk {
            rules,
            windows,
            slot,
            ring,
            recent,
            tick: Some(tick),
            now,
            symbol,
            events,
            alerts,
            held_back: 0,
        };
        desk.next((tick.ts_us, tick.price), far, suspect);
        *is_suspicious = suspect.is_some();
        desk.held_back
    }

    /// Reports what was found in a tick, except for a far price.
    fn report(
        &mut self,
        slot: usize,
        watched: &mut Watched,
        tick: Observation,
        ended: Option<Ended>,
        alerts: &mut Vec<Alert>,
    ) -> u64 {
        let rules = &self.rules[usize::from(watched.rules)];
        let Observation { ts_us, price, now, .. } = tick;
        let Watched { spike, recent, seldom, .. } = watched;
        let Seldom { symbol, events, lines, .. } = &mut **seldom;
        let (windows, ring) = (&self.windows, spike.ring);
        let ticks = || shown(recent, Some(tick), now.clock_us, |back| windows.latest(slot, ring, back));
        let scene = rules.scene(symbol, now, &ticks);
        let mut held_back = 0;
        for line in lines {
            match line.observe(price) {
                Some(News::Crossed(anomaly)) => {
                    held_back += u64::from(!events.take(anomaly, ts_us, &scene, alerts));
                    events.hold(line.key(), None, ts_us);
                }
                Some(News::Back) => {
                    let until_us = now.clock_us.saturating_add(rules.cool_down_us);
                    events.hold(line.key(), Some(until_us), ts_us);
                }
                None => {}
            }
        }
        for (anomaly, ts_us) in self.found.drain(..) {
            held_back += u64::from(!events.take(anomaly, ts_us, &scene, alerts));
        }
        if let Some(Ended { seconds, was_gap: true, .. }) = ended {
            let found = |gap: &mut Anomaly| gap.observed = seconds as f64;
            events.end((Detector::Gap, Direction::Down), found, ts_us, &scene, alerts);
        }
        held_back
    }

    /// How prices of the symbol in `slot` are judged now, if that is known.
    pub(super) fn band(&mut self, slot: usize, watched: &mut Watched) -> Option<Band> {
        let spike = self.rules[usize::from(watched.rules)].spike.as_ref()?;
        let state = watched.spike;
        spike.band(&self.windows.get(slot, &mut watched.spike.ring), &state)
    }

    /// Decides what time alone decides. Returns how many anomalies were held back.
    pub(super) fn look(&mut self, slot: usize, watched: &mut Watched, now: Now, alerts: &mut Vec<Alert>) -> u64 {
        watched.seldom.look_us = NEVER_US;
        let is_due = watched.seldom.suspect.is_some_and(|suspect| suspect.until_us <= now.clock_us);
        let held_back = if is_due { self.decide(slot, watched, now, alerts) } else { 0 };
        let rules = &self.rules[usize::from(watched.rules)];
        let Watched { spike, recent, seldom, .. } = watched;
        let Seldom { symbol, events, .. } = &mut **seldom;
        let (windows, ring) = (&self.windows, spike.ring);
        let ticks = || recent.ticks(now.clock_us, |back| windows.latest(slot, ring, back));
        events.close_due(&rules.scene(symbol, now, &ticks), alerts);
        held_back
    }

    /// Decides what the symbol's far price was, without waiting for more. Returns how many anomalies were held back.
    pub(super) fn decide(&mut self, slot: usize, watched: &mut Watched, now: Now, alerts: &mut Vec<Alert>) -> u64 {
        let rules = &self.rules[usize::from(watched.rules)];
        let Watched { spike, recent, seldom, is_suspicious, .. } = watched;
        let Seldom { symbol, events, suspect, .. } = &mut **seldom;
        *is_suspicious = false;
        let Some(suspect) = suspect.take() else { return 0 };
        let (windows, ring, tick) = (&mut self.windows, &mut spike.ring, None);
        let mut desk =
            SuspectDesk { rules, windows, slot, ring, recent, tick, now, symbol, events, alerts, held_back: 0 };
        desk.conclude(suspect, suspect.verdict());
        desk.held_back
    }

    /// The symbol is not watched any more: all its events are over.
    pub(super) fn forget(&self, watched: &mut Watched, now: Now, alerts: &mut Vec<Alert>) {
        let Seldom { symbol, events, .. } = &mut *watched.seldom;
        events.close_all(&self.rules[usize::from(watched.rules)].scene(symbol, now, &Vec::new), alerts);
    }

    /// When a new timer for the symbol has to run out. `None` if no look is due, or an earlier timer is set.
    pub(super) fn next_look_us(watched: &mut Watched) -> Option<i64> {
        let Seldom { events, suspect, look_us, .. } = &mut *watched.seldom;
        let suspect_us = suspect.as_ref().map(|suspect| suspect.until_us);
        let due_us = [events.next_us(), suspect_us].into_iter().flatten().min()?;
        if *look_us != NEVER_US && *look_us <= due_us {
            return None;
        }
        *look_us = due_us;
        Some(due_us)
    }

    /// From when on the symbol is silent for too long, by what is usual at `now_us`.
    pub(super) fn too_long_us(&self, watched: &Watched, now_us: i64) -> Option<i64> {
        let ends = || watched.seldom.background.day.silence_ends(now_us, SILENCE_FADES_US);
        self.rules[usize::from(watched.rules)].activity.too_long_us(&watched.activity.silence, ends)
    }

    /// Reports that the symbol has been silent until `until_us`, which is too long.
    pub(super) fn gap(&self, slot: usize, watched: &mut Watched, until_us: i64, now: Now, alerts: &mut Vec<Alert>) {
        let anomaly = Anomaly::gap(&watched.activity.silence, until_us);
        let Watched { spike, recent, seldom, .. } = watched;
        let (windows, ring) = (&self.windows, spike.ring);
        let ticks = || recent.ticks(now.clock_us, |back| windows.latest(slot, ring, back));
        let Seldom { symbol, events, .. } = &mut **seldom;
        events.take(anomaly, until_us, &self.rules[usize::from(watched.rules)].scene(symbol, now, &ticks), alerts);
        events.hold(anomaly.key(), None, until_us);
    }
}

impl Watched {
    /// Whether a timer that runs out at `due_us` is the one that counts.
    pub(super) fn is_due(&self, due_us: i64) -> bool {
        self.seldom.look_us == due_us
    }

    /// Whether a far price waits to be decided.
    pub(super) fn is_suspicious(&self) -> bool {
        self.is_suspicious
    }

    /// Whether its tick may have changed the time of the next look, even without an alert.
    pub(super) fn is_timed(&self) -> bool {
        self.is_suspicious || self.has_lines
    }
}
