//! Bad input, which must not stop the stream and must not be lost.

use super::*;

/// A message of three ticks. The middle one is `bad`.
fn amid_good_ones(bad: &str) -> Outcome {
    let outcome = decode(format!("[{}, {bad} ,{}]", tick("A"), tick("B")));
    assert_eq!(outcome.symbols(), ["A", "B"], "{bad}");
    outcome
}

/// Why `bad` is refused. In each form, the good ticks around it are accepted and its bytes are kept.
fn reason(bad: &str) -> Reason {
    let in_array = amid_good_ones(bad);
    let &[(Some(1), reason, bytes)] = in_array.refused().as_slice() else { panic!("{bad}: {:?}", in_array.rejects) };
    assert_eq!(bytes, bad.as_bytes());
    let in_lines = decode(format!("{}\n{bad}\n{}", tick("A"), tick("B")));
    assert_eq!((in_lines.symbols(), in_lines.refused()), (vec!["A", "B"], vec![(Some(1), reason, bad.as_bytes())]));
    let alone = decode(bad);
    // Input that is not JSON is a bad body, and not a bad tick.
    let index = (reason != Reason::NotJson).then_some(0);
    assert_eq!((alone.symbols(), alone.refused()), (vec![], vec![(index, reason, bad.as_bytes())]));
    reason
}

/// Why a whole body is refused.
fn body_reason(body: impl AsRef<[u8]>) -> Reason {
    let body = body.as_ref();
    let outcome = decode(body);
    let &[(None, reason, bytes)] = outcome.refused().as_slice() else { panic!("{:?}", outcome.rejects) };
    assert_eq!((outcome.ticks.len(), bytes), (0, body));
    reason
}

#[test]
fn garbage_body_is_one_reject_with_its_bytes() {
    let cut_pretty_print = b"{\n\"symbol\": \"A\",\n\"price\":".as_slice();
    for body in [
        b"garbage".as_slice(),
        b"\0\x01\x02",
        b"{",
        b"[",
        b"[{]}",
        b"{\"symbol\":}",
        b"<tick/>\n<tick/>",
        cut_pretty_print,
    ] {
        assert_eq!(body_reason(body), Reason::NotJson, "{body:?}");
    }
}

#[test]
fn empty_body_is_a_reject() {
    for body in ["", " ", "\r\n\t"] {
        assert_eq!(body_reason(body), Reason::EmptyBody);
    }
}

#[test]
fn trailing_garbage_is_not_json() {
    for tail in ["x", "}", "]", ",", " x{}", ",{}"] {
        assert_eq!(body_reason(format!("{}{tail}", tick("A"))), Reason::NotJson);
        assert_eq!(body_reason(format!("[{}]{tail}", tick("A"))), Reason::NotJson);
    }
}

#[test]
fn value_that_is_no_object_is_not_a_tick() {
    for value in ["42", "\"text\"", "null", "true"] {
        assert_eq!(reason(value), Reason::NotATick);
    }
    assert_eq!(amid_good_ones("[1,[2]]").refused(), [(Some(1), Reason::NotATick, b"[1,[2]]".as_slice())]);
}

#[test]
fn each_rule_has_its_reason() {
    let cases = [
        ("{}", Reason::MissingSymbol),
        (r#"{"symbol":"A"}"#, Reason::MissingPrice),
        (r#"{"symbol":"A","price":1}"#, Reason::MissingVolume),
        (r#"{"symbol":7,"price":1,"volume":1}"#, Reason::BadSymbol),
        (r#"{"symbol":"","price":1,"volume":1}"#, Reason::BadSymbol),
        (r#"{"symbol":"a\u001b[2Jb","price":1,"volume":1}"#, Reason::BadSymbol),
        (r#"{"symbol":"*","price":1,"volume":1}"#, Reason::BadSymbol),
        (r#"{"symbol":"A","price":-1,"volume":1}"#, Reason::BadPrice),
        (r#"{"symbol":"A","price":[1],"volume":1}"#, Reason::BadPrice),
        (r#"{"symbol":"A","price":"NaN","volume":1}"#, Reason::BadPrice),
        (r#"{"symbol":"A","price":"","volume":1}"#, Reason::BadPrice),
        (r#"{"symbol":"A","price":1e999,"volume":1}"#, Reason::BadPrice),
        (r#"{"symbol":"A","price":-1e999,"volume":1}"#, Reason::BadPrice),
        (r#"{"symbol":"A","price":1,"volume":1e999}"#, Reason::BadVolume),
        (r#"{"symbol":"A","price":1,"volume":-0.1}"#, Reason::BadVolume),
        (r#"{"symbol":"A","price":1,"volume":1,"ts":"today"}"#, Reason::BadTs),
        (r#"{"symbol":"A","price":1,"volume":1,"ts":1e999}"#, Reason::BadTs),
    ];
    for (bad, expected) in cases {
        assert_eq!(reason(bad), expected, "{bad}");
    }
}

#[test]
fn not_a_number_as_a_string_is_a_bad_price_though_strings_are_numbers() {
    let config = DecodeConfig { numbers_as_strings: true, ..DecodeConfig::default() };
    for price in ["NaN", "nan", "inf", "-inf", "Infinity", "1e999", "", " 1", "-1", "1,5", "0x10"] {
        let body = format!(r#"{{"symbol":"A","price":"{price}","volume":1}}"#);
        let outcome = decode_message(&config, &message(body.as_bytes()));
        assert_eq!(outcome.refused(), [(Some(0), Reason::BadPrice, body.as_bytes())]);
    }
}

#[test]
fn times_out_of_range_are_refused() {
    const DAY_US: i64 = 86_400_000_000;
    const YEAR_60000_US: i64 = 1_831_300_000_000_000_000;
    // The limit counts from the sending of the message, which is the same at every delivery.
    const LATEST_US: i64 = NOW_US - 500 + DAY_US;
    let of = |ts: i64| decode(format!(r#"{{"symbol":"A","price":1,"volume":1,"ts":{ts}}}"#));
    for ts in [946_684_799_999_999, LATEST_US + 1, YEAR_60000_US, 1_795_442_400, -1, i64::MAX, i64::MIN] {
        assert_eq!(of(ts).rejects[0].reason, Reason::TsOutOfRange, "{ts}");
    }
    for ts in [946_684_800_000_000, NOW_US, LATEST_US] {
        assert_eq!(of(ts).ticks[0].ts_us, ts);
    }
}

#[test]
fn repeated_key_is_refused_unless_it_fills_no_column() {
    assert_eq!(reason(r#"{"symbol":"A","price":1,"price":2,"volume":1}"#), Reason::DuplicateField);
    assert_eq!(reason(r#"{"symbol":"A","price":1,"pr\u0069ce":1,"volume":1}"#), Reason::DuplicateField);
    assert_eq!(decode(r#"{"symbol":"A","x":1,"price":1,"x":2,"volume":1}"#).symbols(), ["A"]);
}

#[test]
fn huge_symbol_is_refused_and_stays_out_of_the_detail() {
    let bad = format!(r#"{{"symbol":"{}","price":1,"volume":1}}"#, "A".repeat(10_000));
    assert_eq!(reason(&bad), Reason::BadSymbol);
    assert_eq!(amid_good_ones(&bad).rejects[0].detail, "symbol has 10000 bytes, 64 are allowed");
}

#[test]
fn control_character_in_a_name_is_learnt_by_no_guess() {
    for field in ["venue", "conditions"] {
        let of = |value: &str| format!(r#"{{"symbol":"A","price":1,"volume":1,"{field}":"{value}"}}"#);
        // By then the shape is known. The second bad symbol has the same spelling as the first one.
        let bodies = ["X", "Y", "X", r"\u0001", r"\u0001", "X\u{85}", "X"].map(of);
        let outcome = decode(bodies.join("\n"));
        assert_eq!(outcome.refused(), [], "{field}");
        let names: Vec<Option<&str>> = outcome
            .ticks
            .iter()
            .map(|tick| if field == "venue" { &tick.venue } else { &tick.conditions }.as_deref())
            .collect();
        assert_eq!(names, [Some("X"), Some("Y"), Some("X"), None, None, None, Some("X")], "{field}");
    }
    let symbol = |value: &str| format!(r#"{{"symbol":"{value}","price":1,"volume":1}}"#);
    let outcome = decode(["X", r"A\u0001", r"A\u0001", "X"].map(symbol).join("\n"));
    let refused: Vec<_> = outcome.rejects.iter().map(|reject| (reject.index, reject.detail.as_str())).collect();
    let detail = "symbol holds the control character U+0001 at byte 1";
    assert_eq!((outcome.symbols(), refused), (vec!["X", "X"], vec![(Some(1), detail), (Some(2), detail)]));
}

#[test]
fn invalid_utf8_is_refused_by_line_by_element_and_by_body() {
    let bad = b"{\"symbol\":\"A\",\"price\":1,\"volume\":1,\"x\":\"\xff\xfe\"}".as_slice();
    assert_eq!(decode(bad).refused(), [(None, Reason::NotJson, bad)]);
    let (a, b) = (tick("A"), tick("B"));
    for [open, between, close] in [["", "\n", ""], ["[", ",", "]"]] {
        let parts = [open.as_bytes(), a.as_bytes(), between.as_bytes(), bad, between.as_bytes(), b.as_bytes()];
        let outcome = decode([&parts.concat(), close.as_bytes()].concat());
        assert_eq!((outcome.symbols(), outcome.refused()), (vec!["A", "B"], vec![(Some(1), Reason::NotJson, bad)]));
    }
}

#[test]
fn bare_not_a_number_costs_its_own_tick_only() {
    // Python's json.dumps writes these.
    for price in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(reason(&format!(r#"{{"symbol":"A","price":{price},"volume":1}}"#)), Reason::NotJson);
    }
}

#[test]
fn ticks_of_one_message_make_a_bounded_number_of_files() {
    const HOUR_US: i64 = 3_600_000_000;
    let at = |hour: i64| format!(r#"{{"symbol":"A","price":1,"volume":1,"ts":{}}}"#, NOW_US - hour * HOUR_US);
    let config = DecodeConfig { partitions_per_message_max: 3, ..DecodeConfig::default() };
    let hours = [0, 1, 2, 3, 1, 4, 0];
    let body = hours.map(at).join("\n");
    let outcome = decode_message(&config, &message(body.as_bytes()));
    assert_eq!(outcome.ticks.len(), 5, "only the first three hours, as often as they come");
    let refused: Vec<_> = outcome.rejects.iter().map(|reject| (reject.index, reject.reason)).collect();
    assert_eq!(refused, [(Some(3), Reason::TooManyPartitions), (Some(5), Reason::TooManyPartitions)]);
}

#[test]
fn body_of_one_mebibyte_is_decoded_in_full() {
    let ticks = vec![tick("A"); (1 << 20) / (tick("A").len() + 1)];
    assert_eq!(decode(format!("[{}]", ticks.join(","))).ticks.len(), ticks.len());
    assert_eq!(body_reason("x".repeat(1 << 20)), Reason::NotJson);
    let mostly_noise = format!(r#"{{"symbol":"A","noise":"{}","price":1,"volume":1}}"#, "n".repeat(1 << 20));
    assert_eq!(decode(mostly_noise).symbols(), ["A"]);
}

#[test]
fn zstd_bomb_is_quarantined_as_it_was_received() {
    use base64::Engine;
    let bomb = zstd::bulk::compress(&vec![b' '; (16 << 20) + 1], 3).unwrap();
    let bomb = base64::engine::general_purpose::STANDARD.encode(bomb);
    let outcome = decode_message(
        &DecodeConfig::default(),
        &Message { content_encoding: Some("zstd"), ..message(bomb.as_bytes()) },
    );
    assert_eq!(outcome.refused(), [(None, Reason::TooLarge, bomb.as_bytes())]);
}

#[test]
fn encoding_must_be_known_and_true() {
    let body = tick("A");
    let with = |encoding: &str| {
        let outcome = decode_message(
            &DecodeConfig::default(),
            &Message { content_encoding: Some(encoding), ..message(body.as_bytes()) },
        );
        outcome.rejects.first().map(|reject| (reject.index, reject.reason, reject.body == body.as_bytes()))
    };
    assert_eq!(with("br"), Some((None, Reason::UnknownEncoding, true)));
    let huge = "é".repeat(100_000);
    assert_eq!(with(&huge), Some((None, Reason::UnknownEncoding, true)));
    assert_eq!(with("zstd"), Some((None, Reason::BadEncoding, true)));
    assert_eq!(with("GZip"), Some((None, Reason::BadEncoding, true)));
    assert_eq!(with("identity"), None);
}

#[test]
fn refused_tick_leaves_no_names_behind() {
    let names = Dictionaries::new(10);
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    let body = br#"{"symbol":"A","price":1,"volume":-1,"venue":"V"}"#;
    Decoder::new(&DecodeConfig::default(), &names).decode(&message(body), &mut ticks, &mut rejects);
    assert_eq!((names.symbols.len(), names.venues.len(), rejects.len()), (0, 0, 1));
}

#[test]
fn million_bad_ticks_are_not_a_million_rejects() {
    let body = format!("[{}{}]", "1,".repeat(500_000), tick("A"));
    let outcome = decode(&body);
    assert_eq!((outcome.symbols(), outcome.rejects.len()), (vec!["A"], REJECTS_PER_MESSAGE_MAX + 1));
    let last = outcome.rejects.last().unwrap();
    assert_eq!((last.index, last.reason, last.body.len()), (None, Reason::TooManyRejects, body.len()));
}
