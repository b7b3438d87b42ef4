//! What becomes of the ticks that were sent: when they can be read in the lake, and when an alert about them arrives.
//!
//! Both times count from when the batch of a tick was due, so that a queue or a consumer that stalls shows. One tick of
//! each message stands for all of it, because a consumer stores a message as a whole. This file owns what is expected
//! and its latencies. It does *not* look into the lake (`lake`) or listen for alerts (`alerts`).

pub mod alerts;
pub mod lake;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::{batch::Batch, manifest::no_latencies, tick::SymbolHash};

/// The most messages that are expected in the lake at a time. Further ones are not timed. About 50 bytes each.
pub const EXPECTED_MAX: usize = 2_000_000;

/// Symbols within messages that alerts are looked up in. Older ones are forgotten. About 40 bytes each.
pub const REMEMBERED_MAX: usize = 1_000_000;

/// How many ids of alerts are remembered, so that an alert that comes again is not counted again.
const IDS_MAX: usize = 100_000;

/// Problems that are remembered until somebody takes them.
const PROBLEMS_MAX: usize = 20;

/// What is expected of a consumer.
#[derive(Debug)]
pub struct Watch {
    lake: Option<Mutex<Stored>>,
    alerts: Option<Mutex<Alerted>>,
    problems: Mutex<Vec<String>>,
}

/// What has been seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Ticks in the lake, or alerts.
    pub count: u64,
    /// Latencies from when the batch of each was due, microseconds.
    pub latency_us: Histogram<u64>,
    /// The same since somebody last asked.
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
        mem::replace(&mut self.recent_us, no_latencies())
    }
}

/// Messages on their way into the lake.
#[derive(Debug)]
struct Stored {
    /// By symbol and sequence number of one tick per message: when it was due, and for how many ticks it stands.
    expected: HashMap<(SymbolHash, i64), (Instant, u64)>,
    seen: Seen,
    /// Ticks of messages beyond [`EXPECTED_MAX`].
    unwatched: u64,
    /// The longest time between two listings of the lake.
    blind_max: Duration,
}

/// The ticks that alerts can be about.
#[derive(Debug)]
struct Alerted {
    /// By symbol, one span for each message with ticks of it.
    sent: HashMap<SymbolHash, VecDeque<Span>>,
    /// The symbols of all spans, in the order in which they were sent.
    order: VecDeque<SymbolHash>,
    /// The ids of the latest alerts, and their order.
    ids: HashSet<String>,
    ids_order: VecDeque<String>,
    seen: Seen,
    /// Alerts about no tick that is remembered.
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
    /// A watch that expects in the lake what is sent, or expects alerts about it, or both.
    #[must_use]
    pub fn new(lake: bool, alerts: bool) -> Self {
        let (seen, blind_max) = (Seen::nothing(), Duration::ZERO);
        let stored = Stored { expected: HashMap::new(), seen: seen.clone(), unwatched: 0, blind_max };
        let alerted = Alerted {
            sent: HashMap::new(),
            order: VecDeque::new(),
            ids: HashSet::new(),
            ids_order: VecDeque::new(),
            seen,
            unmatched: 0,
        };
        Self {
            lake: lake.then(|| Mutex::new(stored)),
            alerts: alerts.then(|| Mutex::new(alerted)),
            problems: Mutex::default(),
        }
    }

    /// Expects the ticks of a batch that was due at `due`. Call it before the batch is sent.
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

    /// Sees rows that were readable in the lake at `at`, and empties `rows`.
    fn see_rows(&self, rows: &mut Vec<(SymbolHash, i64)>, at: Instant) {
        let Some(mut stored) = self.stored() else { return };
        for row in rows.drain(..) {
            if let Some((due, ticks)) = stored.expected.remove(&row) {
                stored.seen.count += ticks;
                stored.seen.add(due, at, ticks);
            }
        }
    }

    /// Notes for how long nobody could see what is in the lake.
    fn was_blind(&self, gap: Duration) {
        if let Some(mut stored) = self.stored() {
            stored.blind_max = stored.blind_max.max(gap);
        }
    }

    /// Notes that something could not be observed.
    fn add_problem(&self, problem: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if problems.len() < PROBLEMS_MAX {
            problems.push(problem);
        }
    }

    /// The problems since the last call.
    pub fn take_problems(&self) -> Vec<String> {
        mem::take(&mut self.problems.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sees an alert about a tick. The alert arrived at `at`. If its id was seen before, it is the same alert again and
    /// does not count.
    fn alert(&self, id: Option<String>, symbol: &str, ts_us: i64, at: Instant) {
        let Some(mut alerted) = self.alerted() else { return };
        if id.is_some_and(|id| !alerted.is_new(id)) {
            return;
        }
        alerted.seen.count += 1;
        match alerted.due(SymbolHash::of(symbol), ts_us) {
            Some(due) => alerted.seen.add(due, at, 1),
            None => alerted.unmatched += 1,
        }
    }

    /// Messages that are expected in the lake and have not been seen there. `None` if the lake is not watched.
    pub fn outstanding(&self) -> Option<usize> {
        self.stored().map(|stored| stored.expected.len())
    }

    /// Ticks of messages that nobody watches for, because there were more than [`EXPECTED_MAX`].
    pub fn unwatched(&self) -> u64 {
        self.stored().map_or(0, |stored| stored.unwatched)
    }

    /// The longest time between two listings of the lake. Measured latencies may be too long by this time.
    pub fn blind_max(&self) -> Duration {
        self.stored().map_or(Duration::ZERO, |stored| stored.blind_max)
    }

    /// What has been seen in the lake. `None` if it is not watched.
    pub fn in_lake(&self) -> Option<Seen> {
        self.stored().map(|stored| stored.seen.clone())
    }

    /// The alerts that arrived, and how many of them are about no remembered tick. `None` if nobody listens.
    pub fn of_alerts(&self) -> Option<(Seen, u64)> {
        self.alerted().map(|alerted| (alerted.seen.clone(), alerted.unmatched))
    }

    /// How many ticks have been seen in the lake, and the latencies of those seen since the last call.
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

/// An error and its causes in one line.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Alerted {
    fn is_new(&mut self, id: String) -> bool {
        if !self.ids.insert(id.clone()) {
            return false;
        }
        self.ids_order.push_back(id);
        if self.ids_order.len() > IDS_MAX
            && let Some(oldest) = self.ids_order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }

    fn remember(&mut self, symbol: SymbolHash, ts_us: (i64, i64), due: Instant) {
        self.sent.entry(symbol).or_default().push_back(Span { ts_us, due });
        self.order.push_back(symbol);
        if self.order.len() > REMEMBERED_MAX
            && let Some(sent) = self.order.pop_front().and_then(|symbol| self.sent.get_mut(&symbol))
        {
            sent.pop_front();
        }
    }

    /// When the newest message was due whose ticks of the symbol include that time.
    fn due(&self, symbol: SymbolHash, ts_us: i64) -> Option<Instant> {
        let sent = self.sent.get(&symbol)?.iter().rev();
        sent.into_iter().find(|span| (span.ts_us.0..=span.ts_us.1).contains(&ts_us)).map(|span| span.due)
    }
}

#[cfg(test)]
mod tests;
