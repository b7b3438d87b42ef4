//! Deliveries to HTTP endpoints on this machine, with the retries that a subscription's delivery policy asks for.
//!
//! Headers and the default policy are in the SNS developer guide, "Fanout to HTTP/S endpoints" and "Message delivery
//! retries". This file does *not* own what is delivered.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Uri, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tokio::sync::Semaphore;

/// Concurrent attempts. Others wait.
const ATTEMPTS_MAX: usize = 100;

/// The most deliveries that wait for an attempt or for a retry. Others are dropped.
const BACKLOG_MAX: usize = 10_000;

/// How long an endpoint may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// One thing to deliver.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) endpoint: String,
    /// `Notification` or `SubscriptionConfirmation`.
    pub(crate) kind: &'static str,
    pub(crate) message_id: String,
    pub(crate) topic_arn: String,
    /// `None` while the subscription waits for its confirmation.
    pub(crate) subscription_arn: Option<String>,
    pub(crate) raw: bool,
    pub(crate) body: String,
    pub(crate) retries: Retries,
}

/// How often a delivery is retried, and with which pauses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Retries {
    number: u32,
    first: Duration,
    last: Duration,
}

impl Default for Retries {
    /// SNS's own default for HTTP: three retries, twenty seconds apart.
    fn default() -> Self {
        Self { number: 3, first: Duration::from_secs(20), last: Duration::from_secs(20) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    healthy_retry_policy: HealthyRetryPolicy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HealthyRetryPolicy {
    num_retries: u32,
    min_delay_target: u64,
    max_delay_target: u64,
}

impl Default for HealthyRetryPolicy {
    fn default() -> Self {
        Self { num_retries: 3, min_delay_target: 20, max_delay_target: 20 }
    }
}

impl Retries {
    /// Reads the attribute `DeliveryPolicy`. The delays grow evenly from the smallest to the largest; the policy's
    /// backoff function is ignored.
    pub(crate) fn parse(policy: &str) -> Result<Self, String> {
        let policy: Policy = serde_json::from_str(policy).map_err(|error| error.to_string())?;
        let HealthyRetryPolicy { num_retries, min_delay_target, max_delay_target } = policy.healthy_retry_policy;
        if num_retries > 100 || !(min_delay_target..=3600).contains(&max_delay_target) {
            return Err("numRetries is at most 100, and minDelayTarget <= maxDelayTarget <= 3600".to_owned());
        }
        let seconds = Duration::from_secs;
        Ok(Self { number: num_retries, first: seconds(min_delay_target), last: seconds(max_delay_target) })
    }

    /// The pauses before each retry.
    fn pauses(&self) -> impl Iterator<Item = Duration> {
        let step = self.last.saturating_sub(self.first) / self.number.saturating_sub(1).max(1);
        let first = self.first;
        (0..self.number).map(move |retry| first + step * retry)
    }
}

/// Whether deliveries may go to this endpoint. Only this machine is allowed.
pub(crate) fn is_local(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("http") && (loopback || host == "localhost")
}

/// Delivers to HTTP endpoints.
#[derive(Debug)]
pub(crate) struct Courier {
    client: Client<HttpConnector, Full<Bytes>>,
    attempts: Arc<Semaphore>,
    backlog: Arc<Semaphore>,
}

impl Courier {
    pub(crate) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (attempts, backlog) = (Semaphore::new(ATTEMPTS_MAX), Semaphore::new(BACKLOG_MAX));
        Self { client, attempts: Arc::new(attempts), backlog: Arc::new(backlog) }
    }

    /// Delivers in a new task. If all retries fail, the message is dropped, as SNS drops it.
    pub(crate) fn dispatch(&self, parcel: Parcel) {
        let (client, attempts) = (self.client.clone(), self.attempts.clone());
        let Ok(place) = self.backlog.clone().try_acquire_owned() else {
            tracing::warn!(endpoint = parcel.endpoint, "a notification was dropped because the backlog is full");
            return;
        };
        tokio::spawn(async move {
            let _place = place;
            let mut pauses = parcel.retries.pauses();
            // Each attempt needs a permit of its own, so that an endpoint that is down does not delay the others.
            let try_once = async || {
                let _permit = attempts.acquire().await.map_err(|error| error.to_string())?;
                attempt(&client, &parcel).await
            };
            while let Err(reason) = try_once().await {
                let Some(pause) = pauses.next() else {
                    tracing::warn!(endpoint = parcel.endpoint, reason, "a notification was not delivered");
                    return;
                };
                tokio::time::sleep(pause).await;
            }
        });
    }
}

async fn attempt(client: &Client<HttpConnector, Full<Bytes>>, parcel: &Parcel) -> Result<(), String> {
    let mut request = Request::post(&parcel.endpoint)
        .header(header::CONTENT_TYPE, "text/plain; charset=UTF-8")
        .header(header::USER_AGENT, "Amazon Simple Notification Service Agent")
        .header("x-amz-sns-message-type", parcel.kind)
        .header("x-amz-sns-message-id", &parcel.message_id)
        .header("x-amz-sns-topic-arn", &parcel.topic_arn);
    if let Some(arn) = &parcel.subscription_arn {
        request = request.header("x-amz-sns-subscription-arn", arn);
    }
    if parcel.raw {
        request = request.header("x-amz-sns-rawdelivery", "true");
    }
    let request = request.body(Full::from(parcel.body.clone())).map_err(|error| error.to_string())?;
    match tokio::time::timeout(ANSWER_MAX, client.request(request)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(answer.status().to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_stay_on_this_machine() {
        for endpoint in ["http://127.0.0.1:1/", "http://localhost:80/hook?x=1", "http://[::1]:9/a"] {
            assert!(is_local(endpoint), "{endpoint}");
        }
        for endpoint in
            ["", "http://", "https://127.0.0.1/", "http://example.com/", "http://10.0.0.1/", "http://localhost.com/"]
        {
            assert!(!is_local(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn retries_follow_the_policy() {
        let pauses = |policy: &str| Retries::parse(policy).map(|retries| retries.pauses().collect::<Vec<_>>());
        let seconds = Duration::from_secs;
        assert_eq!(Retries::default().pauses().collect::<Vec<_>>(), [seconds(20); 3]);
        let policy = r#"{"healthyRetryPolicy":{"numRetries":3,"minDelayTarget":1,"maxDelayTarget":5}}"#;
        assert_eq!(pauses(policy), Ok(vec![seconds(1), seconds(3), seconds(5)]));
        assert_eq!(pauses(r#"{"healthyRetryPolicy":{"numRetries":0}}"#), Ok(vec![]));
        for policy in ["", "{}", r#"{"healthyRetryPolicy":{"minDelayTarget":9,"maxDelayTarget":5}}"#] {
            assert!(Retries::parse(policy).is_err(), "{policy}");
        }
    }
}
