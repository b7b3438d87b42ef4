//! Planted trades: what an event alters, what it leaves alone, and where events fall. It does *not* own how they are
//! scored.

mod market;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tempfile::TempDir;

use self::market::*;
use super::*;
use crate::{Mapping, Recording, random::Random};

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;
const DAY_US: i64 = 24 * HOUR_US;
/// 2026-06-01 13:30 UTC.
const START_US: i64 = 1_780_320_600 * SECOND_US;

#[test]
fn planting_changes_nothing_outside_of_its_events() {
    for seed in 0..3 {
        let original = market();
        let (trades, events) = planted(original.clone(), &PlantConfig { seed, ..dense() });
        assert!(events.len() >= 24, "{}", events.len());
        for symbol in &original.symbols {
            let spans: Vec<_> = events.iter().filter(|event| event.symbol == *symbol).map(traces).collect();
            let is_outside = |ts_us: i64| !spans.iter().any(|&(from, to)| ts_us >= from && ts_us < to);
            assert_eq!(cells(&trades, symbol, is_outside), cells(&original, symbol, is_outside), "{symbol}");
        }
        for event in &events {
            assert_ne!(within(&trades, event), within(&original, event), "{event:?}");
        }
    }
}

#[test]
fn same_seed_gives_the_same_events_and_another_seed_gives_others() {
    let of = |seed| planted(market(), &PlantConfig { seed, ..dense() });
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).1, of(2).1);
}

#[test]
fn kinds_and_directions_come_equally_often() {
    let (_, events) = planted(market(), &PlantConfig { quiet: Duration::ZERO, ..dense() });
    let mut kinds = HashMap::new();
    let mut ups: HashMap<EventKind, i64> = HashMap::new();
    for event in &events {
        *kinds.entry(kind_of(event)).or_insert(0) += 1;
        if let Some(direction) = event.direction.filter(|_| event.kind != "volume") {
            *ups.entry(kind_of(event)).or_default() += if direction == Direction::Up { 1 } else { -1 };
        }
    }
    assert_eq!(kinds.len(), EventKind::ALL.len());
    assert!(kinds.values().max().unwrap() - kinds.values().min().unwrap() <= 1, "{kinds:?}");
    assert_eq!(ups.len(), 6);
    assert!(ups.values().all(|balance| balance.abs() <= 1), "{ups:?}");
}

#[test]
fn events_are_as_far_apart_as_asked() {
    for quiet in [0, 60, 300].map(Duration::from_secs) {
        let (_, events) = planted(market(), &PlantConfig { quiet, every: NonZeroU64::MIN, ..dense() });
        let mut free_us: HashMap<&str, i64> = HashMap::new();
        assert!(events.is_sorted_by_key(|event| event.start_us));
        for event in &events {
            let free_us = free_us.entry(&event.symbol).or_insert(i64::MIN);
            assert!(event.start_us >= *free_us, "{event:?}");
            *free_us = event.start_us + (kind_of(event).spans().traces + quiet).as_micros() as i64;
        }
    }
}

#[test]
fn spikes_come_as_often_as_asked() {
    let config = PlantConfig { every: NonZeroU64::new(1_000).unwrap(), ..only(EventKind::Spike50bp) };
    let (_, events) = planted(one_symbol("SPY", START_US, 100_000, 400_000, 1), &config);
    // 9,000 trades are the first fifteen minutes.
    assert!((360..=420).contains(&events.len()), "{}", events.len());
}

#[test]
fn first_quarter_of_an_hour_of_every_day_is_left_alone() {
    let days: Vec<Trades> =
        (0..3).map(|day| one_symbol("SPY", START_US + day * DAY_US, SECOND_US, 3_000, day as u64)).collect();
    let mut trades = mixed(&days);
    trades.symbols.truncate(1);
    trades.symbol.fill(0);
    let warm_us = 15 * 60 * SECOND_US;
    let config = PlantConfig { every: NonZeroU64::MIN, ..only(EventKind::Spike50bp) };
    let (_, events) = planted(trades, &config);
    let after_us = |event: &Event| (event.start_us - START_US).rem_euclid(DAY_US);
    assert!(events.iter().all(|event| after_us(event) >= warm_us));
    for day in 0..3 {
        let first = events.iter().find(|event| event.start_us >= START_US + day * DAY_US).unwrap();
        assert!(after_us(first) < warm_us + 5 * SECOND_US, "{first:?}");
    }
}

#[test]
fn events_lie_in_the_hours_as_a_whole() {
    let minutes = |hour: u64, minute: u64| Duration::from_mins(60 * hour + minute);
    for (from, to) in [((14, 0), (14, 20)), ((14, 30), (13, 50))] {
        let (from, to) = (minutes(from.0, from.1), minutes(to.0, to.1));
        let config = PlantConfig { hours: DayHours::new(from, to), every: NonZeroU64::new(500).unwrap(), ..dense() };
        let (_, events) = planted(market(), &config);
        assert!(events.len() >= 8, "{}", events.len());
        for event in &events {
            let (start, end) = traces(event);
            for ts_us in [start, end] {
                let time = Duration::from_micros(ts_us.rem_euclid(DAY_US) as u64);
                let is_inside = if from < to { time >= from && time < to } else { time >= from || time < to };
                assert!(is_inside, "{event:?}");
            }
        }
    }
    assert_eq!(DayHours::new(minutes(1, 0), minutes(1, 0)), None);
}

#[test]
fn sequence_numbers_are_those_of_the_planted_file() {
    let original = market();
    let (trades, events) = planted(original.clone(), &dense());
    for symbol in &original.symbols {
        let unaltered: HashSet<Cell> = cells(&original, symbol, |_| true).into_iter().collect();
        let after = cells(&trades, symbol, |_| true);
        for event in events.iter().filter(|event| event.symbol == *symbol) {
            let ((from, to), seq) = (traces(event), event.seq as usize);
            if event.kind == "gap" {
                // Rows count in the order of the file, where a late row from before the gap may come after it.
                let first = after.iter().position(|cell| cell.0 >= to).unwrap();
                assert!(seq.abs_diff(first) <= 4, "{event:?}");
                continue;
            }
            let is_altered = |cell: &Cell| cell.0 >= from && cell.0 < to && !unaltered.contains(cell);
            assert_eq!(after.iter().position(is_altered), Some(seq), "{event:?}");
        }
    }
}

#[test]
fn spike_is_one_trade_of_its_size() {
    for (kind, size) in [(EventKind::Spike20bp, 0.002), (EventKind::Spike50bp, 0.005), (EventKind::Spike100bp, 0.01)] {
        before_and_after(kind, |event, before, after| {
            let [(_, old, _)] = before else { panic!("{before:?}") };
            let [(_, new, _)] = after else { panic!("{after:?}") };
            assert!((new - old * (1.0 + sign(event) * size)).abs() <= 0.005_001 && is_on_the_grid(*new), "{event:?}");
            assert_eq!((event.expected, event.observed), (Some(*old), Some(*new)));
            assert_eq!(event.start_us, event.end_us);
        });
    }
}

#[test]
fn decimal_shift_is_a_factor_of_ten_both_ways() {
    before_and_after(EventKind::DecimalShift, |event, before, after| {
        let factor = if event.direction == Some(Direction::Up) { 10.0 } else { 0.1 };
        assert!((after[0].1 - before[0].1 * factor).abs() <= 0.005_001, "{event:?}");
        assert_eq!((before.len(), after.len()), (1, 1));
    });
}

#[test]
fn level_shift_is_held_for_120_seconds() {
    before_and_after(EventKind::LevelShift50bp, |event, before, after| {
        assert_eq!(event.end_us - event.start_us, 180 * SECOND_US);
        for (old, new) in before.iter().zip(after) {
            let size = if old.0 < event.start_us + 120 * SECOND_US { sign(event) * 0.005 } else { 0.0 };
            assert!((new.1 - old.1 * (1.0 + size)).abs() <= 0.005_001 && is_on_the_grid(new.1), "{event:?}");
        }
        assert_eq!((event.expected, event.observed), (Some(before[0].1), Some(after[0].1)));
    });
}

#[test]
fn move_drifts_away_stays_and_comes_back_slowly() {
    before_and_after(EventKind::Move50bp60s, |event, before, after| {
        assert_eq!(event.end_us - event.start_us, 120 * SECOND_US);
        assert_eq!(event.label.starts_with("rise"), event.direction == Some(Direction::Up));
        for (old, new) in before.iter().zip(after) {
            let seconds = (old.0 - event.start_us) as f64 / 1e6;
            let part = (seconds / 60.0).min(1.0).min((420.0 - seconds) / 300.0);
            let off = new.1 - old.1 * (1.0 + sign(event) * 0.005 * part);
            // A price that would be off by less than a step stays as it was.
            assert!(off.abs() <= if new.1 == old.1 { 0.01 } else { 0.005_001 }, "{event:?}");
        }
        let ratio = event.observed.unwrap() / event.expected.unwrap();
        assert!((ratio - 1.0 - sign(event) * 0.005).abs() < 0.000_1, "{event:?}");
    });
}

#[test]
fn volatility_multiplies_the_distance_from_the_centred_mean() {
    let original = market();
    for (kind, factor) in [(EventKind::VolatilityX5, 5.0), (EventKind::VolatilityX10, 10.0)] {
        before_and_after(kind, |event, before, after| {
            let around = Event { label: EventKind::LevelShift50bp.name().to_owned(), ..event.clone() };
            let around = Event { start_us: event.start_us - 60 * SECOND_US, ..around };
            let around = within(&original, &around);
            let mut altered = 0;
            for (old, new) in before.iter().zip(after) {
                let near: Vec<f64> =
                    around.iter().filter(|row| (row.0 - old.0).abs() <= 5 * SECOND_US).map(|row| row.1).collect();
                let mean = near.iter().sum::<f64>() / near.len() as f64;
                let wanted = mean + factor * (old.1 - mean);
                altered += usize::from(new.1 != old.1);
                assert!((new.1 - wanted).abs() <= if new.1 == old.1 { 0.01 } else { 0.005_001 }, "{event:?}");
            }
            assert!(altered * 2 > before.len(), "{altered} of {}", before.len());
            assert_eq!((event.direction, event.expected, event.end_us - event.start_us), (None, None, 60 * SECOND_US));
        });
    }
}

#[test]
fn volumes_are_multiplied_for_30_seconds_and_prices_are_not() {
    for (kind, factor) in [(EventKind::VolumeX20, 20.0), (EventKind::VolumeX50, 50.0)] {
        before_and_after(kind, |event, before, after| {
            let wanted: Vec<_> = before.iter().map(|&(ts_us, price, volume)| (ts_us, price, volume * factor)).collect();
            assert_eq!(after, wanted);
            assert_eq!(event.end_us - event.start_us, 30 * SECOND_US);
        });
    }
}

#[test]
fn gap_leaves_no_trades() {
    for (kind, seconds) in [(EventKind::Gap30s, 30), (EventKind::Gap60s, 60)] {
        before_and_after(kind, |event, before, after| {
            assert!(before.len() >= 10 && after.is_empty(), "{event:?}");
            assert_eq!(before[0].0, event.start_us);
            assert_eq!(event.end_us - event.start_us, seconds * SECOND_US);
        });
    }
}

#[test]
fn symbols_that_cannot_carry_a_kind_get_none_of_it() {
    let often = |kind| PlantConfig { every: NonZeroU64::new(50).unwrap(), ..only(kind) };
    let thin = || one_symbol("THIN", START_US, 20 * SECOND_US, 3_000, 3);
    assert!(planted(thin(), &often(EventKind::Gap60s)).1.is_empty());
    assert!(planted(thin(), &often(EventKind::Spike50bp)).1.len() > 30);

    let mut flat = one_symbol("FLAT", START_US, 100_000, 50_000, 4);
    flat.price.fill(2.0);
    assert!(planted(flat.clone(), &often(EventKind::VolatilityX10)).1.is_empty());
    assert!(!planted(flat.clone(), &often(EventKind::VolumeX20)).1.is_empty());
    // 20 bp of 2.00 are less than a step, so a whole step is planted.
    let (_, events) = planted(flat, &often(EventKind::Spike20bp));
    assert!(events.iter().all(|event| matches!(event.observed, Some(1.99 | 2.01))));

    assert!(planted(market(), &PlantConfig { kinds: Vec::new(), ..dense() }).1.is_empty());
    assert!(planted(Trades::default(), &dense()).1.is_empty());
}

#[test]
fn written_trades_are_read_back_by_the_preset() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("planted.parquet");
    let (trades, _) = planted(market(), &dense());
    trades.write(&path).unwrap();
    let recording = Recording { path, mapping: Mapping::preset("ticklake").unwrap(), limit: None };
    assert_eq!(Trades::read(&recording).unwrap(), trades);

    let tail = Trades::read_after(&recording, trades.len() as u64 - 3).unwrap();
    assert_eq!(tail.ts_us, trades.ts_us[trades.len() - 3..]);

    // Sequence numbers count the rows of each symbol without holes, in the order of the file.
    let mut next: HashMap<String, i64> = HashMap::new();
    let read = crate::replay::replay(&recording, crate::Dialect::Canonical, &mut |tick| {
        let next = next.entry(tick.symbol.to_owned()).or_default();
        assert_eq!(tick.seq, *next);
        *next += 1;
        Ok(true)
    });
    assert_eq!(read.unwrap().len(), 3);
}

#[test]
fn event_has_the_documented_json() {
    let event = Event {
        kind: "spike".to_owned(),
        label: "spike_50bp".to_owned(),
        symbol: "SPY".to_owned(),
        start_us: START_US,
        end_us: START_US + 1,
        direction: Some(Direction::Down),
        seq: 7,
        expected: Some(100.0),
        observed: None,
    };
    let json = concat!(
        r#"{"kind":"spike","label":"spike_50bp","symbol":"SPY","start":"2026-06-01T13:30:00.000000Z","#,
        r#""end":"2026-06-01T13:30:00.000001Z","start_us":1780320600000000,"end_us":1780320600000001,"#,
        r#""direction":"down","seq":7,"expected":100.0,"observed":null}"#
    );
    assert_eq!(serde_json::to_string(&event).unwrap(), json);
    assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
}

#[test]
fn every_kind_has_a_name_of_its_own_that_reads_back() {
    for kind in EventKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    let error = "spike_51bp".parse::<EventKind>().unwrap_err();
    assert!(error.to_string().contains("\"spike_51bp\"") && error.to_string().contains("gap_60s"), "{error}");
}
