//! A market to plant events in, and views of a planted market. It owns no test.

use super::*;

/// The trades of one symbol. [`market`] mixes several of them.
pub(super) fn one_symbol(name: &str, start_us: i64, every_us: i64, count: usize, seed: u64) -> Trades {
    let mut random = Random::new(seed, 99);
    let mut cents = 18_937;
    let mut trades = Trades { symbols: vec![name.to_owned()], ..Trades::default() };
    for at in 0..count {
        cents += random.below(5) as i64 - 2;
        trades.symbol.push(0);
        trades.ts_us.push(start_us + at as i64 * every_us + random.below(every_us as u64 / 2) as i64);
        trades.price.push(cents as f64 / 100.0);
        trades.volume.push(1.0 + random.below(500) as f64);
        trades.venue.push((at % 3 > 0).then(|| Arc::from("N")));
        trades.conditions.push((at % 7 == 0).then(|| Arc::from("@ T")));
    }
    trades
}

/// The trades of several symbols in one file, by event time. One row in a hundred is a few rows late, as in real files.
pub(super) fn mixed(parts: &[Trades]) -> Trades {
    let mut rows: Vec<(i64, usize, usize)> = Vec::new();
    for (part, trades) in parts.iter().enumerate() {
        rows.extend(trades.ts_us.iter().enumerate().map(|(row, &ts_us)| (ts_us, part, row)));
    }
    rows.sort_unstable();
    for at in (0..rows.len().saturating_sub(4)).step_by(100) {
        rows.swap(at, at + 4);
    }
    let mut mixed =
        Trades { symbols: parts.iter().flat_map(|part| part.symbols.clone()).collect(), ..Trades::default() };
    for (ts_us, part, row) in rows {
        mixed.symbol.push(part as u32);
        mixed.ts_us.push(ts_us);
        mixed.price.push(parts[part].price[row]);
        mixed.volume.push(parts[part].volume[row]);
        mixed.venue.push(parts[part].venue[row].clone());
        mixed.conditions.push(parts[part].conditions[row].clone());
    }
    mixed
}

pub(super) fn market() -> Trades {
    mixed(&[
        one_symbol("SPY", START_US, 100_000, 100_000, 1),
        one_symbol("AAPL", START_US, 150_000, 70_000, 2),
        one_symbol("THIN", START_US, 20 * SECOND_US, 500, 3),
    ])
}

pub(super) fn only(kind: EventKind) -> PlantConfig {
    PlantConfig { kinds: vec![kind], ..dense() }
}

pub(super) fn dense() -> PlantConfig {
    PlantConfig { every: NonZeroU64::new(4_000).unwrap(), quiet: Duration::from_mins(1), ..PlantConfig::default() }
}

pub(super) fn planted(mut trades: Trades, config: &PlantConfig) -> (Trades, Vec<Event>) {
    let events = plant(&mut trades, config);
    (trades, events)
}

pub(super) fn kind_of(event: &Event) -> EventKind {
    let name = event.label.replace("rise", "drop");
    name.parse().unwrap()
}

/// The time range in which an event alters trades, without its end. For a single trade it is 1 us long.
pub(super) fn traces(event: &Event) -> (i64, i64) {
    let traces_us = kind_of(event).spans().traces.as_micros() as i64;
    (event.start_us, event.start_us + traces_us.max(1))
}

pub(super) type Cell = (i64, u64, u64, Option<Arc<str>>, Option<Arc<str>>);

/// The trades of a symbol whose times `wanted` accepts, in the order of the file.
pub(super) fn cells(trades: &Trades, symbol: &str, wanted: impl Fn(i64) -> bool) -> Vec<Cell> {
    let of_symbol = |&row: &usize| trades.symbols[trades.symbol[row] as usize] == symbol;
    let cell = |row: usize| {
        let (price, volume) = (trades.price[row].to_bits(), trades.volume[row].to_bits());
        (trades.ts_us[row], price, volume, trades.venue[row].clone(), trades.conditions[row].clone())
    };
    (0..trades.len()).filter(of_symbol).filter(|&row| wanted(trades.ts_us[row])).map(cell).collect()
}

/// The times, prices and volumes of a symbol's trades within an event, ascending by time.
pub(super) fn within(trades: &Trades, event: &Event) -> Vec<(i64, f64, f64)> {
    let (from, to) = traces(event);
    let cells = cells(trades, &event.symbol, |ts_us| ts_us >= from && ts_us < to);
    let mut rows: Vec<_> =
        cells.into_iter().map(|cell| (cell.0, f64::from_bits(cell.1), f64::from_bits(cell.2))).collect();
    rows.sort_by_key(|row| row.0);
    rows
}

/// Calls `check` for every event of one kind with its trades before and after. There are at least ten events.
pub(super) fn before_and_after(kind: EventKind, mut check: impl FnMut(&Event, &[(i64, f64, f64)], &[(i64, f64, f64)])) {
    let original = market();
    let (trades, events) = planted(original.clone(), &only(kind));
    assert!(events.len() >= 10, "{}", events.len());
    for event in &events {
        assert_eq!((event.kind.as_str(), kind_of(event)), (kind.alert_kind(), kind));
        check(event, &within(&original, event), &within(&trades, event));
    }
}

pub(super) fn sign(event: &Event) -> f64 {
    if event.direction.unwrap() == Direction::Up { 1.0 } else { -1.0 }
}

pub(super) fn is_on_the_grid(price: f64) -> bool {
    (price * 100.0).round() / 100.0 == price
}
