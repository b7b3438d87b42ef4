//! The requests and answers of SQS's JSON protocol.
//!
//! This file holds names and types only. It does *not* own any rule about their values.

mod moves;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use uuid::Uuid;

pub(crate) use self::moves::{
    CancelMoveRequest, CancelledReply, ListMovesRequest, MoveReply, MovesReply, StartMoveRequest, StartedReply,
};
use super::{
    attributes_md5::{AttributeInput, Attributes, Md5Hex},
    error::SqsError,
    message::Delivery,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(crate) struct QueueRequest {
    pub(crate) queue_url: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct CreateQueueRequest {
    pub(crate) queue_name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    #[serde(rename = "tags")]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct GetQueueUrlRequest {
    pub(crate) queue_name: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ListQueuesRequest {
    pub(crate) queue_name_prefix: Option<String>,
    pub(crate) max_results: Option<usize>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ListSourcesRequest {
    pub(crate) queue_url: String,
    pub(crate) max_results: Option<usize>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct AttributeNamesRequest {
    pub(crate) queue_url: String,
    pub(crate) attribute_names: Vec<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SetAttributesRequest {
    pub(crate) queue_url: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TagRequest {
    pub(crate) queue_url: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) tag_keys: Vec<String>,
}

/// One message to send; `id` is used in batches only, `queue_url` only outside them.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SendEntry<'a> {
    #[serde(borrow)]
    pub(crate) queue_url: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) message_body: Cow<'a, str>,
    pub(crate) delay_seconds: Option<i64>,
    pub(crate) message_attributes: BTreeMap<String, AttributeInput>,
    pub(crate) message_system_attributes: BTreeMap<String, AttributeInput>,
    pub(crate) message_deduplication_id: Option<String>,
    pub(crate) message_group_id: Option<String>,
}

impl SendEntry<'_> {
    /// The size that counts against the limit of a batch.
    pub(crate) fn bytes(&self) -> usize {
        let attributes = self.message_attributes.iter().map(|(name, value)| {
            let value_bytes = value.string_value.as_ref().map_or(0, String::len);
            name.len()
                + value.data_type.len()
                + value_bytes
                + value.binary_value.as_ref().map_or(0, |text| text.len() / 4 * 3)
        });
        self.message_body.len() + attributes.sum::<usize>()
    }
}

/// A batch request of any kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchRequest<'a, E> {
    #[serde(borrow, default)]
    pub(crate) queue_url: Cow<'a, str>,
    #[serde(default = "Vec::new")]
    pub(crate) entries: Vec<E>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ReceiveRequest<'a> {
    #[serde(borrow)]
    pub(crate) queue_url: Cow<'a, str>,
    pub(crate) max_number_of_messages: Option<i64>,
    pub(crate) visibility_timeout: Option<i64>,
    pub(crate) wait_time_seconds: Option<i64>,
    /// The older name of the next field.
    pub(crate) attribute_names: Vec<String>,
    pub(crate) message_system_attribute_names: Vec<String>,
    pub(crate) message_attribute_names: Vec<String>,
}

/// A message to delete, or a message whose visibility to change.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ReceiptEntry<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) queue_url: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) receipt_handle: Cow<'a, str>,
    pub(crate) visibility_timeout: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct QueueUrlReply {
    pub(crate) queue_url: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct QueueUrlsReply {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// Only `ListDeadLetterSourceQueues` begins its list in lower case.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SourceQueuesReply {
    #[serde(rename = "queueUrls")]
    pub(crate) queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttributesReply {
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    pub(crate) attributes: HashMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagsReply {
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SentReply<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) id: &'a str,
    #[serde(serialize_with = "display")]
    pub(crate) message_id: Uuid,
    #[serde(rename = "MD5OfMessageBody")]
    pub(crate) body_md5: Md5Hex,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub(crate) attributes_md5: Option<Md5Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence_number: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DoneReply<'a> {
    pub(crate) id: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FailedReply<'a> {
    pub(crate) id: &'a str,
    pub(crate) sender_fault: bool,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
}

/// The answer to a batch: every entry is in one of the lists.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchReply<'a, T> {
    pub(crate) successful: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<FailedReply<'a>>,
}

impl<'a> FailedReply<'a> {
    pub(crate) fn new(id: &'a str, error: &'a SqsError) -> Self {
        Self { id, sender_fault: error.is_sender_fault(), code: &error.code, message: &error.message }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReceiveReply<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) messages: Vec<MessageReply<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MessageReply<'a> {
    #[serde(serialize_with = "display")]
    pub(crate) message_id: Uuid,
    #[serde(serialize_with = "display")]
    pub(crate) receipt_handle: super::message::Receipt,
    #[serde(rename = "MD5OfBody")]
    pub(crate) body_md5: Md5Hex,
    pub(crate) body: &'a str,
    #[serde(skip_serializing_if = "SystemAttributes::is_empty")]
    pub(crate) attributes: SystemAttributes<'a>,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub(crate) attributes_md5: Option<Md5Hex>,
    #[serde(skip_serializing_if = "ChosenAttributes::is_empty")]
    pub(crate) message_attributes: ChosenAttributes<'a>,
}

fn display<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The system attributes of a delivery that the receiver asked for.
#[derive(Debug)]
pub(crate) struct SystemAttributes<'a> {
    pub(crate) delivery: &'a Delivery,
    pub(crate) wanted: &'a [String],
    pub(crate) fifo: bool,
}

impl SystemAttributes<'_> {
    fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    fn wants(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted == name || wanted == "All")
    }
}

impl Serialize for SystemAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (delivery, content) = (self.delivery, &self.delivery.content);
        let mut map = serializer.serialize_map(None)?;
        let mut entry = |name: &str, value: &dyn Fn() -> Option<String>| match self.wants(name).then(value).flatten() {
            Some(value) => map.serialize_entry(name, &value),
            None => Ok(()),
        };
        entry("SenderId", &|| Some(crate::ACCOUNT.to_owned()))?;
        entry("SentTimestamp", &|| Some(delivery.sent.0.to_string()))?;
        entry("ApproximateReceiveCount", &|| Some(delivery.count.to_string()))?;
        entry("ApproximateFirstReceiveTimestamp", &|| Some(delivery.first_received.0.to_string()))?;
        entry("AWSTraceHeader", &|| content.trace_header.as_deref().map(str::to_owned))?;
        entry("DeadLetterQueueSourceArn", &|| delivery.source.as_deref().map(str::to_owned))?;
        entry("MessageGroupId", &|| content.group.as_deref().map(str::to_owned))?;
        entry("MessageDeduplicationId", &|| content.deduplication.as_deref().map(str::to_owned))?;
        entry("SequenceNumber", &|| self.fifo.then(|| sequence_number(delivery.receipt.sequence)))?;
        map.end()
    }
}

/// The text of a FIFO sequence number: twenty digits, larger for a later message of the queue.
pub(crate) fn sequence_number(sequence: u64) -> String {
    (18_870_000_000_000_000_000_u128 + u128::from(sequence)).to_string()
}

/// The message attributes of a delivery that the receiver asked for.
#[derive(Debug)]
pub(crate) struct ChosenAttributes<'a> {
    pub(crate) attributes: &'a Attributes,
    pub(crate) wanted: &'a [String],
}

impl<'a> ChosenAttributes<'a> {
    fn chosen(&self) -> impl Iterator<Item = &'a super::attributes_md5::Attribute> {
        let wanted = self.wanted;
        self.attributes.iter().filter(move |attribute| wanted.iter().any(|pattern| is_wanted(pattern, &attribute.name)))
    }

    fn is_empty(&self) -> bool {
        self.chosen().next().is_none()
    }

    /// The digest covers only the returned attributes, so that a client can check it.
    pub(crate) fn md5(&self) -> Option<Md5Hex> {
        Attributes::from_unsorted(self.chosen().cloned().collect()).md5()
    }
}

/// Whether a name matches `All`, `.*`, a name, or a prefix followed by `.*`.
fn is_wanted(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == "All" || pattern == name,
    }
}

impl Serialize for ChosenAttributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.chosen().map(|attribute| (&attribute.name, attribute)))
    }
}
