//! The threads that turn a source into batches of messages, ahead of the senders.
//!
//! Each thread takes every n-th lane of the market. It always works on the lane that lags behind in event time, so that
//! the lanes move on together. Messages are cut per lane, so they are the same for any number of threads. Only their
//! order differs. A recording is read by one thread, in the order of the file. This file does *not* own what happens to
//! a batch, or how ticks are held back (`packer`).

mod event_clock;
mod packer;
mod recorded;

use std::{
    collections::{BTreeMap, VecDeque},
    thread,
};

pub use recorded::{Speed, recording};

use ticklake_schemas::queue_of;

use crate::{
    batch::{Batch, Batcher},
    disturb::{Disturbance, Fate, Fates},
    manifest::Tally,
    market::{Lane, Market, Trade},
    payload::{Message, Packing, PayloadError},
    replay,
    tick::{SymbolHash, Tick},
    truth::{Anomaly, AnomalyKind},
};
use packer::Packer;

/// Takes batches. After `false`, no more ticks are counted, and only batches with counted ticks still come.
pub type Emit<'a> = &'a (dyn Fn(Batch) -> bool + Sync);

/// How ticks become messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preparation {
    /// How they are packed.
    pub packing: Packing,
    /// The number of queues over which the symbols are spread, at least 1.
    pub queues: usize,
    /// What happens to ticks on their way.
    pub disturbance: Disturbance,
    /// Whether the messages have marks.
    pub marks: bool,
}

impl From<Packing> for Preparation {
    /// For one queue, undisturbed, without marks.
    fn from(packing: Packing) -> Self {
        Self { packing, queues: 1, disturbance: Disturbance::default(), marks: false }
    }
}

impl Preparation {
    fn batchers(&self) -> Vec<Batcher> {
        (0..self.queues).map(Batcher::for_queue).collect()
    }

    fn fates(&self, feed: usize) -> Fates {
        Fates::new(self.disturbance, self.packing.layout(), feed)
    }
}

/// What the emitted messages hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Produced {
    /// By symbol.
    pub symbols: BTreeMap<String, Tally>,
    /// The planted anomalies, in the order of event time.
    pub truth: Vec<Anomaly>,
    /// The number of malformed ticks besides.
    pub malformed: u64,
}

/// Why production stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// A tick does not fit into a message.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The recorded file cannot be read.
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
}

/// Generates the market on at most `threads` threads and emits its messages.
pub fn market(market: &Market, how: &Preparation, threads: usize, emit: Emit<'_>) -> Result<Produced, ProduceError> {
    let threads = threads.clamp(1, market.lanes());
    let work = |first| Worker::new(market, how, (first..market.lanes()).step_by(threads))?.run(emit);
    let parts: Vec<Result<Part, PayloadError>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || work(first))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut produced = Produced::default();
    for part in parts {
        let part = part?;
        // A symbol belongs to one lane and a lane to one thread, so no two parts have ticks of the same symbol.
        let seen = part.tallies.into_iter().zip(0..).filter(|(tally, _)| tally.count() > 0);
        produced.symbols.extend(seen.map(|(tally, symbol)| (market.name(symbol).to_string(), tally)));
        produced.truth.extend(part.truth);
        produced.malformed += part.malformed;
    }
    produced.truth.sort_by(|a, b| (a.ts_us, &a.symbol).cmp(&(b.ts_us, &b.symbol)));
    Ok(produced)
}

/// What one thread has produced.
struct Part {
    /// By symbol number.
    tallies: Vec<Tally>,
    truth: Vec<Anomaly>,
    malformed: u64,
}

/// One thread's share of the market.
struct Worker<'a> {
    market: &'a Market,
    how: &'a Preparation,
    /// By symbol number.
    hashes: Vec<SymbolHash>,
    queues: Vec<usize>,
    lanes: Vec<Line>,
    part: Part,
}

/// A lane and its way into messages.
struct Line {
    lane: Lane,
    fates: Fates,
    packer: Packer,
}

impl<'a> Worker<'a> {
    fn new(market: &'a Market, how: &'a Preparation, lanes: impl Iterator<Item = usize>) -> Result<Self, PayloadError> {
        let line = |lane| {
            let packer = Packer::new(how.packing, how.queues, how.marks)?;
            Ok(Line { lane: market.lane(lane), fates: how.fates(lane), packer })
        };
        let names = || (0..market.len()).map(|symbol| market.name(symbol as u32));
        Ok(Self {
            market,
            how,
            hashes: names().map(|name| SymbolHash::of(name)).collect(),
            queues: names().map(|name| queue_of(name, how.queues)).collect(),
            lanes: lanes.map(line).collect::<Result<_, PayloadError>>()?,
            part: Part { tallies: vec![Tally::default(); market.len()], truth: Vec::new(), malformed: 0 },
        })
    }

    fn run(mut self, emit: Emit<'_>) -> Result<Part, PayloadError> {
        let (mut batchers, mut full) = (self.how.batchers(), VecDeque::new());
        let mut goes_on = true;
        while goes_on && self.fill(&mut full)? {
            goes_on = batch_up(&mut full, &mut batchers, emit);
        }
        // This adds nothing if all lanes are done.
        for line in &mut self.lanes {
            line.packer.finish(&mut full)?;
        }
        batch_up(&mut full, &mut batchers, emit);
        for mut batcher in batchers {
            batcher.finish().map(emit);
        }
        Ok(self.part)
    }

    /// Runs the lane that lags behind until a message is full. `false` if all lanes are done.
    fn fill(&mut self, full: &mut VecDeque<Message>) -> Result<bool, PayloadError> {
        while full.is_empty() {
            let lagging = self.lanes.iter().enumerate().min_by_key(|(_, line)| line.lane.now_us());
            let Some((at, _)) = lagging else { return Ok(false) };
            let Line { lane, fates, packer } = &mut self.lanes[at];
            for mut trade in lane.by_ref() {
                trade.ts_us = self.how.packing.dialect().carried_ts_us(trade.ts_us);
                let symbol = trade.symbol as usize;
                let (fate, tick) = (fates.draw(), self.market.tick(&trade));
                self.part.count(self.hashes[symbol], &tick, &trade, fate);
                packer.take(&tick, self.queues[symbol], fate, full)?;
                if !full.is_empty() {
                    return Ok(true);
                }
            }
            // The lane is done. Its held ticks are released, and its last message is cut.
            packer.finish(full)?;
            self.lanes.swap_remove(at);
        }
        Ok(true)
    }
}

/// Puts messages into batches and emits the full batches. `false` if `emit` wants no more.
fn batch_up(full: &mut VecDeque<Message>, batchers: &mut [Batcher], emit: Emit<'_>) -> bool {
    let mut goes_on = true;
    while let Some(message) = full.pop_front() {
        goes_on &= batchers[message.queue].push(message).is_none_or(emit);
    }
    goes_on
}

impl Part {
    fn count(&mut self, hash: SymbolHash, tick: &Tick<'_>, trade: &Trade, fate: Fate) {
        let tally = &mut self.tallies[trade.symbol as usize];
        let is_new = tally.add(hash, tick);
        debug_assert!(is_new, "a lane numbers the trades of a symbol upwards");
        if fate.again_us.is_some() {
            tally.again(hash, tick);
        }
        self.malformed += u64::from(fate.malformed.is_some());
        if trade.is_planted() {
            self.truth.push(Anomaly {
                kind: AnomalyKind::Spike,
                symbol: tick.symbol.to_owned(),
                seq: trade.seq,
                ts_us: trade.ts_us,
                price: tick.price.value(),
                expected: trade.expected_cents as f64 / 100.0,
            });
        }
    }
}

#[cfg(test)]
mod tests;
