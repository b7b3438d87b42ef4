//! SNS over the query protocol: the topics, and the operation that a request names.
//!
//! This file owns the registry, which is kept in a file, and the routing. Topics deliver to queues of this server and
//! to URLs on this machine. Messages carry no signature, because there is no certificate with which a subscriber could
//! check it. This file does *not* own the encoding.

mod error;
mod publish;
mod requests;

mod courier;
mod filter;
mod topic;

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use hyper::Response;

use self::{courier::Courier, error::SnsError, requests::Outcome, topic::Topic};
use crate::{
    body::{BodyError, ReplyBody, Reset},
    clock::Clock,
    faults::{FaultKind, Faults, Operation, Verdict},
    query::{self, Form},
    sigv4::Refusal,
    sqs::Sqs,
};

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// Topics by ARN.
type Topics = BTreeMap<String, Topic>;

/// The service.
#[derive(Debug)]
pub(crate) struct Sns {
    topics: Mutex<Topics>,
    /// The file that keeps topics and subscriptions.
    path: PathBuf,
    /// The beginning of the URLs that confirm and end subscriptions.
    endpoint: String,
    sqs: Arc<Sqs>,
    courier: Courier,
    clock: Clock,
    faults: Faults,
    /// The sequence number of the next message to a FIFO topic.
    next_sequence: AtomicU64,
}

macro_rules! operations {
    ($($name:literal by $action:literal),* $(,)?) => {
        /// All operations of this server, each with the IAM action that allows it.
        pub(crate) const OPERATIONS: &[(&str, Operation)] = &[
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
"ConfirmSubscription" by "ConfirmSubscription",
    "Unsubscribe" by "Unsubscribe",
    "ListSubscriptions" by "ListSubscriptions",
    "ListSubscriptionsByTopic" by "ListSubscriptionsByTopic",
    "GetSubscriptionAttributes" by "GetSubscriptionAttributes",
    "SetSubscriptionAttributes" by "SetSubscriptionAttributes",
];

impl Sns {
    /// Opens the topics in the file `path`. They deliver to `sqs`. `endpoint` is the URL of this server.
    pub(crate) fn open(
        path: PathBuf,
        endpoint: String,
        sqs: Arc<Sqs>,
        clock: Clock,
        faults: Faults,
    ) -> io::Result<Self> {
        let topics = match fs::read(&path) {
            Ok(text) => Mutex::new(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Mutex::default(),
            Err(error) => return Err(error),
        };
        // This is larger than any number that an earlier run gave out.
        let next_sequence = AtomicU64::new(clock.now().0 * 1000);
        Ok(Self { topics, path, endpoint, sqs, courier: Courier::new(), clock, faults, next_sequence })
    }

    /// Answers one request.
    pub(crate) async fn serve(&self, form: &Form, region: &str) -> Result<Response<ReplyBody>, Reset> {
        let action = form.get("Action").unwrap_or_default();
        let Some((name, operation)) = OPERATIONS.iter().find(|(known, _)| *known == action) else {
            return Ok(failure(&SnsError::unknown_action(action)));
        };
        let verdict = self.faults.meet(*operation, || "sns".to_owned()).await;
        let outcome = match &verdict {
            Verdict::Reset => return Err(Reset),
            Verdict::Deny => Err(SnsError::denied(operation.action, &resource(form, region))),
            Verdict::Fail(kind) => Err(SnsError::from_fault(kind)),
            _ => self.perform(*operation, name, region, form),
        };
        verdict.send(match outcome {
            Ok(result) => query::success(NAMESPACE, name, result.as_deref()),
            Err(error) => failure(&error),
        })
    }

    fn perform(&self, operation: Operation, name: &str, region: &str, form: &Form) -> Outcome {
        match name {
            "Publish" => self.publish(region, form),
            "PublishBatch" => self.publish_batch(operation, region, form),
            "CreateTopic" => self.create_topic(region, form),
            "DeleteTopic" => self.delete_topic(region, form),
            "ListTopics" => Ok(Some(self.list_topics(region))),
            "GetTopicAttributes" => self.get_topic_attributes(region, form),
            "SetTopicAttributes" => self.set_topic_attributes(region, form),
            "Subscribe" => self.subscribe(region, form),
            "ConfirmSubscription" => self.confirm_subscription(region, form),
            "Unsubscribe" => self.unsubscribe(form),
            "ListSubscriptions" => Ok(Some(self.list_all_subscriptions(region))),
            "ListSubscriptionsByTopic" => self.list_subscriptions(region, form),
            "GetSubscriptionAttributes" => self.get_subscription_attributes(form),
            "SetSubscriptionAttributes" => self.set_subscription_attributes(form),
            name => Err(SnsError::unknown_action(name)),
        }
    }

    /// Writes all topics to a new file, and moves it into place. A crash leaves the old topics or the new ones.
    fn keep(&self, topics: &Topics) -> Result<(), SnsError> {
        let beside = self.path.with_extension("new");
        let text = serde_json::to_vec(topics).map_err(io::Error::from);
        let kept = text.and_then(|text| fs::write(&beside, text)).and_then(|()| fs::rename(&beside, &self.path));
        kept.map_err(|error| {
            tracing::error!(%error, "failed to keep the topics");
            SnsError::from_fault(&FaultKind::InternalError)
        })
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        // Each change is one insertion or removal, so a panic leaves nothing half-done.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a request that is too long.
pub(crate) fn too_long(error: &BodyError) -> Response<ReplyBody> {
    failure(&SnsError::too_long(&error.to_string()))
}

/// The answer to a request without an accepted signature.
pub(crate) fn refuse(refusal: &Refusal) -> Response<ReplyBody> {
    failure(&SnsError::unsigned(refusal))
}

fn failure(error: &SnsError) -> Response<ReplyBody> {
    query::failure(NAMESPACE, error.status, &error.code, &error.message)
}

/// The topic or subscription of a request, as an error names it.
fn resource(form: &Form, region: &str) -> String {
    let named = ["TopicArn", "TargetArn", "SubscriptionArn"].iter().find_map(|field| form.get(field));
    named.map_or_else(|| format!("arn:aws:sns:{region}:{}:*", crate::ACCOUNT), str::to_owned)
}
