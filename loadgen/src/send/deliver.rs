//! Sends one batch to its queue. It owns the call, and what happens to entries that the queue did not take.

use std::{sync::Arc, time::Duration};

use aws_sdk_sqs::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::send_message_batch::{SendMessageBatchError, SendMessageBatchOutput},
    types::{BatchResultErrorEntry, MessageAttributeValue, SendMessageBatchRequestEntry},
};
use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

use super::Progress;
use crate::{
    batch::Batch,
    manifest::no_latencies,
    payload::{ENCODING_ATTRIBUTE, Message},
};

/// How often a message is tried before the run gives up. With the pauses below, that takes about half a minute.
const ATTEMPTS_MAX: u32 = 12;

/// The first pause is at least this long. Each further one is about twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A call that takes longer has failed, and its messages may or may not be in the queue.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a batch was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The queue says that messages themselves are at fault, and refuses them. Sending them again would not help.
    #[error("failed to send {messages} messages of a batch: the queue refuses them with {code}: {message}")]
    Refused {
        /// How many messages of the batch it refuses.
        messages: usize,
        /// The code of the first one.
        code: String,
        /// What the queue says about the first one.
        message: String,
    },
    /// The call itself is at fault: no such queue, no permission, wrong region.
    #[error("failed to send to the queue: {0}")]
    Call(String),
    /// The queue has failed for too long.
    #[error("failed to send to the queue: gave up after {ATTEMPTS_MAX} attempts; the last one said {0}")]
    GaveUp(String),
}

/// What was delivered.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) ticks: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) calls: u64,
    pub(super) retries: u64,
    pub(super) unanswered_calls: u64,
    pub(super) throttled: u64,
    pub(super) latency_us: Histogram<u64>,
}

/// Delivers batches, one at a time.
#[derive(Debug, Clone)]
pub(super) struct Deliverer {
    client: Client,
    queue_urls: Arc<[String]>,
    progress: Arc<Progress>,
    counts: Counts,
}

/// The entries that the queue did not take in a call, and why.
struct Leftover {
    entries: Vec<SendMessageBatchRequestEntry>,
    reason: String,
}

impl Deliverer {
    /// Calls through the same connections as `client`. The deliverer repeats calls itself, because a repeat by the SDK
    /// would not be counted.
    pub(super) fn new(client: &Client, queue_urls: &[String], progress: Arc<Progress>) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let config = client.config().to_builder().retry_config(RetryConfig::disabled()).timeout_config(timeouts);
        let counts = Counts {
            ticks: 0,
            messages: 0,
            bytes: 0,
            calls: 0,
            retries: 0,
            unanswered_calls: 0,
            throttled: 0,
            latency_us: no_latencies(),
        };
        Self { client: Client::from_conf(config.build()), queue_urls: queue_urls.into(), progress, counts }
    }

    /// Sends `batch` until the queue has taken all of it.
    pub(super) async fn deliver(&mut self, batch: Batch, due: Instant) -> Result<(), DeliveryError> {
        let (ticks, bytes, messages) = (batch.ticks(), batch.bytes() as u64, batch.messages().len() as u64);
        let queue = batch.queue();
        if let Some(watch) = &self.progress.watch {
            watch.expect(&batch, due);
        }
        let mut entries: Vec<_> = batch.into_messages().into_iter().enumerate().map(entry).collect();
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                self.counts.retries += entries.len() as u64;
                sleep(pause(attempt)).await;
            }
            let leftover = self.call(queue, entries).await?;
            if leftover.entries.is_empty() {
                self.counts.ticks += ticks;
                self.counts.messages += messages;
                self.counts.bytes += bytes;
                let latency_us = due.elapsed().as_micros() as u64;
                self.counts.latency_us.saturating_record(latency_us);
                self.progress.add(ticks, messages, latency_us);
                return Ok(());
            }
            (entries, reason) = (leftover.entries, leftover.reason);
        }
        Err(DeliveryError::GaveUp(reason))
    }

    async fn call(
        &mut self,
        queue: usize,
        entries: Vec<SendMessageBatchRequestEntry>,
    ) -> Result<Leftover, DeliveryError> {
        self.counts.calls += 1;
        let queue_url = &self.queue_urls[queue];
        let call = self.client.send_message_batch().queue_url(queue_url).set_entries(Some(entries.clone()));
        match call.send().await {
            Ok(answer) => {
                let is_throttled = |failed: &&BatchResultErrorEntry| is_throttling(failed.code());
                self.counts.throttled += answer.failed().iter().filter(is_throttled).count() as u64;
                keep_failed(entries, &answer)
            }
            Err(error) => {
                self.counts.unanswered_calls += u64::from(is_unanswered(&error));
                if error.as_service_error().and_then(|error| error.code()).is_some_and(is_throttling) {
                    self.counts.throttled += entries.len() as u64;
                }
                let reason = DisplayErrorContext(&error).to_string();
                if is_passing(&error) { Ok(Leftover { entries, reason }) } else { Err(DeliveryError::Call(reason)) }
            }
        }
    }

    /// Adds what another deliverer has delivered.
    pub(super) fn absorb(&mut self, other: Deliverer) {
        let (mine, other) = (&mut self.counts, other.counts);
        mine.ticks += other.ticks;
        mine.messages += other.messages;
        mine.bytes += other.bytes;
        mine.calls += other.calls;
        mine.retries += other.retries;
        mine.unanswered_calls += other.unanswered_calls;
        mine.throttled += other.throttled;
        let added = mine.latency_us.add(&other.latency_us);
        debug_assert!(added.is_ok(), "all histograms have the bounds of `no_latencies`");
    }

    pub(super) fn into_counts(self) -> Counts {
        self.counts
    }
}

/// The entry of a message. Its id is its place in the batch.
fn entry((place, message): (usize, Message)) -> SendMessageBatchRequestEntry {
    let [name, kind, value] = ENCODING_ATTRIBUTE;
    let mut entry = SendMessageBatchRequestEntry::builder().id(place.to_string()).message_body(message.body);
    if message.is_compressed {
        let value = MessageAttributeValue::builder().data_type(kind).string_value(value).build();
        // The builder only fails without a data type.
        entry = entry.set_message_attributes(value.ok().map(|value| [(name.to_owned(), value)].into()));
    }
    #[expect(clippy::expect_used, reason = "id and body, all that the builder asks for, are set above")]
    entry.build().expect("id and body are set")
}

/// Drops the entries that the queue has taken. An entry that the answer does not mention was not taken.
fn keep_failed(
    mut entries: Vec<SendMessageBatchRequestEntry>,
    answer: &SendMessageBatchOutput,
) -> Result<Leftover, DeliveryError> {
    let refused = || answer.failed().iter().filter(|failed| failed.sender_fault());
    if let Some(first) = refused().next() {
        return Err(DeliveryError::Refused {
            messages: refused().count(),
            code: first.code().to_owned(),
            message: first.message().unwrap_or("no reason given").to_owned(),
        });
    }
    entries.retain(|entry| !answer.successful().iter().any(|taken| taken.id() == entry.id()));
    let reason = answer.failed().first().map_or("nothing", |failed| failed.code()).to_owned();
    Ok(Leftover { entries, reason })
}

/// Whether the queue may have taken the messages without saying so.
fn is_unanswered(error: &SdkError<SendMessageBatchError>) -> bool {
    matches!(error, SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_))
}

/// Whether the queue says that it throttles the sender.
fn is_throttling(code: &str) -> bool {
    code.contains("Throttl")
}

/// Whether the same call may work later.
fn is_passing(error: &SdkError<SendMessageBatchError>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or_default();
            answer.raw().status().is_server_error() || is_throttling(code) || code == "OverLimit"
        }
        _ => true,
    }
}

/// A random pause between half of a length and all of it. The length doubles with each attempt.
fn pause(attempt: u32) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << attempt.min(16)).min(PAUSE_MAX);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}
