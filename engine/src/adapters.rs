//! The ports over the AWS SDK.
//!
//! Each method makes one call. Its errors name the call, and their kind says what the caller can do about them.
//! Adapters do *not* own batching, retries and the order of calls: the stages do.

mod s3;
mod sns;
mod sqs;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;
use tracing::warn;

use crate::aws::Clients;
use crate::aws::error::Trouble;
use crate::config::Config;
use crate::ports::{EntryFailure, Failure, PortError, Ports, Queue};
use crate::redact;

pub use s3::S3Store;
pub use sns::SnsTopic;
pub use sqs::SqsQueue;

/// The queue at `url`, with the settings of `config`.
#[must_use]
pub fn queue(clients: &Clients, config: &Config, url: &str) -> SqsQueue {
    let repeat_timeout = (!config.aws.sdk_only).then_some(config.aws.attempt_timeout);
    SqsQueue::new(clients.sqs.clone(), url.to_owned(), config.queue.visibility_timeout, repeat_timeout)
}

/// The ports that `config` names.
#[must_use]
pub fn ports(clients: &Clients, config: &Config) -> Ports {
    let queue = |url| Arc::new(queue(clients, config, url)) as Arc<dyn Queue>;
    let queues = config.queue_urls().map(queue).collect();
    let store = S3Store::new(clients.s3.clone(), config.lake.bucket.clone());
    let topic = |arn: &String| Arc::new(SnsTopic::new(clients.sns.clone(), arn.clone())) as _;
    Ports { queues, store: Arc::new(store), notifier: config.alerts.topic_arn.as_ref().map(topic) }
}

/// A call that an adapter makes: its description in words, and the IAM action that allows it.
#[derive(Debug, Clone, Copy)]
struct Call {
    action: &'static str,
    permission: &'static str,
}

/// While a call has no answer, a warning is logged each time this much has passed. The SDK tries three times before its
/// caller learns of a failure. If a store is too slow, that takes minutes.
const NO_ANSWER: Duration = Duration::from_secs(20);

impl Call {
    /// Waits for the answer, and logs a warning if it takes long. `bytes` is the size of what the call carries.
    async fn answered<T>(self, target: &str, bytes: usize, answer: impl Future<Output = T>) -> T {
        let mut answer = Box::pin(answer);
        let began = Instant::now();
        loop {
            if let Ok(answer) = tokio::time::timeout(NO_ANSWER, &mut answer).await {
                return answer;
            }
            let waiting_s = began.elapsed().as_secs();
            warn!(
                action = self.action,
                target, bytes, waiting_s, "no answer yet, still waiting; see aws.attempt_timeout"
            );
        }
    }

    /// Sorts the call's failure by what to do about it.
    fn failed<E>(self, target: &str, error: SdkError<E, HttpResponse>) -> PortError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let trouble = Trouble::of(&error, self.permission);
        let text = redact::urls(&format!("{target}: {trouble}")).into_owned();
        let failure = Failure { action: self.action, text, source: Some(error.into()) };
        match trouble {
            Trouble::OverLimit => PortError::OverLimit(failure),
            Trouble::NotFound => PortError::NotFound(failure),
            trouble if trouble.is_retryable() => PortError::Retry(failure),
            _ => PortError::Stop(failure),
        }
    }
}

/// The entries of a batch that have failed: all that are not listed as successful. An entry's id is its position. SQS
/// and SNS say whose fault a failure is. A fault of the sender is final, except throttling. An entry that is listed
/// nowhere is tried again.
fn failures<'a>(
    entries: usize,
    successful: impl Iterator<Item = &'a str>,
    failed: impl Iterator<Item = (&'a str, &'a str, bool)>,
) -> Vec<EntryFailure> {
    let mut open: Vec<Option<EntryFailure>> =
        (0..entries).map(|index| Some(EntryFailure { index, retryable: true, code: "NoAnswer".to_owned() })).collect();
    for id in successful {
        if let Some(entry) = id.parse().ok().and_then(|index: usize| open.get_mut(index)) {
            *entry = None;
        }
    }
    for (id, code, sender_fault) in failed {
        if let Some(Some(entry)) = id.parse().ok().and_then(|index: usize| open.get_mut(index)) {
            entry.retryable = !sender_fault || code.contains("Throttl");
            code.clone_into(&mut entry.code);
        }
    }
    open.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_listed_as_successful_are_done() {
        let failed = [("1", "ReceiptHandleIsInvalid", true), ("2", "RequestThrottled", true), ("9", "X", true)];
        let found = failures(4, ["0", "what"].into_iter(), failed.into_iter());
        let expected = [(1, false, "ReceiptHandleIsInvalid"), (2, true, "RequestThrottled"), (3, true, "NoAnswer")];
        let expected =
            expected.map(|(index, retryable, code)| EntryFailure { index, retryable, code: code.to_owned() });
        assert_eq!(found, expected);
    }
}
