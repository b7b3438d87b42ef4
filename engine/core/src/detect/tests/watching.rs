//! Which symbols are watched, and how much memory a symbol takes.

use super::*;

#[test]
fn idle_symbols_are_forgotten_and_memory_is_bounded() {
    let mut desk = Desk::new(&DetectConfig { symbols_max: 100, ..DetectConfig::default() });
    for symbol in 0..150 {
        desk.see(&format!("S{symbol}"), symbol, 100.0);
    }
    assert_eq!((desk.detectors.watched(), desk.detectors.unwatched()), (100, 50));
    desk.see("S149", 6 * 86_400 * SECOND_US, 100.0);
    assert_eq!((desk.detectors.watched(), desk.detectors.unwatched()), (1, 50));
}

#[test]
fn new_symbol_takes_the_place_of_one_that_was_silent_for_long() {
    const HOUR_US: i64 = 3_600 * SECOND_US;
    let mut desk = Desk::new(&DetectConfig { symbols_max: 2, ..only_spikes(SpikeConfig::default()) });
    let watched = |desk: &mut Desk, symbol, at_us| {
        let before = desk.detectors.unwatched();
        desk.see(symbol, at_us, 100.0);
        desk.detectors.unwatched() == before
    };
    assert!(watched(&mut desk, "QUIET", 0) && watched(&mut desk, "BUSY", 0));
    // A sixteenth of four days is six hours.
    for hour in 1..6 {
        assert!(watched(&mut desk, "BUSY", hour * HOUR_US) && !watched(&mut desk, "NEW", hour * HOUR_US + 1));
    }
    assert!(watched(&mut desk, "BUSY", 6 * HOUR_US), "and there is room from now on");
    assert!(watched(&mut desk, "NEW", 6 * HOUR_US) && watched(&mut desk, "BUSY", 6 * HOUR_US));
    assert!(!watched(&mut desk, "QUIET", 6 * HOUR_US + 2 * SECOND_US));
}

#[test]
fn symbols_beyond_the_table_of_names_are_not_watched_and_push_nobody_out() {
    let names = Dictionaries::new(1);
    let mut cache = NameCache::new(names.symbols.clone());
    let config = DetectConfig { symbols_max: 1, ..only_spikes(SpikeConfig::default()) };
    let mut detectors = Detectors::new(&config);
    let kept = cache.intern("KEPT");
    let mut batch = TickBatch::default();
    batch.push(tick(kept, START_US, 100.0));
    for guest in 0..100 {
        let symbol = cache.intern(&format!("G{}", guest % 50));
        batch.push(tick(symbol, START_US + guest * 3_600 * SECOND_US, 100.0));
    }
    detectors.observe(&batch, &names, None, &mut Vec::new());
    assert_eq!((detectors.watched(), detectors.unwatched()), (0, 100), "silent for days, so it is forgotten");
    let mut batch = TickBatch::default();
    batch.push(tick(kept, START_US + 99 * 3_600 * SECOND_US, 100.0));
    batch.push(tick(cache.intern("G1"), START_US + 110 * 3_600 * SECOND_US, 100.0));
    batch.push(tick(cache.intern("G2"), START_US + 111 * 3_600 * SECOND_US, 100.0));
    detectors.observe(&batch, &names, None, &mut Vec::new());
    assert_eq!((detectors.watched(), detectors.unwatched()), (1, 102));
}

#[test]
fn conditions_beyond_the_table_of_names_are_skipped_by_what_they_say() {
    let names = Dictionaries::new(1);
    let symbol = names.symbols.intern("AAPL").unwrap().0;
    names.conditions.intern("@").unwrap();
    let config = DetectConfig { skip_conditions: vec!["*W*".to_owned()], ..only_spikes(SpikeConfig::default()) };
    let mut detectors = Detectors::new(&config);
    let mut skipped = Vec::new();
    let mut ids = Vec::new();
    for text in ["@ W", "@ T", "W"] {
        let mut cache = NameCache::new(names.conditions.clone());
        let conditions = cache.intern(text);
        let mut batch = TickBatch::default();
        batch.push(Tick { conditions, ..tick(symbol, START_US, 100.0) });
        batch.guests.extend(cache.take_hold());
        detectors.observe(&batch, &names, None, &mut Vec::new());
        skipped.push(detectors.skipped());
        ids.push(conditions);
    }
    assert_eq!((ids[0], skipped.as_slice()), (ids[2], &[1, 1, 2][..]), "one id for both guests");
}

#[test]
fn hot_state_of_a_symbol_is_at_most_1024_bytes() {
    let bytes = Detectors::new(&DetectConfig::default()).hot_bytes_per_symbol();
    println!("a tick that is no anomaly touches {bytes} bytes of its symbol");
    assert!(bytes <= 1024, "{bytes}");
}
