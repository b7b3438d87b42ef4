//! Which row an alert is credited to, and in which order the alerts of a batch stand.

use super::silence::both;
use super::*;

impl Desk {
    /// Shows ticks of one batch: symbol, seconds after the start, price. Returns kind, state and row of each alert.
    fn batch<'a>(
        &mut self,
        ticks: impl IntoIterator<Item = (&'a str, i64, f64)>,
    ) -> Vec<(String, Kind, State, Option<u32>)> {
        let mut batch = TickBatch::default();
        for (symbol, at_s, price) in ticks {
            batch.push(tick(self.names.symbols.intern(symbol).unwrap().0, START_US + at_s * SECOND_US, price));
        }
        let mut raised = Vec::new();
        self.detectors.observe(&batch, &self.names, None, &mut raised);
        said(&raised)
    }
}

fn said(raised: &[Raised]) -> Vec<(String, Kind, State, Option<u32>)> {
    let of = |Raised { alert, row }: &Raised| (alert.symbol.to_string(), alert.kind, alert.state, *row);
    raised.iter().map(of).collect()
}

fn shifts() -> DetectConfig {
    DetectConfig { level_shift: LevelShiftConfig::default(), ..only_spikes(SpikeConfig::default()) }
}

fn only_gaps() -> DetectConfig {
    let spike = SpikeConfig { enabled: false, ..SpikeConfig::default() };
    DetectConfig { gap: GapConfig::default(), ..only_spikes(spike) }
}

fn prices_of(symbol: &str, at_s: i64, prices: impl IntoIterator<Item = f64>) -> Vec<(&str, i64, f64)> {
    (at_s..).zip(prices).map(|(at_s, price)| (symbol, at_s, price)).collect()
}

#[test]
fn spike_is_credited_to_the_price_that_confirms_it() {
    let mut desk = Desk::new(&shifts());
    let ticks = prices_of("AAPL", 0, calm(200).chain([110.0]).chain(calm(3)));
    assert_eq!(desk.batch(ticks), [("AAPL".to_owned(), Kind::Spike, State::Open, Some(201))]);
}

#[test]
fn spike_that_needs_no_other_price_is_credited_to_its_own_tick() {
    let ticks = prices_of("AAPL", 0, calm(200).chain([110.0]).chain(calm(3)));
    assert_eq!(Desk::usual().batch(ticks), [("AAPL".to_owned(), Kind::Spike, State::Open, Some(200))]);
}

#[test]
fn level_shift_is_credited_to_the_price_that_confirms_it() {
    let ticks = || prices_of("AAPL", 200, calm(8).map(|price| price + 1.0));
    let mut single = Desk::new(&shifts());
    single.batch(prices_of("AAPL", 0, calm(200)));
    let certain = ticks().into_iter().position(|tick| !single.batch([tick]).is_empty()).unwrap();
    assert!(certain > 1, "not by the first two");
    let mut desk = Desk::new(&shifts());
    desk.batch(prices_of("AAPL", 0, calm(200)));
    let expected = ("AAPL".to_owned(), Kind::LevelShift, State::Open, Some(certain as u32));
    assert_eq!(desk.batch(ticks()), [expected]);
}

#[test]
fn gap_of_a_symbol_opens_without_a_row_and_its_end_has_that_of_the_tick_that_ends_it() {
    let mut desk = Desk::new(&only_gaps());
    let mut ticks = Vec::new();
    for at_s in 0..460 {
        // A is silent for 50 seconds; the last second of all is A's.
        if !(400..450).contains(&at_s) {
            ticks.push(("A", at_s, 100.0));
        }
        ticks.push(("B", at_s, 100.0));
    }
    let back = ticks.iter().position(|tick| *tick == ("A", 450, 100.0)).unwrap();
    let (open, close) = ((State::Open, None), (State::Close, Some(back as u32)));
    assert_eq!(desk.batch(ticks), [open, close].map(|(state, row)| ("A".to_owned(), Kind::Gap, state, row)));
}

#[test]
fn silence_of_the_feed_begins_and_ends_without_a_row() {
    let mut desk = Desk::new(&only_gaps());
    let ticks = both(0..400).chain(both(460..470)).map(|(symbol, at_s)| (symbol, at_s, 100.0));
    assert_eq!(desk.batch(ticks), [State::Open, State::Close].map(|state| ("*".to_owned(), Kind::Gap, state, None)));
}

#[test]
fn alert_that_the_clock_makes_certain_has_no_row_whoever_moves_the_clock() {
    for mover in ["AAPL", "MSFT"] {
        let mut desk = Desk::new(&shifts());
        desk.batch(prices_of("AAPL", 0, calm(200).chain([110.0])));
        let said = desk.batch([(mover, 211, 100.0)]);
        assert_eq!(said, [("AAPL".to_owned(), Kind::Spike, State::Open, None)], "moved by {mover}");
    }
    let config = DetectConfig { idle_max: Duration::from_secs(100), ..lines(&[line("AAPL", 10.0)]) };
    let mut desk = Desk::new(&config);
    let [open, close] = [(State::Open, Some(1)), (State::Close, None)]
        .map(|(state, row)| ("AAPL".to_owned(), Kind::Threshold, state, row));
    assert_eq!(desk.batch([("AAPL", 0, 9.0), ("AAPL", 1, 10.5), ("MSFT", 1_000, 1.0)]), [open, close]);
}

#[test]
fn alerts_while_nothing_comes_and_at_the_end_have_no_row() {
    let spike = [("AAPL".to_owned(), Kind::Spike, State::Open, None)];
    let suspicious = || {
        let mut desk = Desk::new(&shifts());
        desk.batch(prices_of("AAPL", 0, calm(200).chain([110.0])));
        desk
    };
    let mut raised = Vec::new();
    suspicious().detectors.idle(START_US + 210 * SECOND_US, &mut raised);
    assert_eq!(said(&raised), spike);
    raised.clear();
    suspicious().detectors.finish(None, &mut raised);
    assert_eq!(said(&raised), spike);
}

#[test]
fn alerts_without_a_row_stand_behind_the_last_row_of_their_symbol() {
    let alert = |symbol: &str| Alert { symbol: symbol.into(), ..crate::alert::tests::alert() };
    let raised = |symbol, row| Raised { alert: alert(symbol), row };
    let first = [raised("A", None), raised("C", Some(2)), raised("A", Some(5)), raised("C", None), raised("A", None)];
    let second = [raised("B", Some(1)), raised("B", Some(3)), raised("D", None)];
    let expected = [
        ("A", None),
        ("D", None),
        ("B", Some(1)),
        ("C", Some(2)),
        ("C", None),
        ("B", Some(3)),
        ("A", Some(5)),
        ("A", None),
    ];
    for shards in [[&first[..], &second], [&second, &first]] {
        let mut raised = shards.concat();
        Raised::sort(&mut raised);
        let order: Vec<_> = raised.iter().map(|raised| (&*raised.alert.symbol, raised.row)).collect();
        assert_eq!(order, expected);
    }
}

/// Ticks of twelve symbols in which every detector finds something.
fn turmoil() -> Vec<(usize, i64, f64, f64)> {
    let mut random = 3_u64;
    let mut below = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut prices = [100.0; 12];
    let mut at_us = 0;
    let mut ticks = Vec::new();
    for at in 0..20_000 {
        let symbol = below(12) as usize;
        at_us += below(60_000) as i64 + if at % 5_000 == 4_999 { 120 * SECOND_US } else { 0 };
        if below(400) == 0 {
            prices[symbol] *= 0.98 + below(5) as f64 / 100.0;
        }
        let price = match below(300) {
            0 => prices[symbol] * 1.1,
            _ => prices[symbol] + below(4) as f64 / 100.0,
        };
        // One in three thousand comes from the past, and now and then a symbol is silent for a minute.
        let late_us = if below(3_000) == 0 { 500 * SECOND_US } else { 0 };
        if symbol == 0 || (at / 1_000 + symbol as i64) % 7 != 0 {
            let volume = if at % 5_000 / 100 == 42 { 1_000.0 } else { 1.0 };
            ticks.push((symbol, at_us - late_us, price, volume));
        }
    }
    ticks
}

#[test]
fn alerts_of_all_kinds_have_the_rows_of_ticks_shown_one_by_one_whatever_the_shards_and_batches() {
    let names = Dictionaries::new(12);
    let symbols: Vec<NameId> = (0..12).map(|name| names.symbols.intern(&format!("S{name}")).unwrap().0).collect();
    let of = |(symbol, at_us, price, volume): (usize, i64, f64, f64)| Tick {
        volume,
        ..tick(symbols[symbol], START_US + at_us, price)
    };
    let ticks: Vec<Tick> = turmoil().into_iter().map(of).collect();
    let run = |shards: u32, rows: usize| {
        let mut shards: Vec<Detectors> =
            Shard::all(shards).map(|shard| Detectors::of_shard(&touchy(5, 3.0), shard)).collect();
        let mut all = Vec::new();
        for (batch, first) in ticks.chunks(rows).zip((0_u32..).step_by(rows)) {
            let mut columns = TickBatch::default();
            columns.assign(batch);
            let mut raised = Vec::new();
            for detectors in &mut shards {
                detectors.observe(&columns, &names, None, &mut raised);
            }
            all.extend(
                raised.into_iter().map(|Raised { alert, row }| (alert.id, alert.kind, row.map(|row| first + row))),
            );
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    let single = run(1, 1);
    for kind in [
        Kind::Spike,
        Kind::LevelShift,
        Kind::Threshold,
        Kind::Move,
        Kind::Volatility,
        Kind::Volume,
        Kind::Gap,
        Kind::LimitBand,
        Kind::Clock,
    ] {
        let of_kind = single.iter().filter(|(_, other, _)| *other == kind);
        let (with, without) = of_kind.fold((0, 0), |(with, without), (_, _, row)| match row {
            Some(_) => (with + 1, without),
            None => (with, without + 1),
        });
        println!("{kind:?}: {with} with a row, {without} without");
        assert!(with > 0 && without > 0, "{kind:?}: {with} with a row, {without} without");
    }
    for (shards, rows) in [(1, 700), (2, 700), (5, 700), (5, 20_000)] {
        assert_eq!(run(shards, rows), single, "{shards} shards, {rows} rows a batch");
    }
}
