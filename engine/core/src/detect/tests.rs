//! What the detectors promise, seen from outside: ticks in, alerts out.

mod silence;
mod watching;

mod events;
mod raised;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::naive::NaiveSpike;
use super::*;
use crate::alert::{Direction, Kind, Severity, State};
use crate::names::{NameCache, NameId};
use crate::tick::Tick;

const SECOND_US: i64 = 1_000_000;
/// 2026-11-23T14:00:00Z.
const START_US: i64 = 1_795_442_400_000_000;

/// Detectors with their tables of names.
struct Desk {
    detectors: Detectors,
    names: Dictionaries,
}

impl Desk {
    fn new(config: &DetectConfig) -> Self {
        config.validate().unwrap();
        Self { detectors: Detectors::new(config), names: Dictionaries::new(100_000) }
    }

    fn usual() -> Self {
        Self::new(&only_spikes(SpikeConfig::default()))
    }

    /// The events that one tick opens, `at_us` after the start.
    fn see(&mut self, symbol: &str, at_us: i64, price: f64) -> Vec<Alert> {
        self.all(symbol, at_us, price).into_iter().filter(|alert| alert.state == State::Open).collect()
    }

    /// The alerts that one tick raises.
    fn all(&mut self, symbol: &str, at_us: i64, price: f64) -> Vec<Alert> {
        let symbol = self.names.symbols.intern(symbol).unwrap().0;
        self.show(tick(symbol, START_US + at_us, price), None)
    }

    fn show(&mut self, tick: Tick, decoded_at_us: Option<i64>) -> Vec<Alert> {
        let mut ticks = TickBatch::default();
        ticks.push(tick);
        let mut raised = Vec::new();
        self.detectors.observe(&ticks, &self.names, decoded_at_us, &mut raised);
        alerts_of(raised)
    }

    /// The alerts about prices of AAPL, one a second from `at_s` seconds after the start.
    fn see_prices(&mut self, at_s: i64, prices: impl IntoIterator<Item = f64>) -> Vec<Alert> {
        (at_s..).zip(prices).flat_map(|(at_s, price)| self.see("AAPL", at_s * SECOND_US, price)).collect()
    }
}

fn alerts_of(raised: Vec<Raised>) -> Vec<Alert> {
    raised.into_iter().map(|raised| raised.alert).collect()
}

/// Only the spike detector.
fn only_spikes(spike: SpikeConfig) -> DetectConfig {
    DetectConfig {
        spike,
        r#move: MoveConfig { enabled: false, ..MoveConfig::default() },
        volatility: VolatilityConfig { enabled: false, ..VolatilityConfig::default() },
        volume: VolumeConfig { enabled: false, ..VolumeConfig::default() },
        gap: GapConfig { enabled: false, ..GapConfig::default() },
        limit_band: LimitBandConfig { enabled: false, ..LimitBandConfig::default() },
        clock: ClockConfig { enabled: false, ..ClockConfig::default() },
        // Without it, a far price is a spike at once.
        level_shift: LevelShiftConfig { enabled: false, ..LevelShiftConfig::default() },
        ..DetectConfig::default()
    }
}

fn tick(symbol: NameId, ts_us: i64, price: f64) -> Tick {
    let none = NameId::NONE;
    Tick { symbol, ts_us, price, volume: 1.0, seq: None, venue: none, conditions: none, received_at_us: ts_us }
}

/// `count` prices around 100 that wander by a few cents, the same at every call.
fn calm(count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(|at| f64::from(10_000 + (at * 7 % 11) as u32) / 100.0)
}

fn line(symbol: &str, above: f64) -> ThresholdConfig {
    ThresholdConfig { symbol: symbol.to_owned(), above: Some(above), below: None, hysteresis: 0.0 }
}

/// Only the given lines, and a cool-down of 30 s.
fn lines(lines: &[ThresholdConfig]) -> DetectConfig {
    DetectConfig { threshold: lines.to_vec(), ..only_spikes(SpikeConfig { enabled: false, ..SpikeConfig::default() }) }
}

#[test]
fn calm_prices_raise_nothing() {
    let mut desk = Desk::usual();
    assert_eq!(desk.see_prices(0, calm(2_000)), []);
    assert_eq!(desk.detectors.suppressed(), 0);
}

#[test]
fn far_price_is_one_spike_that_says_what_was_seen_and_expected() {
    let mut desk = Desk::usual();
    assert_eq!(desk.see_prices(0, calm(200)), []);
    let alerts = desk.see_prices(200, [110.0]);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(alert.id, "spike-up-AAPL-1795442600000000");
    assert_eq!((alert.kind, alert.direction, alert.severity), (Kind::Spike, Direction::Up, Severity::Critical));
    assert_eq!((alert.ts_us, alert.observed, alert.threshold), (START_US + 200 * SECOND_US, 110.0, 6.0));
    assert!((alert.expected - 100.05).abs() < 0.02, "{alert:?}");
    assert!((0.01..0.06).contains(&alert.scale), "{alert:?}");
    assert!((alert.score * alert.scale - (110.0 - alert.expected)).abs() < 1e-9, "{alert:?}");
    assert_eq!(desk.see_prices(260, [90.0])[0].direction, Direction::Down);
}

#[test]
fn outlier_does_not_hide_itself() {
    let spike = SpikeConfig { window: 5, ..SpikeConfig::default() };
    let mut desk = Desk::new(&only_spikes(spike));
    let before: Vec<f64> = calm(5).collect();
    desk.see_prices(0, before.clone());
    let alerts = desk.see_prices(5, [1e9]);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(alert.expected, naive::median(&before));
    assert_eq!(alert.scale, spike::MAD_TO_DEVIATION * naive::mad(&before));
}

#[test]
fn five_bad_prints_in_a_row_hide_nothing_that_follows() {
    let mut desk = Desk::usual();
    desk.see_prices(0, calm(500));
    assert_eq!(desk.see_prices(500, [120.0, 120.1, 119.9, 120.0, 121.0]).len(), 1);
    assert_eq!(desk.see_prices(534, [100.5]).len(), 1, "half a percent, while the bad prints are still in the window");
}

#[test]
fn one_tick_move_of_flat_rounded_prices_is_no_spike() {
    let mut desk = Desk::usual();
    let flat = std::iter::repeat_n(100.0, 300);
    assert_eq!(desk.see_prices(0, flat.chain([100.01, 99.99, 100.02])), []);
    assert_eq!(desk.see_prices(400, [100.5]).len(), 1);
}

#[test]
fn nothing_is_judged_before_the_window_is_full() {
    let mut desk = Desk::usual();
    assert_eq!(desk.see_prices(0, calm(49).chain([500.0])), []);
    assert_eq!(desk.see_prices(50, [500.0]).len(), 1);
}

#[test]
fn price_that_stays_where_it_jumped_to_is_the_new_normal() {
    let mut desk = Desk::usual();
    desk.see_prices(0, calm(200));
    assert_eq!(desk.see_prices(200, calm(100).map(|price| price + 10.0)).len(), 1);
    assert_eq!(desk.see_prices(1_000, calm(100).map(|price| price + 10.0)), []);
}

#[test]
fn anomalies_within_the_cool_down_are_counted_and_not_alerted() {
    let mut desk = Desk::usual();
    desk.see_prices(0, calm(200));
    assert_eq!(desk.see_prices(200, [110.0, 111.0, 110.0]).len(), 1);
    assert_eq!(desk.detectors.suppressed(), 2);
    desk.see_prices(203, calm(26));
    assert_eq!(desk.see_prices(231, [110.0]), [], "and the event goes on while anomalies come");
    desk.see_prices(232, calm(29));
    assert_eq!(desk.see_prices(261, [110.0]).len(), 1);
}

#[test]
fn cool_down_is_per_symbol_and_per_line() {
    let mut desk = Desk::new(&lines(&[line("*", 10.0), line("*", 11.0)]));
    assert_eq!(desk.see("AAPL", 0, 10.5)[0].id, "threshold-above-10-AAPL-1795442400000000");
    assert_eq!(desk.see("MSFT", 0, 10.5)[0].id, "threshold-above-10-MSFT-1795442400000000");
    let alerts = desk.see("AAPL", 1, 11.5);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.expected, alert.threshold, alert.observed), (11.0, 11.0, 11.5));
    assert_eq!((alert.kind, alert.direction, alert.severity), (Kind::Threshold, Direction::Up, Severity::Warning));
    assert!((alert.scale, alert.score) == (0.01, 50.0), "{alert:?}");
}

#[test]
fn line_crossed_again_within_the_cool_down_is_suppressed() {
    let mut desk = Desk::new(&lines(&[line("AAPL", 10.0)]));
    assert_eq!(desk.see_prices(0, [9.0, 10.5, 9.0, 10.5]).len(), 1);
    assert_eq!(desk.detectors.suppressed(), 1);
    assert_eq!(desk.see_prices(60, [9.0, 10.5]), [], "it was beyond the line until now");
    assert_eq!(desk.see_prices(100, [9.0]), []);
    assert_eq!(desk.see_prices(130, [10.5]).len(), 1);
}

#[test]
fn same_ticks_raise_the_same_alerts() {
    let run = || {
        let mut desk =
            Desk::new(&DetectConfig { threshold: vec![line("A*", 105.0)], ..only_spikes(SpikeConfig::default()) });
        desk.see_prices(0, calm(100).chain([110.0]).chain(calm(100)).chain([90.0]).chain(calm(50)))
    };
    assert_eq!(
        run().iter().map(|alert| alert.id.as_str()).collect::<Vec<_>>(),
        [
            "spike-up-AAPL-1795442500000000",
            "threshold-above-105-AAPL-1795442500000000",
            "spike-down-AAPL-1795442601000000",
        ]
    );
    assert_eq!(run(), run());
}

#[test]
fn late_and_future_ticks_are_judged_and_silence_nothing() {
    let mut desk = Desk::usual();
    desk.see_prices(0, calm(200));
    let day_us = 86_400 * SECOND_US;
    assert_eq!(desk.see("AAPL", day_us, 110.0).len(), 1);
    assert_eq!(desk.see("AAPL", 200 * SECOND_US, 110.0).len(), 1);
    assert_eq!(desk.see("AAPL", -day_us, 110.0).len(), 1);
}

/// Prices of markets and of mistakes: rounded and flat, free, enormous and zero.
fn prices() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => (9_990_u32..10_010).prop_map(|cents| f64::from(cents) / 100.0),
        5 => Just(100.0),
        3 => 90.0..110.0,
        1 => 0.0..1e9,
        1 => prop_oneof![Just(0.0), Just(f64::MAX), Just(f64::MIN_POSITIVE)],
    ]
}

/// Mostly up to five seconds on, sometimes late, sometimes far away.
fn steps_us() -> impl Strategy<Value = i64> {
    prop_oneof![10 => 0..5_000_000_i64, 3 => -5_000_000..0_i64, 1 => -1_000_000_000_000..1_000_000_000_000_i64]
}

/// All detectors, so sensitive that each finds something in nearly everything.
fn touchy(window: usize, threshold: f64) -> DetectConfig {
    DetectConfig {
        spike: SpikeConfig { window, threshold, ..SpikeConfig::default() },
        threshold: vec![line("S1*", 99.95)],
        cool_down: Duration::from_secs(2),
        symbols_max: 12,
        gap: GapConfig { probability: 0.2, ..GapConfig::default() },
        volume: VolumeConfig { threshold: 0.2, ..VolumeConfig::default() },
        volatility: VolatilityConfig { threshold: 0.2, ..VolatilityConfig::default() },
        r#move: MoveConfig { threshold: 0.5, least: 1e-6, ..MoveConfig::default() },
        level_shift: LevelShiftConfig { least: 1e-6, wait: Duration::from_secs(3), ..LevelShiftConfig::default() },
        limit_band: LimitBandConfig { tiers: vec![Tier { from: 0.0, percent: 0.01 }], enabled: true },
        clock: ClockConfig { past: Duration::from_secs(100), ..ClockConfig::default() },
        r#override: serde_json::from_str(r#"[{"symbol":"S2","spike":{"threshold":5.0}}]"#).unwrap(),
        ..DetectConfig::default()
    }
}

proptest! {
    #[test]
    fn spikes_are_those_of_the_naive_twin(
        ticks in vec((steps_us(), prices()), 1..400),
        window in 5_usize..60,
        threshold in 1.0..10.0,
    ) {
        let spike = SpikeConfig { window, threshold, tick_size: Some(0.01), ..SpikeConfig::default() };
        let mut naive = NaiveSpike::new(&spike);
        // Longer than all steps together: the twin forgets nothing.
        let idle_max = Duration::from_secs(1_000_000_000);
        let config = DetectConfig { idle_max, cool_down: Duration::ZERO, ..only_spikes(spike) };
        let mut desk = Desk::new(&config);
        let mut at_us = 0;
        for (step_us, price) in ticks {
            at_us += step_us;
            let expected = naive.observe(START_US + at_us, price).filter(|(.., is_spike)| *is_spike);
            let alerts = desk.see("AAPL", at_us, price);
            let found = alerts.first().map(|alert| (alert.expected, alert.scale, true));
            prop_assert_eq!(found, expected);
            prop_assert!(alerts.iter().all(|alert| alert.score.is_finite() && alert.scale.is_finite()));
        }
    }

    #[test]
    fn batches_make_no_difference(prices in vec(prices(), 1..300), cut in 0_usize..300) {
        let names = Dictionaries::new(1);
        let symbol = names.symbols.intern("AAPL").unwrap().0;
        let ticks = prices.iter().zip(1..).map(|(&price, at_s)| tick(symbol, START_US + at_s * SECOND_US, price));
        let run = |cut: usize| {
            let mut detectors = Detectors::new(&DetectConfig::default());
            let mut raised = Vec::new();
            for part in [ticks.clone().take(cut).collect::<Vec<_>>(), ticks.clone().skip(cut).collect()] {
                let mut batch = TickBatch::default();
                for tick in part {
                    batch.push(tick);
                }
                detectors.observe(&batch, &names, None, &mut raised);
            }
            alerts_of(raised)
        };
        prop_assert_eq!(run(cut), run(0));
    }
    #[test]
    fn shards_raise_the_alerts_of_one_with_their_rows_in_their_order(
        ticks in vec((0_usize..12, steps_us(), prices()), 1..600),
        window in 5_usize..12,
        threshold in 1.0..4.0,
        idle_s in 1_u64..2_000_000,
        batch_rows in 1_usize..200,
        ahead_us in 0..1_000_000_000_i64,
    ) {
        let names = Dictionaries::new(12);
        let symbols: Vec<NameId> = (0..12).map(|name| names.symbols.intern(&format!("S{name}")).unwrap().0).collect();
        let mut at_us = START_US;
        // Each batch is decoded before or after its latest tick. Event times from the future are cut off.
        let batches: Vec<(TickBatch, i64)> = ticks.chunks(batch_rows).map(|ticks| {
            let mut batch = TickBatch::default();
            for (symbol, step_us, price) in ticks {
                at_us += step_us;
                batch.push(tick(symbols[*symbol], at_us, *price));
            }
            (batch, at_us + ahead_us - 500_000_000)
        }).collect();
        let config = DetectConfig { idle_max: Duration::from_secs(idle_s), ..touchy(window, threshold) };
        let run = |count, last_is_first: bool| {
            // The alerts of each batch, with their rows and in order.
            let (mut raised, mut counts) = (vec![Vec::new(); batches.len()], [0, 0]);
            let mut shards: Vec<Shard> = Shard::all(count).collect();
            if last_is_first {
                shards.reverse();
            }
            for shard in shards {
                let mut detectors = Detectors::of_shard(&config, shard);
                for ((batch, decoded_at_us), raised) in batches.iter().zip(&mut raised) {
                    detectors.observe(batch, &names, Some(*decoded_at_us), raised);
                }
                counts = [counts[0] + detectors.suppressed(), counts[1] + detectors.unwatched()];
            }
            raised.iter_mut().for_each(Raised::sort);
            (raised, counts)
        };
        let one = run(1, false);
        prop_assert_eq!(run(2, true), one.clone());
        prop_assert_eq!(run(5, false), one.clone());
        prop_assert_eq!(run(7, true), one);
    }
}
