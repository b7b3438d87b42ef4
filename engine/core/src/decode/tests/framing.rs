//! The ways in which producers put several ticks into one body, and encode it.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn encoded(body: &[u8], content_encoding: Option<&str>) -> Outcome {
    decode_message(&DecodeConfig::default(), &Message { content_encoding, ..message(body) })
}

#[test]
fn encodings_are_known_in_any_case_and_found_by_their_first_bytes() {
    let text = format!("[{},{}]", tick("A"), tick("B"));
    let zstd = STANDARD.encode(zstd::encode_all(text.as_bytes(), 3).unwrap());
    // Two gzip members are one stream.
    let half = text.len() / 2;
    let parts = [gzip(&text.as_bytes()[..half]), gzip(&text.as_bytes()[half..])].concat();
    let (gzip, parts) = (STANDARD.encode(gzip(text.as_bytes())), STANDARD.encode(parts));
    let cases = [
        (&gzip, Some("gzip")),
        (&gzip, Some("GZIP")),
        (&gzip, Some("x-gzip")),
        (&gzip, None),
        (&parts, None),
        (&zstd, Some("Zstd")),
        (&zstd, None),
        (&zstd, Some("")),
        (&STANDARD.encode(&text), Some("base64")),
        (&text, Some("Identity")),
    ];
    for (body, encoding) in cases {
        let outcome = encoded(body.as_bytes(), encoding);
        assert_eq!((outcome.symbols(), outcome.refused()), (vec!["A", "B"], vec![]), "{encoding:?}");
    }
}

#[test]
fn gzip_that_grows_beyond_the_bound_is_refused() {
    let config = DecodeConfig { decompressed_max_bytes: 1 << 20, ..DecodeConfig::default() };
    let body = STANDARD.encode(gzip(&vec![b' '; (1 << 20) + 1]));
    let outcome = decode_message(&config, &message(body.as_bytes()));
    assert_eq!(outcome.refused(), [(None, Reason::TooLarge, body.as_bytes())]);
}

#[test]
fn marks_before_a_text_mean_nothing() {
    let (a, b) = (tick("A"), tick("B"));
    let bodies = [
        format!("\u{feff}{a}\n{b}"),
        format!("\u{1e}{a}\n\u{1e}{b}\n"),
        format!("\u{1e}{a}\u{1e}{b}"),
        serde_json::json!(format!("{a}\n{b}")).to_string(),
        serde_json::json!(format!("[{a},{b}]")).to_string(),
    ];
    for body in bodies {
        let outcome = decode(&body);
        assert_eq!((outcome.symbols(), outcome.refused()), (vec!["A", "B"], vec![]), "{body:?}");
    }
}

proptest! {
    /// One bad part costs only one tick.
    #[test]
    fn joined_ticks_are_the_same_as_lines(
        parts in prop::collection::vec(prop_oneof![4 => Just(true), 1 => Just(false)], 2..9),
        gap in "[ \t]{0,2}",
    ) {
        let texts: Vec<String> = parts.iter().map(|good| if *good { tick("A") } else { r#"{"symbol":}"#.to_owned() }).collect();
        let (joined, lines) = (decode(texts.join(&gap)), decode(texts.join("\n")));
        prop_assert_eq!(&joined, &lines);
        prop_assert_eq!(joined.ticks.len(), parts.iter().filter(|good| **good).count());
    }
}
