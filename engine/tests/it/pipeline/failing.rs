//! Tests the pipeline while its store, its topic or its queue fails.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn alerts_go_on_while_the_store_is_down() {
    let edges = Edges::new();
    let store = Arc::new(BrokenStore::default());
    let mut settings = settings();
    // Far more epochs close than the stages behind the detectors hold.
    settings.epoch.age_max = Duration::from_millis(20);
    settings.shutdown.deadline = Duration::from_secs(2);
    let config = config(settings);
    let shutdown = async {
        for seq in 0..120 {
            edges.queue.send(tick("AAPL", seq), None);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        edges.queue.send(tick("AAPL", 120).replace("100.25", "150.00"), None);
        while edges.notifier.published().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ports = Ports { store: store.clone(), ..edges.ports() };
    let meters = Meters::new(&config);
    let run = run(ports, &config, RunOptions::default(), meters.clone(), shutdown);
    tokio::time::timeout(MINUTE / 2, run).await.expect("an alert is published").unwrap();
    assert!(store.failures.load(Ordering::SeqCst) > 0, "the store did fail");
    assert_eq!(meters.stats.messages_released.get(), 121);
}

/// A store that fails until it is mended.
#[derive(Default)]
struct BrokenStore {
    store: MemoryStore,
    mended: AtomicBool,
    failures: AtomicUsize,
    denied: bool,
}

#[async_trait]
impl ObjectStore for BrokenStore {
    async fn put_new(&self, object: NewObject<'_>) -> Result<PutOutcome, PortError> {
        if self.mended.load(Ordering::SeqCst) {
            return self.store.put_new(object).await;
        }
        self.failures.fetch_add(1, Ordering::SeqCst);
        let (action, text) = ("put object", "broken on purpose".to_owned());
        Err(if self.denied { PortError::stop(action, text) } else { PortError::retry(action, text) })
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

/// Invariant 3: bytes and messages in flight never exceed the budget.
#[tokio::test(flavor = "multi_thread")]
async fn budget_holds_while_the_store_is_down_and_nothing_is_lost() {
    let edges = Edges::new();
    let store = Arc::new(BrokenStore::default());
    let mut settings = settings();
    settings.budget.messages_max = 200;
    settings.epoch.messages_max = 50;
    let config = config(settings);
    for seq in 0..2_000 {
        edges.queue.send(tick("AAPL", seq), None);
    }
    let mend = tokio::spawn({
        let store = store.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            store.mended.store(true, Ordering::SeqCst);
        }
    });
    let ports = Ports { store: store.clone(), ..edges.ports() };
    let (result, meters) = drain(ports, &config).await;
    result.unwrap();
    mend.await.unwrap();
    assert!(store.failures.load(Ordering::SeqCst) > 1, "the store did fail");
    assert!(meters.budget.peak().messages <= 200, "{:?}", meters.budget.peak());
    assert!(meters.budget.peak().messages > 150, "the budget was what held it back");
    assert_eq!(lake::ticks(&store.store.objects()).len(), 2_000);
    assert_eq!(edges.queue.backlog().await.unwrap().total(), 0);
}

/// Invariant 1: no message is deleted until its rows are durable.
#[tokio::test(flavor = "multi_thread")]
async fn refused_store_ends_the_run_and_every_message_is_back() {
    let edges = Edges::new();
    let store = Arc::new(BrokenStore { denied: true, ..BrokenStore::default() });
    for seq in 0..100 {
        edges.queue.send(tick("AAPL", seq), None);
    }
    let ports = Ports { store, ..edges.ports() };
    let (result, meters) = drain(ports, &config(settings())).await;
    assert!(result.unwrap_err().to_string().contains("broken on purpose"));
    assert_eq!(meters.stats.messages_deleted.get(), 0);
    let again = edges.queue.receive(Duration::ZERO).await.unwrap();
    assert_eq!(again.len(), 10, "visible at once, not after the visibility timeout");
    assert_eq!(edges.queue.backlog().await.unwrap().total(), 100);
}

/// Invariant 7: a stop drains within its deadline. Messages that are not committed by then are back in the queue.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_gives_back_what_it_could_not_commit() {
    let edges = Edges::new();
    let store = Arc::new(BrokenStore::default());
    let mut settings = settings();
    settings.shutdown.deadline = Duration::from_secs(2);
    let config = config(settings);
    for seq in 0..100 {
        edges.queue.send(tick("AAPL", seq), None);
    }
    let meters = Meters::new(&config);
    let shutdown = {
        let meters = meters.clone();
        async move {
            while meters.stats.messages_received.get() < 100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let ports = Ports { store: store.clone(), ..edges.ports() };
    let run = run(ports, &config, RunOptions::default(), meters.clone(), shutdown);
    tokio::time::timeout(MINUTE, run).await.unwrap().unwrap();
    assert_eq!(meters.stats.messages_released.get(), 100);
    assert_eq!(edges.queue.receive(Duration::ZERO).await.unwrap().len(), 10, "visible at once");
}

/// Invariant 3, in bytes: the size of ticks as columns counts, not their size as text.
#[tokio::test(flavor = "multi_thread")]
async fn columns_count_against_the_budget() {
    let edges = Edges::new();
    let store = Arc::new(BrokenStore::default());
    let mut settings = settings();
    settings.queue.receivers_max = 1;
    settings.threads.decode = 1;
    settings.budget.bytes_max = 20 << 20;
    let config = config(settings);
    // A row takes more bytes than its text here. There are 80 MiB of text.
    let body = format!("[{}]", vec![r#"{"symbol":"A","price":1,"volume":1}"#; 29_000].join(","));
    for _ in 0..80 {
        edges.queue.send(body.clone(), None);
    }
    let mend = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        store.mended.store(true, Ordering::SeqCst);
    };
    let ports = Ports { store: store.clone(), ..edges.ports() };
    let ((result, meters), ()) = tokio::join!(drain(ports, &config), mend);
    result.unwrap();
    let peak = meters.budget.peak().bytes;
    // The one batch that is being decoded may exceed the bound as it grows: ten messages of twice their text.
    assert!((18 << 20..=40 << 20).contains(&peak), "{peak}");
    assert_eq!(meters.stats.ticks_stored.get(), 80 * 29_000);
}

/// A topic that refuses alerts or panics.
struct BrokenTopic {
    panics: bool,
}

#[async_trait]
impl Notifier for BrokenTopic {
    async fn publish(&self, _: &[Notification]) -> Result<Vec<EntryFailure>, PortError> {
        assert!(!self.panics, "broken on purpose");
        Err(PortError::stop("publish alerts", "denied on purpose".to_owned()))
    }
}

/// Invariant 1, for alerts: messages come again if their alerts were not published. Then the alerts are published, and
/// no row is stored twice.
#[tokio::test(flavor = "multi_thread")]
async fn messages_whose_alerts_cannot_be_published_come_again_and_are_stored_once() {
    let mut settings = settings();
    settings.detect.level_shift.enabled = false;
    let config = config(settings);
    for panics in [false, true] {
        let edges = Edges::new();
        let mut ticks: Vec<_> = (0..120).map(|seq| tick("AAPL", seq)).collect();
        ticks.push(tick("AAPL", 120).replace("100.25", "150.00"));
        edges.queue.send(ticks.join("\n"), None);
        let ports = Ports { notifier: Some(Arc::new(BrokenTopic { panics })), ..edges.ports() };
        let (result, meters) = drain(ports, &config).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains(if panics { "publisher panicked" } else { "denied on purpose" }), "{error}");
        assert_eq!(meters.stats.messages_released.get(), 1);
        assert_eq!((edges.queue.backlog().await.unwrap().total(), edges.notifier.published().len()), (1, 0));

        drain(edges.ports(), &config).await.0.unwrap();
        let published = edges.notifier.published();
        let ids = lake::alert_ids(&edges.objects());
        assert_eq!((lake::ticks(&edges.objects()).len(), ids.len()), (121, 1), "once");
        assert!(!published.is_empty() && published.iter().all(|one| one.body.contains(&ids[0])), "{published:?}");
        assert_eq!(edges.queue.backlog().await.unwrap().total(), 0);
    }
}

/// A store that never answers.
struct SilentStore;

#[async_trait]
impl ObjectStore for SilentStore {
    async fn put_new(&self, _: NewObject<'_>) -> Result<PutOutcome, PortError> {
        std::future::pending().await
    }

    async fn head(&self, _: &str) -> Result<Option<Found>, PortError> {
        std::future::pending().await
    }

    async fn list(&self, _: &str) -> Result<Vec<String>, PortError> {
        std::future::pending().await
    }

    async fn get(&self, _: &str) -> Result<Option<Bytes>, PortError> {
        std::future::pending().await
    }

    async fn delete(&self, _: &str) -> Result<(), PortError> {
        std::future::pending().await
    }
}

/// A queue that does not answer a release in time.
struct SilentRelease(Arc<MemoryQueue>);

#[async_trait]
impl Queue for SilentRelease {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        self.0.receive(wait).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.0.delete(receipts).await
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        self.0.extend(receipts, timeout).await
    }

    async fn release(&self, _: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        tokio::time::sleep(MINUTE).await;
        Ok(Vec::new())
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        self.0.backlog().await
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        self.0.has_sources().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_against_a_dead_network_ends_by_its_deadline() {
    let edges = Edges::new();
    edges.queue.send(tick("AAPL", 0), None);
    let mut settings = settings();
    settings.shutdown.deadline = Duration::from_secs(2);
    let config = config(settings);
    let meters = Meters::new(&config);
    let ports = Ports {
        queues: vec![Arc::new(SilentRelease(edges.queue.clone()))],
        store: Arc::new(SilentStore),
        ..edges.ports()
    };
    let shutdown = async {
        while meters.stats.ticks_decoded.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let run = run(ports, &config, RunOptions::default(), meters.clone(), shutdown);
    let outcome = tokio::time::timeout(MINUTE / 2, run).await.expect("the deadline holds, whatever hangs");
    // The committer gives up at the same moment at which the engine would call it late, so both may happen.
    if let Err(error) = outcome {
        assert!(error.to_string().contains("the committer was late"), "{error}");
    }
    assert_eq!(edges.queue.backlog().await.unwrap().total(), 1, "and nothing was deleted");
}

/// A queue that half-fails deletes: every third entry that is tried fails, the first one included.
struct HalfFailing {
    queue: Arc<MemoryQueue>,
    entries: AtomicUsize,
}

#[async_trait]
impl Queue for HalfFailing {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        self.queue.receive(wait).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        let (mut kept, mut failures) = (Vec::new(), Vec::new());
        for (index, receipt) in receipts.iter().enumerate() {
            if self.entries.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
                failures.push(EntryFailure { index, retryable: true, code: "InternalError".to_owned() });
            } else {
                kept.push(receipt.clone());
            }
        }
        assert!(self.queue.delete(&kept).await?.is_empty());
        Ok(failures)
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.extend(receipts, timeout).await
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

#[tokio::test(flavor = "multi_thread")]
async fn failed_entries_of_a_delete_are_tried_until_they_succeed() {
    let edges = Edges::new();
    for seq in 0..95 {
        edges.queue.send(tick("AAPL", seq), None);
    }
    let queue = Arc::new(HalfFailing { queue: edges.queue.clone(), entries: AtomicUsize::new(0) });
    let (result, meters) = drain(Ports { queues: vec![queue], ..edges.ports() }, &config(settings())).await;
    result.unwrap();
    assert_eq!(meters.stats.messages_deleted.get(), 95);
    assert_eq!(edges.queue.backlog().await.unwrap().total(), 0);
}
