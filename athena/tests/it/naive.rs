//! Compares every shipped query with a plain twin over the same rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::fixture::{Cell, Fixture, HOUR_US, MIDNIGHT_US, MINUTE_US, SECOND_US, Tick, cells, shipped};

/// One row as cells, from values that become cells.
macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$(Cell::from($value)),*] };
}

#[track_caller]
fn assert_same(answer: &[Vec<Cell>], naive: &[Vec<Cell>]) {
    assert!(!naive.is_empty(), "the twin has nothing to compare");
    assert_eq!(answer.len(), naive.len(), "rows: {answer:?}\n{naive:?}");
    for (row, expected) in answer.iter().zip(naive) {
        let same = row.len() == expected.len() && row.iter().zip(expected).all(|(a, b)| is_same(a, b));
        assert!(same, "{row:?}\n{expected:?}");
    }
}

/// Allows for sums of the same numbers in another order, which may round to the next digit.
fn is_same(a: &Cell, b: &Cell) -> bool {
    match (a, b) {
        (Cell::Number(a), Cell::Number(b)) => (a - b).abs() <= 1.5e-6 + 1e-12 * b.abs(),
        _ => a == b,
    }
}

fn round(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

/// The recent ticks by `key`, each group in the order in which they were traded.
fn grouped<Key: Ord>(fixture: &Fixture, key: impl Fn(&Tick) -> Key) -> BTreeMap<Key, Vec<&Tick>> {
    let mut groups: BTreeMap<Key, Vec<&Tick>> = BTreeMap::new();
    for tick in fixture.recent() {
        groups.entry(key(tick)).or_default().push(tick);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|tick| (tick.ts, tick.seq.is_none(), tick.seq));
    }
    groups
}

fn minute(tick: &Tick) -> i64 {
    tick.ts.div_euclid(MINUTE_US) * MINUTE_US
}

fn volume(ticks: &[&Tick]) -> f64 {
    ticks.iter().map(|tick| tick.volume).sum()
}

fn notional(ticks: &[&Tick]) -> f64 {
    ticks.iter().map(|tick| tick.price * tick.volume).sum()
}

fn vwap(ticks: &[&Tick]) -> Option<f64> {
    let volume = volume(ticks);
    (volume != 0.0).then(|| notional(ticks) / volume)
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn low(ticks: &[&Tick]) -> f64 {
    ticks.iter().map(|tick| tick.price).fold(f64::INFINITY, f64::min)
}

fn high(ticks: &[&Tick]) -> f64 {
    ticks.iter().map(|tick| tick.price).fold(f64::NEG_INFINITY, f64::max)
}

fn day(ts: i64) -> &'static str {
    if ts < MIDNIGHT_US { "2026-11-22" } else { "2026-11-23" }
}

#[tokio::test]
async fn ohlcv_bars_are_first_highest_lowest_last_and_sum_of_each_minute() {
    let fixture = Fixture::new();
    let naive: Vec<_> = grouped(&fixture, |tick| (tick.symbol, minute(tick)))
        .into_iter()
        .map(|((symbol, minute), ticks)| {
            let (open, close) = (ticks[0].price, ticks[ticks.len() - 1].price);
            row![symbol, minute, open, high(&ticks), low(&ticks), close, volume(&ticks), ticks.len()]
        })
        .collect();
    assert_same(&shipped(&fixture.lake(), "ohlcv_bars").await, &naive);
}

#[tokio::test]
async fn vwap_weighs_each_price_by_its_volume() {
    let fixture = Fixture::new();
    let naive: Vec<_> = grouped(&fixture, |tick| (tick.symbol, day(tick.ts), tick.ts.div_euclid(HOUR_US) % 24))
        .into_iter()
        .map(|((symbol, day, hour), ticks)| {
            let prices: Vec<f64> = ticks.iter().map(|tick| tick.price).collect();
            row![
                symbol,
                day,
                hour,
                vwap(&ticks).map(|vwap| round(vwap, 6)),
                round(mean(&prices), 6),
                volume(&ticks),
                round(notional(&ticks), 2),
                ticks.len(),
            ]
        })
        .collect();
    assert_same(&shipped(&fixture.lake(), "vwap").await, &naive);
}

#[tokio::test]
async fn top_movers_come_in_the_order_of_their_change() {
    let fixture = Fixture::new();
    let mut moves: Vec<_> = grouped(&fixture, |tick| tick.symbol)
        .into_iter()
        .map(|(symbol, ticks)| {
            let (first, last) = (ticks[0].price, ticks[ticks.len() - 1].price);
            let change = 100.0 * (last - first) / first;
            (change, row![symbol, first, last, round(change, 4), low(&ticks), high(&ticks), volume(&ticks)])
        })
        .collect();
    moves.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    let naive: Vec<_> = moves.into_iter().map(|(_, row)| row).collect();
    assert_same(&shipped(&fixture.lake(), "top_movers").await, &naive);
}

#[tokio::test]
async fn volume_profile_puts_every_tick_in_one_of_twenty_bands() {
    let fixture = Fixture::new();
    let mut naive = Vec::new();
    for (symbol, ticks) in grouped(&fixture, |tick| tick.symbol) {
        let (low, high) = (low(&ticks), high(&ticks));
        let mut bands: BTreeMap<i64, Vec<&Tick>> = BTreeMap::new();
        for tick in &ticks {
            let band = if high > low { (20.0 * (tick.price - low) / (high - low)).floor() as i64 } else { 0 };
            bands.entry(band.min(19)).or_default().push(tick);
        }
        let width = (high - low) / 20.0;
        for (band, in_band) in bands {
            naive.push(row![
                symbol,
                round(low + band as f64 * width, 6),
                round(low + (band + 1) as f64 * width, 6),
                volume(&in_band),
                in_band.len(),
                round(100.0 * volume(&in_band) / volume(&ticks), 4),
            ]);
        }
    }
    assert_same(&shipped(&fixture.lake(), "volume_profile").await, &naive);
}

#[tokio::test]
async fn venue_spread_is_the_distance_of_the_dearest_from_the_cheapest_venue() {
    let fixture = Fixture::new();
    let mut spreads: BTreeMap<&str, Vec<(usize, f64)>> = BTreeMap::new();
    for ((symbol, _), ticks) in grouped(&fixture, |tick| (tick.symbol, minute(tick))) {
        let names: BTreeSet<&str> = ticks.iter().filter_map(|tick| tick.venue).collect();
        let of_venue = |name| ticks.iter().copied().filter(|tick| tick.venue == Some(name)).collect::<Vec<_>>();
        let vwaps: Vec<f64> = names.into_iter().filter_map(|name| vwap(&of_venue(name))).collect();
        if vwaps.len() > 1 {
            let cheapest = vwaps.iter().copied().fold(f64::INFINITY, f64::min);
            let dearest = vwaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            spreads.entry(symbol).or_default().push((vwaps.len(), 10_000.0 * (dearest - cheapest) / cheapest));
        }
    }
    let mut naive: Vec<_> = spreads
        .into_iter()
        .map(|(symbol, minutes)| {
            let venues = minutes.iter().map(|(venues, _)| *venues).max();
            let bps: Vec<f64> = minutes.iter().map(|(_, bps)| *bps).collect();
            let widest = bps.iter().copied().fold(0.0, f64::max);
            (mean(&bps), row![symbol, bps.len(), venues, round(mean(&bps), 4), round(widest, 4)])
        })
        .collect();
    naive.sort_by(|a, b| b.0.total_cmp(&a.0));
    let naive: Vec<_> = naive.into_iter().map(|(_, row)| row).collect();
    assert_same(&shipped(&fixture.lake(), "venue_spread").await, &naive);
}

#[tokio::test]
async fn feed_gaps_name_the_longest_silence_of_each_symbol() {
    let fixture = Fixture::new();
    let mut naive: Vec<_> = grouped(&fixture, |tick| tick.symbol)
        .into_iter()
        .map(|(symbol, ticks)| {
            let seconds = |tick: &Tick| tick.ts.div_euclid(SECOND_US);
            let gaps: Vec<_> = ticks.windows(2).map(|pair| (seconds(pair[1]) - seconds(pair[0]), pair)).collect();
            let longest = gaps.iter().map(|(gap, _)| *gap).max().unwrap();
            let (_, pair) = gaps.iter().find(|(gap, _)| *gap == longest).unwrap();
            let mean = mean(&gaps.iter().map(|(gap, _)| *gap as f64).collect::<Vec<_>>());
            (longest, row![symbol, pair[0].ts, pair[1].ts, longest, round(mean, 3)])
        })
        .collect();
    naive.sort_by_key(|(longest, _)| -longest);
    let naive: Vec<_> = naive.into_iter().map(|(_, row)| row).collect();
    assert_same(&shipped(&fixture.lake(), "feed_gaps").await, &naive);
}

#[tokio::test]
async fn alerts_are_listed_once_with_the_ticks_of_thirty_seconds_on_either_side() {
    let fixture = Fixture::new();
    let of = |id: &str| fixture.alerts.iter().find(|alert| alert.id == id).unwrap();
    let naive: Vec<_> = ["midnight", "silent", "morning"]
        .into_iter()
        .map(|id| {
            let alert = of(id);
            let nearby = fixture.recent().filter(|tick| tick.symbol == alert.symbol);
            let (before, after): (Vec<_>, Vec<_>) =
                nearby.filter(|tick| (tick.ts - alert.ts).abs() <= 30 * SECOND_US).partition(|tick| tick.ts < alert.ts);
            let price = |ticks: &[&Tick]| {
                let prices: Vec<f64> = ticks.iter().map(|tick| tick.price).collect();
                (!prices.is_empty()).then(|| round(mean(&prices), 6))
            };
            let sum = |ticks: &[&Tick]| (!ticks.is_empty()).then(|| volume(ticks));
            row![
                alert.ts,
                alert.symbol,
                "spike",
                "warning",
                "up",
                alert.observed,
                100.0,
                60.5,
                before.len(),
                after.len(),
                price(&before),
                price(&after),
                sum(&before),
                sum(&after),
            ]
        })
        .collect();
    assert!(naive[2][8] != Cell::Number(0.0) && naive[2][9] != Cell::Number(0.0), "no ticks around the alert");
    assert_same(&shipped(&fixture.lake(), "alerts_with_ticks").await, &naive);
}

#[tokio::test]
async fn quarantine_counts_rejects_messages_and_whole_bodies_of_each_reason() {
    let fixture = Fixture::new();
    let morning = MIDNIGHT_US + 4 * HOUR_US;
    let naive = [
        row!["2026-11-23", "bad_price", 2_i64, 1_i64, 0_i64, morning + 1, morning + 2, "price is -1"],
        row!["2026-11-23", "not_json", 2_i64, 2_i64, 2_i64, morning, morning + 3, "body is empty"],
        row!["2026-11-22", "not_json", 1_i64, 1_i64, 1_i64, MIDNIGHT_US - 1, MIDNIGHT_US - 1, "expected value at 0"],
    ];
    assert_same(&shipped(&fixture.lake(), "quarantine_by_reason").await, &naive);
}

#[tokio::test]
async fn duplicates_are_ticks_of_one_symbol_venue_and_number() {
    let fixture = Fixture::new();
    let mut naive = Vec::new();
    for (day, ticks) in grouped(&fixture, |tick| day(tick.ts)) {
        let mut copies: BTreeMap<_, usize> = BTreeMap::new();
        for tick in ticks.iter().filter(|tick| tick.seq.is_some()) {
            *copies.entry((tick.symbol, tick.venue, tick.seq)).or_default() += 1;
        }
        let total: usize = copies.values().sum();
        assert!(total > copies.len(), "the fixture has duplicates");
        naive.push(row![day, total, copies.len(), total - copies.len(), copies.values().max().copied()]);
    }
    assert_same(&shipped(&fixture.lake(), "duplicates_by_seq").await, &naive);
}

#[tokio::test]
async fn latest_price_is_that_of_the_last_tick() {
    let fixture = Fixture::new();
    let naive: Vec<_> = grouped(&fixture, |tick| tick.symbol)
        .into_iter()
        .map(|(symbol, ticks)| {
            let last = ticks[ticks.len() - 1];
            row![symbol, last.ts, last.price, last.volume, last.venue, ticks.len()]
        })
        .collect();
    assert_same(&shipped(&fixture.lake(), "latest_price").await, &naive);
}

/// The query comes from the example alert in the schema of alerts.
#[tokio::test]
async fn query_of_an_alert_gives_the_ticks_around_it() {
    let fixture = Fixture::new();
    let (_, example) = ticklake_schemas::ALERT_JSON_SCHEMA.split_once(r#""query": "SELECT"#).unwrap();
    let example = format!("SELECT{}", example.split_once('"').unwrap().0);
    let at = MIDNIGHT_US + 14 * HOUR_US + 1;
    let around = |tick: &&Tick| tick.symbol == "AAPL" && (tick.ts - at).abs() <= MINUTE_US;
    let mut naive: Vec<_> =
        fixture.ticks.iter().filter(around).map(|tick| row![tick.ts, tick.symbol, tick.price, tick.volume]).collect();
    let mut answer = cells(&fixture.lake().run(&example).await.unwrap());
    assert!(naive.len() > 3);
    // Ticks of one instant come in any order.
    let text = |row: &Vec<Cell>| format!("{row:?}");
    naive.sort_by_key(text);
    answer.sort_by_key(text);
    assert_same(&answer, &naive);
}
