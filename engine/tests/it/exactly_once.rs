//! Invariant 2: a tick is in the lake once, whatever crashes. Workers die and stall at every step of a commit, and
//! others take over what they held.

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

/// After how long messages come back, whatever a worker believes: shorter than what it asks for, as if it had been
/// frozen.
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
    // The notes of a worker that is killed are adopted by the next one at once.
    settings.alerts.adopt_after = Duration::ZERO;
    // A spike is told with its own message, and nothing else is.
    settings.detect.level_shift.enabled = false;
    settings.detect.clock.enabled = false;
    settings.validate().unwrap()
}

/// What both workers share.
struct World {
    queue: Arc<MemoryQueue>,
    store: Arc<MemoryStore>,
    notifier: Arc<MemoryNotifier>,
}

impl World {
    /// Messages of ten ticks each, which lie in two hours, one of them with a spike, and a bad one.
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

    /// Drains with a worker that nothing happens to. One that does not detect anything itself has to take the alert
    /// over.
    async fn drain(&self, detects: bool) -> (Result<(), RunError>, Meters) {
        let mut settings = (*config()).clone();
        settings.detect.spike.enabled = detects;
        let (config, options) = (settings.validate().unwrap(), RunOptions { drain: true });
        let meters = Meters::new(&config);
        let run = run(self.ports(), &config, options, meters.clone(), std::future::pending());
        (tokio::time::timeout(MINUTE, run).await.expect("the queue is drained"), meters)
    }

    /// Every tick, reject and alert is in the lake once, and every alert was published.
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
    /// The object arrives, and its answer does not.
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
        // Not the object by which a worker tries the store out.
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

/// A queue that brings each message once, takes some batches of deletes and then no more, and extends nothing.
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
        // What comes back is the other worker's.
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

/// Starts a worker, which is killed when the handle is aborted.
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
    // Before and after the entry, before and after the claim, before each of the files, and after the last.
    let files = (1..=FILES).map(|nth| (ObjectKind::Data, nth, false));
    let others =
        [ObjectKind::Entry, ObjectKind::Claim].into_iter().flat_map(|kind| [(kind, 1, false), (kind, 1, true)]);
    let mut cases = JoinSet::new();
    for (kind, nth, answer_only) in files.chain(others).chain([(ObjectKind::Data, FILES, true)]) {
        cases.spawn(async move {
            let world = World::new();
            let store = Stalling::new(&world.store, kind, nth, answer_only);
            let worker = start(Ports { store: store.clone(), ..world.ports() });
            tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker gets there");
            worker.abort();
            let is_announced = kind != ObjectKind::Entry || answer_only;
            let (result, meters) = world.drain(!is_announced).await;
            result.unwrap();
            world.assert_exact().await;
            // Alerts that are noted hold no message up: their claims and their file come after the deletes.
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
        tokio::time::timeout(MINUTE, queue.stalled.notified()).await.expect("the worker gets there");
        worker.abort();
        let (result, meters) = world.drain(false).await;
        result.unwrap();
        world.assert_exact().await;
        assert!(meters.stats.rows_found_stored.get() > 0, "they were in the lake");
    }
}

/// A topic that takes nothing, and says nothing.
struct Silent(Notify);

#[async_trait]
impl Notifier for Silent {
    async fn publish(&self, _: &[Notification]) -> Result<Vec<EntryFailure>, PortError> {
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_of_a_worker_that_dies_while_publishing_is_published_by_another() {
    let world = World::new();
    let topic = Arc::new(Silent(Notify::new()));
    let worker = start(Ports { notifier: Some(topic.clone()), ..world.ports() });
    tokio::time::timeout(MINUTE, topic.0.notified()).await.expect("the worker gets there");
    // The file of alerts comes after they are out.
    let is_stored = || world.store.objects().keys().filter(|key| key.ends_with(".parquet")).count() >= FILES - 1;
    while !is_stored() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.abort();
    let (result, meters) = world.drain(false).await;
    result.unwrap();
    world.assert_exact().await;
    assert_eq!(meters.stats.alerts_published.get(), world.notifier.published().len() as u64);
}

/// How a store decides between two objects of one name.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    /// It takes the second for a new one.
    Overwrites,
    /// It looks whether there is one, and then it writes: one writer after the other is told the truth, and of several
    /// at once each wins.
    LooksFirst,
}

/// A store that does not decide as it should.
struct Flawed(MemoryStore, Flaw);

#[async_trait]
impl ObjectStore for Flawed {
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
        if self.1 == Flaw::LooksFirst {
            let found = self.0.head(object.key).await?;
            tokio::task::yield_now().await;
            if found.is_some() {
                return Ok(PutOutcome::Exists);
            }
        }
        self.0.delete(object.key).await?;
        self.0.put_new(object).await
    }

    async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
        self.0.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.0.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.0.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.0.delete(key).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn store_without_atomic_conditional_writes_is_refused_unless_less_is_asked_of_it() {
    let deliveries = [Delivery::ExactlyOnce, Delivery::AtLeastOnce];
    for (flaw, delivery) in
        [Flaw::Overwrites, Flaw::LooksFirst].into_iter().flat_map(|flaw| deliveries.map(|how| (flaw, how)))
    {
        let world = World::new();
        let mut settings = (*config()).clone();
        settings.lake.delivery = delivery;
        let config = settings.validate().unwrap();
        let store = Arc::new(Flawed(MemoryStore::default(), flaw));
        let ports = Ports { store: store.clone(), ..world.ports() };
        let options = RunOptions { drain: true };
        let run = run(ports, &config, options, Meters::new(&config), std::future::pending());
        let ended = tokio::time::timeout(MINUTE, run).await.expect("it ends");
        let stored = lake::ticks(&store.0.objects()).len();
        if delivery == Delivery::ExactlyOnce {
            let error = ended.unwrap_err().to_string();
            assert!(error.contains("concurrent PUTs with If-None-Match") && error.contains("at-least-once"), "{error}");
            assert_eq!(stored, 0, "{flaw:?}");
        } else {
            ended.unwrap();
            assert_eq!(stored, MESSAGES * 10, "{flaw:?}");
        }
    }
}

/// A store that refuses the places of data files, as if there were objects.
struct RefusingFiles(Arc<MemoryStore>);

#[async_trait]
impl ObjectStore for RefusingFiles {
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
        let is_proof = object.key.contains(".proof-");
        let is_refused = matches!(object.kind, ObjectKind::Data | ObjectKind::Void) && !is_proof;
        if is_refused { Ok(PutOutcome::Exists) } else { self.0.put_new(object).await }
    }

    async fn head(&self, key: &str) -> Result<Option<Found>, PortError> {
        self.0.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        self.0.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.0.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.0.delete(key).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_is_refused_and_not_there_ends_the_run_and_loses_nothing() {
    let world = World::new();
    let ports = Ports { store: Arc::new(RefusingFiles(world.store.clone())), ..world.ports() };
    let config = config();
    let run = run(ports, &config, RunOptions::default(), Meters::new(&config), std::future::pending());
    let error = tokio::time::timeout(MINUTE, run).await.expect("it does not try for ever").unwrap_err().to_string();
    assert!(error.contains(".parquet") && error.contains("does not show"), "{error}");
    assert!(lake::ticks(&world.store.objects()).is_empty());
    world.drain(false).await.0.unwrap();
    world.assert_exact().await;
}

/// A worker that was frozen for longer than the visibility timeout goes on where it was.
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
            // Claims come after the deletes, so that a worker which is to get there has to delete.
            let deletes_max = if kind == ObjectKind::Claim { usize::MAX } else { 0 };
            let queue = Undeleting::new(&world.queue, deletes_max);
            let worker = start(Ports { store: store.clone(), queues: vec![queue], ..world.ports() });
            tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker gets there");
            // Another one takes over what comes back, and finishes.
            world.drain(kind == ObjectKind::Entry && !answer_only).await.0.unwrap();
            world.assert_exact().await;
            // Its lease has ended as well, whatever the other one took.
            tokio::time::sleep(config().queue.visibility_timeout).await;
            store.go_on.notify_one();
            tokio::time::sleep(Duration::from_secs(2)).await;
            worker.abort();
            world.assert_exact().await;
        });
    }
    cases.join_all().await;
}

/// One is told by time that a far price was a spike, the other by the price after it, in another message.
#[tokio::test(flavor = "multi_thread")]
async fn alert_that_two_workers_raise_about_one_price_is_stored_once() {
    let world =
        World { queue: Arc::new(MemoryQueue::new(VISIBILITY)), store: Arc::default(), notifier: Arc::default() };
    let tick = |seq: i64, price: f64| {
        let ts = AFTERNOON_US + seq;
        format!(r#"{{"symbol":"AAPL","price":{price},"volume":1,"ts":{ts},"seq":{seq}}}"#)
    };
    let usual: Vec<_> = (0..100).map(|seq| tick(seq, 100.25)).collect();
    let mut settings = (*config()).clone();
    settings.detect.level_shift.enabled = true;
    let config = settings.validate().unwrap();
    let mut found = Vec::new();
    for next in [None, Some(tick(101, 100.25))] {
        world.queue.send(format!("[{},{}]", usual.join(","), tick(100, 150.25)), None);
        if let Some(next) = next {
            world.queue.send(next, None);
        }
        let meters = Meters::new(&config);
        let options = RunOptions { drain: true };
        let run = run(world.ports(), &config, options, meters.clone(), std::future::pending());
        tokio::time::timeout(MINUTE, run).await.expect("the queue is drained").unwrap();
        found.push(meters.stats.rows_found_stored.get());
    }
    let published = world.notifier.published();
    assert_eq!((published.len(), &published[0].id), (2, &published[1].id), "each worker has raised it");
    assert_eq!(lake::alert_ids(&world.store.objects()), [published[0].id.clone()]);
    assert_eq!(found, [0, 1]);
}

/// Its file is waited for, and then a void decides.
#[tokio::test(flavor = "multi_thread")]
async fn alert_that_a_worker_claimed_before_it_died_is_stored_by_the_next_one_that_raises_it() {
    let world = World::new();
    let id = Alert::id_of("spike-up", "AAPL", AFTERNOON_US + SPIKE as i64);
    let file = Partition::of(Table::Alerts, AFTERNOON_US).key("", &"dead-1");
    let (body, epoch, kind) = (Bytes::from(file.clone()), "dead-1", ObjectKind::Claim);
    world.store.put_new(NewObject { key: &claim_key("", &id, 0), body, epoch, kind }).await.unwrap();
    world.drain(true).await.0.unwrap();
    assert_eq!(world.notifier.published()[0].id, id);
    assert!(world.store.head(&file).await.unwrap().unwrap().is_void);
    world.assert_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_that_is_raised_and_adopted_in_one_epoch_is_stored_once() {
    let earlier = World::new();
    earlier.drain(true).await.0.unwrap();
    let alert = Alert::from_json(&earlier.notifier.published()[0].body).unwrap();
    let world = World::new();
    let (key, body) = (note_key("", &note_name(0, "dead", 1)), Bytes::from(note_body([&alert])));
    world.store.put_new(NewObject { key: &key, body, epoch: "", kind: ObjectKind::Note }).await.unwrap();
    world.drain(true).await.0.unwrap();
    world.assert_exact().await;
    let notes = world.store.list("ledger-notes/").await.unwrap();
    assert!(notes.is_empty(), "it is in the table: {notes:?}");
}

/// One worker, frozen for longer than the visibility timeout before some PUT: it is given its messages again, whose
/// ticks its detectors know.
#[tokio::test(flavor = "multi_thread")]
async fn only_worker_that_is_frozen_stores_every_row_and_every_alert_that_it_published() {
    let puts = [ObjectKind::Entry, ObjectKind::Claim, ObjectKind::Data].into_iter();
    let mut cases = JoinSet::new();
    for (kind, answer_only) in puts.flat_map(|kind| [(kind, false), (kind, true)]) {
        cases.spawn(async move {
            let world = World::new();
            let store = Stalling::new(&world.store, kind, 1, answer_only);
            let queue = Arc::new(Altered { extends: false, ..Altered::new(&world.queue) });
            let ports = Ports { store: store.clone(), queues: vec![queue], ..world.ports() };
            let worker = tokio::spawn(async move {
                let (config, options) = (config(), RunOptions { drain: true });
                run(ports, &config, options, Meters::new(&config), std::future::pending()).await
            });
            tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker gets there");
            tokio::time::sleep(config().queue.visibility_timeout).await;
            store.go_on.notify_one();
            tokio::time::timeout(MINUTE, worker).await.expect("the queue is drained").unwrap().unwrap();
            world.assert_exact().await;
            assert_eq!(world.notifier.published().len(), 1, "its detectors judge no tick twice: {kind:?}");
        });
    }
    cases.join_all().await;
}

/// A queue that is not as it should be.
struct Altered {
    queue: Arc<MemoryQueue>,
    /// The count that is shown in place of the true one.
    count: Option<u32>,
    /// Each message is handed out twice, the second time with this count.
    copy_count: Option<u32>,
    copies: std::sync::Mutex<Vec<ReceivedMessage>>,
    /// Whether messages can be hidden for longer.
    extends: bool,
    has_sources: bool,
}

impl Altered {
    fn new(queue: &Arc<MemoryQueue>) -> Self {
        let (copies, queue) = (std::sync::Mutex::default(), queue.clone());
        Self { queue, count: None, copy_count: None, copies, extends: true, has_sources: false }
    }
}

#[async_trait]
impl Queue for Altered {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        let mut copies = std::mem::take(&mut *self.copies.lock().unwrap());
        if copies.len() >= BATCH_MAX {
            *self.copies.lock().unwrap() = copies.split_off(BATCH_MAX);
            return Ok(copies);
        }
        let mut messages = self.queue.receive(wait).await?;
        for message in &mut messages {
            copies.extend(self.copy_count.map(|receive_count| ReceivedMessage { receive_count, ..message.clone() }));
            message.receive_count = self.count.unwrap_or(message.receive_count);
        }
        *self.copies.lock().unwrap() = copies;
        Ok(messages)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.delete(receipts).await
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        if self.extends { self.queue.extend(receipts, timeout).await } else { std::future::pending().await }
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.release(receipts).await
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        self.queue.backlog().await
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        Ok(self.has_sources)
    }
}

/// Its counts begin anew, and so say that nothing was delivered before.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_dead_letter_queue_are_stored_once_whatever_its_counts_say() {
    let world = World::new();
    let queue = Undeleting::new(&world.queue, 0);
    let worker = start(Ports { queues: vec![queue.clone()], ..world.ports() });
    tokio::time::timeout(MINUTE, queue.stalled.notified()).await.expect("the worker gets there");
    worker.abort();
    let queue = Arc::new(Altered { count: Some(1), has_sources: true, ..Altered::new(&world.queue) });
    let (config, options) = (config(), RunOptions { drain: true });
    let ports = Ports { queues: vec![queue], ..world.ports() };
    let run = run(ports, &config, options, Meters::new(&config), std::future::pending());
    tokio::time::timeout(MINUTE, run).await.expect("the queue is drained").unwrap();
    world.assert_exact().await;
}

/// A redrive makes new messages, with new ids and counts that begin anew.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_were_redriven_are_stored_once_where_their_bodies_tell_them() {
    let world = World::new();
    let mut settings = (*config()).clone();
    settings.queue.identity = Identity::Body;
    let config = settings.validate().unwrap();
    let queue = Undeleting::new(&world.queue, 0);
    let ports = Ports { queues: vec![queue.clone()], ..world.ports() };
    let first = config.clone();
    let worker = tokio::spawn(async move {
        run(ports, &first, RunOptions::default(), Meters::new(&first), std::future::pending()).await
    });
    tokio::time::timeout(MINUTE, queue.stalled.notified()).await.expect("the worker gets there");
    worker.abort();
    let redriven = World { queue: Arc::new(MemoryQueue::new(VISIBILITY)), ..World::new() };
    World::fill(&redriven.queue);
    let world = World { queue: redriven.queue, ..world };
    let options = RunOptions { drain: true };
    let run = run(world.ports(), &config, options, Meters::new(&config), std::future::pending());
    tokio::time::timeout(MINUTE, run).await.expect("the queue is drained").unwrap();
    world.assert_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_held_messages_are_stored_once_whatever_their_counts_say() {
    for counts in [(1, 1), (1, 2), (2, 1), (3, 2)] {
        let world = World::new();
        let (count, copy_count) = (Some(counts.0), Some(counts.1));
        let queue = Arc::new(Altered { count, copy_count, ..Altered::new(&world.queue) });
        let (config, options) = (config(), RunOptions { drain: true });
        let meters = Meters::new(&config);
        let ports = Ports { queues: vec![queue], ..world.ports() };
        let run = run(ports, &config, options, meters.clone(), std::future::pending());
        tokio::time::timeout(MINUTE, run).await.expect("the queue is drained").unwrap();
        world.assert_exact().await;
        assert!(meters.stats.messages_repeated.get() > 0, "{counts:?}");
    }
}

/// Two workers that decode a message differently, the first of which dies after its first file: ticks come before
/// rejects.
async fn decoded_differently(body: &str, change: impl FnOnce(&mut Settings)) -> BTreeMap<String, Bytes> {
    let world =
        World { queue: Arc::new(MemoryQueue::new(VISIBILITY)), store: Arc::default(), notifier: Arc::default() };
    world.queue.send(body.to_owned(), None);
    let store = Stalling::new(&world.store, ObjectKind::Data, 2, false);
    let ports = Ports { store: store.clone(), ..world.ports() };
    let mut settings = (*config()).clone();
    change(&mut settings);
    let first = settings.validate().unwrap();
    let worker = tokio::spawn(async move {
        run(ports, &first, RunOptions::default(), Meters::new(&first), std::future::pending()).await
    });
    tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker gets there");
    while lake::ticks(&world.store.objects()).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.abort();
    world.drain(true).await.0.unwrap();
    assert_eq!(world.queue.backlog().await.unwrap(), Backlog::default());
    world.store.objects()
}

fn tick(symbol: &str, ts_us: i64) -> String {
    format!(r#"{{"symbol":"{symbol}","price":1,"volume":1,"ts":{ts_us},"late":{}}}"#, ts_us + HOUR_US)
}

fn symbols(objects: &BTreeMap<String, Bytes>) -> Vec<String> {
    let mut symbols: Vec<_> = lake::ticks(objects).into_iter().map(|tick| tick.symbol).collect();
    symbols.sort_unstable();
    symbols
}

#[tokio::test(flavor = "multi_thread")]
async fn tick_that_one_worker_refused_and_the_other_takes_is_stored_once() {
    let body = format!("[{},{}]", tick("A", AFTERNOON_US), tick("LONGER", AFTERNOON_US));
    let objects = decoded_differently(&body, |settings| settings.decode.symbol_max_bytes = 1).await;
    assert_eq!(symbols(&objects), ["A", "LONGER"]);
    assert!(lake::rejects(&objects).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tick_that_moves_to_another_hour_between_two_deliveries_is_stored_once() {
    let body = format!("[{},{}]", tick("A", AFTERNOON_US), tick("B", AFTERNOON_US + HOUR_US));
    let objects = decoded_differently(&body, |settings| settings.decode.fields.ts = "late".to_owned()).await;
    assert_eq!(symbols(&objects), ["A", "B"]);
}

/// Workers in the middle of a change of configuration: what one refuses another takes. That a file of an epoch is
/// stored says nothing of a message that has no rows in it.
#[tokio::test(flavor = "multi_thread")]
async fn tick_that_the_dead_worker_refused_is_not_taken_for_one_that_it_stored() {
    let world =
        World { queue: Arc::new(MemoryQueue::new(VISIBILITY)), store: Arc::default(), notifier: Arc::default() };
    for symbol in ["A", "LONGER"] {
        let body = format!(r#"{{"symbol":"{symbol}","price":1,"volume":1,"ts":{AFTERNOON_US},"seq":1}}"#);
        world.queue.send(body, None);
    }
    // Ticks first, then rejects: the reject is not stored any more.
    let store = Stalling::new(&world.store, ObjectKind::Data, 2, false);
    let ports = Ports { store: store.clone(), ..world.ports() };
    let worker = tokio::spawn(async move {
        let mut settings = (*config()).clone();
        settings.decode.symbol_max_bytes = 1;
        let config = settings.validate().unwrap();
        run(ports, &config, RunOptions::default(), Meters::new(&config), std::future::pending()).await
    });
    tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker gets there");
    while lake::ticks(&world.store.objects()).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.abort();
    world.drain(true).await.0.unwrap();
    let mut symbols: Vec<_> = lake::ticks(&world.store.objects()).into_iter().map(|tick| tick.symbol).collect();
    symbols.sort_unstable();
    assert_eq!(symbols, ["A", "LONGER"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_that_cannot_be_read_stops_the_commit_and_is_named() {
    let world = World::new();
    let store = Stalling::new(&world.store, ObjectKind::Data, 1, false);
    let worker = start(Ports { store: store.clone(), ..world.ports() });
    tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker gets there");
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
