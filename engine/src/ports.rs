//! The engine's three edges: a queue to drain, a store to fill, a topic to tell.
//!
//! Each has two implementations: over the AWS SDK in [`crate::adapters`], and in memory in [`crate::memory`]. A port
//! makes one call and reports the result. Ports do *not* own retries, batching and the order of calls: the stages do.

use std::error::Error;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::budget::Amount;

/// Entries that a batch call of SQS or SNS takes.
pub const BATCH_MAX: usize = 10;

/// What one receive may bring: ten messages of the largest size that SQS takes, 1 MiB.
pub const RECEIVE_MAX: Amount = Amount { messages: BATCH_MAX, bytes: BATCH_MAX << 20 };

/// The edges that one engine runs on.
#[derive(Clone)]
pub struct Ports {
    /// Where messages come from: at least one.
    pub queues: Vec<Arc<dyn Queue>>,
    /// Where data files go.
    pub store: Arc<dyn ObjectStore>,
    /// Where alerts go. Without one, they only go to the lake.
    pub notifier: Option<Arc<dyn Notifier>>,
}

/// A message as the queue delivered it.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    /// The queue's id of the message, the same at each delivery.
    pub id: String,
    /// The handle of this delivery.
    pub receipt: Receipt,
    /// The body. It may be a slice of what one receive brought: a clone keeps all of that in memory.
    pub body: Bytes,
    /// The message attribute `content-encoding`.
    pub content_encoding: Option<String>,
    /// When it was sent, microseconds since the Unix epoch, UTC.
    pub sent_at_us: Option<i64>,
    /// How often it was delivered, this time included.
    pub receive_count: u32,
    /// Whether the queue says that it was moved here because it was received too often elsewhere.
    pub was_dead_lettered: bool,
}

impl ReceivedMessage {
    /// A message with its attributes as SQS sends them, times in milliseconds. A missing count becomes 2, because the
    /// message may have been delivered before.
    pub(crate) fn new(
        id: String,
        receipt: Receipt,
        body: Bytes,
        content_encoding: Option<String>,
        sent_at_ms: Option<i64>,
        receive_count: Option<i64>,
        was_dead_lettered: bool,
    ) -> Self {
        let sent_at_us = sent_at_ms.map(|ms| ms.saturating_mul(1_000));
        let receive_count = receive_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(2);
        Self { id, receipt, body, content_encoding, sent_at_us, receive_count, was_dead_lettered }
    }
}

/// The handle of one delivery of a message: some hundred bytes of text. The stage that holds the message and the
/// heartbeat share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(Arc<str>);

impl Deref for Receipt {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for Receipt {
    fn from(handle: T) -> Self {
        Self(handle.into())
    }
}

/// An alert, ready to publish.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The alert's id, the same each time it is published. A FIFO topic keeps the alerts of each symbol in order.
    pub id: String,
    /// The subject line that e-mail subscribers see.
    pub subject: String,
    /// The alert as JSON, per `schemas/alert.schema.json`.
    pub body: String,
    /// What e-mail subscribers get in place of the JSON.
    pub email: String,
    /// The text of SMS messages.
    pub sms: String,
    /// What filter policies match on: name and value.
    pub attributes: Vec<(&'static str, String)>,
}

/// Why a call failed, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Worth another try: throttled, timed out, unreachable, a server's own fault.
    #[error(transparent)]
    Retry(Failure),
    /// Like [`PortError::Retry`], but as many messages are in flight as the queue allows: some have to be deleted
    /// first.
    #[error(transparent)]
    OverLimit(Failure),
    /// The object of the call does not exist. A queue that existed may be created again; nothing else is worth another
    /// try.
    #[error(transparent)]
    NotFound(Failure),
    /// No retry helps: denied, wrong region.
    #[error(transparent)]
    Stop(Failure),
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}: {text}")]
pub struct Failure {
    /// What was tried.
    pub action: &'static str,
    /// What went wrong and what to do about it. It includes what `source` says.
    pub text: String,
    /// The error of the library below, where there is one.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure without another error below it.
    pub fn new(action: &'static str, text: impl Into<String>) -> Self {
        Self { action, text: text.into(), source: None }
    }
}

impl PortError {
    /// A [`PortError::Retry`] without a source.
    pub fn retry(action: &'static str, text: impl Into<String>) -> Self {
        Self::Retry(Failure::new(action, text))
    }

    /// A [`PortError::OverLimit`] without a source.
    pub fn over_limit(action: &'static str, text: impl Into<String>) -> Self {
        Self::OverLimit(Failure::new(action, text))
    }

    /// A [`PortError::NotFound`] without a source.
    pub fn not_found(action: &'static str, text: impl Into<String>) -> Self {
        Self::NotFound(Failure::new(action, text))
    }

    /// A [`PortError::Stop`] without a source.
    pub fn stop(action: &'static str, text: impl Into<String>) -> Self {
        Self::Stop(Failure::new(action, text))
    }

    /// Whether the same call will fail again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Stop(_) | Self::NotFound(_))
    }
}

/// One entry of a batch call that failed while the call succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFailure {
    /// The entry's position in the batch.
    pub index: usize,
    /// Whether the same entry may succeed later.
    pub retryable: bool,
    /// The service's error code.
    pub code: String,
}

/// An object to create.
#[derive(Debug, Clone)]
pub struct NewObject<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its bytes.
    pub body: Bytes,
    /// The epoch that puts it. A void has the name of the epoch whose file it keeps out.
    pub epoch: &'a str,
    /// What it is.
    pub kind: ObjectKind,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A Parquet file with rows.
    Data,
    /// A Parquet file without rows, in the place of one that must never be stored.
    Void,
    /// An entry of the ledger.
    Entry,
    /// A claim of an alert.
    Claim,
    /// Alerts that may not be in the table yet.
    Note,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The epoch that put it; `None` if the metadata name none.
    pub epoch: Option<String>,
    /// Whether it is a void.
    pub is_void: bool,
}

/// What became of a conditional PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is ours.
    Created,
    /// The store says that there was an object of this name already. It left that as it is. Some stores also say so if
    /// the name is a folder.
    Exists,
    /// The store says that another write of this name was under way. The caller has to look what is there now.
    Conflict,
}

/// About how many messages a queue holds, by their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that the next receive may bring.
    pub visible: u64,
    /// Messages that some consumer holds.
    pub in_flight: u64,
    /// Messages that become visible later, because they are delayed.
    pub delayed: u64,
}

impl Backlog {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }

    /// Those that nobody holds.
    #[must_use]
    pub fn waiting(self) -> u64 {
        self.visible + self.delayed
    }
}

/// A queue whose messages stay hidden while they are held, and come back unless they are deleted.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Up to [`BATCH_MAX`] messages; waits up to `wait` for the first.
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError>;

    /// Deletes up to [`BATCH_MAX`] messages; returns the entries that failed.
    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError>;

    /// Hides up to [`BATCH_MAX`] messages for `timeout` from now on, in whole seconds; returns the entries that failed.
    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError>;

    /// Makes up to [`BATCH_MAX`] messages visible again at once; returns the entries that failed.
    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError>;

    /// About how many messages the queue holds.
    async fn backlog(&self) -> Result<Backlog, PortError>;

    /// Whether other queues move messages here that were received too often.
    async fn has_sources(&self) -> Result<bool, PortError>;
}

/// A store of objects that are never changed, with reads that see every write before them.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Creates an object, unless its key exists.
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError>;

    /// What is at `key`; `None` if there is nothing.
    async fn head(&self, key: &str) -> Result<Option<Found>, PortError>;

    /// The keys that begin with `prefix`.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError>;

    /// The object's bytes; `None` if there is none.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError>;

    /// Deletes the object, if there is one.
    async fn delete(&self, key: &str) -> Result<(), PortError>;
}

/// A topic.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Publishes up to [`BATCH_MAX`] notifications; returns the entries that failed.
    async fn publish(&self, notifications: &[Notification]) -> Result<Vec<EntryFailure>, PortError>;
}
