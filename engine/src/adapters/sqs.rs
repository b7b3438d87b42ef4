//! [`Queue`] over SQS.
//!
//! Calls go through the SDK. Most receives and deletes, nearly all of the calls, repeat an earlier one ([`direct`]).

mod answer;
mod direct;
mod noted;
mod signature;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::error::SdkError;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName,
};
use serde::Serialize;

use self::direct::Direct;
use super::{Call, failures};
use crate::ports::{BATCH_MAX, Backlog, EntryFailure, PortError, Queue, Receipt, ReceivedMessage};
use crate::redact;

const RECEIVE: Call = Call { action: "receive messages", permission: "sqs:ReceiveMessage" };
const DELETE: Call = Call { action: "delete messages", permission: "sqs:DeleteMessage" };
const EXTEND: Call = Call { action: "extend messages", permission: "sqs:ChangeMessageVisibility" };
const RELEASE: Call = Call { action: "release messages", permission: "sqs:ChangeMessageVisibility" };
const COUNT: Call = Call { action: "count messages", permission: "sqs:GetQueueAttributes" };
const LIST_SOURCES: Call =
    Call { action: "list the queues of a dead-letter queue", permission: "sqs:ListDeadLetterSourceQueues" };

const CONTENT_ENCODING: &str = "content-encoding";

const SENT_AT: &str = "SentTimestamp";
const RECEIVE_COUNT: &str = "ApproximateReceiveCount";
const DEAD_LETTER_SOURCE: &str = "DeadLetterQueueSourceArn";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiveBody<'a> {
    queue_url: &'a str,
    message_system_attribute_names: [&'a str; 3],
    message_attribute_names: [&'a str; 1],
    max_number_of_messages: usize,
    visibility_timeout: u64,
    wait_time_seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteBody<'a> {
    queue_url: &'a str,
    entries: Vec<DeleteEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteEntry<'a> {
    id: &'a str,
    receipt_handle: &'a str,
}

/// This cannot fail: the bodies hold only text and numbers in named fields.
fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default()
}

/// One SQS queue.
#[derive(Debug)]
pub struct SqsQueue {
    client: aws_sdk_sqs::Client,
    url: String,
    visibility_timeout: Duration,
    receives: Direct,
    deletes: Direct,
}

impl SqsQueue {
    /// The queue at `url`; messages received from it stay hidden for `visibility_timeout`. With a
    /// `repeat_timeout`, receives and deletes do not all go through the SDK (see [`direct`]).
    #[must_use]
    pub fn new(
        client: aws_sdk_sqs::Client,
        url: String,
        visibility_timeout: Duration,
        repeat_timeout: Option<Duration>,
    ) -> Self {
        Self {
            client,
            url,
            visibility_timeout,
            receives: Direct::new(repeat_timeout),
            deletes: Direct::new(repeat_timeout),
        }
    }

    /// How many calls have succeeded without the SDK.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.receives.count() + self.deletes.count()
    }

    /// The body of a receive, as the SDK writes it.
    fn receive_body(&self, wait: Duration) -> String {
        let body = ReceiveBody {
            queue_url: &self.url,
            message_system_attribute_names: [SENT_AT, RECEIVE_COUNT, DEAD_LETTER_SOURCE],
            message_attribute_names: [CONTENT_ENCODING],
            max_number_of_messages: BATCH_MAX,
            visibility_timeout: self.visibility_timeout.as_secs(),
            wait_time_seconds: wait.as_secs(),
        };
        to_json(&body)
    }

    /// The body of a delete, as the SDK writes it.
    fn delete_body(&self, receipts: &[Receipt]) -> String {
        let ids: [String; BATCH_MAX] = std::array::from_fn(|index| index.to_string());
        let entries = ids.iter().zip(receipts).map(|(id, receipt)| DeleteEntry { id, receipt_handle: receipt });
        to_json(&DeleteBody { queue_url: &self.url, entries: entries.collect() })
    }

    async fn change_visibility(
        &self,
        receipts: &[Receipt],
        timeout: Duration,
        call: Call,
    ) -> Result<Vec<EntryFailure>, PortError> {
        let fail = |error| call.failed(&self.url, error);
        let entry = |(index, receipt): (usize, &Receipt)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(&**receipt)
                .visibility_timeout(timeout.as_secs() as i32)
                .build()
        };
        let entries = receipts.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let call = self.client.change_message_visibility_batch().queue_url(&self.url);
        let answer = call
            .set_entries(Some(entries.map_err(|error| fail(SdkError::construction_failure(error)))?))
            .send()
            .await
            .map_err(fail)?;
        let successful = answer.successful.iter().map(|entry| entry.id.as_str());
        Ok(failures(receipts.len(), successful, failed(&answer.failed)))
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        let body = || self.receive_body(wait);
        if let Some(messages) = self.receives.call(body, answer::messages).await {
            return Ok(messages);
        }
        let note = self.receives.note(body);
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH_MAX as i32)
            .wait_time_seconds(wait.as_secs() as i32)
            .visibility_timeout(self.visibility_timeout.as_secs() as i32)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::DeadLetterQueueSourceArn)
            .message_attribute_names(CONTENT_ENCODING)
            .customize()
            .interceptor(note.clone())
            .send()
            .await
            .map_err(|error| RECEIVE.failed(&self.url, error))?;
        self.receives.keep(&note);
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(received).collect())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        let body = || self.delete_body(receipts);
        if let Some(failures) = self.deletes.call(body, |answer| answer::batch(&answer, receipts.len())).await {
            return Ok(failures);
        }
        let note = self.deletes.note(body);
        let fail = |error| DELETE.failed(&self.url, error);
        let entry = |(index, receipt): (usize, &Receipt)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(&**receipt).build()
        };
        let entries = receipts.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let call = self.client.delete_message_batch().queue_url(&self.url);
        let answer = call
            .set_entries(Some(entries.map_err(|error| fail(SdkError::construction_failure(error)))?))
            .customize()
            .interceptor(note.clone())
            .send()
            .await
            .map_err(fail)?;
        self.deletes.keep(&note);
        let successful = answer.successful.iter().map(|entry| entry.id.as_str());
        Ok(failures(receipts.len(), successful, failed(&answer.failed)))
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        self.change_visibility(receipts, timeout, EXTEND).await
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.change_visibility(receipts, Duration::ZERO, RELEASE).await
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .map_err(|error| COUNT.failed(&self.url, error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let [visible, in_flight, delayed] = names.map(|name| attributes.get(&name)?.parse().ok());
        let backlog = || Some(Backlog { visible: visible?, in_flight: in_flight?, delayed: delayed? });
        backlog().ok_or_else(|| {
            let text = format!("{}: the answer lacks a count", redact::urls(&self.url));
            PortError::retry(COUNT.action, text)
        })
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        let call = self.client.list_dead_letter_source_queues().queue_url(&self.url).max_results(1);
        let answer = call.send().await.map_err(|error| LIST_SOURCES.failed(&self.url, error))?;
        Ok(!answer.queue_urls.is_empty())
    }
}

fn failed(entries: &[BatchResultErrorEntry]) -> impl Iterator<Item = (&str, &str, bool)> {
    entries.iter().map(|entry| (entry.id.as_str(), entry.code.as_str(), entry.sender_fault))
}

/// `None` if the message has no receipt handle, so that it cannot be held. SQS never sends such a message.
fn received(message: Message) -> Option<ReceivedMessage> {
    let attribute = |name| message.attributes.as_ref()?.get(&name)?.parse().ok();
    let sent_at_ms = attribute(MessageSystemAttributeName::SentTimestamp);
    let receive_count = attribute(MessageSystemAttributeName::ApproximateReceiveCount);
    let source = MessageSystemAttributeName::DeadLetterQueueSourceArn;
    let was_dead_lettered = message.attributes.as_ref().is_some_and(|all| all.contains_key(&source));
    let encoding = message.message_attributes.and_then(|mut all| all.remove(CONTENT_ENCODING)?.string_value);
    Some(ReceivedMessage::new(
        message.message_id.unwrap_or_default(),
        message.receipt_handle?.into(),
        message.body.unwrap_or_default().into(),
        encoding,
        sent_at_ms,
        receive_count,
        was_dead_lettered,
    ))
}
