//! The model market: the same ticks for the same seed, whatever the threads. It does *not* own how ticks are packed.

use std::collections::VecDeque;

use super::{facts::Facts, *};

fn market(config: MarketConfig) -> Market {
    Market::new(config).unwrap()
}

fn small() -> MarketConfig {
    MarketConfig { symbols: 40, ticks: 200_000, ..MarketConfig::default() }
}

fn all_trades(market: &Market) -> Vec<Trade> {
    (0..market.lanes()).flat_map(|lane| market.lane(lane)).collect()
}

#[test]
fn exactly_as_many_trades_as_asked_for_whatever_the_number_of_symbols() {
    for symbols in [1, 2, 15, 16, 17, 500] {
        for ticks in [0, 1, 7, 1_000, 12_345] {
            let market = market(MarketConfig { symbols, ticks, ..MarketConfig::default() });
            assert_eq!(all_trades(&market).len() as u64, ticks, "{symbols} symbols");
        }
    }
}

#[test]
fn lanes_carry_about_the_same_number_of_ticks() {
    let market = market(MarketConfig::default());
    let (fewest, most) = (market.hands.iter().map(|h| h.ticks).min(), market.hands.iter().map(|h| h.ticks).max());
    assert!(most.unwrap() < fewest.unwrap() * 11 / 10, "{fewest:?} to {most:?}");
}

#[test]
fn event_times_stay_within_the_span_and_never_decrease() {
    for span in [Duration::from_micros(1), Duration::from_millis(3), Duration::from_mins(390)] {
        let market = market(MarketConfig { span, ..small() });
        let (start, end) = (market.config.start_us, market.config.start_us + span.as_micros() as i64);
        for lane in 0..market.lanes() {
            let times: Vec<i64> = market.lane(lane).map(|trade| trade.ts_us).collect();
            assert!(times.is_sorted());
            assert!(times[0] >= start && times[times.len() - 1] < end);
        }
    }
}

#[test]
fn sequence_numbers_of_a_symbol_count_from_zero() {
    let market = market(small());
    let mut next = vec![0; market.len()];
    for trade in all_trades(&market) {
        assert_eq!(trade.seq, next[trade.symbol as usize]);
        next[trade.symbol as usize] += 1;
    }
    assert!(next.is_sorted_by(|a, b| *a as f64 > *b as f64 * 0.8), "popularity falls with rank: {next:?}");
}

#[test]
fn planted_spikes_are_of_the_asked_number_size_and_spacing() {
    let config = MarketConfig { spikes: SpikeConfig { count: 100, ..SpikeConfig::default() }, ..small() };
    let market = market(config);
    let planted: Vec<Trade> = all_trades(&market).into_iter().filter(Trade::is_planted).collect();
    assert_eq!(planted.len(), 100);
    let mut last = vec![(0, market.config.start_us); market.len()];
    for spike in planted {
        let size = (spike.cents - spike.expected_cents).abs() as f64 / spike.expected_cents as f64;
        assert!((0.0295..0.0505).contains(&size), "{size}");
        let (seq, ts_us) = last[spike.symbol as usize];
        assert!(spike.seq - seq >= 100 && spike.ts_us - ts_us >= 60_000_000);
        last[spike.symbol as usize] = (spike.seq, spike.ts_us);
    }
}

#[test]
fn impossible_markets_are_refused() {
    let refused = |config: MarketConfig| Market::new(config).is_err();
    assert!(refused(MarketConfig { symbols: 0, ..small() }));
    assert!(refused(MarketConfig { symbols: 1_000_000, ..small() }));
    assert!(refused(MarketConfig { span: Duration::ZERO, ..small() }));
    assert!(refused(MarketConfig { span: Duration::MAX, ..small() }));
    let sizes = |size_min, size_max| SpikeConfig { size_min, size_max, ..SpikeConfig::default() };
    assert!(refused(MarketConfig { spikes: sizes(0.05, 0.03), ..small() }));
    assert!(refused(MarketConfig { spikes: sizes(0.05, f64::NAN), ..small() }));
    assert!(refused(MarketConfig { spikes: sizes(0.0, 0.03), ..small() }));
}

/// A plain spike detector: distance from the median of the 50 prices before, over the larger of 1.4826 MAD, a slow
/// average deviation and one cent.
#[derive(Default)]
struct NaiveDetector {
    window: VecDeque<f64>,
    slow: f64,
    weight: f64,
}

impl NaiveDetector {
    fn score(&mut self, price: f64) -> f64 {
        let mut score = 0.0;
        if !self.window.is_empty() {
            let median = median(self.window.iter().copied());
            let distance = (price - median).abs();
            if self.window.len() == 50 {
                let mad = median_deviation(&self.window, median);
                score = distance / (1.4826 * mad).max(self.slow).max(0.01);
                self.window.pop_front();
            }
            // The average learns little from a single outlier, else the first spike would hide the next.
            self.weight = (self.weight + 1.0).min(256.0);
            self.slow += (distance.min(4.0 * self.slow.max(0.01)) - self.slow) / self.weight;
        }
        self.window.push_back(price);
        score
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn median_deviation(window: &VecDeque<f64>, from: f64) -> f64 {
    median(window.iter().map(|price| (price - from).abs()))
}

#[test]
fn plain_detector_finds_every_spike_and_nothing_else() {
    for seed in 0..4 {
        let spikes = SpikeConfig { count: 60, ..SpikeConfig::default() };
        let market = market(MarketConfig { seed, symbols: 100, ticks: 100_000, spikes, ..MarketConfig::default() });
        let mut detectors: Vec<NaiveDetector> = (0..market.len()).map(|_| NaiveDetector::default()).collect();
        let (mut planted, mut missed, mut false_alarms) = (0, 0, 0);
        for trade in all_trades(&market) {
            let score = detectors[trade.symbol as usize].score(trade.cents as f64 / 100.0);
            planted += u32::from(trade.is_planted());
            missed += u32::from(trade.is_planted() && score <= 8.0);
            false_alarms += u32::from(!trade.is_planted() && score > 8.0);
        }
        assert_eq!((planted, missed, false_alarms), (60, 0, 0), "seed {seed}");
    }
}

/// The ranges that were measured on real trades of US equities, of a busy share and of a quiet one, cheap and dear.
#[test]
fn lively_market_is_within_the_ranges_of_real_trades() {
    for seed in 1..=3 {
        let config = MarketConfig {
            seed,
            symbols: 8,
            ticks: 1_000_000,
            character: Character::Lively,
            spikes: SpikeConfig { count: 0, ..SpikeConfig::default() },
            ..MarketConfig::default()
        };
        let market = market(config);
        let mut trades = vec![Vec::new(); market.len()];
        for trade in all_trades(&market) {
            trades[trade.symbol as usize].push((trade.ts_us, trade.cents as f64 / 100.0));
        }
        for (symbol, mut trades) in trades.into_iter().enumerate() {
            trades.sort_by_key(|trade| trade.0);
            let facts = Facts::of(&trades);
            println!("{symbol} at {}: {facts:?}", trades[0].1);
            assert!((0.55..=0.89).contains(&facts.unchanged), "{facts:?}");
            assert!((0.5..=12.0).contains(&facts.kurtosis), "{facts:?}");
            assert!((0.14..=0.33).contains(&facts.clustering), "{facts:?}");
            assert!((0.06..=0.93).contains(&facts.duration), "{facts:?}");
            assert!((2.9..=4.5).contains(&facts.variation), "{facts:?}");
        }
    }
}

#[test]
fn lively_market_has_as_many_trades_in_order_as_a_calm_one() {
    for (symbols, ticks) in [(1, 1), (3, 7), (40, 12_345)] {
        let market = market(MarketConfig { symbols, ticks, character: Character::Lively, ..MarketConfig::default() });
        let end = market.config.start_us + market.config.span.as_micros() as i64;
        let mut all = 0;
        for lane in 0..market.lanes() {
            let times: Vec<i64> = market.lane(lane).map(|trade| trade.ts_us).collect();
            assert!(times.is_sorted() && times.iter().all(|ts_us| (market.config.start_us..end).contains(ts_us)));
            all += times.len() as u64;
        }
        assert_eq!(all, ticks);
    }
}

#[test]
fn symbols_are_spread_evenly_over_queues() {
    let market = Market::new(MarketConfig { symbols: 5_000, ..MarketConfig::default() }).unwrap();
    for queues in 1..=16 {
        let mut symbols = vec![0.0; queues];
        let queue = |symbol| ticklake_schemas::queue_of(market.name(symbol), queues);
        (0..5_000).for_each(|symbol| symbols[queue(symbol)] += queues as f64 / 5_000.0);
        assert!(symbols.iter().all(|share| (0.8..1.2).contains(share)), "{queues}: {symbols:?}");
    }
}
