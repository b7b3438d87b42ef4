//! The promises of the decoder, message by message.

mod bad_input;
mod envelopes;
mod events;
mod feeds;
mod framing;
mod guests;
mod presets;
mod speculation;
mod twin;

use super::*;
use crate::tick::Tick;

/// 2026-11-23T14:00:00Z.
pub(super) const NOW_US: i64 = 1_795_442_400_000_000;

/// The result of decoding one or more messages, with names in place of their ids.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) ticks: Vec<NamedTick>,
    pub(super) rejects: Vec<Reject>,
}

/// A tick as a reader of the lake sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NamedTick {
    pub(super) symbol: String,
    pub(super) ts_us: i64,
    pub(super) price: f64,
    pub(super) volume: f64,
    pub(super) seq: Option<i64>,
    pub(super) venue: Option<String>,
    pub(super) conditions: Option<String>,
}

impl Outcome {
    pub(super) fn symbols(&self) -> Vec<&str> {
        self.ticks.iter().map(|tick| tick.symbol.as_str()).collect()
    }

    /// Index, reason and bytes of each reject.
    pub(super) fn refused(&self) -> Vec<(Option<u32>, Reason, &[u8])> {
        self.rejects.iter().map(|reject| (reject.index, reject.reason, reject.body.as_slice())).collect()
    }
}

pub(super) fn message(body: &[u8]) -> Message<'_> {
    Message { id: "m-1", body, content_encoding: None, sent_at_us: Some(NOW_US - 500), received_at_us: NOW_US }
}

pub(super) fn decode_message(config: &DecodeConfig, message: &Message<'_>) -> Outcome {
    config.validate().unwrap();
    let dictionaries = Dictionaries::new(1000);
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    Decoder::new(config, &dictionaries).decode(message, &mut ticks, &mut rejects);
    assert!(ticks.received_at_us.iter().all(|received| *received == message.received_at_us));
    assert!(rejects.iter().all(|reject| reject.message_id == message.id && reject.detail.len() < 300));
    let named = |row: usize| NamedTick {
        symbol: dictionaries.symbols.get(ticks.symbol[row]).unwrap().to_string(),
        ts_us: ticks.ts_us[row],
        price: ticks.price[row],
        volume: ticks.volume[row],
        seq: ticks.seq[row],
        venue: dictionaries.venues.get(ticks.venue[row]).map(|name| name.to_string()),
        conditions: dictionaries.conditions.get(ticks.conditions[row]).map(|name| name.to_string()),
    };
    Outcome { ticks: (0..ticks.len()).map(named).collect(), rejects }
}

pub(super) fn decode(body: impl AsRef<[u8]>) -> Outcome {
    decode_message(&DecodeConfig::default(), &message(body.as_ref()))
}

/// A minimal good tick.
pub(super) fn tick(symbol: &str) -> String {
    format!(r#"{{"symbol":"{symbol}","price":1.5,"volume":100}}"#)
}

#[test]
fn object_array_and_lines_are_the_same_ticks() {
    let (a, b) = (tick("A"), tick("B"));
    for body in
        [format!("[{a},{b}]"), format!(" [ {a} ,\n{b} ]\n"), format!("{a}\n{b}"), format!("\n{a}\r\n\r\n{b}\r\n")]
    {
        let outcome = decode(&body);
        assert_eq!((outcome.symbols(), outcome.refused()), (vec!["A", "B"], vec![]), "{body}");
    }
    assert_eq!(decode(&a).symbols(), ["A"]);
    assert_eq!(decode(a.replace(',', ",\n  ")).symbols(), ["A"]);
}

#[test]
fn what_the_json_schema_allows_is_decoded() {
    let schema: serde_json::Value = serde_json::from_str(ticklake_schemas::TICK_JSON_SCHEMA).unwrap();
    let outcome = decode(schema["examples"].to_string());
    assert_eq!((outcome.symbols(), outcome.refused()), (vec!["AAPL", "BTCUSDT"], vec![]));
    let rules = &schema["properties"]["symbol"]["allOf"];
    let refused = rules[0]["pattern"].as_str().unwrap().strip_prefix("^[^").unwrap().strip_suffix("]+$").unwrap();
    // The pattern has the escapes of JSON.
    let refused: Vec<char> = serde_json::from_str::<String>(&format!("\"{refused}\"")).unwrap().chars().collect();
    let is_refused =
        |character: char| refused.windows(3).any(|range| range[1] == '-' && (range[0]..=range[2]).contains(&character));
    for character in ('\0'..'\u{250}').chain('\u{2000}'..'\u{2100}') {
        let tick = serde_json::json!([{ "symbol": format!("A{character}"), "price": 1, "volume": 1 }]);
        assert_eq!(decode(tick.to_string()).ticks.len(), usize::from(!is_refused(character)), "{character:?}");
    }
    assert_eq!(rules[2]["not"]["const"], "*");
    let longest = schema["properties"]["symbol"]["maxLength"].as_u64();
    assert_eq!(longest, Some(DecodeConfig::default().symbol_max_bytes as u64));
}

#[test]
fn empty_array_is_a_message_of_no_ticks() {
    assert_eq!(decode("[]"), Outcome::default());
    assert_eq!(decode(" [ \n ] "), Outcome::default());
}

#[test]
fn missing_event_time_is_when_the_message_was_sent() {
    let body = tick("A");
    assert_eq!(decode(&body).ticks[0].ts_us, NOW_US - 500);
    let unsent = Message { sent_at_us: None, ..message(body.as_bytes()) };
    assert_eq!(decode_message(&DecodeConfig::default(), &unsent).ticks[0].ts_us, NOW_US);
}

#[test]
fn null_is_the_same_as_missing() {
    let outcome = decode(
        r#"[{"symbol":"A","price":1,"volume":2,"ts":null,"seq":null,"venue":null,"conditions":null},
            {"symbol":"A","price":null,"volume":2},{"symbol":null,"price":1,"volume":2},{"symbol":"A","price":1}]"#,
    );
    assert_eq!((outcome.ticks[0].ts_us, outcome.ticks[0].seq, &outcome.ticks[0].venue), (NOW_US - 500, None, &None));
    let reasons: Vec<Reason> = outcome.rejects.iter().map(|reject| reject.reason).collect();
    assert_eq!(reasons, [Reason::MissingPrice, Reason::MissingSymbol, Reason::MissingVolume]);
}

#[test]
fn keys_and_values_are_unescaped() {
    let outcome = decode(r#"{"s\u0079mbol":"BTC\/USD\u0054","price":1,"volume":2,"venue":"Z\u00fcrich \"x\""}"#);
    assert_eq!(outcome.symbols(), ["BTC/USDT"]);
    assert_eq!(outcome.ticks[0].venue.as_deref(), Some("Zürich \"x\""));
}

#[test]
fn unknown_keys_are_skipped_whatever_they_hold() {
    let outcome = decode(
        r#"{"x":{"symbol":"B","price":[1]},"symbol":"A","y":[{"price":9}],"price":1,"z":1e999,"w":null,"volume":2,"x":1}"#,
    );
    assert_eq!((outcome.symbols(), outcome.refused()), (vec!["A"], vec![]));
}

#[test]
fn integers_of_any_size_are_prices() {
    let price = |text: &str| {
        let outcome = decode(format!(r#"{{"symbol":"A","price":{text},"volume":0}}"#));
        outcome.ticks.first().map(|tick| tick.price.to_bits())
    };
    for text in
        ["0", "7", "9007199254740993", "18446744073709551615", "18446744073709551616", "123456789012345678901234567890"]
    {
        assert_eq!(price(text), Some(text.parse::<f64>().unwrap().to_bits()), "{text}");
    }
    assert_eq!(price("-0"), Some(0));
    assert_eq!(price("-0.0"), Some(0));
}

#[test]
fn zstd_body_is_the_same_as_its_text() {
    use base64::Engine;
    let text = format!("[{},{}]", tick("A"), r#"{"symbol":"B"}"#);
    let packed = base64::engine::general_purpose::STANDARD.encode(zstd::bulk::compress(text.as_bytes(), 3).unwrap());
    let packed = Message { content_encoding: Some("zstd"), ..message(packed.as_bytes()) };
    let outcome = decode_message(&DecodeConfig::default(), &packed);
    assert_eq!(outcome, decode(&text));
    assert_eq!(outcome.refused(), [(Some(1), Reason::MissingPrice, br#"{"symbol":"B"}"#.as_slice())]);
}

#[test]
fn decoder_carries_nothing_from_one_message_to_the_next() {
    let names = Dictionaries::new(10);
    let mut decoder = Decoder::new(&DecodeConfig::default(), &names);
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    for _ in 0..3 {
        decoder.decode(&message(b"[{\"symbol\":\"cut"), &mut ticks, &mut rejects);
        decoder.decode(&message(br#"{"symbol":"A","price":1,"volume":2,"venue":7,"seq":5}"#), &mut ticks, &mut rejects);
        decoder.decode(&message(br#"{"symbol":"A","price":1,"volume":2}"#), &mut ticks, &mut rejects);
    }
    assert_eq!((ticks.len(), rejects.len()), (6, 3));
    assert_eq!((ticks.seq[4], ticks.seq[5]), (Some(5), None));
    assert_eq!(ticks.venue[5], crate::names::NameId::NONE);
}
