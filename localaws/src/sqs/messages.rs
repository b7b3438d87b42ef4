//! The operations on messages: send, receive, delete, change visibility, singly and in batches.
//!
//! This file owns the rules about a request's values. It does *not* own what a queue does with them.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    Reply, Sqs,
    attributes_md5::Attributes,
    error::SqsError,
    live::LiveQueue,
    message::{Content, Extras, Receipt},
    parse,
    protocol::{
        BatchReply, BatchRequest, ChosenAttributes, DoneReply, FailedReply, MessageReply, ReceiptEntry, ReceiveReply,
        ReceiveRequest, SendEntry, SentReply, SystemAttributes, sequence_number,
    },
    queue::{Ask, Queue, Sent},
    reply,
    settings::{MESSAGE_BYTES_MAX, Settings},
};
use crate::{
    clock::Millis,
    faults::{Effect, Operation},
    hex::hex,
};

/// The most entries in a batch, and the most messages of a receive.
const BATCH_MAX: usize = 10;

/// A message that passed all checks, with its own delay.
type Checked = (Arc<Content>, Option<u64>);

impl Sqs {
    pub(super) fn send_message(&self, region: &str, body: &[u8]) -> Reply {
        let entry: SendEntry = parse(body)?;
        let queue = self.queue(region, &entry.queue_url)?;
        let settings = queue.state().settings.clone();
        let checked = check_message(entry, &settings)?;
        let content = checked.0.clone();
        let sent = queue.send([checked])?.pop().ok_or_else(SqsError::no_such_queue)?;
        Ok(reply(&sent_reply("", &content, sent)))
    }

    pub(super) fn send_message_batch(&self, operation: Operation, region: &str, body: &[u8]) -> Reply {
        let BatchRequest::<SendEntry> { queue_url, mut entries } = parse(body)?;
        let queue = self.queue(region, &queue_url)?;
        let ids: Vec<Cow<'_, str>> = entries.iter_mut().map(|entry| std::mem::take(&mut entry.id)).collect();
        check_ids(&ids)?;
        let bytes = entries.iter().map(SendEntry::bytes).sum();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(SqsError::batch_too_long(MESSAGE_BYTES_MAX, bytes));
        }
        let settings = queue.state().settings.clone();
        let checked: Vec<Result<Checked, SqsError>> = entries
            .into_iter()
            .map(|entry| self.check_entry(operation).and_then(|()| check_message(entry, &settings)))
            .collect();
        let sent = queue.send(checked.iter().flatten().cloned())?;
        let mut sent = sent.into_iter();
        let mut answer = BatchReply { successful: Vec::with_capacity(ids.len()), failed: Vec::new() };
        for (id, checked) in ids.iter().zip(&checked) {
            match checked {
                Ok((content, _)) => answer.successful.extend(sent.next().map(|sent| sent_reply(id, content, sent))),
                Err(error) => answer.failed.push(FailedReply::new(id, error)),
            }
        }
        Ok(reply(&answer))
    }

    pub(super) async fn receive_message(&self, region: &str, body: &[u8]) -> Reply {
        let request: ReceiveRequest = parse(body)?;
        let queue = self.queue(region, &request.queue_url)?;
        let (ask, wait, fifo, dead_letters) = {
            let settings = &queue.state().settings;
            let (ask, wait) = check_receive(&request, settings)?;
            (ask, wait, settings.fifo, settings.redrive.clone())
        };
        let dead_letters =
            dead_letters.and_then(|redrive| Some((self.queue_by_arn(&redrive.target)?, redrive.max_receives)));
        let ask = Ask { move_after: dead_letters.as_ref().map(|(_, limit)| *limit), ..ask };
        let target = dead_letters.as_ref().map(|(queue, _)| &**queue);
        let deliveries = queue.receive(&ask, wait, target).await?;
        let mut system = request.message_system_attribute_names;
        system.extend(request.attribute_names);
        let messages = deliveries.iter().map(|delivery| {
            let content = &delivery.content;
            let message_attributes =
                ChosenAttributes { attributes: &content.attributes, wanted: &request.message_attribute_names };
            MessageReply {
                message_id: content.id,
                receipt_handle: delivery.receipt,
                body_md5: content.body_md5,
                body: &content.body,
                attributes: SystemAttributes { delivery, wanted: &system, fifo },
                attributes_md5: message_attributes.md5(),
                message_attributes,
            }
        });
        Ok(reply(&ReceiveReply { messages: messages.collect() }))
    }

    pub(super) fn delete_message(&self, region: &str, body: &[u8]) -> Reply {
        let entry: ReceiptEntry = parse(body)?;
        let queue = self.queue(region, &entry.queue_url)?;
        single(&queue, &entry, delete)?;
        Ok(reply(&Empty {}))
    }

    pub(super) fn delete_message_batch(&self, operation: Operation, region: &str, body: &[u8]) -> Reply {
        self.receipt_batch(operation, region, body, delete)
    }

    pub(super) fn change_visibility(&self, region: &str, body: &[u8]) -> Reply {
        let entry: ReceiptEntry = parse(body)?;
        let queue = self.queue(region, &entry.queue_url)?;
        single(&queue, &entry, change_visibility)?;
        Ok(reply(&Empty {}))
    }

    pub(super) fn change_visibility_batch(&self, operation: Operation, region: &str, body: &[u8]) -> Reply {
        self.receipt_batch(operation, region, body, change_visibility)
    }

    fn receipt_batch(&self, operation: Operation, region: &str, body: &[u8], change: ReceiptChange) -> Reply {
        let BatchRequest::<ReceiptEntry> { queue_url, mut entries } = parse(body)?;
        let queue = self.queue(region, &queue_url)?;
        let ids: Vec<Cow<'_, str>> = entries.iter_mut().map(|entry| std::mem::take(&mut entry.id)).collect();
        check_ids(&ids)?;
        let results = queue.for_receipts(&entries, |state, entry, now| {
            self.check_entry(operation)?;
            let receipt = receipt(entry)?;
            let counts = !state.settings.fifo && self.faults.entry_meets(operation, &Effect::OldReceipts);
            change(state, if counts { state.newest(receipt) } else { receipt }, entry, now)
        })?;
        let mut answer = BatchReply { successful: Vec::with_capacity(ids.len()), failed: Vec::new() };
        for (id, result) in ids.iter().zip(&results) {
            match result {
                Ok(()) => answer.successful.push(DoneReply { id }),
                Err(error) => answer.failed.push(FailedReply::new(id, error)),
            }
        }
        Ok(reply(&answer))
    }
}

/// The answer of an operation without a result.
#[derive(Debug, Serialize)]
pub(super) struct Empty {}

type ReceiptChange = fn(&mut Queue, Receipt, &ReceiptEntry<'_>, Millis) -> Result<(), SqsError>;

fn single(queue: &LiveQueue, entry: &ReceiptEntry<'_>, change: ReceiptChange) -> Result<(), SqsError> {
    let change = |state: &mut Queue, entry: &ReceiptEntry<'_>, now| change(state, receipt(entry)?, entry, now);
    queue.for_receipts([entry], change)?.pop().unwrap_or(Ok(()))
}

fn receipt(entry: &ReceiptEntry<'_>) -> Result<Receipt, SqsError> {
    if entry.receipt_handle.is_empty() {
        return Err(SqsError::missing_parameter("ReceiptHandle"));
    }
    entry.receipt_handle.parse()
}

fn delete(queue: &mut Queue, receipt: Receipt, _: &ReceiptEntry<'_>, now: Millis) -> Result<(), SqsError> {
    queue.delete(receipt, now)
}

fn change_visibility(
    queue: &mut Queue,
    receipt: Receipt,
    entry: &ReceiptEntry<'_>,
    now: Millis,
) -> Result<(), SqsError> {
    let seconds = entry.visibility_timeout.ok_or_else(|| SqsError::missing_parameter("VisibilityTimeout"))?;
    let seconds = in_range("VisibilityTimeout", seconds, 0, 43_200)?;
    queue.change_visibility(receipt, seconds, now)
}

fn sent_reply<'a>(id: &'a str, content: &Content, sent: Sent) -> SentReply<'a> {
    SentReply {
        id,
        message_id: sent.id,
        body_md5: content.body_md5,
        attributes_md5: content.attributes_md5,
        sequence_number: sent.sequence.map(sequence_number),
    }
}

pub(super) fn in_range(name: &str, value: i64, low: i64, high: i64) -> Result<u64, SqsError> {
    if (low..=high).contains(&value) {
        return Ok(value as u64);
    }
    let message = format!(
        "Value {value} for parameter {name} is invalid. Reason: Must be between {low} and {high}, if provided."
    );
    Err(SqsError::invalid_parameter(message))
}

fn check_receive(request: &ReceiveRequest<'_>, settings: &Settings) -> Result<(Ask, Duration), SqsError> {
    let max = in_range("MaxNumberOfMessages", request.max_number_of_messages.unwrap_or(1), 1, BATCH_MAX as i64)?;
    let wait = request.wait_time_seconds.unwrap_or(settings.wait_seconds as i64);
    let wait = in_range("WaitTimeSeconds", wait, 0, 20)?;
    let visibility = request.visibility_timeout.unwrap_or(settings.visibility_seconds as i64);
    let visibility_seconds = in_range("VisibilityTimeout", visibility, 0, 43_200)?;
    let ask = Ask { max: max as usize, visibility_seconds, move_after: None, short_poll: wait == 0 };
    Ok((ask, Duration::from_secs(wait)))
}

/// Checks the rules for the entries of a batch as a whole.
fn check_ids(ids: &[Cow<'_, str>]) -> Result<(), SqsError> {
    if ids.is_empty() {
        return Err(SqsError::empty_batch());
    }
    if ids.len() > BATCH_MAX {
        return Err(SqsError::too_many_entries(ids.len()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if ids.iter().any(|id| id.is_empty() || id.len() > 80 || !id.chars().all(plain)) {
        return Err(SqsError::invalid_entry_id());
    }
    match ids.iter().enumerate().find(|(index, id)| ids[..*index].contains(id)) {
        Some((_, id)) => Err(SqsError::ids_not_distinct(id)),
        None => Ok(()),
    }
}

/// Checks the rules for one message.
fn check_message(entry: SendEntry<'_>, settings: &Settings) -> Result<Checked, SqsError> {
    let delay = entry.delay_seconds.map(|delay| in_range("DelaySeconds", delay, 0, 900)).transpose()?;
    if settings.fifo && delay.is_some_and(|delay| delay > 0) {
        let reason = "The request include parameter that is not valid for this queue type";
        let message = format!("Value {} for parameter DelaySeconds is invalid. Reason: {reason}.", delay.unwrap_or(0));
        return Err(SqsError::invalid_parameter(message));
    }
    let trace_header = entry
        .message_system_attributes
        .into_iter()
        .find(|(name, _)| name == "AWSTraceHeader")
        .and_then(|(_, value)| value.string_value);
    let mut extras = Extras {
        attributes: Attributes::parse(entry.message_attributes)?,
        trace_header,
        group: entry.message_group_id,
        deduplication: entry.message_deduplication_id,
    };
    check_fifo(&mut extras, &entry.message_body, settings)?;
    let content = Content::new(&entry.message_body, extras)?;
    if content.bytes() > settings.message_bytes_max {
        let limit = settings.message_bytes_max;
        let message =
            format!("One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.");
        return Err(SqsError::invalid_parameter(message));
    }
    Ok((Arc::new(content), delay))
}

/// A FIFO queue needs a group and a deduplication id. A standard queue takes a group (for fairness) and no
/// deduplication id.
fn check_fifo(extras: &mut Extras, body: &str, settings: &Settings) -> Result<(), SqsError> {
    if !settings.fifo {
        return match extras.deduplication {
            Some(_) => Err(SqsError::invalid_parameter(
                "The request includes a parameter that is not valid for this queue type: MessageDeduplicationId.",
            )),
            None => Ok(()),
        };
    }
    if extras.group.is_none() {
        return Err(SqsError::missing_parameter("MessageGroupId"));
    }
    if extras.deduplication.is_none() {
        if !settings.content_based_deduplication {
            return Err(SqsError::invalid_parameter(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly",
            ));
        }
        extras.deduplication = Some(hex(&Sha256::digest(body)));
    }
    Ok(())
}
