//! The configuration: [`Settings`] holds what the operator typed, and [`Config`] what the engine obeys.
//!
//! This file owns the sections, their keys and their defaults. [`sources`] reads values, [`validate`] checks them, and
//! [`mod@print`] shows them. This file does *not* own the sections of the core (`[decode]`, `[detect]`, `[epoch]`,
//! `[encode]`): they are defined beside the code that obeys them.

pub mod explain;
pub mod print;
pub mod sources;
mod validate;

use std::ops::Deref;
use std::thread::available_parallelism;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ticklake_core::decode::DecodeConfig;
use ticklake_core::detect::DetectConfig;
use ticklake_core::encode::EncodeConfig;
use ticklake_core::epoch::EpochLimits;
use ticklake_core::outbox::OutboxConfig;

pub use validate::Invalid;

/// Every section, as typed: any value of the right type. [`Settings::validate`] makes a [`Config`] of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The URLs of several queues, in place of `queue.url`. Each has its own polls, leases and counts. The other keys
    /// of `[queue]` hold for all of them.
    pub queues: Vec<String>,
    /// `[queue]`: where ticks come from.
    pub queue: Queue,
    /// `[lake]`: where rows go.
    pub lake: Lake,
    /// `[alerts]`: where alerts go.
    pub alerts: Alerts,
    /// `[aws]`: how to reach AWS, or a service that speaks like it.
    pub aws: Aws,
    /// `[budget]`: how much may be in flight.
    pub budget: Budget,
    /// `[threads]`: CPU threads.
    pub threads: Threads,
    /// `[decode]`: how message bodies are read.
    pub decode: DecodeConfig,
    /// `[detect]`: what is an anomaly.
    pub detect: DetectConfig,
    /// `[epoch]`: when rows are committed.
    pub epoch: EpochLimits,
    /// `[encode]`: how Parquet files are written.
    pub encode: EncodeConfig,
    /// `[shutdown]`: how the engine ends.
    pub shutdown: Shutdown,
    /// `[metrics]`: the HTTP endpoint for monitoring.
    pub metrics: Metrics,
    /// `[log]`: what is logged, and how.
    pub log: Log,
}

/// Settings that were checked: every value is acceptable, and nothing downstream checks again.
///
/// It reads like [`Settings`] and cannot be changed: to change it, validate changed settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config(Settings);

impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

/// SQS allows so many messages in flight in a standard queue, over all its consumers.
pub(crate) const IN_FLIGHT_MAX: usize = 120_000;

impl Settings {
    /// The URLs of the queues.
    pub fn queue_urls(&self) -> impl Iterator<Item = &str> {
        let one = self.queues.is_empty().then_some(self.queue.url.as_str());
        one.into_iter().chain(self.queues.iter().map(String::as_str))
    }

    /// The most messages of one queue that this worker may hold: its share of what SQS allows in flight.
    #[must_use]
    pub fn share_of_queue(&self) -> usize {
        IN_FLIGHT_MAX / self.queue.workers.max(1)
    }

    /// The most messages that this worker may hold: its budget, or its share of what SQS allows in flight, if that is
    /// less.
    #[must_use]
    pub fn messages_max(&self) -> usize {
        self.budget.messages_max.min(self.share_of_queue() * self.queue_urls().count())
    }
}

/// `[queue]`: the SQS queue that is drained.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// The queue's URL. Required, unless `queues` names several.
    pub url: String,
    /// Long polls that wait at the same time on a quiet queue, 1 to `receivers_max`.
    pub receivers_min: usize,
    /// Long polls that wait at the same time on a busy queue, up to 128. Each brings at most 10 messages per round
    /// trip. After a full one there is one poll more, and after an empty one there is one less.
    pub receivers_max: usize,
    /// How long a poll waits for a message, 0 to 20 s, in whole seconds. Less than 20 s costs more requests on a quiet
    /// queue.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// How long a received message stays hidden from other consumers, 5 s to 12 h, in whole seconds, and longer than
    /// `wait`. If a message is held for longer than half of this time, it is hidden for the same time again. If a
    /// worker dies, the others wait this long for its messages.
    #[serde(with = "humantime_serde")]
    pub visibility_timeout: Duration,
    /// Workers that drain the queue at the same time. SQS allows 120,000 messages in flight per queue, over all
    /// workers. Each worker holds no more than its share, even if its budget is larger.
    pub workers: usize,
    /// What makes two deliveries the same message.
    pub identity: Identity,
}

/// What makes two deliveries the same message.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The id that the queue gives. It stays the same in a dead-letter queue. A redrive to the source changes it.
    #[default]
    MessageId,
    /// The body. Only for producers that never send one body twice: a body that is sent twice is stored once. Every
    /// message is looked up in the ledger.
    Body,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            url: String::new(),
            receivers_min: 1,
            receivers_max: 16,
            wait: Duration::from_secs(20),
            visibility_timeout: Duration::from_mins(5),
            workers: 1,
            identity: Identity::MessageId,
        }
    }
}

/// `[lake]`: the S3 bucket that the tables live in.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Lake {
    /// The bucket's name. Required.
    pub bucket: String,
    /// The folder of the tables' folders, without a slash at either end: `market/eu` gives `market/eu/ticks/dt=...`. It
    /// also holds the ledger, so the engine does not know what was stored under another prefix. Drain the queue before
    /// you change it, or messages that are delivered again are stored again.
    pub prefix: String,
    /// `exactly-once` keeps a ledger of what is about to be stored. `at-least-once` saves one PUT and one DELETE per
    /// epoch and one PUT per alert, but stores the rows of redelivered messages again. All workers of a lake must have
    /// the same value.
    pub delivery: Delivery,
}

/// How often the rows of a message may be in the lake.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Once, whatever crashes.
    #[default]
    ExactlyOnce,
    /// Once, unless a worker dies or loses messages between storing and deleting.
    AtLeastOnce,
}

/// `[alerts]`: the SNS topic that alerts are published to, and how many.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// The topic's ARN. Without one nothing is published, and alerts go to the lake only.
    #[serde(with = "unset")]
    pub topic_arn: Option<String>,
    /// See [`OutboxConfig::per_minute_max`].
    pub per_minute_max: u32,
    /// See [`OutboxConfig::market_symbols_min`].
    pub market_symbols_min: u32,
    /// If a note of another worker's alerts is so old, this worker takes the other one for dead, and publishes and
    /// stores those alerts.
    #[serde(with = "humantime_serde")]
    pub adopt_after: Duration,
}

impl Default for Alerts {
    fn default() -> Self {
        let OutboxConfig { per_minute_max, market_symbols_min } = OutboxConfig::default();
        Self { topic_arn: None, per_minute_max, market_symbols_min, adopt_after: Duration::from_mins(2) }
    }
}

impl Alerts {
    /// How much is published one by one.
    pub(crate) fn outbox(&self) -> OutboxConfig {
        OutboxConfig { per_minute_max: self.per_minute_max, market_symbols_min: self.market_symbols_min }
    }
}

/// `[aws]`: connection to the three services.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Aws {
    /// The region. Without one, the usual chain decides: `AWS_REGION`, the profile, the instance.
    #[serde(with = "unset")]
    pub region: Option<String>,
    /// An endpoint for all three services. Without one, the SDK asks `AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL_S3`,
    /// `AWS_ENDPOINT_URL_SNS`, `AWS_ENDPOINT_URL` and the profile before it takes the region's own endpoint.
    #[serde(with = "unset")]
    pub endpoint_url: Option<String>,
    /// Put the bucket into the path and not into the host name, as most S3-compatible stores want it.
    pub s3_path_style: bool,
    /// Make every request through the SDK. Otherwise most receives and deletes repeat an earlier request of the SDK,
    /// with a new signature and a third of the CPU time. If a repeated request fails, the SDK makes the call again.
    pub sdk_only: bool,
    /// How long one attempt of a request may take. It must be longer than `queue.wait`, or every quiet poll would fail.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// How long it may take to establish a connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

impl Default for Aws {
    fn default() -> Self {
        Self {
            region: None,
            endpoint_url: None,
            s3_path_style: false,
            sdk_only: false,
            attempt_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
        }
    }
}

/// `[budget]`: what may be in flight, from receive to delete. When it is used up, receiving stops.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Messages, up to 120,000 for each queue, which is what SQS allows in flight. If several workers share a queue,
    /// see `queue.workers`.
    pub messages_max: usize,
    /// Bytes of message bodies and of the rows made of them. At least 10 MiB, which is ten of the largest messages,
    /// times `queue.receivers_max` + 1. Each further queue needs 10 MiB times `queue.receivers_min` more.
    pub bytes_max: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { messages_max: 100_000, bytes_max: 256 << 20 }
    }
}

/// `[threads]`: CPU threads.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Threads {
    /// Threads that decode, 1 to 64. The default is the number of cores that the process may use.
    pub decode: usize,
    /// Threads that look for anomalies, 1 to 64: each watches its share of the symbols. The default is the number of
    /// cores.
    pub detect: usize,
    /// Threads that encode, 1 to 64, one epoch at a time each. The default is the number of cores, but at most 4: every
    /// epoch that is encoded takes its share of the budget, and the store has to keep up.
    pub encode: usize,
}

impl Default for Threads {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from).min(64);
        Self { decode: cores, detect: cores, encode: cores.min(4) }
    }
}

/// `[shutdown]`: how the engine ends.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long a drain may take after SIGTERM or SIGINT. Messages that are not committed by then go back to the queue.
    /// The default fits the 30 s that ECS and Kubernetes give.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(25) }
    }
}

/// `[metrics]`: the HTTP endpoint for monitoring.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address and port of `/metrics`, `/healthz`, `/readyz` and `/alerts`. Without one there is no endpoint. Every
    /// client is let in, so the default is reachable from the same machine only.
    #[serde(with = "unset")]
    pub listen: Option<String>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Some("127.0.0.1:9464".to_owned()) }
    }
}

/// `[log]`: what is logged to stderr.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` for people, `json` for collectors.
    pub format: LogFormat,
    /// Levels by module, in the syntax of `RUST_LOG`, which wins over this key: `info`, `warn,ticklake=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// Optional text. An empty string means "not set": TOML has no null, and an empty environment variable must be able to
/// undo what the file says.
mod unset {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde gives the field by reference")]
    pub fn serialize<S: Serializer>(value: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.as_deref().unwrap_or_default())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        Ok(Some(String::deserialize(deserializer)?).filter(|text| !text.is_empty()))
    }
}
