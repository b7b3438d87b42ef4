//! The threads that turn a source into batches of messages, ahead of the senders.
//!
//! Each thread takes every n-th lane of the market and always works on the one that lags behind in event time, so that the
//! lanes move on together. Messages are cut per lane, which makes them the same for any number of threads; only their order
//! differs. A recording is read by one thread, in the order of the file. This file does *not* own what happens to a batch.

use std::{collections::BTreeMap, thread};

use crate::{
    batch::{Batch, Batcher},
    manifest::Tally,
    market::{Lane, Market, Trade},
    payload::{Message, MessageWriter, Packing, PayloadError},
    replay::{self, Recording},
    tick::SymbolHash,
    truth::{Anomaly, AnomalyKind},
};

/// Where batches go. `false` asks for no more of them, but for those that hold what was counted already.
pub type Emit<'a> = &'a (dyn Fn(Batch) -> bool + Sync);

/// What the emitted messages hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Produced {
    /// By symbol.
    pub symbols: BTreeMap<String, Tally>,
    /// The planted anomalies, in the order of event time.
    pub truth: Vec<Anomaly>,
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
pub fn market(market: &Market, packing: Packing, threads: usize, emit: Emit<'_>) -> Result<Produced, ProduceError> {
    let threads = threads.clamp(1, market.lanes());
    let work = |first| Worker::new(market, packing, (first..market.lanes()).step_by(threads))?.run(emit);
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
    }
    produced.truth.sort_by(|a, b| (a.ts_us, &a.symbol).cmp(&(b.ts_us, &b.symbol)));
    Ok(produced)
}

/// What one thread has produced.
struct Part {
    /// By symbol number.
    tallies: Vec<Tally>,
    truth: Vec<Anomaly>,
}

/// One thread's share of the market.
struct Worker<'a> {
    market: &'a Market,
    packing: Packing,
    hashes: Vec<SymbolHash>,
    lanes: Vec<(Lane, MessageWriter)>,
    part: Part,
}

impl<'a> Worker<'a> {
    fn new(market: &'a Market, packing: Packing, lanes: impl Iterator<Item = usize>) -> Result<Self, PayloadError> {
        let lanes = lanes.map(|lane| Ok((market.lane(lane), MessageWriter::new(packing)?)));
        Ok(Self {
            market,
            packing,
            hashes: (0..market.len()).map(|symbol| SymbolHash::of(market.name(symbol as u32))).collect(),
            lanes: lanes.collect::<Result<_, PayloadError>>()?,
            part: Part { tallies: vec![Tally::default(); market.len()], truth: Vec::new() },
        })
    }

    fn run(mut self, emit: Emit<'_>) -> Result<Part, PayloadError> {
        let mut batcher = Batcher::default();
        while let Some(message) = self.next_message()? {
            if let Some(batch) = batcher.push(message)
                && !emit(batch)
            {
                break;
            }
        }
        // Nothing, where all lanes are done.
        for (_, writer) in &mut self.lanes {
            if let Some(batch) = writer.finish()?.and_then(|message| batcher.push(message)) {
                emit(batch);
            }
        }
        if let Some(batch) = batcher.finish() {
            emit(batch);
        }
        Ok(self.part)
    }

    /// The next message of the lane that lags behind; `None` when all lanes are done.
    fn next_message(&mut self) -> Result<Option<Message>, PayloadError> {
        loop {
            let lagging = self.lanes.iter().enumerate().min_by_key(|(_, (lane, _))| lane.now_us());
            let Some((at, _)) = lagging else { return Ok(None) };
            let (lane, writer) = &mut self.lanes[at];
            for mut trade in lane.by_ref() {
                trade.ts_us = self.packing.dialect().carried_ts_us(trade.ts_us);
                self.part.count(self.market, &self.hashes, &trade);
                if let Some(message) = writer.push(&self.market.tick(&trade))? {
                    return Ok(Some(message));
                }
            }
            let rest = writer.finish()?;
            self.lanes.swap_remove(at);
            if rest.is_some() {
                return Ok(rest);
            }
        }
    }
}

impl Part {
    fn count(&mut self, market: &Market, hashes: &[SymbolHash], trade: &Trade) {
        let tick = market.tick(trade);
        let symbol = trade.symbol as usize;
        let is_new = self.tallies[symbol].add(hashes[symbol], &tick);
        debug_assert!(is_new, "a lane numbers the trades of a symbol upwards");
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

/// Reads a recorded file and emits its messages.
pub fn recording(recording: &Recording, packing: Packing, emit: Emit<'_>) -> Result<Produced, ProduceError> {
    let mut writer = MessageWriter::new(packing)?;
    let mut batcher = Batcher::default();
    let mut send = |message: Option<Message>| message.and_then(|message| batcher.push(message)).is_none_or(emit);
    let symbols = recording.read(packing.dialect(), &mut |tick| Ok(send(writer.push(tick)?)))?;
    send(writer.finish()?);
    if let Some(batch) = batcher.finish() {
        emit(batch);
    }
    Ok(Produced { symbols, truth: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        market::{Character, MarketConfig},
        payload::{Dialect, Layout},
        random::mix,
    };

    /// A hash over the set of messages: it does not depend on their order, and every byte counts.
    fn fingerprint(seed: u64, packing: Packing, threads: usize) -> (u64, Produced) {
        fingerprint_of(Character::Calm, seed, packing, threads)
    }

    fn fingerprint_of(character: Character, seed: u64, packing: Packing, threads: usize) -> (u64, Produced) {
        let config = MarketConfig { seed, symbols: 50, ticks: 20_000, character, ..MarketConfig::default() };
        let (market, sum) = (Market::new(config).unwrap(), Mutex::new(0_u64));
        let emit = |batch: Batch| {
            for message in batch.messages() {
                let hash =
                    message.body.bytes().fold(message.ticks, |hash, byte| mix(hash.wrapping_add(u64::from(byte))));
                let mut sum = sum.lock().unwrap();
                *sum = sum.wrapping_add(hash);
            }
            true
        };
        let produced = super::market(&market, packing, threads, &emit).unwrap();
        (sum.into_inner().unwrap(), produced)
    }

    /// Invariant 6: same seed, same bytes, same anomalies.
    #[test]
    fn same_seed_gives_the_committed_messages_for_any_number_of_threads() {
        let arrays = Packing::new(100, Layout::Array, Dialect::Canonical).unwrap();
        let binance = Packing::new(1, Layout::Object, Dialect::Binance).unwrap();
        for (packing, committed) in [(arrays, FINGERPRINT_ARRAYS), (binance, FINGERPRINT_BINANCE)] {
            let (one, produced) = fingerprint(1, packing, 1);
            assert_eq!(format!("{one:#x}"), format!("{committed:#x}"));
            for threads in [2, 7] {
                assert_eq!(fingerprint(1, packing, threads), (one, produced.clone()), "{threads} threads");
            }
        }
    }

    #[test]
    fn lively_market_is_the_same_for_any_number_of_threads_as_well() {
        let packing = Packing::new(100, Layout::Array, Dialect::Canonical).unwrap();
        let of = |threads| fingerprint_of(Character::Lively, 1, packing, threads);
        assert_eq!(format!("{:#x}", of(1).0), format!("{FINGERPRINT_LIVELY:#x}"));
        assert_eq!(of(7), of(1));
    }

    /// Change them only together with a change of the model that is meant: they are what "same seed, same bytes" rests on.
    const FINGERPRINT_ARRAYS: u64 = 0x59ae_a989_68aa_8bd5;
    const FINGERPRINT_LIVELY: u64 = 0x5865_43f4_c02b_157a;
    const FINGERPRINT_BINANCE: u64 = 0xf02e_4a9c_ecd8_8f84;

    #[test]
    fn other_seed_gives_other_messages() {
        assert_ne!(fingerprint(1, Packing::SINGLE, 1).0, fingerprint(2, Packing::SINGLE, 1).0);
    }

    #[test]
    fn every_tick_is_tallied_once_and_every_spike_is_in_the_truth() {
        let (_, produced) = fingerprint(1, Packing::SINGLE, 3);
        assert_eq!(produced.symbols.values().map(Tally::count).sum::<u64>(), 20_000);
        assert_eq!(produced.truth.len(), 20);
        for anomaly in &produced.truth {
            let runs = produced.symbols[&anomaly.symbol].seqs.runs();
            assert!(runs.len() == 1 && runs[0].first == 0 && anomaly.seq <= runs[0].last);
            assert!((anomaly.price / anomaly.expected - 1.0).abs() > 0.029);
        }
    }

    #[test]
    fn production_ends_when_nobody_takes_batches() {
        let market = Market::new(MarketConfig { ticks: 10_000_000, ..MarketConfig::default() }).unwrap();
        let taken = Mutex::new(0);
        let emit = |_| {
            let mut taken = taken.lock().unwrap();
            *taken += 1;
            *taken < 5
        };
        super::market(&market, Packing::SINGLE, 2, &emit).unwrap();
        assert!(taken.into_inner().unwrap() <= 6);
    }
}
