//! Guesses a mapping for a message of an unknown feed: one of the presets, or a mapping by the names of its fields.
//!
//! It checks a guess by decoding the message with it. This file owns the names that feeds use. It does *not* own the
//! settings that it proposes.

use serde_json::{Map, Value, json};

use super::config::DecodeConfig;
use super::number::Number;
use super::ts;
use super::{Decoder, Message, Preset, TsUnit, Wrap};
use crate::tick::{Dictionaries, TickBatch};

/// The names of columns in feeds. More specific names come first, and other names are not recognized.
const SYMBOL: &[&str] =
    &["symbol", "product_id", "instId", "instrument_name", "instrument", "ticker", "sym", "pair", "market", "s", "S"];
const PRICE: &[&str] = &["price", "px", "last_price", "lastPrice", "trade_price", "rate", "last", "p", "P"];
const VOLUME: &[&str] =
    &["volume", "size", "qty", "quantity", "amount", "sz", "last_size", "lastQty", "vol", "q", "v", "Q"];
const TS: &[&str] = &[
    "ts",
    "timestamp",
    "time",
    "event_time",
    "eventTime",
    "trade_time",
    "tradeTime",
    "datetime",
    "created_at",
    "T",
    "t",
    "E",
];
const SEQ: &[&str] = &["seq", "sequence", "trade_id", "tradeId", "trade_seq", "id", "i"];
const VENUE: &[&str] = &["venue", "exchange", "exch", "mic", "x"];
const CONDITIONS: &[&str] = &["conditions", "sale_conditions", "cond", "c"];

/// Twenty years. If a time is further from now, it cannot be the time of a trade that somebody pastes.
const YEARS_US: i128 = 20 * 366 * 86_400_000_000;

/// How many levels are searched for objects.
const DEPTH_MAX: usize = 5;

/// Settings by which a message has ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The preset, if one fits.
    pub preset: Option<&'static str>,
    /// The settings that differ from the defaults, and from those of the preset.
    pub settings: Map<String, Value>,
    /// The configuration with these settings.
    pub config: DecodeConfig,
    /// How many ticks the message has with this configuration.
    pub ticks: usize,
    /// What the user should check.
    pub doubts: Vec<&'static str>,
}

/// The settings that fit `message` best. `None` if it has no tick with any settings.
#[must_use]
pub fn guess(message: &Message<'_>) -> Option<Guess> {
    if message.body.trim_ascii().is_empty() {
        return None;
    }
    let wraps = [Wrap::None, Wrap::Sns, Wrap::EventBridge, Wrap::Kinesis];
    let presets = wraps.into_iter().flat_map(|wrap| Preset::ALL.iter().map(move |preset| (wrap, preset)));
    let fitting = presets.filter_map(|(wrap, preset)| {
        let settings = with_envelope(Map::new(), wrap);
        let config = DecodeConfig { envelope: wrap, ..DecodeConfig::of_preset(preset) };
        let ticks = ticks_of(&config, message)?;
        Some(Guess { preset: Some(preset.name), settings, config, ticks, doubts: Vec::new() })
    });
    // If several fit, it takes the first one of those with the most ticks.
    let best = fitting.reduce(|best, next| if next.ticks > best.ticks { next } else { best });
    best.or_else(|| wraps.into_iter().find_map(|wrap| by_names(message, wrap)))
}

fn with_envelope(mut settings: Map<String, Value>, wrap: Wrap) -> Map<String, Value> {
    if wrap != Wrap::None {
        settings.insert("envelope".to_owned(), json!(wrap));
    }
    settings
}

/// How many ticks `message` has. `None` if it has no tick, or if some are rejected.
fn ticks_of(config: &DecodeConfig, message: &Message<'_>) -> Option<usize> {
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    Decoder::new(config, &Dictionaries::new(config.names_max)).decode(message, &mut ticks, &mut rejects);
    (rejects.is_empty() && !ticks.is_empty()).then_some(ticks.len())
}

/// A mapping by the field names of the first object with a symbol and a price.
fn by_names(message: &Message<'_>, wrap: Wrap) -> Option<Guess> {
    let mut first = None;
    wrap.each(message.body.trim_ascii(), |body| {
        if let Ok(text) = body.message {
            let text = text.trim_ascii();
            let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let value = serde_json::from_slice(text).or_else(|_| serde_json::from_slice(line)).ok();
            first = first.take().or(value);
        }
    });
    let value = match first? {
        // An array is a batch of messages.
        Value::Array(messages) => messages.into_iter().next()?,
        value => value,
    };
    let (path, tick) = find(&value, "", DEPTH_MAX)?;
    let mut settings = Map::new();
    if !path.is_empty() {
        settings.insert("ticks".to_owned(), path.into());
    }
    let mut fields = Map::new();
    let columns = [
        ("symbol", SYMBOL),
        ("price", PRICE),
        ("volume", VOLUME),
        ("ts", TS),
        ("seq", SEQ),
        ("venue", VENUE),
        ("conditions", CONDITIONS),
    ];
    for (column, names) in columns {
        if let Some(name) = names.iter().find(|name| tick.get(**name).is_some_and(|value| !value.is_null()))
            && *name != column
        {
            fields.insert(column.to_owned(), (*name).into());
        }
    }
    let key = |column: &str| fields.get(column).and_then(Value::as_str).unwrap_or(column).to_owned();
    let mut doubts = vec!["no event is left out: if the feed sends more than trades, set decode.only"];
    if let Some((unit, is_certain)) = tick.get(&key("ts")).and_then(|ts| unit_of(ts, message)) {
        settings.insert("ts_unit".to_owned(), json!(unit));
        if !is_certain {
            doubts.push("the unit of the time is guessed from its number of digits");
        }
    }
    if [key("price"), key("volume"), key("ts")].iter().any(|key| tick.get(key.as_str()).is_some_and(spells_number)) {
        settings.insert("numbers_as_strings".to_owned(), true.into());
    }
    if !fields.is_empty() {
        settings.insert("fields".to_owned(), fields.into());
    }
    let settings = with_envelope(settings, wrap);
    let config: DecodeConfig = serde_json::from_value(settings.clone().into()).ok()?;
    config.validate().ok()?;
    let ticks = ticks_of(&config, message)?;
    Some(Guess { preset: None, settings, config, ticks, doubts })
}

/// The first object with a symbol and a price, and the path to it.
fn find<'v>(value: &'v Value, path: &str, depth: usize) -> Option<(String, &'v Map<String, Value>)> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::Object(object) => {
            let has =
                |names: &[&str], fits: fn(&Value) -> bool| names.iter().any(|name| object.get(*name).is_some_and(fits));
            if has(SYMBOL, Value::is_string) && has(PRICE, |price| price.is_number() || spells_number(price)) {
                return Some((path.to_owned(), object));
            }
            let dot = if path.is_empty() { "" } else { "." };
            object.iter().find_map(|(key, value)| find(value, &format!("{path}{dot}{key}"), depth))
        }
        Value::Array(values) => find(values.first()?, &format!("{path}[]"), depth),
        _ => None,
    }
}

fn spells_number(value: &Value) -> bool {
    value.as_str().is_some_and(|text| Number::parse(text).is_some())
}

/// The unit of an event time, and whether it is certain.
fn unit_of(ts: &Value, message: &Message<'_>) -> Option<(TsUnit, bool)> {
    if ts.as_str().is_some_and(|text| ts::from_rfc3339(text).is_some()) {
        return Some((TsUnit::Rfc3339, true));
    }
    let number = match ts {
        Value::String(text) => Number::parse(text)?,
        other => Number::parse(&other.to_string())?,
    };
    // Only one of the units gives a time near now, in the past or in the future.
    let now = i128::from(message.received_at_us);
    let is_recent = |unit: &TsUnit| ts::from_number(number, *unit).is_some_and(|us| (now - us).abs() < YEARS_US);
    [TsUnit::S, TsUnit::Ms, TsUnit::Us, TsUnit::Ns].into_iter().find(is_recent).map(|unit| (unit, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T14:00:00Z.
    const NOW_US: i64 = 1_795_442_400_000_000;

    fn guessed(body: &str) -> Option<Guess> {
        let body = body.as_bytes();
        guess(&Message { id: "m", body, content_encoding: None, sent_at_us: None, received_at_us: NOW_US })
    }

    #[test]
    fn message_of_an_unknown_feed_is_mapped_by_its_names() {
        let guess = guessed(
            r#"{"meta":{"n":1},"rows":[{"ticker":"AAPL","last_price":"187.25","qty":"3","tradeTime":1795442399123,"exchange":"Q"}]}"#,
        )
        .unwrap();
        assert_eq!((guess.preset, guess.ticks), (None, 1));
        let expected = json!({
            "ticks": "rows[]", "ts_unit": "ms", "numbers_as_strings": true,
            "fields": { "symbol": "ticker", "price": "last_price", "volume": "qty", "ts": "tradeTime", "venue": "exchange" },
        });
        assert_eq!(Value::from(guess.settings), expected);
        assert_eq!(guess.doubts.len(), 2);
    }

    #[test]
    fn envelope_is_guessed_as_well() {
        let inner = r#"{"e":"trade","E":1795392001000,"s":"BNBBTC","t":5,"p":"0.001","q":"100","T":1795392001000}"#;
        let body = json!({ "Type": "Notification", "TopicArn": "a", "Message": inner }).to_string();
        let guess = guessed(&body).unwrap();
        assert_eq!((guess.preset, Value::from(guess.settings)), (Some("binance"), json!({ "envelope": "sns" })));
    }

    #[test]
    fn message_without_a_price_is_not_mapped() {
        for body in ["", "{}", "no json", r#"{"symbol":"A"}"#, r#"{"symbol":"A","price":"dear","volume":1}"#, "[]"] {
            assert_eq!(guessed(body), None, "{body}");
        }
    }
}
