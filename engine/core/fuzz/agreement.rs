//! Sends the same bodies through a decoder that guesses and through one that does not, and panics if they differ.
//!
//! The fuzz target and the tests of the crate share this file. The tests replay the corpus and bodies of their own.

use ticklake_core::decode::{DecodeConfig, Decoder, Message, Reject, UnreadableFields};
use ticklake_core::tick::{Dictionaries, TickBatch};

/// Configurations of the feeds in the documentation: the canonical form, the form with three fields, Binance, Coinbase,
/// Polygon, one in nanoseconds over several lines, and one in which some events are not ticks.
pub const FEEDS: [&str; 7] = [
    "{}",
    "{}",
    r#"{"numbers_as_strings":true,"ts_unit":"ms","fields":{"symbol":"s","price":"p","volume":"q","ts":"T","seq":"t"}}"#,
    r#"{"numbers_as_strings":true,"ts_unit":"rfc3339",
        "fields":{"symbol":"product_id","volume":"size","ts":"time","seq":"trade_id"}}"#,
    r#"{"ts_unit":"ms","fields":{"symbol":"sym","price":"p","volume":"s","ts":"t","seq":"q","venue":"x","conditions":"c"}}"#,
    r#"{"ts_unit":"ns","numbers_as_strings":true,"fields":{"symbol":"S","price":"p","volume":"s","ts":"t"}}"#,
    r#"{"only":{"kind":["trade",""],"topic":["public.*"]}}"#,
];

/// 2026-11-23T14:00:00Z.
pub const NOW_US: i64 = 1_795_442_400_000_000;

/// The byte between two bodies in the bytes of [`check`]. It is not UTF-8, so no JSON has it.
const SEPARATOR: u8 = 0xff;

/// More names than any test has. If a body is not JSON, one decoder may intern its names and the other one not.
const NAMES_MAX: usize = 100_000;

/// The result of decoding bodies, with names in place of their ids, and numbers as their bits.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    ticks: Vec<String>,
    rejects: Vec<Reject>,
    left_out: Vec<u32>,
    unreadable: UnreadableFields,
}

/// The configuration of feed `feed`. It allows few hours per message, so that some messages have too many.
pub fn config_of(feed: usize) -> DecodeConfig {
    let config = serde_json::from_str(FEEDS[feed % FEEDS.len()]).expect("the configurations are valid");
    DecodeConfig { partitions_per_message_max: 5, ..config }
}

/// Takes the first byte of `data` as the number of a feed, and the rest as its bodies.
pub fn check(data: &[u8]) {
    let Some((feed, bodies)) = data.split_first() else { return };
    let bodies: Vec<&[u8]> = bodies.split(|byte| *byte == SEPARATOR).collect();
    agree_on(&config_of(usize::from(*feed)), &bodies);
}

/// Decodes the bodies in both ways. Panics with the body for which the results differ.
pub fn agree_on(config: &DecodeConfig, bodies: &[&[u8]]) {
    let (guessing, parsing) = (Dictionaries::new(NAMES_MAX), Dictionaries::new(NAMES_MAX));
    let mut guesser = Decoder::new(config, &guessing);
    let mut parser = Decoder::without_speculation(config, &parsing);
    for body in bodies {
        let (guessed, parsed) = (outcome(&mut guesser, &guessing, body), outcome(&mut parser, &parsing, body));
        assert_eq!(guessed, parsed, "{}", String::from_utf8_lossy(body));
    }
}

fn outcome(decoder: &mut Decoder, names: &Dictionaries, body: &[u8]) -> Outcome {
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    let message =
        Message { id: "m-1", body, content_encoding: None, sent_at_us: Some(NOW_US - 500), received_at_us: NOW_US };
    decoder.decode(&message, &mut ticks, &mut rejects);
    let named = |row: usize| {
        let bits = (ticks.price[row].to_bits(), ticks.volume[row].to_bits());
        let names = [
            names.symbols.get(ticks.symbol[row]),
            names.venues.get(ticks.venue[row]),
            names.conditions.get(ticks.conditions[row]),
        ];
        format!("{names:?} {bits:?} {} {:?}", ticks.ts_us[row], ticks.seq[row])
    };
    Outcome {
        ticks: (0..ticks.len()).map(named).collect(),
        rejects,
        left_out: decoder.left_out().collect(),
        unreadable: decoder.take_unreadable(),
    }
}
