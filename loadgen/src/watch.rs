//! What becomes of the ticks that were sent: when they can be read in the lake, and when an alert about them arrives.
//!
//! Both are told from when the batch of a tick was due, so that a queue or a consumer that stalls shows. One tick of each message stands
//! for all of it, for a consumer stores a message as a whole. This file owns what is expected and its latencies; it does *not* look into the
//! lake (`lake`) or listen for alerts (`alerts`).

pub mod alerts;
pub mod lake;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::{batch::Batch, manifest::no_latencies, tick::SymbolHash};

/// Messages that are expected in the lake at a time; of more it is not known when they arrive. About 50 bytes each.
pub const EXPECTED_MAX: usize = 2_000_000;

/// Symbols within messages that alerts are looked up in; what was sent before is forgotten. About 40 bytes each.
pub const REMEMBERED_MAX: usize = 1_000_000;

/// What is expected of a consumer.
#[derive(Debug)]
pub struct Watch {
    lake: Option<Mutex<Stored>>,
    alerts: Option<Mutex<Alerted>>,
}

/// What has been seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Ticks in the lake, or alerts.
    pub count: u64,
    /// From when the batch of each was due, microseconds.
    pub latency_us: Histogram<u64>,
    /// The same, of those since somebody last asked.
    recent_us: Histogram<u64>,
}

impl Seen {
    pub(crate) fn nothing() -> Self {
        Self { count: 0, latency_us: no_latencies(), recent_us: no_latencies() }
    }

    fn add(&mut self, due: Instant, at: Instant, count: u64) {
        let latency_us = at.saturating_duration_since(due).as_micros() as u64;
        for histogram in [&mut self.latency_us, &mut self.recent_us] {
            histogram.saturating_record_n(latency_us, count);
        }
    }

    fn take_recent_us(&mut self) -> Histogram<u64> {
        std::mem::replace(&mut self.recent_us, no_latencies())
    }
}

/// Messages on their way into the lake.
#[derive(Debug)]
struct Stored {
    /// By symbol and sequence number of a tick of theirs: when it was due, and how many ticks it stands for.
    expected: HashMap<(SymbolHash, i64), (Instant, u64)>,
    seen: Seen,
    /// Ticks of messages that were more than could be expected.
    unwatched: u64,
}

/// What alerts can be about.
#[derive(Debug)]
struct Alerted {
    /// By symbol, for each message with ticks of it.
    sent: HashMap<SymbolHash, VecDeque<Span>>,
    /// Their symbols, in the order in which they were sent.
    order: VecDeque<SymbolHash>,
    seen: Seen,
    /// Alerts about nothing that is remembered.
    unmatched: u64,
}

/// Ticks of a symbol in a message.
#[derive(Debug)]
struct Span {
    /// The least and the greatest of their event times.
    ts_us: (i64, i64),
    due: Instant,
}

impl Watch {
    /// Expects what is sent in the lake, or alerts about it, or both.
    #[must_use]
    pub fn new(lake: bool, alerts: bool) -> Self {
        let stored = Stored { expected: HashMap::new(), seen: Seen::nothing(), unwatched: 0 };
        let alerted = Alerted { sent: HashMap::new(), order: VecDeque::new(), seen: Seen::nothing(), unmatched: 0 };
        Self { lake: lake.then(|| Mutex::new(stored)), alerts: alerts.then(|| Mutex::new(alerted)) }
    }

    /// Expects the ticks of a batch that was due then, before it is sent.
    pub fn expect(&self, batch: &Batch, due: Instant) {
        if let Some(mut stored) = self.stored() {
            for message in batch.messages() {
                let Some(mark) = message.marks.first() else { continue };
                if stored.expected.len() < EXPECTED_MAX {
                    stored.expected.insert((mark.symbol, mark.seq), (due, message.ticks));
                } else {
                    stored.unwatched += message.ticks;
                }
            }
        }
        if let Some(mut alerted) = self.alerted() {
            for mark in batch.messages().iter().flat_map(|message| &message.marks) {
                alerted.remember(mark.symbol, mark.ts_us, due);
            }
        }
    }

    /// Sees rows in the lake that could be read at `at`, and takes them.
    fn see_rows(&self, rows: &mut Vec<(SymbolHash, i64)>, at: Instant) {
        let Some(mut stored) = self.stored() else { return };
        for row in rows.drain(..) {
            if let Some((due, ticks)) = stored.expected.remove(&row) {
                stored.seen.count += ticks;
                stored.seen.add(due, at, ticks);
            }
        }
    }

    /// Sees an alert about a tick, which has arrived at `at`.
    fn alert(&self, symbol: &str, ts_us: i64, at: Instant) {
        let Some(mut alerted) = self.alerted() else { return };
        alerted.seen.count += 1;
        match alerted.due(SymbolHash::of(symbol), ts_us) {
            Some(due) => alerted.seen.add(due, at, 1),
            None => alerted.unmatched += 1,
        }
    }

    /// Messages that are expected in the lake and have not been seen there; `None` where it is not watched.
    pub fn outstanding(&self) -> Option<usize> {
        self.stored().map(|stored| stored.expected.len())
    }

    /// Ticks of messages that nobody watches for, for there were more than [`EXPECTED_MAX`].
    pub fn unwatched(&self) -> u64 {
        self.stored().map_or(0, |stored| stored.unwatched)
    }

    /// What has been seen in the lake; `None` where it is not watched.
    pub fn in_lake(&self) -> Option<Seen> {
        self.stored().map(|stored| stored.seen.clone())
    }

    /// The alerts that have arrived, and how many were about no tick that is remembered; `None` where nobody listens.
    pub fn of_alerts(&self) -> Option<(Seen, u64)> {
        self.alerted().map(|alerted| (alerted.seen.clone(), alerted.unmatched))
    }

    /// How many ticks have been seen in the lake, and the latencies of those since this was last called.
    pub fn take_recent_us(&self) -> Option<(u64, Histogram<u64>)> {
        self.stored().map(|mut stored| (stored.seen.count, stored.seen.take_recent_us()))
    }

    /// How many alerts have arrived.
    pub fn alerts(&self) -> Option<u64> {
        self.alerted().map(|alerted| alerted.seen.count)
    }

    fn stored(&self) -> Option<MutexGuard<'_, Stored>> {
        self.lake.as_ref().map(|stored| stored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn alerted(&self) -> Option<MutexGuard<'_, Alerted>> {
        self.alerts.as_ref().map(|alerted| alerted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Alerted {
    fn remember(&mut self, symbol: SymbolHash, ts_us: (i64, i64), due: Instant) {
        self.sent.entry(symbol).or_default().push_back(Span { ts_us, due });
        self.order.push_back(symbol);
        if self.order.len() > REMEMBERED_MAX
            && let Some(sent) = self.order.pop_front().and_then(|symbol| self.sent.get_mut(&symbol))
        {
            sent.pop_front();
        }
    }

    /// When the newest message was due that has ticks of the symbol around that time.
    fn due(&self, symbol: SymbolHash, ts_us: i64) -> Option<Instant> {
        let sent = self.sent.get(&symbol)?.iter().rev();
        sent.into_iter().find(|span| (span.ts_us.0..=span.ts_us.1).contains(&ts_us)).map(|span| span.due)
    }
}

#[cfg(test)]
mod tests;
