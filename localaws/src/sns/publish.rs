//! Publishes messages: from form fields to notifications for the queues that want them.
//!
//! This file does *not* own which messages a subscription lets through, or what a queue does with a message.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::Ordering,
};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Sns,
    courier::Parcel,
    error::SnsError,
    requests::{Outcome, one, topic},
    topic::{Notification, Protocol, Subscription, Topic},
};
use crate::{
    faults::{Effect, Operation},
    hex::hex,
    query::Form,
    sqs::{Attribute, AttributeInput, Attributes, Extras, sequence_number},
    xml::element,
};

/// The largest size of a message or a batch: 256 KiB.
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
        let (published, new) = self.accept(topic, notification);
        let mut xml = one("MessageId", &published.id.to_string());
        published.write_sequence(&mut xml);
        self.distribute(topic, arn, new.as_slice());
        Ok(Some(xml))
    }

    /// Accepts a message, or finds the message that it repeats on a FIFO topic. Also returns the message if it must be
    /// distributed.
    fn accept(&self, topic: &mut Topic, notification: Notification) -> (Published, Option<Notification>) {
        let id = notification.id;
        let Some(deduplication) = notification.deduplication.as_deref().filter(|_| topic.is_fifo()) else {
            return (Published { id, sequence: None }, Some(notification));
        };
        let now = self.clock.now();
        topic.deduplication.expire(now);
        if let Some((id, sequence)) = topic.deduplication.repeated(deduplication) {
            return (Published { id, sequence: Some(sequence) }, None);
        }
        let sequence = self.next_sequence.fetch_add(1, Ordering::Relaxed);
        topic.deduplication.remember(deduplication, id, sequence, now);
        (Published { id, sequence: Some(sequence) }, Some(notification))
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
                if self.faults.entry_meets(operation, &Effect::FailEntries) {
                    return Err(SnsError::from_fault(&crate::FaultKind::InternalError));
                }
                notification(topic, form, prefix)
            })
            .collect();
        if parsed.iter().flatten().map(Notification::bytes).sum::<usize>() > MESSAGE_BYTES_MAX {
            return Err(SnsError::batch_too_long());
        }
        let (mut successful, mut failed, mut accepted) = (String::new(), String::new(), Vec::new());
        for (id, result) in ids.iter().zip(parsed) {
            match result {
                Ok(notification) => {
                    let (published, new) = self.accept(topic, notification);
                    sent_member(&mut successful, id, &published);
                    accepted.extend(new);
                }
                Err(error) => failed_member(&mut failed, id, &error),
            }
        }
        self.distribute(topic, arn, &accepted);
        Ok(Some(format!("<Successful>{successful}</Successful><Failed>{failed}</Failed>")))
    }

    /// Hands messages in order to all subscriptions that want them.
    fn distribute(&self, topic: &Topic, topic_arn: &str, notifications: &[Notification]) {
        let now = self.clock.now();
        for (arn, subscription) in &topic.subscriptions {
            let unsubscribe_url = format!("{}/?Action=Unsubscribe&SubscriptionArn={arn}", self.endpoint);
            let wanted = notifications.iter().filter(|notification| subscription.wants(notification));
            let rendered = wanted.map(|notification| {
                (notification, subscription.render(notification, topic_arn, &unsubscribe_url, now))
            });
            match subscription.protocol {
                Protocol::Sqs => self.deliver(subscription, rendered),
                Protocol::Http => rendered.for_each(|(notification, (body, _))| {
                    self.courier.dispatch(Parcel {
                        endpoint: subscription.endpoint.clone(),
                        kind: "Notification",
                        message_id: notification.id.to_string(),
                        topic_arn: topic_arn.to_owned(),
                        subscription_arn: Some(arn.clone()),
                        raw: subscription.raw,
                        body,
                        retries: subscription.retries.clone(),
                    });
                }),
            }
        }
    }

    fn deliver<'a>(
        &self,
        subscription: &Subscription,
        rendered: impl Iterator<Item = (&'a Notification, (String, Attributes))>,
    ) {
        let messages = rendered.map(|(notification, (body, attributes))| {
            let (group, deduplication) = (notification.group.clone(), notification.deduplication.clone());
            (body, Extras { attributes, group, deduplication, trace_header: None })
        });
        if let Err(error) = self.sqs.deliver(&subscription.endpoint, messages.collect()) {
            // AWS, too, drops what it cannot deliver to a queue, if the subscription has no dead-letter queue.
            tracing::warn!(queue = subscription.endpoint, error = %error.message, "a notification was not delivered");
        }
    }
}

/// The answer to the publisher of a message.
struct Published {
    id: Uuid,
    sequence: Option<u64>,
}

impl Published {
    fn write_sequence(&self, xml: &mut String) {
        if let Some(sequence) = self.sequence {
            element(xml, "SequenceNumber", &sequence_number(sequence));
        }
    }
}

fn sent_member(xml: &mut String, id: &str, published: &Published) {
    xml.push_str("<member>");
    element(xml, "Id", id);
    element(xml, "MessageId", &published.id.to_string());
    published.write_sequence(xml);
    xml.push_str("</member>");
}

fn failed_member(xml: &mut String, id: &str, error: &SnsError) {
    xml.push_str("<member>");
    element(xml, "Id", id);
    element(xml, "Code", &error.code);
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
    let text = field("Message").ok_or_else(|| SnsError::invalid("Empty message", ""))?;
    let (message, by_protocol) = match field("MessageStructure") {
        Some("json") => structured(text)?,
        Some(_) => return Err(SnsError::invalid("MessageStructure", "")),
        None => (text.to_owned(), BTreeMap::new()),
    };
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
        deduplication = deduplication.or_else(|| Some(hex(&Sha256::digest(text))));
    }
    let attributes = message_attributes(form, prefix)?;
    Ok(Notification {
        id: crate::unique::id(),
        subject: subject.map(str::to_owned),
        message,
        by_protocol,
        attributes,
        group,
        deduplication,
    })
}

/// Reads a message that differs between protocols: the default text, and the texts of single protocols.
fn structured(text: &str) -> Result<(String, BTreeMap<String, String>), SnsError> {
    let invalid = |what: &str| SnsError::invalid("Message Structure -", what);
    let fields: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| invalid("JSON message body failed to parse"))?;
    // Values that are not strings are ignored.
    let mut texts: BTreeMap<String, String> =
        fields.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect();
    let default = texts.remove("default").ok_or_else(|| invalid("No default entry in JSON message body"))?;
    Ok((default, texts))
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
        code: "ParameterValueInvalid".into(),
        message: error.message.into_owned(),
    })
}
