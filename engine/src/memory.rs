//! The ports in memory, for tests that are only about the pipeline.
//!
//! Like SQS, the queue hides what it delivers until its visibility times out, counts deliveries, and refuses stale
//! receipts. The store keeps the object of the first of two writers. The topic keeps everything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::now_us;
use crate::ports::{
    BATCH_MAX, Backlog, EntryFailure, Found, NewObject, Notification, Notifier, ObjectKind, ObjectStore, PortError,
    PutOutcome, Queue, Receipt, ReceivedMessage,
};

/// A queue in memory.
#[derive(Debug)]
pub struct MemoryQueue {
    name: uuid::Uuid,
    visibility_timeout: Duration,
    messages: Mutex<Messages>,
    arrived: Notify,
    has_sources: AtomicBool,
}

#[derive(Debug, Default)]
struct Messages {
    sent: u64,
    visible: VecDeque<ReceivedMessage>,
    /// By receipt, with the moment at which the message becomes visible again.
    held: BTreeMap<String, (Instant, ReceivedMessage)>,
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(visibility_timeout: Duration) -> Self {
        Self {
            name: uuid::Uuid::now_v7(),
            visibility_timeout,
            messages: Mutex::default(),
            arrived: Notify::new(),
            has_sources: AtomicBool::new(false),
        }
    }

    /// Sends one message; returns its id.
    pub fn send(&self, body: impl Into<Bytes>, content_encoding: Option<&str>) -> String {
        let mut messages = self.messages();
        messages.sent += 1;
        // Like an id of SQS, it is unlike that of any other message of any queue.
        let id = format!("message-{}-{}", messages.sent, self.name);
        messages.visible.push_back(ReceivedMessage {
            id: id.clone(),
            receipt: Receipt::from(""),
            body: body.into(),
            content_encoding: content_encoding.map(str::to_owned),
            sent_at_us: Some(now_us()),
            receive_count: 0,
            was_dead_lettered: false,
        });
        drop(messages);
        self.arrived.notify_waiters();
        id
    }

    /// Sets whether this is the dead-letter queue of others.
    pub fn set_has_sources(&self, has_sources: bool) {
        self.has_sources.store(has_sources, Ordering::SeqCst);
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<ReceivedMessage> {
        let mut messages = self.messages();
        messages.return_lapsed(Instant::now());
        let until = Instant::now() + self.visibility_timeout;
        let count = messages.visible.len().min(BATCH_MAX);
        let mut taken: Vec<_> = messages.visible.drain(..count).collect();
        for message in &mut taken {
            message.receive_count += 1;
            message.receipt = format!("{}#{}", message.id, message.receive_count).into();
            messages.held.insert(message.receipt.to_string(), (until, message.clone()));
        }
        taken
    }

    /// Takes each receipt's message out of flight. Receipts whose message is not in flight are refused.
    fn settle(
        &self,
        receipts: &[Receipt],
        mut settled: impl FnMut(&mut Messages, ReceivedMessage),
    ) -> Vec<EntryFailure> {
        let mut messages = self.messages();
        messages.return_lapsed(Instant::now());
        let mut failures = Vec::new();
        for (index, receipt) in receipts.iter().enumerate() {
            match messages.held.remove(&**receipt) {
                Some((_, message)) => settled(&mut messages, message),
                None => {
                    failures.push(EntryFailure { index, retryable: false, code: "ReceiptHandleIsInvalid".to_owned() });
                }
            }
        }
        failures
    }
}

impl Messages {
    fn return_lapsed(&mut self, now: Instant) {
        let lapsed = self.held.extract_if(.., |_, (until, _)| *until <= now);
        self.visible.extend(lapsed.map(|(_, (_, message))| message));
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        let deadline = Instant::now() + wait;
        loop {
            // It registers before it looks, so that it does not miss a message that is sent in between.
            let arrived = self.arrived.notified();
            let taken = self.take();
            if !taken.is_empty() || tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return Ok(taken);
            }
        }
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        Ok(self.settle(receipts, |_, _| {}))
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        let until = Instant::now() + timeout;
        Ok(self.settle(receipts, |messages, message| {
            messages.held.insert(message.receipt.to_string(), (until, message));
        }))
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        let failures = self.settle(receipts, |messages, message| messages.visible.push_back(message));
        self.arrived.notify_waiters();
        Ok(failures)
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        let messages = self.messages();
        Ok(Backlog { visible: messages.visible.len() as u64, in_flight: messages.held.len() as u64, delayed: 0 })
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        Ok(self.has_sources.load(Ordering::SeqCst))
    }
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, (Bytes, Found)>>,
}

impl MemoryStore {
    /// All objects by key.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.locked().iter().map(|(key, (body, _))| (key.clone(), body.clone())).collect()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, (Bytes, Found)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
        let mut objects = self.locked();
        if objects.contains_key(object.key) {
            return Ok(PutOutcome::Exists);
        }
        let found = Found { epoch: Some(object.epoch.to_owned()), is_void: object.kind == ObjectKind::Void };
        objects.insert(object.key.to_owned(), (object.body, found));
        Ok(PutOutcome::Created)
    }

    async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
        Ok(self.locked().get(key).map(|(_, found)| found.clone()))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        Ok(self.locked().keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        Ok(self.locked().get(key).map(|(body, _)| body.clone()))
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.locked().remove(key);
        Ok(())
    }
}

/// A topic in memory.
#[derive(Debug, Default)]
pub struct MemoryNotifier {
    published: Mutex<Vec<Notification>>,
}

impl MemoryNotifier {
    /// Everything published so far, in order.
    pub fn published(&self) -> Vec<Notification> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Notifier for MemoryNotifier {
    async fn publish(&self, notifications: &[Notification]) -> Result<Vec<EntryFailure>, PortError> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(notifications);
        Ok(Vec::new())
    }
}
