//! Publishing: from form fields to notifications to the queues that want them.
//!
//! It does *not* own what a subscription lets through, nor what a queue does with a message.

use std::collections::{BTreeMap, HashSet};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Sns,
    error::SnsError,
    requests::{Outcome, one, topic},
    topic::{Notification, Topic},
};
use crate::{
    faults::Operation,
    hex::hex,
    query::Form,
    sqs::{Attribute, AttributeInput, Extras},
    xml::element,
};

/// The most that a message or a batch may weigh: 256 KiB.
const MESSAGE_BYTES_MAX: usize = 262_144;

/// The most entries in a batch.
const BATCH_MAX: usize = 10;

impl Sns {
    pub(super) fn publish(&self, region: &str, form: &Form) -> Outcome {
        let arn = form.get("TopicArn").or_else(|| form.get("TargetArn"));
        let arn = arn.ok_or_else(|| SnsError::invalid("TopicArn or TargetArn", "no value for required parameter"))?;
        let mut topics = self.topics();
        let topic = topic(&mut topics, region, arn)?;
        let notification = notification(topic, form, "")?;
        if notification.bytes() > MESSAGE_BYTES_MAX {
            return Err(SnsError::invalid("Message too long", ""));
        }
        let id = notification.id;
        self.distribute(topic, arn, &[notification]);
        Ok(Some(one("MessageId", &id.to_string())))
    }

    pub(super) fn publish_batch(&self, operation: Operation, region: &str, form: &Form) -> Outcome {
        let arn = form.get("TopicArn").unwrap_or_default();
        let mut topics = self.topics();
        let topic = topic(&mut topics, region, arn)?;
        let prefixes: Vec<String> = (1..=BATCH_MAX + 1)
            .map(|index| format!("PublishBatchRequestEntries.member.{index}."))
            .take_while(|prefix| form.has(prefix))
            .collect();
        let ids: Vec<&str> =
            prefixes.iter().map(|prefix| form.get(&format!("{prefix}Id")).unwrap_or_default()).collect();
        check_ids(&ids)?;
        let parsed: Vec<Result<Notification, SnsError>> = prefixes
            .iter()
            .map(|prefix| {
                if self.faults.entry_fails(operation) {
                    return Err(SnsError::from_fault(crate::FaultKind::InternalError));
                }
                notification(topic, form, prefix)
            })
            .collect();
        if parsed.iter().flatten().map(Notification::bytes).sum::<usize>() > MESSAGE_BYTES_MAX {
            return Err(SnsError::batch_too_long());
        }
        let accepted: Vec<Notification> = parsed.iter().flatten().cloned().collect();
        self.distribute(topic, arn, &accepted);
        let (mut successful, mut failed) = (String::new(), String::new());
        for (id, result) in ids.iter().zip(&parsed) {
            match result {
                Ok(notification) => sent_member(&mut successful, id, notification),
                Err(error) => failed_member(&mut failed, id, error),
            }
        }
        Ok(Some(format!("<Successful>{successful}</Successful><Failed>{failed}</Failed>")))
    }

    /// Hands messages to all subscriptions that want them, in order.
    fn distribute(&self, topic: &Topic, topic_arn: &str, notifications: &[Notification]) {
        let now = self.clock.now();
        for subscription in topic.subscriptions.values() {
            let wanted = notifications.iter().filter(|notification| subscription.wants(notification));
            let messages = wanted.map(|notification| {
                let (body, attributes) = subscription.render(notification, topic_arn, now);
                let (group, deduplication) = (notification.group.clone(), notification.deduplication.clone());
                (body, Extras { attributes, group, deduplication, trace_header: None })
            });
            if let Err(error) = self.sqs.deliver(&subscription.endpoint, messages.collect()) {
                // AWS drops what it cannot deliver to a queue, too, when the subscription has no dead-letter queue.
                tracing::warn!(queue = subscription.endpoint, error = %error.message, "a notification was not delivered");
            }
        }
    }
}

fn sent_member(xml: &mut String, id: &str, notification: &Notification) {
    xml.push_str("<member>");
    element(xml, "Id", id);
    element(xml, "MessageId", &notification.id.to_string());
    xml.push_str("</member>");
}

fn failed_member(xml: &mut String, id: &str, error: &SnsError) {
    xml.push_str("<member>");
    element(xml, "Id", id);
    element(xml, "Code", error.code);
    element(xml, "Message", &error.message);
    element(xml, "SenderFault", if error.status < 500 { "true" } else { "false" });
    xml.push_str("</member>");
}

fn check_ids(ids: &[&str]) -> Result<(), SnsError> {
    if ids.is_empty() {
        return Err(SnsError::empty_batch());
    }
    if ids.len() > BATCH_MAX {
        return Err(SnsError::too_many_entries());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if ids.iter().any(|id| id.is_empty() || id.len() > 80 || !id.chars().all(plain)) {
        return Err(SnsError::invalid_entry_id());
    }
    let distinct: HashSet<_> = ids.iter().collect();
    if distinct.len() == ids.len() { Ok(()) } else { Err(SnsError::ids_not_distinct()) }
}

/// Reads and checks one message, from the fields that begin with `prefix`.
fn notification(topic: &Topic, form: &Form, prefix: &str) -> Result<Notification, SnsError> {
    let field = |name: &str| form.get(&format!("{prefix}{name}")).filter(|text| !text.is_empty());
    let message = field("Message").ok_or_else(|| SnsError::invalid("Empty message", ""))?.to_owned();
    let subject = field("Subject");
    if subject.is_some_and(|subject| subject.chars().count() > 100 || subject.contains(char::is_control)) {
        return Err(SnsError::invalid("Subject", ""));
    }
    let group = field("MessageGroupId").map(str::to_owned);
    let mut deduplication = field("MessageDeduplicationId").map(str::to_owned);
    if topic.is_fifo() {
        if group.is_none() {
            return Err(SnsError::invalid("The MessageGroupId parameter is required for FIFO topics", ""));
        }
        let by_content = topic.attributes.get("ContentBasedDeduplication").is_some_and(|value| value == "true");
        if deduplication.is_none() && !by_content {
            let parameter = "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId \
                             provided explicitly";
            return Err(SnsError::invalid(parameter, ""));
        }
        deduplication = deduplication.or_else(|| Some(hex(&Sha256::digest(&message))));
    }
    let attributes = message_attributes(form, prefix)?;
    Ok(Notification {
        id: Uuid::now_v7(),
        subject: subject.map(str::to_owned),
        message,
        attributes,
        group,
        deduplication,
    })
}

fn message_attributes(form: &Form, prefix: &str) -> Result<Vec<Attribute>, SnsError> {
    let mut inputs = BTreeMap::new();
    for index in 1.. {
        let field =
            |name: &str| form.get(&format!("{prefix}MessageAttributes.entry.{index}.{name}")).map(str::to_owned);
        let Some(name) = field("Name") else { break };
        let input = AttributeInput {
            data_type: field("Value.DataType").unwrap_or_default(),
            string_value: field("Value.StringValue"),
            binary_value: field("Value.BinaryValue"),
        };
        inputs.insert(name, input);
    }
    let attributes = inputs.into_iter().map(|(name, input)| Attribute::parse(name, input)).collect::<Result<_, _>>();
    attributes.map_err(|error| SnsError {
        status: 400,
        code: "ParameterValueInvalid",
        message: error.message.into_owned(),
    })
}
