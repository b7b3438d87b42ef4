//! Silence: of one symbol, and of all.

use super::*;

/// The gaps that are alerted for ticks of these symbols in these seconds, in this order.
fn gaps(ticks: impl IntoIterator<Item = (&'static str, i64)>) -> Vec<(String, i64)> {
    let config = DetectConfig {
        gap: GapConfig::default(),
        ..only_spikes(SpikeConfig { enabled: false, ..SpikeConfig::default() })
    };
    let mut desk = Desk::new(&config);
    let alerts = ticks.into_iter().flat_map(|(symbol, second)| desk.see(symbol, second * SECOND_US, 100.0));
    alerts.map(|alert| (alert.symbol.to_string(), (alert.ts_us - START_US) / SECOND_US)).collect()
}

pub(super) fn both(seconds: std::ops::Range<i64>) -> impl Iterator<Item = (&'static str, i64)> {
    seconds.flat_map(|second| [("A", second), ("B", second)])
}

#[test]
fn silence_of_a_symbol_is_one_alert_whatever_comes_late() {
    let alone = || both(0..400).chain((400..450).map(|second| ("B", second)));
    assert_eq!(gaps(alone()), [("A".to_owned(), 415)]);
    // There is no delay for a single late tick in a thousand.
    let late = alone().chain([("A", 100)]).chain((450..500).map(|second| ("B", second)));
    assert_eq!(gaps(late), [("A".to_owned(), 415)]);
    let again = alone().chain(both(450..900)).chain((900..950).map(|second| ("B", second)));
    assert_eq!(gaps(again).len(), 2);
}

#[test]
fn silence_of_all_is_one_alert_and_who_stays_away_is_another() {
    let feed = || both(0..400).chain([("B", 460)]);
    assert_eq!(gaps(feed()), [("*".to_owned(), 415)]);
    assert_eq!(gaps(feed().chain(both(461..600))), [("*".to_owned(), 415)]);
    let away = gaps(feed().chain((461..600).map(|second| ("B", second))));
    assert_eq!(away, [("*".to_owned(), 415), ("A".to_owned(), 415)]);
    let only = (0..400).map(|second| ("A", second)).chain([("A", 460)]);
    assert_eq!(gaps(only), [("A".to_owned(), 415)], "one symbol is no feed");
}

#[test]
fn ticks_that_all_come_late_are_waited_for() {
    // B is always a minute behind.
    let behind = (0..400).flat_map(|second| [("A", second), ("B", second - 60)]);
    assert_eq!(gaps(behind), []);
}
