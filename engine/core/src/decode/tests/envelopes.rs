//! Ticks inside envelopes, and inside messages with something around the ticks.

use super::*;

fn config(json: &str) -> DecodeConfig {
    let config: DecodeConfig = serde_json::from_str(json).unwrap();
    config.validate().unwrap();
    config
}

fn refused_bodies(outcome: &Outcome) -> Vec<(Option<u32>, Reason, String)> {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    outcome.rejects.iter().map(|reject| (reject.index, reject.reason, text(&reject.body))).collect()
}

#[test]
fn notification_is_the_same_as_raw_delivery() {
    let sns = config(r#"{"envelope":"sns"}"#);
    for inner in [tick("A"), format!("[{},{}]", tick("A"), tick("B")), format!("{}\n{}", tick("A"), tick("B"))] {
        let body = serde_json::json!({
            "Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": inner,
            "Timestamp": "2026-11-23T14:00:00.000Z", "SignatureVersion": "1",
        });
        let outcome = decode_message(&sns, &message(body.to_string().as_bytes()));
        assert_eq!(outcome, decode(&inner));
    }
    let outcome = decode_message(&sns, &message(tick("A").as_bytes()));
    assert_eq!(outcome.refused(), [(None, Reason::Envelope, tick("A").as_bytes())]);
}

#[test]
fn body_in_an_envelope_that_is_not_configured_names_the_key() {
    let sns = r#"{"Type":"Notification","MessageId":"1","TopicArn":"arn","Message":"{}","Timestamp":"x"}"#;
    let event = r#"{"version":"0","id":"1","detail-type":"trade","source":"feed","detail":{"symbol":"A","price":1,"volume":1}}"#;
    let record = r#"{"kinesisSchemaVersion":"1.0","data":"e30=","partitionKey":"A"}"#;
    let combined = r#"{"stream":"bnbbtc@trade","data":{"e":"trade","s":"BNBBTC"}}"#;
    let test_event =
        r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"x","Bucket":"b","RequestId":"1","HostId":"2"}"#;
    let cases = [
        (sns, "decode.envelope = \"sns\""),
        (event, "decode.envelope = \"eventbridge\""),
        (record, "decode.envelope = \"kinesis\""),
        (combined, "decode.ticks = \"data\""),
        (test_event, "test event of S3"),
        (r#"{"Records":[{"eventSource":"aws:s3"}]}"#, "notification of S3"),
    ];
    // The hint must also come if a field decides: it is not where the filter looks for it.
    let filtered = config(r#"{"only":{"e":["trade"]}}"#);
    for config in [DecodeConfig::default(), filtered] {
        for (body, hint) in cases {
            let outcome = decode_message(&config, &message(body.as_bytes()));
            assert_eq!(outcome.refused(), [(Some(0), Reason::Envelope, body.as_bytes())]);
            assert!(outcome.rejects[0].detail.contains(hint), "{}", outcome.rejects[0].detail);
        }
    }
}

#[test]
fn records_of_a_batch_are_numbered_through() {
    use base64::Engine as _;
    let kinesis = config(r#"{"envelope":"kinesis"}"#);
    let record = |text: &str| {
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        serde_json::json!({ "kinesisSchemaVersion": "1.0", "data": data, "eventSource": "aws:kinesis" }).to_string()
    };
    let (a, b) = (tick("A"), tick("B"));
    let records = [
        record(&format!("[{a},7,{b}]")),
        record("{ no json"),
        r#"{"data":"?"}"#.to_owned(),
        record(&format!("{b}\n8")),
    ];
    let outcome = decode_message(&kinesis, &message(format!("[{}]", records.join(",")).as_bytes()));
    assert_eq!(outcome.symbols(), ["A", "B", "B"]);
    let refused = refused_bodies(&outcome);
    let expected = [
        (Some(1), Reason::NotATick, "7".to_owned()),
        (Some(3), Reason::NotJson, "{ no json".to_owned()),
        (Some(4), Reason::Envelope, r#"{"data":"?"}"#.to_owned()),
        (Some(6), Reason::NotATick, "8".to_owned()),
    ];
    assert_eq!(refused, expected);
}

#[test]
fn refused_tick_keeps_what_is_around_it_and_can_be_read_again() {
    let config = config(r#"{"ticks":"rows[]","fields":{"symbol":"/name","price":"0","volume":"1"}}"#);
    let body = r#"{"name":"A","rows":[[1,2],["x",2],[3,4],[-1,2]]}"#;
    let outcome = decode_message(&config, &message(body.as_bytes()));
    assert_eq!(outcome.ticks.iter().map(|tick| tick.price).collect::<Vec<_>>(), [1.0, 3.0]);
    let alone = |row: &str| format!(r#"{{"name":"A","rows":[{row}]}}"#);
    let expected = [(Some(1), Reason::BadPrice, alone(r#"["x",2]"#)), (Some(3), Reason::BadPrice, alone("[-1,2]"))];
    assert_eq!(refused_bodies(&outcome), expected);
    let again = decode_message(&config, &message(alone("[5,2]").as_bytes()));
    assert_eq!((again.symbols(), again.ticks[0].price), (vec!["A"], 5.0));
}

#[test]
fn batches_and_lines_of_messages_are_numbered_through() {
    let config = config(r#"{"ticks":"rows[]","only":{"/kind":["t"]}}"#);
    let of = |kind: &str, rows: &[&str]| format!(r#"{{"kind":"{kind}","rows":[{}]}}"#, rows.join(","));
    let (a, b) = (tick("A"), tick("B"));
    // A message without ticks takes a position, too.
    let messages =
        [of("t", &[&a, "7"]), of("x", &[&a, &b, &a]), of("t", &[]), r#"{"kind":"t"}"#.to_owned(), of("t", &[&b])];
    let positions = |body: String| {
        let mut decoder = Decoder::new(&config, &Dictionaries::new(10));
        let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
        decoder.decode(&message(body.as_bytes()), &mut ticks, &mut rejects);
        let refused: Vec<_> = rejects.iter().map(|reject| (reject.index.unwrap(), reject.reason)).collect();
        (ticks.len(), refused, decoder.left_out().collect::<Vec<_>>())
    };
    let expected = (2, vec![(1, Reason::NotATick), (6, Reason::NoTicks)], vec![2, 3, 4, 5]);
    assert_eq!(positions(messages.join("\n")), expected);
    assert_eq!(positions(format!("[{}]", messages.join(","))), expected);
}

#[test]
fn parts_of_the_path_that_are_missing_or_of_another_kind_are_told() {
    let config = config(r#"{"ticks":"a.b[]"}"#);
    for (body, what) in [("{}", "is missing"), (r#"{"a":{"b":{}}}"#, "is not an array"), (r#"{"a":[]}"#, "is missing")]
    {
        let outcome = decode_message(&config, &message(body.as_bytes()));
        assert_eq!(outcome.refused(), [(Some(0), Reason::NoTicks, body.as_bytes())]);
        assert!(outcome.rejects[0].detail.contains(what), "{}", outcome.rejects[0].detail);
    }
}
