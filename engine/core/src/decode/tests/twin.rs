//! Compares the decoder with a naive twin on `serde_json`, and feeds it bytes that no producer sends on purpose.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A tick as the twin reads it, from one JSON text.
fn twin(text: &str) -> NamedTick {
    let value: Value = serde_json::from_str(text).unwrap();
    let name = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    NamedTick {
        symbol: name("symbol").unwrap(),
        ts_us: value.get("ts").and_then(Value::as_i64).unwrap_or(NOW_US - 500),
        price: value["price"].as_f64().unwrap(),
        volume: value["volume"].as_f64().unwrap(),
        seq: value.get("seq").and_then(Value::as_i64),
        venue: name("venue"),
        conditions: name("conditions"),
    }
}

/// `text` as a JSON string. Some characters are escaped without need.
fn quoted(text: &str, escape_every: usize) -> String {
    let mut quoted = String::from("\"");
    for (at, character) in text.chars().enumerate() {
        let mut units = [0; 2];
        if character.is_control() || matches!(character, '"' | '\\') || at % escape_every == 0 {
            for unit in character.encode_utf16(&mut units) {
                write!(quoted, "\\u{unit:04x}").unwrap();
            }
        } else {
            quoted.push(character);
        }
    }
    quoted + "\""
}

fn string(pattern: &'static str) -> impl Strategy<Value = String> {
    (pattern, 1..9_usize).prop_map(|(text, escape_every)| quoted(&text, escape_every))
}

/// Numbers in the forms that producers write.
fn quantity() -> impl Strategy<Value = String> {
    prop_oneof![
        (0_u64..1_000_000).prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        (0_u32..100_000, 0_u32..10_000).prop_map(|(whole, part)| format!("{whole}.{part:04}")),
        any::<f64>()
            .prop_filter("a quantity", |value| value.is_finite())
            .prop_map(|value| format!("{:?}", value.abs())),
        any::<f64>()
            .prop_filter("a quantity", |value| value.is_finite())
            .prop_map(|value| format!("{:E}", value.abs())),
    ]
}

/// One good tick as JSON text without line breaks: keys in any order, white space, escapes, keys without a meaning.
fn tick_text() -> impl Strategy<Value = String> {
    let required = (string("[A-Za-z0-9^$][A-Z0-9 ._/:=+*@&#~|\u{e9}\u{4e2d}-]{0,9}"), quantity(), quantity());
    let optional = (
        proptest::option::of((946_684_800_000_000..NOW_US).prop_map(|ts| ts.to_string())),
        proptest::option::of(any::<i64>().prop_map(|seq| seq.to_string())),
        proptest::option::of(string("[^\\pC\u{2028}\u{2029}]{1,12}")),
        proptest::option::of(string("[\"\\\\ @I]{1,6}")),
        proptest::option::of(prop_oneof![
            string("\\PC{0,40}"),
            Just(r#"[{"price":1},[]]"#.to_owned()),
            Just("false".to_owned())
        ]),
    );
    let blanks = proptest::collection::vec("[ \t]{0,2}", 5);
    (required, optional, blanks)
        .prop_flat_map(|((symbol, price, volume), (ts, seq, venue, conditions, extra), blanks)| {
            let fields = [
                ("symbol", Some(symbol)),
                ("price", Some(price)),
                ("volume", Some(volume)),
                ("ts", ts),
                ("seq", seq),
                ("venue", venue),
                ("conditions", conditions),
                ("e\\\"xtra", extra),
            ];
            let fields: Vec<_> = fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            (Just(fields).prop_shuffle(), Just(blanks))
        })
        .prop_map(|(fields, blanks)| {
            let [before_key, after_key, before_value, after_value, last] =
                [0, 1, 2, 3, 4].map(|at| blanks[at].as_str());
            let field = |(key, value)| format!("{before_key}\"{key}\"{after_key}:{before_value}{value}{after_value}");
            format!("{{{}{last}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(","))
        })
}

fn bits(tick: &NamedTick) -> (u64, u64) {
    (tick.price.to_bits(), tick.volume.to_bits())
}

proptest! {
    #[test]
    fn every_form_agrees_with_the_twin(texts in proptest::collection::vec(tick_text(), 1..6), gap in "[ \t\r\n]{0,3}") {
        let expected: Vec<NamedTick> = texts.iter().map(|text| twin(text)).collect();
        let array = format!("{gap}[{gap}{}{gap}]", texts.join(&format!("{gap},{gap}")));
        let lines = texts.join(&format!("{gap}\n"));
        for body in [array, lines] {
            let outcome = decode(&body);
            prop_assert_eq!(outcome.refused(), []);
            prop_assert_eq!(&outcome.ticks, &expected);
            prop_assert!(outcome.ticks.iter().map(bits).eq(expected.iter().map(bits)));
        }
        let alone = decode(&texts[0]);
        prop_assert_eq!(&alone.ticks, &expected[..1]);
    }

    #[test]
    fn prices_are_those_of_the_standard_library(text in r"(0|[1-9][0-9]{0,22})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?") {
        let body = format!(r#"[{{"symbol":"A","price":{text},"volume":0}},{}]"#, tick("B"));
        let outcome = decode(&body);
        let expected: f64 = text.parse().unwrap();
        if expected.is_finite() {
            prop_assert_eq!(outcome.ticks[0].price.to_bits(), expected.to_bits());
        } else {
            prop_assert_eq!(outcome.symbols(), ["B"]);
        }
    }

    #[test]
    fn bad_ticks_never_disturb_good_ones(
        parts in proptest::collection::vec(prop_oneof![
            tick_text().prop_map(|text| (true, text)),
            prop_oneof![Just("7"), Just("{}"), Just(r#"{"symbol":"A","price":1e400,"volume":1}"#), Just(r#"{"a":"},{"}"#),
                Just(r#"{"symbol":"A","price":NaN,"volume":1}"#), Just(r#"{"symbol":}"#), Just("nul")]
                .prop_map(|text| (false, text.to_owned())),
        ], 2..9)
    ) {
        let texts: Vec<&str> = parts.iter().map(|(_, text)| text.as_str()).collect();
        let good: Vec<NamedTick> = parts.iter().filter(|(good, _)| *good).map(|(_, text)| twin(text)).collect();
        let bad: Vec<(Option<u32>, &[u8])> = (0..).zip(&parts).filter(|(_, (good, _))| !good)
            .map(|(index, (_, text))| (Some(index), text.as_bytes())).collect();
        let outcome = decode(format!("[{}]", texts.join(" , ")));
        let refused: Vec<_> = outcome.rejects.iter().map(|reject| (reject.index, reject.body.as_slice())).collect();
        prop_assert_eq!((&outcome.ticks, refused), (&good, bad));
    }

    #[test]
    fn arbitrary_bytes_are_kept_and_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let outcome = decode(&body);
        prop_assert!(outcome.ticks.is_empty());
        prop_assert!(!outcome.rejects.is_empty());
    }

    #[test]
    fn arbitrary_json_like_text_never_panics(body in r#"[\[\]{}:,"\\ \n0-9eE.+\-truefalsn]{0,200}"#, encoded in any::<bool>()) {
        let encoding = encoded.then_some("zstd");
        let outcome = decode_message(&DecodeConfig::default(), &Message { content_encoding: encoding, ..message(body.as_bytes()) });
        prop_assert!(outcome.ticks.is_empty());
    }
}

proptest! {
    // Each case decodes a body once for each of its bytes.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn cut_body_yields_no_cut_tick(texts in proptest::collection::vec(tick_text(), 1..4)) {
        let whole: Vec<NamedTick> = texts.iter().map(|text| twin(text)).collect();
        let array = format!("[{}]", texts.join(","));
        for len in 0..array.len() {
            let outcome = decode(&array.as_bytes()[..len]);
            prop_assert!(outcome.ticks.is_empty(), "{}", len);
            prop_assert_eq!(outcome.rejects.len(), 1);
        }
        let lines = texts.join("\n");
        for len in 0..lines.len() {
            let outcome = decode(&lines.as_bytes()[..len]);
            let complete = texts.iter().scan(0, |end, text| { *end += text.len() + 1; Some(*end - 1) })
                .filter(|end| *end <= len).count();
            prop_assert_eq!(&outcome.ticks, &whole[..complete]);
        }
    }
}
