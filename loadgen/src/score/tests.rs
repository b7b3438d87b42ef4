//! Scores of hand-made alerts, and a naive matching to compare with.

use super::*;
use crate::random::Random;

const SECOND_US: i64 = 1_000_000;
const GRACE: Duration = Duration::from_secs(30);

/// Times are in seconds.
fn event(kind: &str, label: &str, symbol: &str, start: i64, end: i64) -> Event {
    Event {
        kind: kind.to_owned(),
        label: label.to_owned(),
        symbol: symbol.to_owned(),
        start_us: start * SECOND_US,
        end_us: end * SECOND_US,
        direction: None,
        seq: 0,
        expected: None,
        observed: None,
    }
}

fn alert(kind: &str, symbol: &str, ts: i64) -> Alert {
    Alert { symbol: symbol.to_owned(), kind: kind.to_owned(), ts_us: ts * SECOND_US }
}

/// Events, found, false alerts, duplicates and side effects of a kind.
fn counts(score: &Score, kind: &str) -> [u64; 5] {
    let kind = score.kinds.iter().find(|score| score.kind == kind).unwrap();
    [kind.events, kind.found, kind.false_alerts, kind.duplicates, kind.side_effects]
}

fn of(events: &[Event], alerts: &[Alert]) -> Score {
    score(events, alerts, &Ticks::counted(1_000_000), GRACE)
}

#[test]
fn alert_finds_an_event_from_its_start_until_the_grace_is_over() {
    let events = [event("gap", "gap_30s", "A", 100, 130)];
    for (ts, found) in [(99, 0), (100, 1), (130, 1), (160, 1), (161, 0)] {
        assert_eq!(counts(&of(&events, &[alert("gap", "A", ts)]), "gap"), [1, found, 1 - found, 0, 0], "{ts}");
    }
    let without_grace = score(&events, &[alert("gap", "A", 131)], &Ticks::counted(1), Duration::ZERO);
    assert_eq!(counts(&without_grace, "gap"), [1, 0, 1, 0, 0]);
}

#[test]
fn further_alerts_of_an_event_are_duplicates_and_false() {
    let events = [event("gap", "gap_30s", "A", 100, 130), event("gap", "gap_30s", "A", 500, 530)];
    let alerts = [105, 101, 160, 200, 504].map(|ts| alert("gap", "A", ts));
    let score = of(&events, &alerts);
    assert_eq!(counts(&score, "gap"), [2, 2, 3, 2, 0]);
    // The first alert by time counts, not by position: 1 s and 4 s.
    assert_eq!(score.labels[0].delay_median_s, Some(2.5));
}

#[test]
fn alerts_of_another_kind_inside_an_event_are_side_effects() {
    let events = [event("level_shift", "level_shift_50bp", "A", 100, 280), event("spike", "spike_50bp", "A", 900, 900)];
    let alerts =
        [alert("spike", "A", 100), alert("spike", "A", 310), alert("spike", "A", 311), alert("move", "A", 930)];
    let score = of(&events, &alerts);
    assert_eq!(counts(&score, "spike"), [1, 0, 1, 0, 2]);
    assert_eq!(counts(&score, "level_shift"), [1, 0, 0, 0, 0]);
    assert_eq!(counts(&score, "move"), [0, 0, 0, 0, 1]);
}

#[test]
fn alerts_of_another_symbol_find_nothing() {
    let events = [event("spike", "spike_50bp", "A", 100, 100)];
    assert_eq!(counts(&of(&events, &[alert("spike", "B", 100)]), "spike"), [1, 0, 1, 0, 0]);
}

#[test]
fn overlapping_events_of_a_kind_are_each_found_by_an_alert_of_their_own() {
    // The second event is over first. If the first alert found the first event, the second alert would find nothing.
    let events = [event("gap", "gap_60s", "A", 100, 200), event("gap", "gap_30s", "A", 110, 120)];
    let score = of(&events, &[alert("gap", "A", 150), alert("gap", "A", 190)]);
    assert_eq!(counts(&score, "gap"), [2, 2, 0, 0, 0]);
}

#[test]
fn figures_follow_from_the_counts() {
    let mut events: Vec<Event> = (0..4).map(|at| event("spike", "spike_50bp", "A", at * 1_000, at * 1_000)).collect();
    events.push(event("spike", "spike_20bp", "A", 9_000, 9_000));
    let alerts = [0, 1_004, 2_001, 2_002, 5_000].map(|ts| alert("spike", "A", ts));
    let score = of(&events, &alerts);
    let spike = &score.kinds[0];
    assert_eq!([spike.events, spike.found, spike.false_alerts, spike.duplicates], [5, 3, 2, 1]);
    assert_eq!((spike.precision, spike.recall), (Some(0.6), Some(0.6)));
    assert!((spike.f1.unwrap() - 0.6).abs() < 1e-12);
    assert_eq!(spike.false_per_million_ticks, Some(2.0));
    let [small, large] = score.labels.as_slice() else { panic!("{:?}", score.labels) };
    assert_eq!((small.label.as_str(), small.events, small.found, small.recall), ("spike_20bp", 1, 0, 0.0));
    assert_eq!((small.delay_median_s, small.delay_median_ticks), (None, None));
    assert_eq!((large.label.as_str(), large.events, large.found, large.recall), ("spike_50bp", 4, 3, 0.75));
    assert_eq!((large.delay_median_s, large.delay_median_ticks), (Some(1.0), None));
}

#[test]
fn figures_without_events_or_alerts_are_none() {
    let score = of(&[event("gap", "gap_30s", "A", 1, 2)], &[alert("threshold", "A", 500)]);
    let [gap, threshold] = score.kinds.as_slice() else { panic!("{:?}", score.kinds) };
    assert_eq!((gap.precision, gap.recall, gap.f1), (None, Some(0.0), Some(0.0)));
    assert_eq!((threshold.precision, threshold.recall, threshold.f1), (Some(0.0), None, None));
    let unknown = super::score(&[], &[alert("spike", "A", 1)], &Ticks::counted(0), GRACE);
    assert_eq!(unknown.kinds[0].false_per_million_ticks, None);
}

#[test]
fn delay_in_ticks_counts_the_trades_of_the_symbol_after_the_first() {
    let trades = Trades {
        symbols: vec!["A".to_owned(), "B".to_owned()],
        symbol: vec![0, 1, 0, 0, 1, 0],
        ts_us: [100, 101, 104, 102, 103, 110].map(|ts| ts * SECOND_US).to_vec(),
        ..Trades::default()
    };
    let ticks = Ticks::of(&trades);
    for (ts, delay) in [(100, 0.0), (101, 0.0), (102, 1.0), (104, 2.0), (109, 2.0), (110, 3.0)] {
        let events = [event("spike", "spike_50bp", "A", 100, 100)];
        let score = score(&events, &[alert("spike", "A", ts)], &ticks, GRACE);
        assert_eq!(score.labels[0].delay_median_ticks, Some(delay), "{ts}");
        assert_eq!(score.ticks, 6);
    }
}

/// Compares every alert with every event, for events that do not overlap.
fn naive(events: &[Event], alerts: &[Alert]) -> BTreeMap<String, [u64; 5]> {
    let mut counts: BTreeMap<String, [u64; 5]> = BTreeMap::new();
    for event in events {
        counts.entry(event.kind.clone()).or_default()[0] += 1;
    }
    let is_in = |alert: &Alert, event: &Event| {
        let until = event.end_us + GRACE.as_micros() as i64;
        alert.symbol == event.symbol && alert.ts_us >= event.start_us && alert.ts_us <= until
    };
    let mut found = vec![false; events.len()];
    for alert in alerts {
        let count = counts.entry(alert.kind.clone()).or_default();
        let event = (0..events.len()).find(|&at| is_in(alert, &events[at]));
        match event {
            Some(at) if events[at].kind == alert.kind && !found[at] => {
                found[at] = true;
                count[1] += 1;
            }
            Some(at) if events[at].kind == alert.kind => {
                count[2] += 1;
                count[3] += 1;
            }
            Some(_) => count[4] += 1,
            None => count[2] += 1,
        }
    }
    counts
}

#[test]
fn sweep_agrees_with_comparing_everything_with_everything() {
    for seed in 0..200 {
        let mut random = Random::new(seed, 0);
        let kinds = ["spike", "gap", "volume"];
        let symbols = ["A", "B"];
        let mut events = Vec::new();
        for symbol in symbols {
            let mut start = 0;
            for _ in 0..random.below(20) {
                start += random.below(100) as i64;
                let end = start + random.below(60) as i64;
                events.push(event(kinds[random.below(3) as usize], "x", symbol, start, end));
                start = end + 31;
            }
        }
        let mut draw = |_| {
            let (kind, symbol) = (random.below(3) as usize, random.below(2) as usize);
            alert(kinds[kind], symbols[symbol], random.below(1_500) as i64)
        };
        let alerts: Vec<Alert> = (0..60).map(&mut draw).collect();
        let expected = naive(&events, &alerts);
        let score = of(&events, &alerts);
        let actual: BTreeMap<String, [u64; 5]> =
            score.kinds.iter().map(|kind| (kind.kind.clone(), counts(&score, &kind.kind))).collect();
        assert_eq!(actual, expected, "seed {seed}");
    }
}

#[test]
fn alerts_are_read_as_the_schema_has_them_and_only_when_they_open() {
    let schema: serde_json::Value = serde_json::from_str(ticklake_schemas::ALERT_JSON_SCHEMA).unwrap();
    let lines = [None, Some("open"), Some("update"), Some("close")].map(|state| {
        let mut line = schema["examples"][0].clone();
        if let Some(state) = state {
            line["state"] = state.into();
        }
        line.to_string()
    });
    let example = Alert { symbol: "AAPL".to_owned(), kind: "spike".to_owned(), ts_us: 1_795_442_400_000_001 };
    assert_eq!(read_alerts(lines.join("\n").as_bytes()).unwrap(), [example.clone(), example]);
}

#[test]
fn bad_alerts_are_named_by_their_number() {
    let good = r#"{"symbol":"A","kind":"spike","ts":"2026-01-01T00:00:00Z"}"#;
    let error = read_alerts(format!("{good}\n{{\"symbol\":1}}\n").as_bytes()).unwrap_err();
    assert!(matches!(error, AlertError::Json { number: 2, .. }), "{error}");
    let error = read_alerts(good.replace("01-01", "13-01").as_bytes()).unwrap_err();
    assert!(matches!(error, AlertError::Time { number: 1, .. }), "{error}");
}

#[test]
fn table_names_every_label_and_kind() {
    let events = [event("gap", "gap_30s", "A", 100, 130), event("spike", "spike_50bp", "A", 900, 900)];
    let table = of(&events, &[alert("gap", "A", 131), alert("gap", "A", 132), alert("spike", "A", 133)]).to_string();
    let expected = "\
ticks      1000000
grace      30 s
events     2, 1 found
alerts     3: 1 true, 1 false (1 of them duplicates), 1 side effects

label                  events    found    recall    delay s  delay ticks
gap_30s                     1        1    1.0000     31.000            -
spike_50bp                  1        0    0.0000          -            -

kind         precision    recall        F1     false duplicates side effects  false/M ticks
gap             0.5000    1.0000    0.6667         1          1            0          1.000
spike                -    0.0000    0.0000         0          0            1          0.000";
    assert_eq!(table, expected);
}
