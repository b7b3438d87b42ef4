//! Messages: how ticks are written and packed, read back by others. It does *not* own sending them.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::tick::Number;

/// A tick that owns its texts.
#[derive(Debug, Clone)]
struct Owned {
    symbol: String,
    ts_us: i64,
    price: f64,
    cents: bool,
    volume: f64,
    seq: i64,
    venue: Option<String>,
    conditions: Option<String>,
}

impl Owned {
    fn tick(&self) -> Tick<'_> {
        let price = if self.cents { Number::Cents((self.price * 100.0) as i64) } else { Number::Float(self.price) };
        Tick {
            symbol: &self.symbol,
            ts_us: self.ts_us,
            price,
            volume: Number::Float(self.volume),
            seq: self.seq,
            venue: self.venue.as_deref(),
            conditions: self.conditions.as_deref(),
        }
    }
}

prop_compose! {
    fn ticks()(
        symbol in "\\PC{1,8}|[\\x00-\\x7f]{1,8}",
        ts_us in -1_000_000_000_000_000_000_i64..1_000_000_000_000_000_000,
        price in prop_oneof![0.0..1e6_f64, prop::num::f64::POSITIVE],
        cents in any::<bool>(),
        volume in prop::num::f64::POSITIVE,
        seq in any::<i64>(),
        venue in prop::option::of("[A-Z]{4}"),
        conditions in prop::option::of(".{0,4}"),
    ) -> Owned {
        Owned { symbol, ts_us, cents: cents && price < 1e12, price, volume, seq, venue, conditions }
    }
}

/// A message with nothing but a body.
pub(crate) fn message(body: String, ticks: u64) -> Message {
    Message { body, ticks, is_compressed: false, marks: Vec::new(), due: None, queue: 0 }
}

fn pack(packing: Packing, ticks: &[Owned]) -> Vec<Message> {
    let mut writer = MessageWriter::new(packing).unwrap();
    let mut messages = VecDeque::new();
    for tick in ticks {
        writer.push(&tick.tick(), &mut messages).unwrap();
    }
    writer.finish(&mut messages).unwrap();
    messages.into()
}

fn text(message: &Message) -> String {
    if !message.is_compressed {
        return message.body.clone();
    }
    let frame = BASE64_STANDARD.decode(&message.body).unwrap();
    String::from_utf8(zstd::stream::decode_all(frame.as_slice()).unwrap()).unwrap()
}

fn parse(message: &Message, layout: Layout) -> Vec<Value> {
    let text = text(message);
    match layout {
        Layout::Object => vec![serde_json::from_str(&text).unwrap()],
        Layout::Array => serde_json::from_str(&text).unwrap(),
        Layout::Lines => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

fn assert_same(value: &Value, tick: &Tick<'_>, dialect: Dialect) {
    // serde_json reads floats exactly only with a feature that is off here, so numbers are compared by their text.
    let number = |value: &Value| value.to_string().trim_matches('"').parse::<f64>().unwrap();
    match dialect {
        Dialect::Canonical => {
            assert_eq!(value["symbol"], tick.symbol);
            assert_eq!(value["ts"], tick.ts_us);
            assert_eq!(value["seq"], tick.seq);
            assert!((number(&value["price"]) / tick.price.value() - 1.0).abs() < 1e-12 || tick.price.value() < 1e-300);
            assert_eq!(value.get("venue").and_then(Value::as_str), tick.venue);
            assert_eq!(value.get("conditions").and_then(Value::as_str), tick.conditions);
        }
        Dialect::Binance => {
            assert_eq!(value["s"], tick.symbol);
            assert_eq!(value["T"], dialect.carried_ts_us(tick.ts_us) / 1_000);
            assert_eq!(value["t"], tick.seq);
            assert_eq!(number(&value["p"]).to_bits(), tick.price.value().to_bits());
            assert_eq!(number(&value["q"]).to_bits(), tick.volume.value().to_bits());
        }
    }
}

fn layouts() -> impl Strategy<Value = (usize, Layout)> {
    prop_oneof![
        Just((1, Layout::Object)),
        (1_usize..9).prop_map(|n| (n, Layout::Array)),
        (1_usize..9).prop_map(|n| (n, Layout::Lines)),
    ]
}

proptest! {
    #[test]
    fn packed_ticks_parse_back_to_the_same_ticks(
        ticks in prop::collection::vec(ticks(), 0..30),
        (per_message, layout) in layouts(),
        dialect in prop_oneof![Just(Dialect::Canonical), Just(Dialect::Binance)],
        zstd in any::<bool>(),
    ) {
        let packing = Packing::new(per_message, layout, dialect).unwrap();
        let packing = if zstd { packing.compressed(1) } else { packing };
        let messages = pack(packing, &ticks);
        prop_assert_eq!(messages.len(), ticks.len().div_ceil(per_message));
        let mut expected = ticks.iter();
        for message in &messages {
            let values = parse(message, layout);
            prop_assert_eq!(values.len() as u64, message.ticks);
            for value in &values {
                assert_same(value, &expected.next().unwrap().tick(), dialect);
            }
        }
    }

    #[test]
    fn written_floats_read_back_to_the_bit(value in prop::num::f64::POSITIVE | prop::num::f64::ZERO) {
        let tick = Tick { price: Number::Float(value), ..plain("AAPL") };
        let mut out = Vec::new();
        json::write_tick(&mut out, &tick, Dialect::Canonical);
        let text = String::from_utf8(out).unwrap();
        let digits = text.split("\"price\":").nth(1).unwrap().split(',').next().unwrap();
        prop_assert_eq!(digits.parse::<f64>().unwrap().to_bits(), value.to_bits());
    }
}

fn plain(symbol: &str) -> Tick<'_> {
    let (price, volume) = (Number::Cents(18_907), Number::Whole(200));
    Tick { symbol, ts_us: 1_795_442_400_000_001, price, volume, seq: 7, venue: Some("XNAS"), conditions: None }
}

#[test]
fn both_dialects_read_as_documented() {
    let body = |dialect| {
        let mut writer = MessageWriter::new(Packing::new(1, Layout::Object, dialect).unwrap()).unwrap();
        let mut full = VecDeque::new();
        writer.push(&plain("AAPL"), &mut full).unwrap();
        full.pop_front().unwrap().body
    };
    assert_eq!(
        body(Dialect::Canonical),
        r#"{"symbol":"AAPL","price":189.07,"volume":200,"ts":1795442400000001,"seq":7,"venue":"XNAS"}"#
    );
    assert_eq!(body(Dialect::Binance), r#"{"e":"trade","s":"AAPL","p":"189.07","q":"200","T":1795442400000,"t":7}"#);
}

#[test]
fn messages_are_cut_before_they_exceed_the_limit_and_lose_nothing() {
    // Noise, so that compression does not help.
    let mut random = crate::random::Random::new(1, 1);
    let symbols: Vec<String> =
        (0..60).map(|_| (0..50_000).map(|_| char::from(b'a' + (random.bits() % 26) as u8)).collect()).collect();
    for layout in [Layout::Array, Layout::Lines] {
        let packing = Packing::new(1_000, layout, Dialect::Canonical).unwrap();
        for packing in [packing, packing.compressed(1)] {
            let mut writer = MessageWriter::new(packing).unwrap();
            let mut messages = VecDeque::new();
            for symbol in &symbols {
                writer.push(&plain(symbol), &mut messages).unwrap();
            }
            writer.finish(&mut messages).unwrap();
            assert!(messages.len() > 1);
            assert!(messages.iter().all(|message| message.size() <= MESSAGE_BYTES_MAX));
            let sent: Vec<Value> = messages.iter().flat_map(|message| parse(message, layout)).collect();
            assert!(sent.iter().map(|value| value["symbol"].as_str().unwrap()).eq(symbols.iter()));
        }
    }
}

#[test]
fn body_may_be_exactly_as_large_as_the_limit() {
    let overhead = pack_one("").unwrap().size() + 2;
    let largest = "a".repeat(MESSAGE_BYTES_MAX - overhead);
    assert_eq!(pack_one(&largest).unwrap().size(), MESSAGE_BYTES_MAX - 2);
    assert!(matches!(pack_one(&format!("{largest}a")), Err(PayloadError::TickTooLarge { seq: 7, .. })));
}

fn pack_one(symbol: &str) -> Result<Message, PayloadError> {
    let (mut writer, mut full) = (MessageWriter::new(Packing::SINGLE)?, VecDeque::new());
    writer.push(&plain(symbol), &mut full)?;
    Ok(full.pop_front().unwrap())
}

#[test]
fn impossible_packings_are_refused() {
    assert_eq!(Packing::new(0, Layout::Array, Dialect::Canonical), Err(PackingError::NoTicks));
    assert_eq!(Packing::new(2, Layout::Object, Dialect::Binance), Err(PackingError::ObjectOfMany(2)));
}

#[test]
fn message_is_filled_up_to_the_size_that_was_asked_for() {
    let tick = Owned {
        symbol: "AAPL".to_owned(),
        ts_us: 1_795_442_400_000_001,
        price: 189.37,
        cents: true,
        volume: 200.0,
        seq: 7,
        venue: Some("XNAS".to_owned()),
        conditions: None,
    };
    let ticks = vec![tick; 10_000];
    for layout in [Layout::Array, Layout::Lines] {
        for bytes in [FILL_BYTES_MIN, 256 << 10, MESSAGE_BYTES_MAX] {
            let packing = Packing::filling(bytes, layout, Dialect::Canonical).unwrap();
            let messages = pack(packing, &ticks);
            let (_, full) = messages.split_last().unwrap();
            assert!(full.iter().all(|message| (bytes - 120..=bytes).contains(&message.size())), "{bytes}");
            assert!(pack(packing.compressed(1), &ticks).iter().all(|message| message.size() <= bytes));
            assert_eq!(messages.iter().map(|message| message.ticks).sum::<u64>(), 10_000);
        }
    }
    assert_eq!(Packing::filling(100, Layout::Array, Dialect::Canonical), Err(PackingError::Fill(100)));
    let too_large = Packing::filling(MESSAGE_BYTES_MAX + 1, Layout::Array, Dialect::Canonical);
    assert_eq!(too_large, Err(PackingError::Fill(MESSAGE_BYTES_MAX + 1)));
    assert_eq!(Packing::filling(2_048, Layout::Object, Dialect::Canonical), Err(PackingError::FillObject));
}

proptest! {
    /// What is malformed is no tick for a reader, and takes nothing else of its message with it.
    #[test]
    fn malformed_elements_are_no_ticks_and_spoil_nothing_else(
        ticks in prop::collection::vec(ticks(), 1..20), seed in any::<u64>(), binance in any::<bool>()
    ) {
        let dialect = if binance { Dialect::Binance } else { Dialect::Canonical };
        let (symbol, price) = if binance { ("s", "p") } else { ("symbol", "price") };
        for layout in [Layout::Array, Layout::Lines] {
            let mut writer = MessageWriter::new(Packing::new(1_000, layout, dialect).unwrap()).unwrap();
            let mut random = crate::random::Random::new(seed, 0);
            let mut full = VecDeque::new();
            for tick in &ticks {
                writer.push(&tick.tick(), &mut full).unwrap();
                let how = Malformed::draw(layout, &mut random);
                writer.push_malformed(how, &tick.tick(), &mut full).unwrap();
            }
            prop_assert!(full.is_empty());
            writer.finish(&mut full).unwrap();
            let message = full.pop_front().unwrap();
            prop_assert_eq!(message.ticks, ticks.len() as u64);
            let elements: Vec<Value> = if layout == Layout::Array {
                serde_json::from_str(&message.body).unwrap()
            } else {
                // A symbol's line breaks are escaped.
                message.body.split('\n').map(|line| serde_json::from_str(line).unwrap_or(Value::Null)).collect()
            };
            prop_assert_eq!(elements.len(), 2 * ticks.len());
            let number = |value: &Value| value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
            let is_tick = |element: &Value| {
                element[symbol].is_string() && number(&element[price]).is_some_and(|price| price >= 0.0)
            };
            for pair in elements.chunks(2) {
                prop_assert!(is_tick(&pair[0]) && !is_tick(&pair[1]), "{} {}", pair[0], pair[1]);
            }
        }
    }
}
