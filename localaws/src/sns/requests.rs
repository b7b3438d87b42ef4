//! The operations on topics and subscriptions, each from its form fields to the XML of its result.
//!
//! This file owns the rules about a request's values. It does *not* own what a subscription lets through.

use std::sync::MutexGuard;

use super::{
    Sns, Topics,
    courier::{Parcel, is_local},
    error::SnsError,
    topic::{Confirmation, Protocol, Subscription, Topic},
};
use crate::{
    query::{Form, attributes},
    unique,
    xml::element,
};

/// The XML inside the result element. `None` if the operation has no such element.
pub(super) type Outcome = Result<Option<String>, SnsError>;

impl Sns {
    pub(super) fn create_topic(&self, region: &str, form: &Form) -> Outcome {
        let name = form.get("Name").unwrap_or_default();
        let settings = form.map("Attributes", "key", "value");
        let fifo = settings.get("FifoTopic").is_some_and(|value| value == "true");
        let base = if fifo { name.strip_suffix(".fifo").unwrap_or_default() } else { name };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if base.is_empty() || name.len() > 256 || !base.chars().all(plain) {
            return Err(SnsError::invalid("Topic Name", ""));
        }
        let arn = format!("arn:aws:sns:{region}:{}:{name}", crate::ACCOUNT);
        let mut topics = self.topics();
        let topic =
            topics.entry(arn.clone()).or_insert_with(|| Topic { attributes: settings.clone(), ..Topic::default() });
        if settings.iter().any(|(name, value)| topic.attributes.get(name) != Some(value)) {
            return Err(SnsError::invalid("Attributes", "Topic already exists with different attributes"));
        }
        self.keep(&topics)?;
        Ok(Some(one("TopicArn", &arn)))
    }

    pub(super) fn delete_topic(&self, region: &str, form: &Form) -> Outcome {
        // Deleting a missing topic is no error.
        let arn = form.get("TopicArn").unwrap_or_default();
        let mut topics = self.topics();
        if in_region(arn, region) && topics.remove(arn).is_some() {
            self.keep(&topics)?;
        }
        Ok(None)
    }

    pub(super) fn list_topics(&self, region: &str) -> String {
        let topics = self.topics();
        let members = topics.keys().filter(|arn| in_region(arn, region));
        let mut xml = String::from("<Topics>");
        for arn in members {
            xml.push_str("<member>");
            element(&mut xml, "TopicArn", arn);
            xml.push_str("</member>");
        }
        xml + "</Topics>"
    }

    pub(super) fn get_topic_attributes(&self, region: &str, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let arn = form.get("TopicArn").unwrap_or_default();
        let topic = topic(&mut topics, region, arn)?;
        let pending = topic.subscriptions.values().filter(|subscription| subscription.token.is_some()).count();
        let own = [
            ("TopicArn", arn.to_owned()),
            ("Owner", crate::ACCOUNT.to_owned()),
            ("SubscriptionsConfirmed", (topic.subscriptions.len() - pending).to_string()),
            ("SubscriptionsPending", pending.to_string()),
            ("SubscriptionsDeleted", "0".to_owned()),
        ];
        let set = topic.attributes.iter().map(|(name, value)| (name.as_str(), value.clone()));
        Ok(Some(attributes(own.into_iter().chain(set))))
    }

    pub(super) fn set_topic_attributes(&self, region: &str, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let topic = topic(&mut topics, region, form.get("TopicArn").unwrap_or_default())?;
        let name = form.get("AttributeName").filter(|name| !name.is_empty() && *name != "FifoTopic");
        let name = name.ok_or_else(|| SnsError::invalid("AttributeName", ""))?;
        topic.attributes.insert(name.to_owned(), form.get("AttributeValue").unwrap_or_default().to_owned());
        self.keep(&topics)?;
        Ok(None)
    }

    pub(super) fn subscribe(&self, region: &str, form: &Form) -> Outcome {
        let (protocol, endpoint) = endpoint(form)?;
        let mut topics = self.topics();
        let topic_arn = form.get("TopicArn").unwrap_or_default();
        let topic = topic(&mut topics, region, topic_arn)?;
        if topic.is_fifo() && protocol != Protocol::Sqs {
            return Err(SnsError::invalid("Endpoint", "FIFO topics deliver to SQS queues only"));
        }
        if protocol == Protocol::Sqs && self.sqs.is_fifo(endpoint) && !topic.is_fifo() {
            let reason = "FIFO SQS Queues can not be subscribed to standard SNS topics";
            return Err(SnsError::invalid("Endpoint", reason));
        }
        let mut wanted = Subscription::new(protocol, endpoint.to_owned(), form.map("Attributes", "key", "value"))?;
        let is_same =
            |subscription: &Subscription| subscription.endpoint == endpoint && subscription.protocol == protocol;
        let present = topic.subscriptions.iter().find(|(_, subscription)| is_same(subscription));
        if let Some((arn, subscription)) = present {
            if subscription.attributes != wanted.attributes {
                let reason = "Subscription already exists with different attributes";
                return Err(SnsError::invalid("Attributes", reason));
            }
            return Ok(Some(one("SubscriptionArn", arn)));
        }
        let arn = format!("{topic_arn}:{}", unique::id());
        if protocol == Protocol::Http {
            // A queue has the same owner as the topic. An HTTP endpoint must itself confirm that it wants the messages.
            let token = unique::id().simple().to_string();
            self.ask_to_confirm(topic_arn, &wanted, &token);
            wanted.token = Some(token);
        }
        let known = wanted.token.is_none() || form.get("ReturnSubscriptionArn") == Some("true");
        topic.subscriptions.insert(arn.clone(), wanted);
        self.keep(&topics)?;
        Ok(Some(one("SubscriptionArn", if known { &arn } else { "pending confirmation" })))
    }

    fn ask_to_confirm(&self, topic_arn: &str, subscription: &Subscription, token: &str) {
        let message_id = unique::id().to_string();
        let confirmation = Confirmation {
            kind: "SubscriptionConfirmation",
            message_id: &message_id,
            token,
            topic_arn,
            message: format!(
                "You have chosen to subscribe to the topic {topic_arn}.\nTo confirm the subscription, visit the SubscribeURL \
                 included in this message."
            ),
            subscribe_url: format!("{}/?Action=ConfirmSubscription&TopicArn={topic_arn}&Token={token}", self.endpoint),
            timestamp: self.clock.now().rfc3339(),
        };
        self.courier.dispatch(Parcel {
            endpoint: subscription.endpoint.clone(),
            kind: confirmation.kind,
            // Serialization fails only for maps whose keys are not strings, and there is none.
            body: serde_json::to_string(&confirmation).unwrap_or_default(),
            message_id: message_id.clone(),
            topic_arn: topic_arn.to_owned(),
            subscription_arn: None,
            raw: false,
            retries: subscription.retries.clone(),
        });
    }

    pub(super) fn confirm_subscription(&self, region: &str, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let token = form.get("Token").unwrap_or_default();
        let arn = form.get("TopicArn").unwrap_or_default();
        // A person who follows the link signs for no region.
        let region = arn.split(':').nth(3).filter(|_| !form.has("Version")).unwrap_or(region);
        let topic = topic(&mut topics, region, arn)?;
        let mut subscriptions = topic.subscriptions.iter_mut();
        let found = subscriptions.find(|(_, subscription)| subscription.token.as_deref() == Some(token));
        let (arn, subscription) = found.ok_or_else(|| SnsError::invalid("Token", "Invalid token"))?;
        let arn = arn.clone();
        subscription.token = None;
        self.keep(&topics)?;
        Ok(Some(one("SubscriptionArn", &arn)))
    }

    pub(super) fn unsubscribe(&self, form: &Form) -> Outcome {
        let arn = form.get("SubscriptionArn").unwrap_or_default();
        let mut topics = self.topics();
        let mut removed = false;
        for topic in topics.values_mut() {
            removed |= topic.subscriptions.remove(arn).is_some();
        }
        if removed {
            self.keep(&topics)?;
        }
        Ok(None)
    }

    pub(super) fn list_subscriptions(&self, region: &str, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let topic_arn = form.get("TopicArn").unwrap_or_default();
        let topic = topic(&mut topics, region, topic_arn)?;
        Ok(Some(format!("<Subscriptions>{}</Subscriptions>", members(topic_arn, topic))))
    }

    pub(super) fn list_all_subscriptions(&self, region: &str) -> String {
        let topics = self.topics();
        let members: String =
            topics.iter().filter(|(arn, _)| in_region(arn, region)).map(|(arn, topic)| members(arn, topic)).collect();
        format!("<Subscriptions>{members}</Subscriptions>")
    }

    pub(super) fn get_subscription_attributes(&self, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let arn = form.get("SubscriptionArn").unwrap_or_default();
        let subscription = subscription(&mut topics, arn)?;
        let own = [
            ("SubscriptionArn", arn.to_owned()),
            ("TopicArn", arn.rsplit_once(':').map_or("", |(topic, _)| topic).to_owned()),
            ("Owner", crate::ACCOUNT.to_owned()),
            ("Protocol", subscription.protocol.name().to_owned()),
            ("Endpoint", subscription.endpoint.clone()),
            ("PendingConfirmation", subscription.token.is_some().to_string()),
        ];
        let set = subscription.attributes.iter().map(|(name, value)| (name.as_str(), value.clone()));
        Ok(Some(attributes(own.into_iter().chain(set))))
    }

    pub(super) fn set_subscription_attributes(&self, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let subscription = subscription(&mut topics, form.get("SubscriptionArn").unwrap_or_default())?;
        let name = form.get("AttributeName").unwrap_or_default().to_owned();
        subscription.set_all([(name, form.get("AttributeValue").unwrap_or_default().to_owned())].into())?;
        self.keep(&topics)?;
        Ok(None)
    }
}

/// The protocol and the endpoint in a subscription request.
fn endpoint(form: &Form) -> Result<(Protocol, &str), SnsError> {
    let endpoint = form.get("Endpoint").unwrap_or_default();
    match form.get("Protocol").unwrap_or_default() {
        "sqs" if endpoint.starts_with("arn:aws:sqs:") => Ok((Protocol::Sqs, endpoint)),
        "sqs" => Err(SnsError::invalid("SQS endpoint ARN", "")),
        "http" if is_local(endpoint) => Ok((Protocol::Http, endpoint)),
        "http" => Err(SnsError::invalid("Endpoint", "only http:// URLs on this machine are delivered to here")),
        protocol => {
            let reason = format!("protocol '{protocol}' is not served here; 'sqs' and 'http' are");
            Err(SnsError::invalid("Protocol", &reason))
        }
    }
}

fn members(topic_arn: &str, topic: &Topic) -> String {
    let member = |(arn, subscription): (&String, &Subscription)| {
        let mut xml = String::from("<member>");
        element(&mut xml, "TopicArn", topic_arn);
        element(&mut xml, "Protocol", subscription.protocol.name());
        let shown = if subscription.token.is_some() { "PendingConfirmation" } else { arn };
        element(&mut xml, "SubscriptionArn", shown);
        element(&mut xml, "Owner", crate::ACCOUNT);
        element(&mut xml, "Endpoint", &subscription.endpoint);
        xml + "</member>"
    };
    topic.subscriptions.iter().map(member).collect()
}

pub(super) fn one(name: &str, text: &str) -> String {
    let mut xml = String::new();
    element(&mut xml, name, text);
    xml
}

/// Whether an ARN belongs to the region that the request was signed for.
fn in_region(arn: &str, region: &str) -> bool {
    arn.split(':').nth(3) == Some(region)
}

pub(super) fn topic<'a>(
    topics: &'a mut MutexGuard<'_, Topics>,
    region: &str,
    arn: &str,
) -> Result<&'a mut Topic, SnsError> {
    if !arn.starts_with("arn:aws:sns:") {
        return Err(SnsError::invalid("TopicArn", "An ARN must have at least 6 elements"));
    }
    topics.get_mut(arn).filter(|_| in_region(arn, region)).ok_or_else(SnsError::no_topic)
}

fn subscription<'a>(topics: &'a mut MutexGuard<'_, Topics>, arn: &str) -> Result<&'a mut Subscription, SnsError> {
    let topic = arn.rsplit_once(':').and_then(|(topic, _)| topics.get_mut(topic));
    topic.and_then(|topic| topic.subscriptions.get_mut(arn)).ok_or_else(SnsError::no_subscription)
}
