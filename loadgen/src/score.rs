//! How well alerts match the events that were planted.
//!
//! An alert belongs to an event of its own kind and symbol if its time is within the event or the grace after it. The
//! first alert finds the event. Each further one is a duplicate and false. An alert of another kind inside an event is
//! a side effect, neither true nor false. All other alerts are false. This file owns the matching. It does *not* own
//! how alerts are read (`alerts`) or what is made of the counts (`report`).

mod alerts;
mod report;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

pub use alerts::{Alert, AlertError, read_alerts};
pub use report::{KindScore, LabelScore, Score};

use crate::plant::{Event, Trades};
use report::Counts;

/// The ticks that the alerts were raised on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticks {
    count: u64,
    /// Event times by symbol, ascending, microseconds since the Unix epoch.
    times: BTreeMap<String, Vec<i64>>,
}

impl Ticks {
    /// Only the number of ticks is known, so delays in ticks are not.
    #[must_use]
    pub fn counted(count: u64) -> Self {
        Self { count, times: BTreeMap::new() }
    }

    /// The ticks themselves.
    #[must_use]
    pub fn of(trades: &Trades) -> Self {
        let times = trades.times_by_symbol().into_iter().map(|(symbol, times)| (symbol.to_owned(), times)).collect();
        Self { count: trades.len() as u64, times }
    }

    /// How many ticks of the symbol come after `from_us` and not after `to_us`. `None` if its ticks are not known.
    #[must_use]
    pub fn between(&self, symbol: &str, from_us: i64, to_us: i64) -> Option<u64> {
        let times = self.times.get(symbol)?;
        let until = |ts_us| times.partition_point(|&time| time <= ts_us);
        Some((until(to_us) - until(from_us)) as u64)
    }
}

/// Matches alerts with events, in any order. An alert belongs to an event until `grace` after the end of the event.
#[must_use]
pub fn score(events: &[Event], alerts: &[Alert], ticks: &Ticks, grace: Duration) -> Score {
    let grace_us = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
    let mut symbols: BTreeMap<&str, (Vec<&Event>, Vec<&Alert>)> = BTreeMap::new();
    let mut counts = Counts::default();
    for event in events {
        counts.event(event);
        symbols.entry(&event.symbol).or_default().0.push(event);
    }
    for alert in alerts {
        symbols.entry(&alert.symbol).or_default().1.push(alert);
    }
    for (mut events, mut alerts) in symbols.into_values() {
        events.sort_by_key(|event| event.start_us);
        alerts.sort_by_key(|alert| alert.ts_us);
        sweep(&events, &alerts, grace_us, &mut |alert, verdict| {
            if let Verdict::Found(event) = verdict {
                let delay_ticks = ticks.between(&event.symbol, event.start_us, alert.ts_us);
                counts.found(event, alert.ts_us - event.start_us, delay_ticks);
            } else {
                counts.alert(&alert.kind, verdict);
            }
        });
    }
    counts.score(ticks.count, grace)
}

/// What an alert turned out to be.
#[derive(Debug, Clone, Copy)]
enum Verdict<'a> {
    /// The first alert of its event.
    Found(&'a Event),
    /// A further alert of its event.
    Duplicate,
    /// Inside an event of another kind.
    SideEffect,
    /// Inside no event.
    False,
}

/// The events of one kind that have begun.
#[derive(Default)]
struct Begun {
    /// Events that are not found yet, by the time at which it is too late for an alert.
    open: BinaryHeap<Reverse<(i64, usize)>>,
    /// The latest such time of all events, found or not. Until then, an alert is inside an event.
    last_us: Option<i64>,
}

/// Goes through the events and the alerts of one symbol together, both ascending by time. If events of a kind overlap,
/// an alert finds the one that ends first. That leaves the most events for the following alerts.
fn sweep<'a>(
    events: &[&'a Event],
    alerts: &[&'a Alert],
    grace_us: i64,
    report: &mut dyn FnMut(&'a Alert, Verdict<'a>),
) {
    let mut kinds: BTreeMap<&str, Begun> = BTreeMap::new();
    let mut last_us = None;
    let mut next = 0;
    for alert in alerts {
        while let Some(event) = events.get(next).filter(|event| event.start_us <= alert.ts_us) {
            let late_us = event.end_us.saturating_add(grace_us);
            let begun = kinds.entry(&event.kind).or_default();
            begun.open.push(Reverse((late_us, next)));
            begun.last_us = begun.last_us.max(Some(late_us));
            last_us = last_us.max(Some(late_us));
            next += 1;
        }
        let is_inside = |last_us: Option<i64>| last_us.is_some_and(|last_us| alert.ts_us <= last_us);
        let begun = kinds.get_mut(alert.kind.as_str());
        let is_own = begun.as_ref().is_some_and(|begun| is_inside(begun.last_us));
        let verdict = match begun.and_then(|begun| begun.first_open(alert.ts_us)) {
            Some(event) => Verdict::Found(events[event]),
            None if is_own => Verdict::Duplicate,
            None if is_inside(last_us) => Verdict::SideEffect,
            None => Verdict::False,
        };
        report(alert, verdict);
    }
}

impl Begun {
    /// Takes the event that ends first among those that are neither found nor over.
    fn first_open(&mut self, ts_us: i64) -> Option<usize> {
        while let Some(Reverse((late_us, event))) = self.open.pop() {
            if ts_us <= late_us {
                return Some(event);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
