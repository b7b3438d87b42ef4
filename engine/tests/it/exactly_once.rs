//! Tests invariant 2: a tick is in the lake once, whatever crashes. Workers die and stall at every step of a commit,
//! and other workers take over their messages.

mod alerts;
mod deliveries;
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ticklake::config::{Config, Delivery, Identity, Settings};
use ticklake::memory::{MemoryNotifier, MemoryQueue, MemoryStore};
use ticklake::meter::Meters;
use ticklake::pipeline::{RunError, RunOptions, run};
use ticklake::ports::{
    BATCH_MAX, Backlog, EntryFailure, Found, NewObject, Notification, Notifier, ObjectKind, ObjectStore, PortError,
    Ports, PutOutcome, Queue, Receipt, ReceivedMessage,
};
use ticklake_core::alert::Alert;
use ticklake_core::commit::{note_body, note_name};
use ticklake_core::lake::{Partition, claim_key, note_key};
use ticklake_schemas::Table;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::{lake, local::MINUTE};

/// The time after which messages come back. It is shorter than the time that a worker asks for, as if the worker had
/// been frozen.
const VISIBILITY: Duration = Duration::from_secs(2);

const HOUR_US: i64 = 3_600_000_000;
/// 2026-11-23T14:00:00Z.
const AFTERNOON_US: i64 = 1_795_442_400_000_000;

fn config() -> Config {
    let mut settings = Settings::default();
    "http://127.0.0.1/000000000000/ticks".clone_into(&mut settings.queue.url);
    "lake".clone_into(&mut settings.lake.bucket);
    settings.decode.ts_future_max = Duration::from_hours(24 * 365 * 100);
    settings.epoch.age_max = Duration::from_millis(200);
    settings.queue.visibility_timeout = Duration::from_secs(5);
    settings.queue.wait = Duration::from_secs(1);
    // The next worker adopts the notes of a killed one at once.
    settings.alerts.adopt_after = Duration::ZERO;
    // A spike is reported with its own message, and there are no other alerts.
    settings.detect.level_shift.enabled = false;
    settings.detect.clock.enabled = false;
    settings.validate().unwrap()
}

/// The ports that both workers share.
struct World {
    queue: Arc<MemoryQueue>,
    store: Arc<MemoryStore>,
    notifier: Arc<MemoryNotifier>,
}

impl World {
    /// A world with messages of ten ticks each, in two hours. One has a spike, and one more message is malformed.
    fn new() -> Self {
        let world =
            Self { queue: Arc::new(MemoryQueue::new(VISIBILITY)), store: Arc::default(), notifier: Arc::default() };
        Self::fill(&world.queue);
        world
    }

    fn fill(queue: &MemoryQueue) {
        for message in 0..MESSAGES {
            let tick = |tick: usize| {
                let seq = message * 10 + tick;
                let ts = AFTERNOON_US + (tick as i64 % 2) * HOUR_US + seq as i64;
                let price = if seq == SPIKE { 150.25 } else { 100.25 };
                format!(r#"{{"symbol":"AAPL","price":{price},"volume":1,"ts":{ts},"seq":{seq}}}"#)
            };
            let ticks: Vec<String> = (0..10).map(tick).collect();
            queue.send(format!("[{}]", ticks.join(",")), None);
        }
        queue.send("garbage", None);
    }

    fn ports(&self) -> Ports {
        Ports { queues: vec![self.queue.clone()], store: self.store.clone(), notifier: Some(self.notifier.clone()) }
    }

    /// Drains with a worker that nothing happens to. If it does not detect anything itself, it has to adopt the alert
    /// of the other worker.
    async fn drain(&self, detects: bool) -> (Result<(), RunError>, Meters) {
        let mut settings = (*config()).clone();
        settings.detect.spike.enabled = detects;
        let (config, options) = (settings.validate().unwrap(), RunOptions { drain: true });
        let meters = Meters::new(&config);
        let run = run(self.ports(), &config, options, meters.clone(), std::future::pending());
        (tokio::time::timeout(MINUTE, run).await.expect("the queue is drained"), meters)
    }

    /// Asserts that every tick, reject and alert is in the lake once, and that every alert was published.
    async fn assert_exact(&self) {
        let objects = self.store.objects();
        let mut seqs: Vec<i64> = lake::ticks(&objects).iter().map(|tick| tick.seq.unwrap()).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (0..MESSAGES as i64 * 10).collect::<Vec<_>>(), "every tick once");
        assert_eq!(lake::rejects(&objects).len(), 1, "the reject once");
        let stored = lake::alert_ids(&objects);
        assert_eq!(stored.len(), 1, "the alert once: {stored:?}");
        let published = self.notifier.published();
        assert!(!published.is_empty() && published.iter().all(|one| one.body.contains(&stored[0])), "with one id");
        assert_eq!(self.queue.backlog().await.unwrap().total(), 0);
    }
}

const MESSAGES: usize = 20;
const SPIKE: usize = 150;

/// A store that stops at the `nth` PUT of some kind, until it is told to go on.
struct Stalling {
    store: Arc<MemoryStore>,
    kind: ObjectKind,
    nth: usize,
    /// Whether the object is stored before the stall, and only the answer waits.
    answer_only: bool,
    seen: AtomicUsize,
    stalled: Notify,
    go_on: Notify,
}

impl Stalling {
    fn new(store: &Arc<MemoryStore>, kind: ObjectKind, nth: usize, answer_only: bool) -> Arc<Self> {
        let (seen, stalled, go_on) = Default::default();
        Arc::new(Self { store: store.clone(), kind, nth, answer_only, seen, stalled, go_on })
    }
}

#[async_trait]
impl ObjectStore for Stalling {
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
        // The objects with which a worker tests the store do not count.
        let is_meant = object.kind == self.kind && !object.key.contains(".proof-");
        if !is_meant || self.seen.fetch_add(1, Ordering::SeqCst) + 1 < self.nth {
            return self.store.put_new(object).await;
        }
        let early = if self.answer_only { Some(self.store.put_new(object.clone()).await?) } else { None };
        self.stalled.notify_one();
        self.go_on.notified().await;
        self.go_on.notify_one();
        match early {
            Some(outcome) => Ok(outcome),
            None => self.store.put_new(object).await,
        }
    }

    async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
        self.store.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.store.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.store.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.store.delete(key).await
    }
}

/// A queue that brings each message once, takes only `deletes_max` batches of deletes, and never extends a message.
struct Undeleting {
    queue: Arc<MemoryQueue>,
    received: AtomicUsize,
    deletes: AtomicUsize,
    deletes_max: usize,
    stalled: Notify,
}

impl Undeleting {
    fn new(queue: &Arc<MemoryQueue>, deletes_max: usize) -> Arc<Self> {
        let (received, deletes, stalled) = Default::default();
        Arc::new(Self { queue: queue.clone(), received, deletes, deletes_max, stalled })
    }
}

#[async_trait]
impl Queue for Undeleting {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        // Messages that come back are for the other worker.
        if self.received.load(Ordering::SeqCst) > MESSAGES {
            std::future::pending::<()>().await;
        }
        let messages = self.queue.receive(wait).await?;
        self.received.fetch_add(messages.len(), Ordering::SeqCst);
        Ok(messages)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        if self.deletes.fetch_add(1, Ordering::SeqCst) < self.deletes_max {
            return self.queue.delete(receipts).await;
        }
        self.stalled.notify_one();
        std::future::pending().await
    }

    async fn extend(&self, _: &[Receipt], _: Duration) -> Result<Vec<EntryFailure>, PortError> {
        std::future::pending().await
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.release(receipts).await
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        self.queue.backlog().await
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        self.queue.has_sources().await
    }
}

/// Starts a worker. Aborting the handle kills it.
fn start(ports: Ports) -> tokio::task::JoinHandle<Result<(), RunError>> {
    tokio::spawn(async move {
        let config = config();
        run(ports, &config, RunOptions::default(), Meters::new(&config), std::future::pending()).await
    })
}

/// The files of one epoch: two hours of ticks, the alert, the reject.
const FILES: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_dies_between_any_two_puts_leaves_every_row_once() {
    // It dies before or after the entry, before or after the claim, before each file, or after the last file.
    let files = (1..=FILES).map(|nth| (ObjectKind::Data, nth, false));
    let others =
        [ObjectKind::Entry, ObjectKind::Claim].into_iter().flat_map(|kind| [(kind, 1, false), (kind, 1, true)]);
    let mut cases = JoinSet::new();
    for (kind, nth, answer_only) in files.chain(others).chain([(ObjectKind::Data, FILES, true)]) {
        cases.spawn(async move {
            let world = World::new();
            let store = Stalling::new(&world.store, kind, nth, answer_only);
            let worker = start(Ports { store: store.clone(), ..world.ports() });
            tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker stalls");
            worker.abort();
            let is_announced = kind != ObjectKind::Entry || answer_only;
            let (result, meters) = world.drain(!is_announced).await;
            result.unwrap();
            world.assert_exact().await;
            // Alerts that are noted do not delay messages: their claims and their file come after the deletes.
            let is_after_deletes = kind == ObjectKind::Claim || nth == FILES;
            assert!(is_after_deletes || meters.stats.messages_redelivered.get() > 0, "{kind:?} {nth}");
        });
    }
    cases.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_dies_before_or_between_its_deletes_leaves_every_row_once() {
    for deletes in [0, 1, 2] {
        let world = World::new();
        let queue = Undeleting::new(&world.queue, deletes);
        let worker = start(Ports { queues: vec![queue.clone()], ..world.ports() });
        tokio::time::timeout(MINUTE, queue.stalled.notified()).await.expect("the worker stalls");
        worker.abort();
        let (result, meters) = world.drain(false).await;
        result.unwrap();
        world.assert_exact().await;
        assert!(meters.stats.rows_found_stored.get() > 0, "they were in the lake");
    }
}

/// A worker is frozen for longer than the visibility timeout, and then goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn worker_that_stalls_before_any_put_and_goes_on_stores_nothing_twice() {
    let others =
        [ObjectKind::Entry, ObjectKind::Claim].into_iter().flat_map(|kind| [(kind, 1, false), (kind, 1, true)]);
    let files = [1, 2].map(|nth| (ObjectKind::Data, nth, false));
    let mut cases = JoinSet::new();
    for (kind, nth, answer_only) in others.chain(files) {
        cases.spawn(async move {
            let world = World::new();
            let store = Stalling::new(&world.store, kind, nth, answer_only);
            // Claims come after the deletes. So a worker reaches its claim only if it can delete.
            let deletes_max = if kind == ObjectKind::Claim { usize::MAX } else { 0 };
            let queue = Undeleting::new(&world.queue, deletes_max);
            let worker = start(Ports { store: store.clone(), queues: vec![queue], ..world.ports() });
            tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker stalls");
            // Another worker takes over the messages that come back, and finishes.
            world.drain(kind == ObjectKind::Entry && !answer_only).await.0.unwrap();
            world.assert_exact().await;
            // Wait until the lease of the first worker has ended as well, however long the other one took.
            tokio::time::sleep(config().queue.visibility_timeout).await;
            store.go_on.notify_one();
            tokio::time::sleep(Duration::from_secs(2)).await;
            worker.abort();
            world.assert_exact().await;
        });
    }
    cases.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_that_cannot_be_read_stops_the_commit_and_is_named() {
    let world = World::new();
    let store = Stalling::new(&world.store, ObjectKind::Data, 1, false);
    let worker = start(Ports { store: store.clone(), ..world.ports() });
    tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker stalls");
    worker.abort();
    let damaged = NewObject {
        key: "ledger/damaged-1",
        body: "TLE\u{1}nonsense".into(),
        epoch: "damaged-1",
        kind: ObjectKind::Entry,
    };
    world.store.put_new(damaged).await.unwrap();
    let error = world.drain(true).await.0.unwrap_err().to_string();
    assert!(error.contains("ledger/damaged-1") && error.contains("damaged"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_ends_lists_the_entries_that_it_leaves() {
    let world = World::new();
    world.drain(true).await.0.unwrap();
    world.assert_exact().await;
    let objects = world.store.objects();
    let in_ledger = objects.iter().filter_map(|(key, body)| Some((key.strip_prefix("ledger/")?, body)));
    let (lists, entries): (Vec<_>, Vec<_>) = in_ledger.partition(|(name, _)| name.starts_with(".left-"));
    let [(_, list)] = lists[..] else { panic!("{} lists", lists.len()) };
    let names: Vec<_> = entries.into_iter().map(|(name, _)| name).collect();
    assert_eq!(String::from_utf8_lossy(list).lines().collect::<Vec<_>>(), names);
}
