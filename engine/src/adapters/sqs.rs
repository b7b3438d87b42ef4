//! [`Queue`] over SQS.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::error::SdkError;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName,
};

use super::{Call, failures};
use crate::ports::{BATCH_MAX, EntryFailure, PortError, Queue, Receipt, ReceivedMessage};

const RECEIVE: Call = Call { action: "receive messages", permission: "sqs:ReceiveMessage" };
const DELETE: Call = Call { action: "delete messages", permission: "sqs:DeleteMessage" };
const EXTEND: Call = Call { action: "extend messages", permission: "sqs:ChangeMessageVisibility" };
const RELEASE: Call = Call { action: "release messages", permission: "sqs:ChangeMessageVisibility" };
const COUNT: Call = Call { action: "count messages", permission: "sqs:GetQueueAttributes" };

const CONTENT_ENCODING: &str = "content-encoding";

/// One SQS queue.
#[derive(Debug)]
pub struct SqsQueue {
    client: aws_sdk_sqs::Client,
    url: String,
    visibility_timeout: Duration,
}

impl SqsQueue {
    /// The queue at `url`; messages received from it stay hidden for `visibility_timeout`.
    #[must_use]
    pub fn new(client: aws_sdk_sqs::Client, url: String, visibility_timeout: Duration) -> Self {
        Self { client, url, visibility_timeout }
    }

    async fn change_visibility(
        &self,
        receipts: &[Receipt],
        timeout: Duration,
        call: Call,
    ) -> Result<Vec<EntryFailure>, PortError> {
        let fail = |error| call.failed(&self.url, &error);
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
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH_MAX as i32)
            .wait_time_seconds(wait.as_secs() as i32)
            .visibility_timeout(self.visibility_timeout.as_secs() as i32)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_attribute_names(CONTENT_ENCODING)
            .send()
            .await
            .map_err(|error| RECEIVE.failed(&self.url, &error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(received).collect())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        let fail = |error| DELETE.failed(&self.url, &error);
        let entry = |(index, receipt): (usize, &Receipt)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(&**receipt).build()
        };
        let entries = receipts.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let call = self.client.delete_message_batch().queue_url(&self.url);
        let answer = call
            .set_entries(Some(entries.map_err(|error| fail(SdkError::construction_failure(error)))?))
            .send()
            .await
            .map_err(fail)?;
        let successful = answer.successful.iter().map(|entry| entry.id.as_str());
        Ok(failures(receipts.len(), successful, failed(&answer.failed)))
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        self.change_visibility(receipts, timeout, EXTEND).await
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.change_visibility(receipts, Duration::ZERO, RELEASE).await
    }

    async fn backlog(&self) -> Result<u64, PortError> {
        let counts = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(counts.to_vec()))
            .send()
            .await
            .map_err(|error| COUNT.failed(&self.url, &error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let sum = counts.iter().map(|name| attributes.get(name)?.parse::<u64>().ok()).sum::<Option<u64>>();
        let text = format!("{}: the answer lacks a count", self.url);
        sum.ok_or(PortError::Retry { action: COUNT.action, text })
    }
}

fn failed(entries: &[BatchResultErrorEntry]) -> impl Iterator<Item = (&str, &str, bool)> {
    entries.iter().map(|entry| (entry.id.as_str(), entry.code.as_str(), entry.sender_fault))
}

/// A message without a receipt handle cannot be held, and SQS never sends one.
fn received(message: Message) -> Option<ReceivedMessage> {
    let attribute = |name| message.attributes.as_ref()?.get(&name)?.parse::<i64>().ok();
    let sent_at_ms = attribute(MessageSystemAttributeName::SentTimestamp);
    let receive_count = attribute(MessageSystemAttributeName::ApproximateReceiveCount);
    let encoding = message.message_attributes.and_then(|mut all| all.remove(CONTENT_ENCODING)?.string_value);
    Some(ReceivedMessage {
        id: message.message_id.unwrap_or_default(),
        receipt: message.receipt_handle?.into(),
        body: message.body.unwrap_or_default().into_bytes(),
        content_encoding: encoding,
        sent_at_us: sent_at_ms.map(|ms| ms.saturating_mul(1_000)),
        receive_count: receive_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
    })
}
