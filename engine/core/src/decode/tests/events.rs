//! Only the chosen events become ticks. The other events of a feed are counted, and do not change the ticks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::lake::Partition;
use ticklake_schemas::Table;

/// The result of decoding some messages of one feed, one after the other.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    prices: Vec<f64>,
    refused: Vec<(Option<u32>, Reason)>,
    left_out: Vec<Vec<u32>>,
    counts: BTreeMap<(String, String), u64>,
}

fn config(json: &str) -> DecodeConfig {
    let config: DecodeConfig = serde_json::from_str(json).unwrap();
    config.validate().unwrap();
    config
}

fn seen(mut decoder: Decoder, bodies: &[impl AsRef<[u8]>]) -> Seen {
    let (mut ticks, mut rejects, mut seen) = (TickBatch::default(), Vec::new(), Seen::default());
    for body in bodies {
        decoder.decode(&message(body.as_ref()), &mut ticks, &mut rejects);
        seen.left_out.push(decoder.left_out().collect());
    }
    decoder.take_left_out(|field, value, count| {
        assert_eq!(seen.counts.insert((field.to_owned(), value.to_owned()), count), None, "told once");
    });
    seen.prices = ticks.price;
    seen.refused = rejects.into_iter().map(|reject| (reject.index, reject.reason)).collect();
    seen
}

fn decode_all(config: &DecodeConfig, bodies: &[impl AsRef<[u8]>]) -> Seen {
    seen(Decoder::new(config, &Dictionaries::new(100)), bodies)
}

fn counts<const N: usize>(counts: [(&str, &str, u64); N]) -> BTreeMap<(String, String), u64> {
    counts.into_iter().map(|(field, value, count)| ((field.to_owned(), value.to_owned()), count)).collect()
}

const BINANCE: &str = r#"{"numbers_as_strings":true,"ts_unit":"ms","only":{"e":["trade","aggTrade"]},
    "fields":{"symbol":"s","price":"p","volume":"q","ts":"T","seq":"t"}}"#;

const BINANCE_TRADE: &str = r#"{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}"#;

/// A price change and a quantity under the keys of a trade.
const BINANCE_TICKER: &str =
    r#"{"e":"24hrTicker","E":1672515782136,"s":"BNBUSDT","p":"7.10","P":"2.5","c":"290.1","Q":"10","q":"54828000"}"#;

#[test]
fn ticker_beside_a_trade_is_no_tick() {
    let answer = r#"{"result":null,"id":1}"#;
    let bodies = [BINANCE_TICKER, BINANCE_TRADE, answer, BINANCE_TICKER];
    let expected = Seen {
        prices: vec![0.001],
        left_out: vec![vec![0], vec![], vec![0], vec![0]],
        counts: counts([("e", "24hrTicker", 2), ("e", "", 1)]),
        ..Seen::default()
    };
    assert_eq!(decode_all(&config(BINANCE), &bodies), expected);
}

#[test]
fn corrections_and_cancels_are_no_second_trades() {
    let alpaca = config(
        r#"{"ts_unit":"rfc3339","only":{"T":["t"]},
            "fields":{"symbol":"S","price":"p","volume":"s","ts":"t","seq":"i","venue":"x","conditions":"c"}}"#,
    );
    let trade =
        r#"{"T":"t","i":1,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@","I"],"z":"C"}"#;
    let cancel = r#"{"T":"x","S":"AAPL","i":1,"x":"D","p":126.55,"s":1,"a":"C","z":"C","t":"2021-02-22T15:51:45Z"}"#;
    let body = format!("[{trade},{cancel},{trade}]");
    let seen = decode_all(&alpaca, &[body]);
    assert_eq!((seen.prices, seen.refused, seen.left_out), (vec![126.55, 126.55], vec![], vec![vec![1]]));
    assert_eq!(seen.counts, counts([("T", "x", 1)]));
}

#[test]
fn repeat_of_the_last_trade_is_left_out() {
    let coinbase = config(
        r#"{"numbers_as_strings":true,"ts_unit":"rfc3339","only":{"type":["match"]},
            "fields":{"symbol":"product_id","volume":"size","ts":"time","seq":"trade_id"}}"#,
    );
    let event = |kind: &str| {
        format!(
            r#"{{"type":"{kind}","trade_id":10,"time":"2014-11-07T08:19:27.028459Z","product_id":"BTC-USD","size":"5.2","price":"400.23"}}"#
        )
    };
    let lines = [event("last_match"), event("match"), r#"{"type":"heartbeat","sequence":90}"#.to_owned()].join("\n");
    let seen = decode_all(&coinbase, &[lines]);
    assert_eq!((seen.prices, seen.left_out), (vec![400.23], vec![vec![0, 2]]));
    assert_eq!(seen.counts, counts([("type", "last_match", 1), ("type", "heartbeat", 1)]));
}

#[test]
fn every_field_has_to_have_one_of_its_values() {
    let config = config(r#"{"only":{"rtype":[0],"action":["T"]}}"#);
    let event = |rtype: &str, action: &str| {
        format!(r#"{{"rtype":{rtype},"action":"{action}","symbol":"A","price":1,"volume":2}}"#)
    };
    let bodies = [event("0", "T"), event("0", "A"), event("1", "T"), event(r#""0""#, "T")];
    let seen = decode_all(&config, &bodies);
    assert_eq!(seen.prices, [1.0]);
    assert_eq!(seen.counts, counts([("action", "A", 1), ("rtype", "1", 1), ("rtype", "0", 1)]));
}

#[test]
fn message_without_the_time_that_its_mapping_names_is_rejected() {
    let mapped = config(r#"{"ts_unit":"ms","fields":{"ts":"T"}}"#);
    let body = br#"{"symbol":"A","price":1,"volume":2}"#;
    for body in [body.as_slice(), br#"{"symbol":"A","price":1,"volume":2,"T":null}"#] {
        let outcome = decode_message(&mapped, &message(body));
        assert_eq!(outcome.refused(), [(Some(0), Reason::MissingTs, body)]);
        assert_eq!(outcome.rejects[0].detail, "tick has no event time: no key `T`");
    }
    assert_eq!(decode(body).ticks[0].ts_us, NOW_US - 500, "the canonical form needs no event time");
}

#[test]
fn decisive_key_that_occurs_twice_is_rejected() {
    let body = BINANCE_TRADE.replace(r#""m":true"#, r#""e":"24hrTicker""#);
    let seen = decode_all(&config(BINANCE), &[BINANCE_TRADE, &body, BINANCE_TRADE]);
    assert_eq!((seen.prices.len(), seen.refused), (2, vec![(Some(0), Reason::DuplicateField)]));
}

#[test]
fn events_between_trades_do_not_stop_the_guessing() {
    let config = config(BINANCE);
    let mut decoder = Decoder::new(&config, &Dictionaries::new(100));
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    for _ in 0..100 {
        for _ in 0..20 {
            decoder.decode(&message(BINANCE_TICKER.as_bytes()), &mut ticks, &mut rejects);
        }
        decoder.decode(&message(BINANCE_TRADE.as_bytes()), &mut ticks, &mut rejects);
    }
    let (guessed, learnt) = decoder.bodies.guesses();
    assert_eq!((ticks.len(), guessed, learnt), (100, 99, 1));
}

#[test]
fn layout_counts_what_is_left_out() {
    use crate::commit::Layout;
    let hour = |ts_us| Partition::of(Table::Ticks, ts_us);
    let layout = Layout::of(&[NOW_US, NOW_US], &[], &[1]);
    assert_eq!(layout.elements(), Some(3));
    let shape = layout.shape(&[hour(NOW_US)]).unwrap();
    assert_eq!(shape.parts[0].1.runs(), [0..1, 2..3]);
    assert_eq!(Layout::of(&[], &[], &[0]).shape(&[]).unwrap().parts, []);
}

/// An event as its producer writes it, and whether the filter below chooses it.
fn event() -> impl Strategy<Value = (String, bool)> {
    let kind = prop_oneof![
        Just((r#""trade""#, true)),
        Just((r#""tr\u0061de""#, true)),
        Just((r#""ticker""#, false)),
        Just(("null", false)),
        Just(("7", false)),
    ];
    let topic = prop_oneof![
        Just((r#""public.A""#, true)),
        Just((r#""public.""#, true)),
        Just((r#""p\u0075blic.A""#, true)),
        Just((r#""public.\"A\"""#, true)),
        Just((r#""private.A""#, false)),
        Just((r#""""#, false)),
    ];
    let number = prop_oneof![Just(("3", true)), Just(("4", true)), Just(("3.0", false)), Just((r#""3""#, false))];
    (kind, topic, number, 1..1000_u32, any::<bool>()).prop_map(|(kind, topic, number, price, is_last)| {
        let decisive = format!(r#""kind":{},"topic":{},"number":{}"#, kind.0, topic.0, number.0);
        let tick = format!(r#""symbol":"A","price":{price},"volume":1"#);
        let text = if is_last { format!("{{{tick},{decisive}}}") } else { format!("{{{decisive},{tick}}}") };
        (text, kind.1 && topic.1 && number.1)
    })
}

proptest! {
    #[test]
    fn filter_agrees_with_its_twin_on_both_paths(messages in prop::collection::vec(prop::collection::vec(event(), 1..6), 1..12)) {
        let config = config(r#"{"only":{"kind":["trade"],"topic":["public.*"],"number":[3,4]}}"#);
        let bodies: Vec<String> = messages.iter().enumerate().map(|(number, events)| {
            let texts: Vec<&str> = events.iter().map(|(text, _)| text.as_str()).collect();
            if number % 2 == 0 { format!("[{}]", texts.join(",")) } else { texts.join("\n") }
        }).collect();
        let fast = decode_all(&config, &bodies);
        let slow = seen(Decoder::without_speculation(&config, &Dictionaries::new(100)), &bodies);
        prop_assert_eq!(&fast, &slow);
        let left_out: Vec<Vec<u32>> = messages.iter().map(|events| {
            (0..).zip(events).filter(|(_, (_, is_meant))| !is_meant).map(|(at, _)| at).collect()
        }).collect();
        prop_assert_eq!(&fast.left_out, &left_out);
        let ticks: usize = messages.iter().flatten().filter(|(_, is_meant)| *is_meant).count();
        prop_assert_eq!((fast.prices.len(), fast.refused.len()), (ticks, 0));
        prop_assert_eq!(fast.counts.values().sum::<u64>() as usize, messages.iter().map(Vec::len).sum::<usize>() - ticks);
    }
}
