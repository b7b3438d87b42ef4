//! Topics, their subscriptions, and the form in which a subscriber gets a message.
//!
//! This file holds plain data and pure functions. It does *not* own delivery.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{courier::Retries, error::SnsError, filter::FilterPolicy};
use crate::{
    clock::Millis,
    sqs::{Attribute, Attributes, Deduplication, Value},
};

/// A topic.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Topic {
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    /// Used by FIFO topics only.
    #[serde(skip)]
    pub(crate) deduplication: Deduplication,
}

impl Topic {
    /// Whether messages are ordered and deduplicated.
    pub(crate) fn is_fifo(&self) -> bool {
        self.attributes.get("FifoTopic").is_some_and(|value| value == "true")
    }
}

/// The kind of a subscription's endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// A queue of this server, by its ARN.
    Sqs,
    /// A URL on this machine.
    Http,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::Http => "http",
        }
    }
}

/// A subscriber of a topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub(crate) struct Subscription {
    pub(crate) protocol: Protocol,
    pub(crate) endpoint: String,
    /// The attributes in the form in which they were set, because they are read back like that.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The token that confirms the subscription; `None` after that.
    pub(crate) token: Option<String>,
    pub(crate) raw: bool,
    pub(crate) retries: Retries,
    filter: Option<FilterPolicy>,
}

/// A subscription as it is kept. Values that follow from the attributes are left out.
#[derive(Serialize, Deserialize)]
struct Kept {
    protocol: Protocol,
    endpoint: String,
    attributes: BTreeMap<String, String>,
    token: Option<String>,
}

impl From<Subscription> for Kept {
    fn from(subscription: Subscription) -> Self {
        let Subscription { protocol, endpoint, attributes, token, .. } = subscription;
        Self { protocol, endpoint, attributes, token }
    }
}

impl TryFrom<Kept> for Subscription {
    type Error = String;

    fn try_from(kept: Kept) -> Result<Self, String> {
        let subscription = Self::new(kept.protocol, kept.endpoint, kept.attributes).map_err(|error| error.message)?;
        Ok(Self { token: kept.token, ..subscription })
    }
}

/// The request to an HTTP endpoint to confirm its subscription.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Confirmation<'a> {
    #[serde(rename = "Type")]
    pub(crate) kind: &'static str,
    pub(crate) message_id: &'a str,
    pub(crate) token: &'a str,
    pub(crate) topic_arn: &'a str,
    pub(crate) message: String,
    #[serde(rename = "SubscribeURL")]
    pub(crate) subscribe_url: String,
    pub(crate) timestamp: String,
}

/// A published message that passed all checks.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub(crate) id: Uuid,
    pub(crate) subject: Option<String>,
    pub(crate) message: String,
    /// The texts that subscribers of some protocols get instead of the default.
    pub(crate) by_protocol: BTreeMap<String, String>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) group: Option<String>,
    pub(crate) deduplication: Option<String>,
}

impl Notification {
    /// The size that counts against the limit of 256 KiB.
    pub(crate) fn bytes(&self) -> usize {
        let attribute =
            |attribute: &Attribute| attribute.name.len() + attribute.data_type.len() + attribute.value.bytes().len();
        let texts = self.message.len() + self.by_protocol.values().map(String::len).sum::<usize>();
        texts + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// The attributes as the object that a filter policy checks.
    fn attribute_fields(&self) -> Map<String, Json> {
        let field = |attribute: &Attribute| {
            let json = match (&*attribute.data_type, &attribute.value) {
                ("Number" | "String.Array", Value::Text(text)) => serde_json::from_str(text).unwrap_or(Json::Null),
                (_, Value::Text(text)) => Json::String(text.to_string()),
                // Filters ignore binary attributes, but these still count as present.
                (_, Value::Binary(_)) => Json::Null,
            };
            (attribute.name.to_string(), json)
        };
        self.attributes.iter().map(field).collect()
    }
}

impl Subscription {
    /// Makes a subscription, and checks its attributes.
    pub(crate) fn new(
        protocol: Protocol,
        endpoint: String,
        attributes: BTreeMap<String, String>,
    ) -> Result<Self, SnsError> {
        let mut subscription = Self {
            protocol,
            endpoint,
            attributes: BTreeMap::new(),
            token: None,
            raw: false,
            retries: Retries::default(),
            filter: None,
        };
        subscription.set_all(attributes)?;
        Ok(subscription)
    }

    /// Changes all of these attributes or none.
    pub(crate) fn set_all(&mut self, changes: BTreeMap<String, String>) -> Result<(), SnsError> {
        let mut attributes = self.attributes.clone();
        for (name, value) in changes {
            let valid = match name.as_str() {
                "RawMessageDelivery" => matches!(value.as_str(), "true" | "false"),
                "FilterPolicyScope" => matches!(value.as_str(), "MessageAttributes" | "MessageBody"),
                "FilterPolicy" | "DeliveryPolicy" => true,
                _ => return Err(SnsError::invalid("AttributeName", "")),
            };
            if !valid {
                return Err(SnsError::invalid("Attributes", &format!("{name}: Invalid value [{value}].")));
            }
            attributes.insert(name, value);
        }
        let is = |name: &str, value: &str| attributes.get(name).is_some_and(|present| present == value);
        let nested = is("FilterPolicyScope", "MessageBody");
        // An empty policy removes the filter.
        let policy = attributes.get("FilterPolicy").filter(|text| !text.is_empty() && *text != "{}");
        let filter = policy.map(|text| FilterPolicy::parse(text, nested)).transpose();
        self.filter = filter.map_err(|reason| SnsError::filter_policy(&reason))?;
        let policy = attributes.get("DeliveryPolicy").filter(|text| !text.is_empty());
        let retries = policy.map(|text| Retries::parse(text)).transpose();
        self.retries = retries.map_err(|reason| SnsError::invalid("DeliveryPolicy:", &reason))?.unwrap_or_default();
        self.raw = is("RawMessageDelivery", "true");
        self.attributes = attributes;
        Ok(())
    }

    /// Whether the subscription is confirmed, and lets this message through.
    pub(crate) fn wants(&self, notification: &Notification) -> bool {
        if self.token.is_some() {
            return false;
        }
        let Some(filter) = &self.filter else { return true };
        if self.attributes.get("FilterPolicyScope").is_none_or(|scope| scope == "MessageAttributes") {
            return filter.matches(&notification.attribute_fields());
        }
        match serde_json::from_str(&notification.message) {
            Ok(Json::Object(fields)) => filter.matches(&fields),
            _ => false,
        }
    }

    /// The body and the attributes of the message that carries this notification.
    pub(crate) fn render(
        &self,
        notification: &Notification,
        topic_arn: &str,
        unsubscribe_url: &str,
        now: Millis,
    ) -> (String, Attributes) {
        let message = notification.by_protocol.get(self.protocol.name()).unwrap_or(&notification.message);
        if self.raw {
            return (message.clone(), Attributes::from_unsorted(notification.attributes.clone()));
        }
        let envelope = Envelope {
            kind: "Notification",
            message_id: notification.id.to_string(),
            topic_arn,
            subject: notification.subject.as_deref(),
            message,
            timestamp: now.rfc3339(),
            unsubscribe_url,
            message_attributes: notification.attributes.iter().map(|a| (&*a.name, EnvelopeAttribute::new(a))).collect(),
        };
        // Serialization fails only for maps whose keys are not strings, and there is none.
        (serde_json::to_string(&envelope).unwrap_or_default(), Attributes::default())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    message_id: String,
    topic_arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    message: &'a str,
    timestamp: String,
    #[serde(rename = "UnsubscribeURL")]
    unsubscribe_url: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<&'a str, EnvelopeAttribute<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EnvelopeAttribute<'a> {
    #[serde(rename = "Type")]
    kind: &'a str,
    value: String,
}

impl<'a> EnvelopeAttribute<'a> {
    fn new(attribute: &'a Attribute) -> Self {
        let value = match &attribute.value {
            Value::Text(text) => text.to_string(),
            Value::Binary(bytes) => BASE64.encode(bytes),
        };
        Self { kind: &attribute.data_type, value }
    }
}
