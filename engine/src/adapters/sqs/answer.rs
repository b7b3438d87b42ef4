//! Reads the answers of SQS without the SDK. It parses them in place: bodies are unescaped once and never copied.

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use simd_json::prelude::*;
use simd_json::tape::{Array, Value};
use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};

use super::{CONTENT_ENCODING, DEAD_LETTER_SOURCE, RECEIVE_COUNT, SENT_AT};
use crate::adapters::failures;
use crate::ports::{BATCH_MAX, EntryFailure, ReceivedMessage};

/// After an answer longer than this, the buffers are freed.
const RETAINED_MAX: usize = 1 << 20;

thread_local! {
    /// The buffers that simd-json needs beside the text.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// The messages of an answer to `ReceiveMessage`; `None` if it is no such answer.
pub(super) fn messages(mut answer: Vec<u8>) -> Option<Vec<ReceivedMessage>> {
    let len = answer.len();
    answer.resize(len + INPUT_PADDING, b' ');
    let start = answer.as_ptr() as usize;
    let mut messages = Vec::with_capacity(BATCH_MAX);
    let mut bodies = Vec::with_capacity(BATCH_MAX);
    let mut tape = Tape(Vec::new());
    BUFFERS.with_borrow_mut(|buffers| fill_tape_padded(&mut answer, len, buffers, &mut tape)).ok()?;
    let found = tape.as_value().as_object()?.get("Messages").and_then(|found| found.as_array());
    for message in found.iter().flat_map(Array::iter) {
        let (message, body) = read(message)?;
        messages.push(message);
        bodies.push(place(body, start, len)?);
    }
    drop(tape);
    if len > RETAINED_MAX {
        BUFFERS.take();
    }
    let answer = Bytes::from(answer);
    let body =
        |(message, body): (ReceivedMessage, Range<usize>)| ReceivedMessage { body: answer.slice(body), ..message };
    Some(messages.into_iter().zip(bodies).map(body).collect())
}

/// The range of `string` in the text of `len` bytes at `start`: simd-json unescapes strings in place.
fn place(string: &str, start: usize, len: usize) -> Option<Range<usize>> {
    if string.is_empty() {
        return Some(0..0);
    }
    let begin = (string.as_ptr() as usize).checked_sub(start)?;
    (begin + string.len() <= len).then_some(begin..begin + string.len())
}

/// One message, and its body, which the answer owns. `None` if it has no receipt handle.
fn read<'input>(message: Value<'_, 'input>) -> Option<(ReceivedMessage, &'input str)> {
    let fields = message.as_object()?;
    let text = |name| fields.get(name)?.into_string();
    let attributes = fields.get("Attributes");
    let number = |name| attributes.as_ref()?.get(name)?.into_string()?.parse::<i64>().ok();
    let encoding =
        fields.get("MessageAttributes").and_then(|all| all.get(CONTENT_ENCODING)?.get("StringValue")?.into_string());
    let message = ReceivedMessage::new(
        text("MessageId").unwrap_or_default().to_owned(),
        text("ReceiptHandle")?.into(),
        Bytes::new(),
        encoding.map(str::to_owned),
        number(SENT_AT),
        number(RECEIVE_COUNT),
        attributes.as_ref().is_some_and(|all| all.contains_key(DEAD_LETTER_SOURCE)),
    );
    Some((message, text("Body").unwrap_or_default()))
}

/// The answer to a batch call.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<'a> {
    #[serde(borrow)]
    successful: Option<Vec<Done<'a>>>,
    #[serde(borrow)]
    failed: Option<Vec<Failed<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Done<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed<'a> {
    id: &'a str,
    code: &'a str,
    sender_fault: bool,
}

/// The failed entries in the answer to a batch call of so many `entries`. `None` if it is no such answer.
pub(super) fn batch(answer: &[u8], entries: usize) -> Option<Vec<EntryFailure>> {
    let Batch { successful, failed } = serde_json::from_slice(answer).ok()?;
    let (successful, failed) = (successful.unwrap_or_default(), failed.unwrap_or_default());
    let failed = failed.iter().map(|entry| (entry.id, entry.code, entry.sender_fault));
    Some(failures(entries, successful.iter().map(|entry| entry.id), failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_unescaped_and_fields_read() {
        let answer = r#"{"Messages":[
            {"MessageId":"a","ReceiptHandle":"r\/1","Body":"{\"s\":\"\u00e4\uD83D\uDE00\",\"n\":1}\n","MD5OfBody":"x",
             "Attributes":{"SentTimestamp":"1780320600123","ApproximateReceiveCount":"3",
                           "DeadLetterQueueSourceArn":"arn:aws:sqs:eu-west-1:1:q"},
             "MessageAttributes":{"content-encoding":{"StringValue":"zstd","DataType":"String"}}},
            {"ReceiptHandle":"r2","Body":""}]}"#;
        let found = messages(answer.as_bytes().to_vec()).unwrap();
        assert_eq!(found[0].body, "{\"s\":\"\u{e4}\u{1F600}\",\"n\":1}\n".as_bytes());
        let [first, second] = &found[..] else { panic!("two messages: {found:?}") };
        assert_eq!((first.id.as_str(), &*first.receipt), ("a", "r/1"));
        assert_eq!((first.sent_at_us, first.receive_count), (Some(1_780_320_600_123_000), 3));
        assert_eq!((first.was_dead_lettered, second.was_dead_lettered), (true, false));
        assert_eq!(first.content_encoding.as_deref(), Some("zstd"));
        assert_eq!((&second.body[..], second.sent_at_us, second.receive_count), (&b""[..], None, 2));
    }

    #[test]
    fn empty_answers_have_no_messages_and_others_are_left_to_the_sdk() {
        assert_eq!(messages(b"{}".to_vec()).unwrap().len(), 0);
        assert_eq!(messages(br#"{"Messages":[]}"#.to_vec()).unwrap().len(), 0);
        for answer in ["", "[]", "<html>", r#"{"Messages":[{"Body":"no receipt"}]}"#, r#"{"Messages":["#] {
            assert!(messages(answer.as_bytes().to_vec()).is_none(), "{answer}");
        }
    }

    #[test]
    fn entries_fail_as_the_answer_says() {
        let answer = br#"{"Successful":[{"Id":"0"}],
            "Failed":[{"Id":"1","Code":"ReceiptHandleIsInvalid","SenderFault":true,"Message":"no \"such\" receipt"}]}"#;
        let found = batch(answer, 3).unwrap();
        let found: Vec<_> = found.iter().map(|failure| (failure.index, failure.retryable, &*failure.code)).collect();
        assert_eq!(found, [(1, false, "ReceiptHandleIsInvalid"), (2, true, "NoAnswer")]);
        assert!(batch(b"{\"Successful\":3}", 1).is_none());
        assert_eq!(batch(br#"{"Successful":[{"Id":"0"}],"Failed":null}"#, 1), Some(Vec::new()));
    }
}
