//! For any sequence of bodies, a decoder that guesses and one that only parses agree on every tick, bit for bit, and on
//! every reject. `engine/core/fuzz` compares them for the bodies that a fuzzer finds.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

use self::agreement::{agree_on, config_of};
use super::*;

#[path = "../../../fuzz/agreement.rs"]
mod agreement;

/// For each of [`agreement::FEEDS`], a tick with `$` in the place of each value, and the kinds of these values.
const TICKS: [(&str, &str); agreement::FEEDS.len()] = [
    (r#"{"symbol":"$","price":$,"volume":$,"ts":$,"seq":$,"venue":"$","conditions":"$"}"#, "snntisc"),
    (r#"{"symbol": "$", "price": $, "volume": $}"#, "snn"),
    (r#"{"e":"trade","E":$,"s":"$","t":$,"p":"$","q":"$","T":$,"m":$,"M":$}"#, "nsinnmbb"),
    (r#"{"type":"match","trade_id":$,"maker":"$","time":"$","product_id":"$","size":"$","price":"$"}"#, "isrsnn"),
    (r#"{"ev":"T","sym":"$","x":$,"z":$,"p":$,"s":$,"c":[$],"t":$,"q":$}"#, "svnnnlmi"),
    ("{\n \"S\": \"$\",\n \"p\": \"$\",\n \"s\": $,\n \"t\": $\n}", "snnN"),
    (r#"{"kind":$,"topic":"$","symbol":"$","price":$,"volume":$}"#, "kpsnn"),
];

/// Mostly plain values. Some are unusual, and some are not values at all.
fn value(kind: char) -> BoxedStrategy<String> {
    let odd = prop_oneof![
        Just("-0"),
        Just("-1"),
        Just("01"),
        Just("1."),
        Just(".5"),
        Just("1e3"),
        Just("1.5E-2"),
        Just("1e999"),
        Just("NaN"),
        Just("null"),
        Just(""),
        Just("\"\""),
        Just("true"),
        Just("123456789012345678"),
        Just("18446744073709551615"),
        Just("18446744073709551616"),
        Just("123456789012345678901234567890"),
        Just("0.1234567890123456789"),
        Just("179544239912345.6"),
        Just("1795442399123456.75"),
        Just("A\\u0042"),
        Just("A\\\""),
        Just("A\\\\"),
        Just("é"),
        Just("A\u{7f}"),
        Just("A\u{85}"),
        Just("A\\u001b"),
        Just("A\0"),
        Just("A\n"),
        Just("]"),
        Just("[1]"),
        Just("{}"),
        Just("a \"quoted\" word"),
    ];
    let over_lines = match kind {
        'l' => "[0-9]{1,2},\n[0-9]{1,2}".boxed(),
        'k' => r#""ticker"|"trades"|7|"tr\\u0061de"|"""#.boxed(),
        'p' => r"private\.[A-C]|public|pub|p\\u0075blic\.A".boxed(),
        _ => usual(kind),
    };
    prop_oneof![30 => usual(kind), 3 => over_lines, 1 => odd.prop_map(str::to_owned)].boxed()
}

/// Plain values, which a shape reads in place.
fn usual(kind: char) -> BoxedStrategy<String> {
    match kind {
        's' => "[A-C]{1,2}|BTC-USD|O:SPY251219C00650000".boxed(),
        'n' => r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,4})?".boxed(),
        't' => (1_795_442_000_000_000_i64..NOW_US).prop_map(|ts| ts.to_string()).boxed(),
        'm' => (1_795_442_000_000_i64..NOW_US / 1000).prop_map(|ts| ts.to_string()).boxed(),
        'N' => (1_795_442_000_000_000_000_i64..NOW_US * 1000).prop_map(|ts| ts.to_string()).boxed(),
        'r' => r"20(0|1)[0-9]-0[1-9]-1[0-9]T1[0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|\+01:00)".boxed(),
        'i' => any::<u32>().prop_map(|seq| seq.to_string()).boxed(),
        'c' => r"(@ )?[IT]?".boxed(),
        'v' => "[0-9]{1,2}".boxed(),
        'k' => r#""trade"|null"#.boxed(),
        'p' => r"public\.[A-C]{0,2}".boxed(),
        'l' => r#"([0-9]{1,2}(, ?[0-9]{1,2})?)?|"@","I""#.boxed(),
        _ => "true|false|null".boxed(),
    }
}

/// One tick of feed `feed`: its template, filled with such values.
fn tick_of(feed: usize, value: fn(char) -> BoxedStrategy<String>) -> BoxedStrategy<String> {
    let (template, kinds) = TICKS[feed];
    let values: Vec<_> = kinds.chars().map(value).collect();
    values
        .prop_map(move |values| {
            let mut parts = template.split('$');
            let first = parts.next().unwrap_or_default().to_owned();
            values.iter().zip(parts).fold(first, |text, (value, part)| text + value + part)
        })
        .boxed()
}

/// The same tick. Sometimes its keys have another order, one of them is there twice or missing, or blanks differ.
fn varied(tick: String) -> BoxedStrategy<String> {
    let fields: Vec<String> = tick[1..tick.len() - 1].split(",\"").map(str::to_owned).collect();
    let again = |fields: Vec<String>| format!("{{{}}}", fields.join(",\""));
    let keys: Vec<String> = fields
        .iter()
        .enumerate()
        .map(|(at, field)| if at == 0 { field.replacen('"', "", 1) } else { field.clone() })
        .collect();
    let quoted = move |keys: Vec<String>| format!("{{\"{}}}", keys.join(",\""));
    let twice = keys.first().cloned().unwrap_or_default();
    let blanks = tick.replace(',', " , ");
    prop_oneof![
        20 => Just(tick),
        1 => Just(keys.clone()).prop_shuffle().prop_map(quoted),
        1 => Just(quoted([keys.clone(), vec![twice]].concat())),
        1 => Just(again(fields[..fields.len() - 1].to_vec())),
        1 => Just(blanks),
    ]
    .boxed()
}

/// A body of some ticks. Sometimes it is cut, or one of its bytes is damaged.
fn body_of(feed: usize) -> BoxedStrategy<Vec<u8>> {
    let ticks = proptest::collection::vec(tick_of(feed, value).prop_flat_map(varied), 1..12);
    let forms = prop_oneof![Just(0), Just(1), Just(2), Just(3)];
    let damage = proptest::option::weighted(0.1, (any::<prop::sample::Index>(), proptest::option::of(any::<u8>())));
    (ticks, forms, damage)
        .prop_map(|(ticks, form, damage)| {
            let body = match form {
                0 => format!("[{}]", ticks.join(",")),
                1 => format!(" [ {} ]\n", ticks.join(" ,\r\n")),
                2 => ticks.join("\n"),
                _ => ticks[0].clone(),
            };
            let mut body = body.into_bytes();
            if let Some((at, byte)) = damage {
                let at = at.index(body.len());
                match byte {
                    Some(byte) => body[at] = byte,
                    None => body.truncate(at),
                }
            }
            body
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn guessing_and_parsing_agree_on_every_body(
        (feed, bodies) in (0..TICKS.len()).prop_flat_map(|feed| (Just(feed), proptest::collection::vec(body_of(feed), 1..12)))
    ) {
        agree_on(&config_of(feed), &bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn shape_reads_the_ticks_that_it_was_learnt_from(
        (feed, ticks) in (0..TICKS.len()).prop_flat_map(|feed| (Just(feed), proptest::collection::vec(tick_of(feed, usual), 1..20)))
    ) {
        let config = config_of(feed);
        let names = Dictionaries::new(100);
        let dialect = shape::Dialect {
            keys: config.fields.keys().map(String::from),
            ts_unit: config.ts_unit,
            only: config.only.clone(),
        };
        let mut tokens = tokens::Tokens::default();
        for text in &ticks {
            let mut batch = TickBatch::default();
            Decoder::without_speculation(&config, &names).decode(&message(text.as_bytes()), &mut batch, &mut Vec::new());
            let Some(symbol) = batch.symbol.first() else { continue };
            let tick = Tick { symbol: *symbol, ts_us: 0, price: 0.0, volume: 0.0, seq: None, venue: batch.venue[0],
                conditions: batch.conditions[0], received_at_us: 0 };
            let lesson = shape::Shape::learn(text.as_bytes(), &dialect, unreadable::Unreadable::NONE).unwrap();
            prop_assert!(lesson.teach(&mut tokens, &tick));
            let padded = [text.as_bytes(), &[b' '; scan::PADDING]].concat();
            let mut draft = shape::Draft::default();
            let end = lesson.shape.read(&tokens, &padded, 0, &mut draft);
            prop_assert_eq!((draft.names, end), ([*symbol, batch.venue[0], batch.conditions[0]], Ok(text.len())));
            prop_assert_eq!((draft.price.to_bits(), draft.volume.to_bits()), (batch.price[0].to_bits(), batch.volume[0].to_bits()));
        }
    }
}

/// Without this test, the decoders could also agree because nothing is ever guessed.
#[test]
fn second_tick_of_every_documented_feed_is_read_by_the_shape_of_the_first() {
    let values = [
        ["A", "1.5", "100", "1795442399123456", "7", "XNAS", "@ I"].as_slice(),
        &["A", "1.5", "100"],
        &["1", "A", "7", "0.001", "100", "1672515782136", "true", "false"],
        &["10", "ac928c66-ca53-498f-9c13-a110027a60e8", "2014-11-07T08:19:27.028459Z", "BTC-USD", "5.23512", "400.23"],
        &["MSFT", "4", "3", "114.125", "100", "0,12", "1536036818784", "3681328"],
        &["A", "1.5", "100", "1795442399123456789"],
        &["\"trade\"", "public.A", "A", "1.5", "100"],
    ];
    for ((feed, (template, _)), values) in TICKS.iter().enumerate().zip(values) {
        let config = config_of(feed);
        let mut parts = template.split('$');
        let first = parts.next().unwrap().to_owned();
        let text = values.iter().zip(parts).fold(first, |text, (value, part)| text + value + part);
        let names = Dictionaries::new(10);
        let mut decoder = Decoder::new(&config, &names);
        let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
        decoder.decode(&message(text.as_bytes()), &mut ticks, &mut rejects);
        assert_eq!(decoder.bodies.guesses(), (0, 1), "{text}: {rejects:?}");
        decoder.decode(&message(format!("[{text},{text}]").as_bytes()), &mut ticks, &mut rejects);
        assert_eq!(decoder.bodies.guesses(), (2, 1), "{text}");
        assert_eq!((ticks.len(), ticks.price[2].to_bits()), (3, ticks.price[0].to_bits()));
    }
}

#[test]
fn new_shape_takes_over_and_an_old_one_is_forgotten() {
    let names = Dictionaries::new(10);
    let mut decoder = Decoder::new(&DecodeConfig::default(), &names);
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    for extra in 0..10 {
        let body = format!(r#"{{"symbol":"A","price":1.5,"volume":100,"x{extra}":1}}"#);
        for _ in 0..10 {
            decoder.decode(&message(body.as_bytes()), &mut ticks, &mut rejects);
        }
    }
    assert_eq!((decoder.bodies.guesses(), ticks.len()), ((90, 10), 100));
}

#[test]
fn feed_without_a_shape_is_left_to_the_parser() {
    let names = Dictionaries::new(10);
    let mut decoder = Decoder::new(&DecodeConfig::default(), &names);
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    for extra in 0..10_000 {
        let body = format!(r#"{{"symbol":"A","price":1.5,"volume":100,"x{extra}":1}}"#);
        decoder.decode(&message(body.as_bytes()), &mut ticks, &mut rejects);
    }
    let (hits, parsed) = decoder.bodies.guesses();
    assert!(hits == 0 && parsed < 100, "{parsed} ticks of 10,000 were tried");
    assert_eq!(ticks.len(), 10_000);
}

/// Every input that a fuzzer has found is tested again.
#[test]
fn corpus_and_its_mutations_agree() {
    const MUTATIONS: usize = 40;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/agreement");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 25, "the corpus was found");
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for seed in &seeds {
        agreement::check(seed);
        for _ in 0..MUTATIONS {
            let other = &seeds[random.random_range(0..seeds.len())];
            agreement::check(&mutated(seed, other, &mut random));
        }
    }
}

/// A seed with some bytes flipped, dropped or repeated, or with a piece of another seed. The first byte stays, because
/// it chooses the feed.
fn mutated(seed: &[u8], other: &[u8], random: &mut TestRng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(1..bytes.len());
        let piece = |bytes: &[u8], from: usize| bytes[from..bytes.len().min(from + 12)].to_vec();
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => drop(bytes.drain(at..(at + 3).min(bytes.len()))),
            2 => drop(bytes.splice(at..at, piece(&bytes.clone(), at))),
            _ => drop(bytes.splice(at..at, piece(other, 1 + at % (other.len() - 1)))),
        }
        if bytes.len() < 2 {
            break;
        }
    }
    bytes
}
