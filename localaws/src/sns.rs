//! SNS over the query protocol: which topics there are, and which operation a request names.
//!
//! It owns the registry and the routing; topics deliver to queues of this server. It does *not* own the encoding.

mod error;
mod publish;
mod requests;

mod filter;
mod topic;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::Response;

use self::{error::SnsError, requests::Outcome, topic::Topic};
use crate::{
    body::ReplyBody,
    clock::Clock,
    faults::{Faults, Operation, Verdict},
    query::{self, Form},
    server::Reset,
    sqs::Sqs,
};

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// Topics by ARN.
type Topics = BTreeMap<String, Topic>;

/// The service.
#[derive(Debug)]
pub(crate) struct Sns {
    topics: Mutex<Topics>,
    sqs: Arc<Sqs>,
    clock: Clock,
    faults: Faults,
}

macro_rules! operations {
    ($($name:literal by $action:literal),* $(,)?) => {
        /// The operations that are served, each with the IAM action that allows it.
        const OPERATIONS: &[(&str, Operation)] = &[
            $(($name, Operation { name: concat!("sns:", $name), action: concat!("sns:", $action) })),*
        ];
    };
}

operations![
    "Publish" by "Publish",
    "PublishBatch" by "Publish",
    "CreateTopic" by "CreateTopic",
    "DeleteTopic" by "DeleteTopic",
    "ListTopics" by "ListTopics",
    "GetTopicAttributes" by "GetTopicAttributes",
    "SetTopicAttributes" by "SetTopicAttributes",
    "Subscribe" by "Subscribe",
    "Unsubscribe" by "Unsubscribe",
    "ListSubscriptionsByTopic" by "ListSubscriptionsByTopic",
    "GetSubscriptionAttributes" by "GetSubscriptionAttributes",
    "SetSubscriptionAttributes" by "SetSubscriptionAttributes",
];

impl Sns {
    /// No topics yet; `sqs` is where they deliver.
    pub(crate) fn new(sqs: Arc<Sqs>, clock: Clock, faults: Faults) -> Self {
        Self { topics: Mutex::default(), sqs, clock, faults }
    }

    /// Answers one request.
    pub(crate) async fn serve(&self, form: &Form, region: &str) -> Result<Response<ReplyBody>, Reset> {
        let action = form.get("Action").unwrap_or_default();
        let Some((name, operation)) = OPERATIONS.iter().find(|(known, _)| *known == action) else {
            return Ok(failure(&SnsError::unknown_action(action)));
        };
        let outcome = match self.faults.meet(*operation).await {
            Verdict::Reset => return Err(Reset),
            Verdict::Deny => Err(SnsError::denied(operation.action, &resource(form, region))),
            Verdict::Fail(kind) => Err(SnsError::from_fault(kind)),
            Verdict::Proceed => self.perform(*operation, name, region, form),
        };
        Ok(match outcome {
            Ok(result) => query::success(NAMESPACE, name, result.as_deref()),
            Err(error) => failure(&error),
        })
    }

    fn perform(&self, operation: Operation, name: &str, region: &str, form: &Form) -> Outcome {
        match name {
            "Publish" => self.publish(region, form),
            "PublishBatch" => self.publish_batch(operation, region, form),
            "CreateTopic" => self.create_topic(region, form),
            "DeleteTopic" => {
                self.delete_topic(region, form);
                Ok(None)
            }
            "ListTopics" => Ok(Some(self.list_topics(region))),
            "GetTopicAttributes" => self.get_topic_attributes(region, form),
            "SetTopicAttributes" => self.set_topic_attributes(region, form),
            "Subscribe" => self.subscribe(region, form),
            "Unsubscribe" => {
                self.unsubscribe(form);
                Ok(None)
            }
            "ListSubscriptionsByTopic" => self.list_subscriptions(region, form),
            "GetSubscriptionAttributes" => self.get_subscription_attributes(form),
            "SetSubscriptionAttributes" => self.set_subscription_attributes(form),
            name => Err(SnsError::unknown_action(name)),
        }
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        // Each change is one insertion or removal, so that a panic leaves nothing half-done.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a request that is too long to be read.
pub(crate) fn refuse(detail: &str) -> Response<ReplyBody> {
    failure(&SnsError::too_long(detail))
}

fn failure(error: &SnsError) -> Response<ReplyBody> {
    query::failure(NAMESPACE, error.status, error.code, &error.message)
}

/// The topic or subscription that a request is about, as an error names it.
fn resource(form: &Form, region: &str) -> String {
    let named = ["TopicArn", "TargetArn", "SubscriptionArn"].iter().find_map(|field| form.get(field));
    named.map_or_else(|| format!("arn:aws:sns:{region}:{}:*", crate::ACCOUNT), str::to_owned)
}
