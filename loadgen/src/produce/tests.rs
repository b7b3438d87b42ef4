//! Production gives the same for any number of threads, and it counts every tick, whatever happens on its way.

use std::{sync::Mutex, time::Duration};

use super::*;
use crate::{
    market::{Character, MarketConfig},
    payload::{Dialect, Layout},
    random::mix,
};

/// A hash over the set of messages. It does not depend on their order, and every byte counts.
fn fingerprint(seed: u64, packing: Packing, threads: usize) -> (u64, Produced) {
    fingerprint_of(Character::Calm, seed, &packing.into(), threads)
}

fn fingerprint_of(character: Character, seed: u64, how: &Preparation, threads: usize) -> (u64, Produced) {
    let config = MarketConfig { seed, symbols: 50, ticks: 20_000, character, ..MarketConfig::default() };
    let (market, sum) = (Market::new(config).unwrap(), Mutex::new(0_u64));
    let emit = |batch: Batch| {
        for message in batch.messages() {
            let hash = message.body.bytes().fold(message.ticks, |hash, byte| mix(hash.wrapping_add(u64::from(byte))));
            let mut sum = sum.lock().unwrap();
            *sum = sum.wrapping_add(hash);
        }
        true
    };
    let produced = super::market(&market, how, threads, &emit).unwrap();
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
    let of = |threads| fingerprint_of(Character::Lively, 1, &packing.into(), threads);
    assert_eq!(format!("{:#x}", of(1).0), format!("{FINGERPRINT_LIVELY:#x}"));
    assert_eq!(of(7), of(1));
}

/// Change these only with an intended change of the model: "same seed, same bytes" depends on them.
const FINGERPRINT_ARRAYS: u64 = 0x59ae_a989_68aa_8bd5;
const FINGERPRINT_LIVELY: u64 = 0x5865_43f4_c02b_157a;
const FINGERPRINT_DISTURBED: u64 = 0xdc2b_c623_53cd_4b00;
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
    super::market(&market, &Packing::SINGLE.into(), 2, &emit).unwrap();
    assert!(taken.into_inner().unwrap() <= 6);
}

/// Everything that can happen to a tick, over three queues.
fn disturbed(layout: Layout) -> Preparation {
    let packing = Packing::new(7, layout, Dialect::Canonical).unwrap();
    let late = "0.01/5m".parse().unwrap();
    let out_of_order = "0.1/5s".parse().unwrap();
    let disturbance = Disturbance { seed: 3, late, out_of_order, duplicates: 0.02, malformed: 0.03 };
    Preparation { queues: 3, disturbance, ..packing.into() }
}

#[test]
fn disturbed_ticks_are_the_same_for_any_number_of_threads_as_well() {
    let of = |threads| fingerprint_of(Character::Calm, 1, &disturbed(Layout::Lines), threads);
    assert_eq!(format!("{:#x}", of(1).0), format!("{FINGERPRINT_DISTURBED:#x}"));
    for threads in [2, 7] {
        assert_eq!(of(threads), of(1));
    }
}

/// Symbol, sequence number and event time.
type Read = (String, i64, i64);

/// Reads all messages naively. Returns the ticks per queue, in the order of the messages, and the number of elements
/// that are not ticks.
fn read(batches: &[Batch], queues: usize) -> (Vec<Vec<Read>>, u64) {
    let (mut ticks, mut malformed) = (vec![Vec::new(); queues], 0);
    for batch in batches {
        for message in batch.messages() {
            let before = ticks[batch.queue()].len();
            for line in message.body.lines() {
                let tick = serde_json::from_str::<serde_json::Value>(line).ok();
                let tick = tick.filter(|tick| tick["price"].as_f64().is_some_and(|price| price > 0.0));
                let symbol = tick.as_ref().and_then(|tick| tick["symbol"].as_str().map(str::to_owned));
                match (tick, symbol) {
                    (Some(tick), Some(symbol)) => {
                        ticks[batch.queue()].push((
                            symbol,
                            tick["seq"].as_i64().unwrap(),
                            tick["ts"].as_i64().unwrap(),
                        ));
                    }
                    _ => malformed += 1,
                }
            }
            assert_eq!(message.ticks, (ticks[batch.queue()].len() - before) as u64);
        }
    }
    (ticks, malformed)
}

#[test]
fn disturbed_ticks_are_all_there_as_often_as_the_tally_says_and_each_in_the_queue_of_its_symbol() {
    let how = disturbed(Layout::Lines);
    let span = Duration::from_mins(30);
    let config = MarketConfig { symbols: 50, ticks: 20_000, span, ..MarketConfig::default() };
    let (market, batches) = (Market::new(config).unwrap(), Mutex::new(Vec::new()));
    let emit = |batch| {
        batches.lock().unwrap().push(batch);
        true
    };
    let produced = super::market(&market, &how, 1, &emit).unwrap();
    let (ticks, malformed) = read(&batches.into_inner().unwrap(), 3);
    assert_eq!(malformed, produced.malformed);
    assert!((500..700).contains(&malformed), "{malformed}");
    let mut expected: BTreeMap<(&str, i64), u32> = BTreeMap::new();
    for (symbol, tally) in &produced.symbols {
        for runs in [tally.seqs.runs(), tally.again.runs()] {
            let seqs = runs.iter().flat_map(|run| run.first..=run.last);
            seqs.for_each(|seq| *expected.entry((symbol, seq)).or_default() += 1);
        }
    }
    let (mut found, mut late, mut twice): (BTreeMap<(&str, i64), u32>, _, _) = (BTreeMap::new(), 0, 0);
    for (queue, ticks) in ticks.iter().enumerate() {
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for (symbol, seq, ts) in ticks {
            assert_eq!(queue_of(symbol, 3), queue);
            let newest = newest.entry(symbol).or_insert(*ts);
            late += u32::from(ts < newest);
            *newest = (*newest).max(*ts);
            let times = found.entry((symbol, *seq)).or_default();
            *times += 1;
            twice += u32::from(*times == 2);
        }
    }
    assert_eq!(found, expected);
    assert!((300..500).contains(&twice), "{twice}");
    assert!(late > 500, "{late}");
}

#[test]
fn tick_that_is_sent_again_is_no_mark_of_its_message() {
    let disturbance = Disturbance { duplicates: 0.5, ..Disturbance::default() };
    let how = Preparation { marks: true, disturbance, ..Packing::SINGLE.into() };
    let market = Market::new(MarketConfig { symbols: 3, ticks: 1_000, ..MarketConfig::default() }).unwrap();
    let marks = Mutex::new(Vec::new());
    let emit = |batch: Batch| {
        marks.lock().unwrap().extend(batch.messages().iter().map(|message| message.marks.clone()));
        true
    };
    let produced = super::market(&market, &how, 1, &emit).unwrap();
    let marks = marks.into_inner().unwrap();
    let again: u64 = produced.symbols.values().map(|tally| tally.again.len()).sum();
    assert!(again > 400);
    assert_eq!(marks.iter().filter(|marks| marks.is_empty()).count() as u64, again);
    let known: std::collections::HashSet<_> = marks.iter().flatten().map(|mark| (mark.symbol, mark.seq)).collect();
    assert_eq!(known.len(), 1_000, "each tick is one mark");
}

#[test]
fn ticks_that_are_held_back_are_bounded_in_number() {
    let disturbance = Disturbance { late: "1/1000h".parse().unwrap(), ..Disturbance::default() };
    let how = Preparation { disturbance, ..Packing::SINGLE.into() };
    let ticks = packer::HELD_MAX as u64 + 5_000;
    let market = Market::new(MarketConfig { symbols: 1, ticks, ..MarketConfig::default() }).unwrap();
    let all = Mutex::new(0);
    let emit = |batch: Batch| {
        *all.lock().unwrap() += batch.ticks();
        *all.lock().unwrap() < 1_000
    };
    let produced = super::market(&market, &how, 1, &emit).unwrap();
    // Production stops after a thousand ticks. They come only after `HELD_MAX` ticks are held back.
    let counted = produced.symbols.values().map(Tally::count).sum::<u64>();
    assert!((packer::HELD_MAX as u64..ticks).contains(&counted), "{counted}");
    assert_eq!(*all.lock().unwrap(), counted);
}

#[test]
fn stopped_production_emits_what_it_holds_back() {
    let how = Preparation { marks: true, ..disturbed(Layout::Lines) };
    let market = Market::new(MarketConfig { ticks: 10_000_000, ..MarketConfig::default() }).unwrap();
    let taken = Mutex::new(Vec::new());
    let emit = |batch: Batch| {
        assert!(batch.messages().iter().all(|message| message.marks.is_empty() || message.ticks > 0));
        let mut taken = taken.lock().unwrap();
        taken.push(batch);
        taken.len() < 5
    };
    let produced = super::market(&market, &how, 2, &emit).unwrap();
    let ticks = taken.into_inner().unwrap().iter().map(Batch::ticks).sum::<u64>();
    assert_eq!(produced.symbols.values().map(Tally::count).sum::<u64>(), ticks);
}
