//! Undoes the envelopes that AWS puts around messages on their way to the queue: SNS, EventBridge, and Kinesis pipes.
//!
//! This file owns their forms, and recognizes an envelope that is not configured. It does *not* own content encodings
//! ([`super::envelope`]), or what is inside.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use simd_json::Node;

use super::config::Wrap;
use super::nodes::keys;
use super::reject::{Reason, Refusal};
use super::split::{elements, fields, value_len};

/// One body, taken out of its envelope.
pub(super) struct Unwrapped<'t> {
    /// The bytes that are kept if the body is refused.
    pub(super) text: &'t [u8],
    /// The producer's message, or why there is none.
    pub(super) message: Result<&'t [u8], Refusal>,
}

impl Wrap {
    /// Calls `take` for each body in `text`, in their order. `text` must not be empty.
    pub(super) fn each(self, text: &[u8], mut take: impl FnMut(Unwrapped<'_>)) {
        match self {
            Self::None => take(Unwrapped { text, message: Ok(text) }),
            Self::Sns => {
                let message = notification(text);
                let message = message.as_ref().map(String::as_bytes);
                take(Unwrapped { text, message: message.map_err(|what| refused("an SNS notification", what)) });
            }
            Self::EventBridge => {
                let detail = whole_object(text).and_then(|()| field(text, b"detail"));
                let message = detail.ok_or_else(|| refused("an EventBridge event", "it has no `detail`"));
                take(Unwrapped { text, message });
            }
            Self::Kinesis => {
                let records: Vec<&[u8]> = if text[0] == b'[' { elements(text).collect() } else { vec![text] };
                if records.is_empty() {
                    let refusal = refused("a batch of Kinesis records", "it is not an object or array of objects");
                    take(Unwrapped { text, message: Err(refusal) });
                }
                for record in records {
                    match data(record) {
                        Ok(data) => take(Unwrapped { text: &data, message: Ok(&data) }),
                        Err(what) => {
                            take(Unwrapped { text: record, message: Err(refused("a Kinesis record", what)) });
                        }
                    }
                }
            }
        }
    }
}

fn refused(what: &str, why: &str) -> Refusal {
    Refusal::new(Reason::Envelope, format!("body is not {what}, which decode.envelope names: {why}"))
}

fn notification(text: &[u8]) -> Result<String, &'static str> {
    whole_object(text).ok_or("it is not a JSON object")?;
    match field(text, b"Type") {
        Some(br#""Notification""#) => {}
        Some(_) => return Err("its `Type` is not `Notification`"),
        None => return Err("it has no `Type`; raw message delivery needs no envelope"),
    }
    let message = field(text, b"Message").ok_or("it has no `Message`")?;
    serde_json::from_slice(message).map_err(|_| "its `Message` is not text")
}

fn data(record: &[u8]) -> Result<Vec<u8>, &'static str> {
    whole_object(record).ok_or("it is not a JSON object")?;
    let data = field(record, b"data").ok_or("it has no `data`")?;
    let data: String = serde_json::from_slice(data).map_err(|_| "its `data` is not text")?;
    STANDARD_PAD_INDIFFERENT.decode(data).map_err(|_| "its `data` is not base64")
}

/// Whether `text` is one object and nothing else, judged by brackets and quotes.
fn whole_object(text: &[u8]) -> Option<()> {
    (text.first() == Some(&b'{') && value_len(text) == Some(text.len())).then_some(())
}

fn field<'t>(text: &'t [u8], key: &[u8]) -> Option<&'t [u8]> {
    fields(text).find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// For a message without an expected tick: what it looks like, and what the user can do.
pub(super) fn hint(nodes: &[Node<'_>]) -> Option<&'static str> {
    let has = |wanted: &[&str]| wanted.iter().all(|wanted| keys(nodes).any(|key| key == *wanted));
    let hints: [(&[&str], &str); 7] = [
        (
            &["Type", "TopicArn", "Message"],
            "it is an SNS notification: set decode.envelope = \"sns\", or switch on raw message delivery",
        ),
        (&["detail-type", "detail"], "it is an EventBridge event: set decode.envelope = \"eventbridge\""),
        (&["kinesisSchemaVersion", "data"], "it is a record of a Kinesis stream: set decode.envelope = \"kinesis\""),
        (&["dynamodb", "eventSource"], "it is a change of a DynamoDB table, which holds no ticks"),
        (&["Service", "Event", "Bucket"], "it is a test event of S3: remove the bucket's notification to this queue"),
        (&["Records"], "it is a notification of S3 or another service: remove the notification to this queue"),
        (&["stream", "data"], "it is a message of a combined stream: set decode.ticks = \"data\""),
    ];
    hints.into_iter().find(|(wanted, _)| has(wanted)).map(|(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(wrap: Wrap, text: &str) -> Vec<Result<String, String>> {
        let mut opened = Vec::new();
        wrap.each(text.as_bytes(), |body| {
            opened.push(match body.message {
                Ok(text) => Ok(String::from_utf8(text.to_vec()).unwrap()),
                Err(refusal) => Err(refusal.detail),
            });
        });
        opened
    }

    #[test]
    fn message_of_a_notification_is_its_text() {
        let body = r#"{"Type":"Notification","MessageId":"1","TopicArn":"arn:aws:sns:us-east-1:1:t","Message":"{\"symbol\":\"\u0041\"}\n","Timestamp":"2026-12-01T00:00:00.000Z"}"#;
        assert_eq!(opened(Wrap::Sns, body), [Ok("{\"symbol\":\"A\"}\n".to_owned())]);
    }

    #[test]
    fn detail_of_an_event_is_its_message() {
        let body =
            r#"{"version":"0","detail-type":"trade","source":"feed","detail":{"symbol":"A","x":[1]},"resources":[]}"#;
        assert_eq!(opened(Wrap::EventBridge, body), [Ok(r#"{"symbol":"A","x":[1]}"#.to_owned())]);
    }

    #[test]
    fn each_record_of_a_stream_is_a_message() {
        let record = r#"{"kinesisSchemaVersion":"1.0","data":"eyJzeW1ib2wiOiJBIn0=","partitionKey":"A"}"#;
        assert_eq!(opened(Wrap::Kinesis, record), [Ok(r#"{"symbol":"A"}"#.to_owned())]);
        let batch = format!(r#"[{record}, {{"data":"?"}}, {record}]"#);
        let messages = opened(Wrap::Kinesis, &batch);
        assert_eq!(messages.iter().filter(|message| message.is_ok()).count(), 2);
        assert!(messages[1].as_ref().unwrap_err().contains("not base64"));
    }

    #[test]
    fn other_bodies_are_refused_with_what_is_missing() {
        let cases = [
            (Wrap::Sns, r#"{"symbol":"A"}"#, "raw message delivery"),
            (Wrap::Sns, r#"{"Type":"SubscriptionConfirmation","Message":"x"}"#, "not `Notification`"),
            (Wrap::Sns, r#"{"Type":"Notification","Message":{}}"#, "not text"),
            (Wrap::Sns, r#"{"Type":"Notification"}"#, "no `Message`"),
            (Wrap::Sns, r#"{"Type":"Notification","Message":"a"} x"#, "not a JSON object"),
            (Wrap::EventBridge, r#"{"symbol":"A"}"#, "no `detail`"),
            (Wrap::EventBridge, "x", "no `detail`"),
            (Wrap::Kinesis, "[]", "not an object or array of objects"),
            (Wrap::Kinesis, r#"{"data":1}"#, "not text"),
        ];
        for (wrap, body, what) in cases {
            let messages = opened(wrap, body);
            assert!(messages.len() == 1 && messages[0].as_ref().unwrap_err().contains(what), "{body}: {messages:?}");
        }
    }
}
