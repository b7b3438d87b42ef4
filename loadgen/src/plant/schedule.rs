//! Decides where events fall, and which events.
//!
//! Events of a symbol are a random number of trades apart and never close in time. Kinds and directions are dealt like
//! cards, so that each comes as often as the others. This file does *not* own what an event does (`shape`).

use std::time::Duration;

use super::{
    Direction, Event, EventKind, PlantConfig, PriceStep,
    lane::Lane,
    shape::{self, Edits, TRADES_MIN},
};
use crate::random::Random;

const DAY_US: i64 = 86_400_000_000;
/// On each UTC day, a detector sees a symbol for this long before the first event.
const WARM_UP_US: i64 = 15 * 60 * 1_000_000;
/// If no kind fits, the schedule skips fewer trades than this before the next attempt. It bounds the work on thin
/// symbols.
const RETRY_TRADES: u64 = 64;

/// A part of every UTC day. It may go past midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayHours {
    from_us: i64,
    width_us: i64,
}

impl DayHours {
    /// From one time of day to another, both since midnight UTC. `None` if they are equal, if `from` is not below 24 h,
    /// or if `to` is above 24 h.
    #[must_use]
    pub fn new(from: Duration, to: Duration) -> Option<Self> {
        let day = Duration::from_hours(24);
        if from == to || from >= day || to > day {
            return None;
        }
        let (from_us, to_us) = (from.as_micros() as i64, to.as_micros() as i64);
        let width_us = if from_us < to_us { to_us - from_us } else { to_us - from_us + DAY_US };
        Some(Self { from_us, width_us })
    }

    /// Whether all of `[ts_us, ts_us + length_us]` is inside.
    fn hold(self, ts_us: i64, length_us: i64) -> bool {
        (ts_us - self.from_us).rem_euclid(DAY_US) + length_us < self.width_us
    }
}

/// An event with its edits. Its sequence number is not known yet.
pub(super) struct Planted {
    pub(super) event: Event,
    pub(super) edits: Edits,
}

/// Places the events of one symbol.
pub(super) struct Schedule {
    random: Random,
    every: u64,
    quiet_us: i64,
    hours: Option<DayHours>,
    step: PriceStep,
}

impl Schedule {
    pub(super) fn new(config: &PlantConfig, symbol: u64) -> Self {
        Self {
            random: Random::new(config.seed, symbol + 1),
            every: config.every.get(),
            quiet_us: micros(config.quiet),
            hours: config.hours,
            step: config.price_step,
        }
    }

    /// Goes through the trades once and hands every event to `take`.
    pub(super) fn run(mut self, lane: &Lane<'_>, deck: &mut Deck, take: &mut dyn FnMut(Planted)) {
        let mut wait = self.random.below(self.every);
        let mut free_us = i64::MIN;
        let mut day = Day::default();
        for at in 0..lane.len() {
            let ts_us = lane.ts_us(at);
            day = day.at(lane, at);
            if ts_us < day.warm_us || self.hours.is_some_and(|hours| !hours.hold(ts_us, 0)) {
                continue;
            }
            if wait > 0 {
                wait -= 1;
                continue;
            }
            if ts_us < free_us {
                continue;
            }
            let Some((kind, planted)) = deck.deal(|kind, direction| self.attempt(kind, direction, lane, at, day))
            else {
                wait = self.random.below(RETRY_TRADES);
                continue;
            };
            take(planted);
            free_us = (ts_us + micros(kind.spans().traces)).saturating_add(self.quiet_us);
            // Half to one and a half times the mean.
            wait = self.every / 2 + self.random.below(self.every);
        }
    }

    /// The event that begins with trade `at`, if the hours, the trades and the rest of the day have room for it.
    fn attempt(
        &self,
        kind: EventKind,
        direction: Option<Direction>,
        lane: &Lane<'_>,
        at: usize,
        day: Day,
    ) -> Option<Planted> {
        let (spans, start_us) = (kind.spans(), lane.ts_us(at));
        let traces_us = micros(spans.traces);
        let is_dense = spans.dense.is_zero() || lane.find(start_us + micros(spans.dense)) >= at + TRADES_MIN;
        let is_inside = self.hours.is_none_or(|hours| hours.hold(start_us, traces_us));
        if !is_dense || !is_inside || start_us + traces_us >= lane.ts_us(day.last) {
            return None;
        }
        let shape = shape::shape(kind, direction, lane, at, self.step)?;
        let (expected, observed) = shape.shown.unzip();
        let event = Event {
            kind: kind.alert_kind().to_owned(),
            label: kind.label(direction).to_owned(),
            symbol: lane.name().to_owned(),
            start_us,
            end_us: start_us + micros(spans.event),
            direction,
            seq: 0,
            expected,
            observed,
        };
        Some(Planted { event, edits: shape.edits })
    }
}

/// One UTC day of a symbol's data.
#[derive(Debug, Clone, Copy)]
struct Day {
    end_us: i64,
    /// Events may begin from here on.
    warm_us: i64,
    /// The position of the last trade in the lane.
    last: usize,
}

impl Default for Day {
    /// Before all days.
    fn default() -> Self {
        Self { end_us: i64::MIN, warm_us: i64::MIN, last: 0 }
    }
}

impl Day {
    /// The day of trade `at`: this day, or a new day that begins with this trade.
    fn at(self, lane: &Lane<'_>, at: usize) -> Self {
        let first_us = lane.ts_us(at);
        if first_us < self.end_us {
            return self;
        }
        let end_us = first_us - first_us.rem_euclid(DAY_US) + DAY_US;
        Self { end_us, warm_us: first_us + WARM_UP_US, last: lane.find(end_us) - 1 }
    }
}

/// Deals kinds and directions.
pub(super) struct Deck {
    random: Random,
    kinds: Vec<EventKind>,
    /// The kinds that are left in this round.
    left: Vec<EventKind>,
    /// By kind: the next direction, and whether it completes a pair.
    directions: [Option<(Direction, bool)>; EventKind::ALL.len()],
}

impl Deck {
    pub(super) fn new(config: &PlantConfig) -> Self {
        Self {
            random: Random::new(config.seed, 0),
            kinds: config.kinds.clone(),
            left: Vec::new(),
            directions: [None; _],
        }
    }

    /// Deals the first kind of this round for which `attempt` returns something. Others wait for another place.
    fn deal<T>(
        &mut self,
        mut attempt: impl FnMut(EventKind, Option<Direction>) -> Option<T>,
    ) -> Option<(EventKind, T)> {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
            self.shuffle();
        }
        for at in 0..self.left.len() {
            let kind = self.left[at];
            if let Some(made) = attempt(kind, self.direction(kind)) {
                self.left.remove(at);
                self.turn(kind);
                return Some((kind, made));
            }
        }
        None
    }

    /// The shuffle of Fisher and Yates.
    fn shuffle(&mut self) {
        for at in (1..self.left.len()).rev() {
            let with = self.random.below(at as u64 + 1) as usize;
            self.left.swap(at, with);
        }
    }

    /// The direction of the next event of this kind.
    fn direction(&mut self, kind: EventKind) -> Option<Direction> {
        match kind.alert_kind() {
            "volatility" | "gap" => return None,
            "volume" => return Some(Direction::Up),
            _ => {}
        }
        let random = &mut self.random;
        let drawn = || (if random.bits() & 1 == 0 { Direction::Up } else { Direction::Down }, false);
        Some(self.directions[kind as usize].get_or_insert_with(drawn).0)
    }

    /// An event has used its direction. The next event of its kind gets the other one; then there is a new draw.
    fn turn(&mut self, kind: EventKind) {
        let next = &mut self.directions[kind as usize];
        *next = match *next {
            Some((Direction::Up, false)) => Some((Direction::Down, true)),
            Some((Direction::Down, false)) => Some((Direction::Up, true)),
            _ => None,
        };
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
