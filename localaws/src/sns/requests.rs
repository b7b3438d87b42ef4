//! The operations on topics and subscriptions, each from its form fields to the XML of its result.
//!
//! It owns the rules about a request's values. It does *not* own what a subscription lets through.

use std::sync::MutexGuard;

use uuid::Uuid;

use super::{
    Sns, Topics,
    error::SnsError,
    topic::{Subscription, Topic},
};
use crate::{
    query::{Form, attributes},
    xml::element,
};

/// The XML inside the result element; `None` where the operation has no such element.
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
        Ok(Some(one("TopicArn", &arn)))
    }

    pub(super) fn delete_topic(&self, region: &str, form: &Form) {
        // Deleting what is not there is no error.
        let arn = form.get("TopicArn").unwrap_or_default();
        if in_region(arn, region) {
            self.topics().remove(arn);
        }
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
        let own = [
            ("TopicArn", arn.to_owned()),
            ("Owner", crate::ACCOUNT.to_owned()),
            ("SubscriptionsConfirmed", topic.subscriptions.len().to_string()),
            ("SubscriptionsPending", "0".to_owned()),
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
        Ok(None)
    }

    pub(super) fn subscribe(&self, region: &str, form: &Form) -> Outcome {
        let protocol = form.get("Protocol").unwrap_or_default();
        if protocol != "sqs" {
            let reason = format!("protocol '{protocol}' is not served here; 'sqs' is");
            return Err(SnsError::invalid("Protocol", &reason));
        }
        let endpoint = form.get("Endpoint").unwrap_or_default();
        if !endpoint.starts_with("arn:aws:sqs:") {
            return Err(SnsError::invalid("SQS endpoint ARN", ""));
        }
        let mut topics = self.topics();
        let topic_arn = form.get("TopicArn").unwrap_or_default();
        let topic = topic(&mut topics, region, topic_arn)?;
        if self.sqs.is_fifo(endpoint) && !topic.is_fifo() {
            let reason = "FIFO SQS Queues can not be subscribed to standard SNS topics";
            return Err(SnsError::invalid("Endpoint", reason));
        }
        let wanted = Subscription::new(endpoint.to_owned(), form.map("Attributes", "key", "value"))?;
        let present = topic.subscriptions.iter().find(|(_, subscription)| subscription.endpoint == endpoint);
        if let Some((arn, subscription)) = present {
            if subscription.attributes != wanted.attributes {
                let reason = "Subscription already exists with different attributes";
                return Err(SnsError::invalid("Attributes", reason));
            }
            return Ok(Some(one("SubscriptionArn", arn)));
        }
        let arn = format!("{topic_arn}:{}", Uuid::now_v7());
        topic.subscriptions.insert(arn.clone(), wanted);
        Ok(Some(one("SubscriptionArn", &arn)))
    }

    pub(super) fn unsubscribe(&self, form: &Form) {
        let arn = form.get("SubscriptionArn").unwrap_or_default();
        for topic in self.topics().values_mut() {
            topic.subscriptions.remove(arn);
        }
    }

    pub(super) fn list_subscriptions(&self, region: &str, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let topic_arn = form.get("TopicArn").unwrap_or_default();
        let topic = topic(&mut topics, region, topic_arn)?;
        let member = |(arn, subscription): (&String, &Subscription)| {
            let mut xml = String::from("<member>");
            element(&mut xml, "TopicArn", topic_arn);
            element(&mut xml, "Protocol", "sqs");
            element(&mut xml, "SubscriptionArn", arn);
            element(&mut xml, "Owner", crate::ACCOUNT);
            element(&mut xml, "Endpoint", &subscription.endpoint);
            xml + "</member>"
        };
        let members: String = topic.subscriptions.iter().map(member).collect();
        Ok(Some(format!("<Subscriptions>{members}</Subscriptions>")))
    }

    pub(super) fn get_subscription_attributes(&self, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let arn = form.get("SubscriptionArn").unwrap_or_default();
        let subscription = subscription(&mut topics, arn)?;
        let own = [
            ("SubscriptionArn", arn.to_owned()),
            ("TopicArn", arn.rsplit_once(':').map_or("", |(topic, _)| topic).to_owned()),
            ("Owner", crate::ACCOUNT.to_owned()),
            ("Protocol", "sqs".to_owned()),
            ("Endpoint", subscription.endpoint.clone()),
            ("PendingConfirmation", "false".to_owned()),
        ];
        let set = subscription.attributes.iter().map(|(name, value)| (name.as_str(), value.clone()));
        Ok(Some(attributes(own.into_iter().chain(set))))
    }

    pub(super) fn set_subscription_attributes(&self, form: &Form) -> Outcome {
        let mut topics = self.topics();
        let subscription = subscription(&mut topics, form.get("SubscriptionArn").unwrap_or_default())?;
        let name = form.get("AttributeName").unwrap_or_default().to_owned();
        subscription.set_all([(name, form.get("AttributeValue").unwrap_or_default().to_owned())].into())?;
        Ok(None)
    }
}

pub(super) fn one(name: &str, text: &str) -> String {
    let mut xml = String::new();
    element(&mut xml, name, text);
    xml
}

/// Whether an ARN is of the region that the request was signed for.
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
