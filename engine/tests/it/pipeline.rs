//! The pipeline over ports in memory: what goes in, what comes out, and what a failing edge does to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ticklake::config::{Config, Settings};
use ticklake::memory::{MemoryNotifier, MemoryQueue, MemoryStore};
use ticklake::meter::Meters;
use ticklake::pipeline::{RunError, RunOptions, run};
use ticklake::ports::{
    Backlog, EntryFailure, Found, NewObject, Notification, Notifier, ObjectStore, PortError, Ports, PutOutcome, Queue,
    Receipt, ReceivedMessage,
};

use crate::lake;

/// 2026-11-23T14:00:00Z.
const AFTERNOON_US: i64 = 1_795_442_400_000_000;
const MINUTE: Duration = Duration::from_mins(1);
const DRAIN: RunOptions = RunOptions { drain: true };

fn settings() -> Settings {
    let mut settings = Settings::default();
    "http://127.0.0.1/000000000000/ticks".clone_into(&mut settings.queue.url);
    "lake".clone_into(&mut settings.lake.bucket);
    settings.decode.ts_future_max = Duration::from_hours(24 * 365 * 100);
    settings.threads.decode = 2;
    // What a run has left is adopted by the next one at once.
    settings.alerts.adopt_after = Duration::ZERO;
    settings
}

fn config(settings: Settings) -> Config {
    settings.validate().unwrap()
}

/// An engine's three edges, in memory.
struct Edges {
    queue: Arc<MemoryQueue>,
    store: Arc<MemoryStore>,
    notifier: Arc<MemoryNotifier>,
}

impl Edges {
    fn new() -> Self {
        Self { queue: Arc::new(MemoryQueue::new(MINUTE)), store: Arc::default(), notifier: Arc::default() }
    }

    fn ports(&self) -> Ports {
        Ports { queues: vec![self.queue.clone()], store: self.store.clone(), notifier: Some(self.notifier.clone()) }
    }

    fn objects(&self) -> lake::Objects {
        self.store.objects()
    }
}

fn tick(symbol: &str, seq: usize) -> String {
    let ts = AFTERNOON_US + seq as i64 * 1_000_000;
    format!(r#"{{"symbol":"{symbol}","price":{}.25,"volume":100,"ts":{ts},"seq":{seq}}}"#, 100 + seq % 2)
}

async fn drain(ports: Ports, config: &Config) -> (Result<(), RunError>, Meters) {
    let meters = Meters::new(config);
    let result = tokio::time::timeout(MINUTE, run(ports, config, DRAIN, meters.clone(), std::future::pending())).await;
    (result.expect("the run ends"), meters)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tick_is_stored_once_and_every_message_deleted() {
    let edges = Edges::new();
    for seq in (0..400).step_by(4) {
        edges.queue.send(tick("AAPL", seq), None);
        edges.queue.send(format!("[{},{}]", tick("AAPL", seq + 1), tick("MSFT", seq)), None);
        edges.queue.send(format!("{}\n{}\n", tick("AAPL", seq + 2), tick("AAPL", seq + 3)), None);
    }
    let (result, meters) = drain(edges.ports(), &config(settings())).await;
    result.unwrap();
    assert_eq!(edges.queue.backlog().await.unwrap().total(), 0);
    let mut seqs = BTreeMap::<_, Vec<_>>::new();
    for row in lake::ticks(&edges.objects()) {
        seqs.entry(row.symbol).or_default().push(row.seq.unwrap());
    }
    assert_eq!(seqs["AAPL"], (0..400).collect::<Vec<_>>(), "every tick once, sorted by time");
    assert_eq!(seqs["MSFT"], (0..400).step_by(4).collect::<Vec<_>>());
    assert_eq!(meters.stats.messages_deleted.get(), 300);
    assert_eq!(meters.budget.in_flight().messages, 0, "the whole budget was returned");
}

/// Invariant 4: a malformed message never stops the stream and is never lost.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_are_quarantined_and_never_stop_the_stream() {
    let edges = Edges::new();
    let bad_price = r#"{"symbol":"AAPL","price":1e999,"volume":1}"#;
    let bodies: [(Vec<u8>, &str); 6] = [
        (b"\x00garbage".to_vec(), "not_json"),
        (Vec::new(), "empty_body"),
        (b"\xff\xfe{}".to_vec(), "not_json"),
        (vec![b'x'; 1 << 20], "not_json"),
        (bad_price.into(), "bad_price"),
        (r#"{"symbol":"../../x","price":1,"volume":1}"#.into(), "bad_symbol"),
    ];
    let mut sent = BTreeMap::new();
    for (body, reason) in &bodies {
        edges.queue.send(tick("AAPL", sent.len()), None);
        sent.insert(edges.queue.send(body.clone(), None), (body.clone(), *reason));
    }
    let mixed = edges.queue.send(format!("[{},{bad_price},{}]", tick("MSFT", 0), tick("MSFT", 1)), None);
    let (result, meters) = drain(edges.ports(), &config(settings())).await;
    result.unwrap();
    let objects = edges.objects();
    assert_eq!(lake::ticks(&objects).len(), bodies.len() + 2, "the good ticks are stored");
    let rejects = lake::rejects(&objects);
    assert_eq!(rejects.len(), bodies.len() + 1);
    assert_eq!(meters.stats.rejects_stored.get(), 7, "every reject is counted");
    for reject in rejects {
        if reject.message_id == mixed {
            assert_eq!((reject.index, reject.body.as_slice()), (Some(1), bad_price.as_bytes()));
            continue;
        }
        let (body, reason) = &sent[&reject.message_id];
        assert_eq!(reject.reason, *reason, "{}", reject.message_id);
        assert_eq!(&reject.body, body, "the bytes are kept");
    }
    assert_eq!(edges.queue.backlog().await.unwrap().total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_is_published_before_its_epoch_rolls() {
    let edges = Edges::new();
    let mut settings = settings();
    settings.epoch.age_max = Duration::from_secs(20);
    let config = config(settings);
    let mut ticks: Vec<_> = (0..120).map(|seq| tick("AAPL", seq)).collect();
    ticks.push(tick("AAPL", 120).replace("100.25", "150.00"));
    edges.queue.send(ticks.join("\n"), None);
    let (meters, notifier) = (Meters::new(&config), edges.notifier.clone());
    let shutdown = async {
        while notifier.published().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let is_note = |key: &String| key.contains("ledger-notes/");
        assert!(edges.objects().keys().all(is_note), "alert latency is not flush latency");
    };
    let run = run(edges.ports(), &config, RunOptions::default(), meters, shutdown);
    tokio::time::timeout(MINUTE, run).await.unwrap().unwrap();
    let published = edges.notifier.published();
    let body: serde_json::Value = serde_json::from_str(&published[0].body).unwrap();
    assert_eq!((&body["symbol"], &body["observed"]), (&"AAPL".into(), &150.0.into()));
    assert!(published[0].attributes.contains(&("kind", "spike".to_owned())));
    assert_eq!(lake::alert_ids(&edges.objects()), vec![body["id"].as_str().unwrap()], "and it is in the lake");
}

#[tokio::test(flavor = "multi_thread")]
async fn feed_that_falls_silent_is_alerted_and_stored_though_no_tick_comes() {
    let edges = Edges::new();
    let mut settings = settings();
    settings.detect.gap.least = Duration::from_secs(2);
    settings.detect.gap.probability = 0.4;
    let config = config(settings);
    // Seven minutes until now, of two symbols.
    let now_us = jiff::Timestamp::now().as_microsecond();
    let ticks: Vec<_> = (0..420)
        .flat_map(|seq| ["A", "B"].map(|symbol| (symbol, seq)))
        .map(|(symbol, seq)| {
            let ts = now_us - i64::from(420 - seq) * 1_000_000;
            format!(r#"{{"symbol":"{symbol}","price":100.25,"volume":1,"ts":{ts},"seq":{seq}}}"#)
        })
        .collect();
    edges.queue.send(ticks.join("\n"), None);
    let (meters, notifier) = (Meters::new(&config), edges.notifier.clone());
    let shutdown = async {
        while notifier.published().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let run = run(edges.ports(), &config, RunOptions::default(), meters, shutdown);
    tokio::time::timeout(MINUTE, run).await.unwrap().unwrap();
    let body: serde_json::Value = serde_json::from_str(&edges.notifier.published()[0].body).unwrap();
    assert_eq!((&body["symbol"], &body["kind"], &body["state"]), (&"*".into(), &"gap".into(), &"open".into()));
    assert_eq!(lake::alert_ids(&edges.objects()), vec![body["id"].as_str().unwrap()], "without a message");
    assert_eq!(lake::ticks(&edges.objects()).len(), 840);
}

#[tokio::test(flavor = "multi_thread")]
async fn market_that_jumps_is_one_alert_for_people_and_all_of_them_in_the_lake() {
    let edges = Edges::new();
    let mut settings = settings();
    (settings.queue.receivers_max, settings.threads.decode) = (1, 1);
    settings.alerts.per_minute_max = 30;
    for seq in 0..140 {
        let price = if seq == 130 { "150.00" } else { "100.25" };
        let ticks: Vec<_> =
            (0..60).map(|at| tick(&format!("S{at}"), seq).replace(&format!("{}.25", 100 + seq % 2), price)).collect();
        edges.queue.send(ticks.join("\n"), None);
    }
    let (result, Meters { stats, .. }) = drain(edges.ports(), &config(settings)).await;
    result.unwrap();
    let stored = lake::alert_ids(&edges.objects());
    let of_symbols = stored.iter().filter(|id| !id.starts_with("market-"));
    assert_eq!(of_symbols.count(), 60);
    assert!(stored.iter().any(|id| id.starts_with("market-")), "what was published is stored: {stored:?}");
    let published = edges.notifier.published();
    let subjects: Vec<&str> = published.iter().map(|one| one.subject.as_str()).collect();
    let of_market: Vec<_> = subjects.iter().filter(|subject| subject.contains("symbols at once")).collect();
    assert_eq!(
        of_market,
        [&"critical: spike up in 10 symbols at once", &"critical: over: spike up in 60 symbols at once"]
    );
    assert!(subjects.len() <= 9 + 2 + 9, "nine before it was one, and their ends: {subjects:?}");
    assert_eq!(stats.alerts_published.get(), published.len() as u64);
    assert!(stats.alerts_held_back.get() >= 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_with_full_tables_of_names_stores_every_tick() {
    let edges = Edges::new();
    let mut settings = settings();
    settings.decode.names_max = 3;
    (settings.threads.detect, settings.threads.encode, settings.epoch.rows_max) = (2, 2, 50);
    for message in 0..100 {
        let ticks: Vec<_> = (0..5).map(|at| tick(&format!("S{}", message * at), message)).collect();
        let ticks = ticks.join("\n").replace("\"seq\"", &format!("\"venue\":\"V{message}\",\"seq\""));
        edges.queue.send(ticks, None);
    }
    let (result, Meters { stats, .. }) = drain(edges.ports(), &config(settings)).await;
    result.unwrap();
    let rows = lake::ticks(&edges.objects());
    let mut found: Vec<_> = rows.into_iter().map(|row| (row.symbol, row.seq, row.venue)).collect();
    let of =
        |message: i64| (0..5).map(move |at| (format!("S{}", message * at), Some(message), Some(format!("V{message}"))));
    let mut expected: Vec<_> = (0..100).flat_map(of).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!((lake::rejects(&edges.objects()).len(), stats.ticks_rejected.get()), (0, 0));
    assert!(stats.ticks_unwatched.get() > 300, "{}", stats.ticks_unwatched.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_the_same_for_any_number_of_detectors() {
    let alerts = async |detectors| {
        let edges = Edges::new();
        let mut settings = settings();
        (settings.queue.receivers_max, settings.threads.decode, settings.threads.detect) = (1, 1, detectors);
        settings.detect.symbols_max = 9;
        let config = config(settings);
        // The tenth of the symbols is one too many. One in three jumps, and then jumps again within the cool-down.
        for seq in 0..140 {
            let jumps = |symbol: usize| symbol.is_multiple_of(3) && [120, 124].contains(&seq);
            let price = |symbol| if jumps(symbol) { "150.00" } else { "100.25" };
            let ticks: Vec<_> = (0..10).map(|at| tick(&format!("S{at}"), seq).replace("100.25", price(at))).collect();
            edges.queue.send(ticks.join("\n"), None);
        }
        let (result, Meters { stats, .. }) = drain(edges.ports(), &config).await;
        result.unwrap();
        let mut ids = lake::alert_ids(&edges.objects());
        ids.sort();
        assert_eq!(edges.notifier.published().len(), ids.len());
        assert_eq!(stats.alerts_raised.get(), ids.len() as u64);
        (ids, stats.alerts_suppressed.get(), stats.ticks_unwatched.get())
    };
    let (one, two, seven) = tokio::join!(alerts(1), alerts(2), alerts(7));
    assert_eq!((one.0.len(), one.2), (3, 140), "{one:?}");
    assert!(one.1 > 0, "{one:?}");
    assert_eq!(two, one);
    assert_eq!(seven, one);
}

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

/// A store that fails, and can be mended.
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

/// Invariant 7: a stop drains within its deadline; whatever is not committed by then is back in the queue.
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

/// Invariant 3, in bytes: what ticks weigh as columns counts, not what they weighed as text.
#[tokio::test(flavor = "multi_thread")]
async fn columns_count_against_the_budget() {
    let edges = Edges::new();
    let store = Arc::new(BrokenStore::default());
    let mut settings = settings();
    settings.queue.receivers_max = 1;
    settings.threads.decode = 1;
    settings.budget.bytes_max = 20 << 20;
    let config = config(settings);
    // A row takes more bytes than this text of it, and there are 80 MiB of text.
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
    // Beyond the bound there may be what the one batch under decoding grew by: ten messages of twice their text.
    assert!((18 << 20..=40 << 20).contains(&peak), "{peak}");
    assert_eq!(meters.stats.ticks_stored.get(), 80 * 29_000);
}

/// A topic that refuses or breaks.
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

/// Invariant 1, for alerts: messages whose alerts are not out come again, are published then, and stored no second
/// time.
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

/// A queue whose releases never answer.
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
    // The committer gives up at the same moment at which it would be called late.
    if let Err(error) = outcome {
        assert!(error.to_string().contains("the committer was late"), "{error}");
    }
    assert_eq!(edges.queue.backlog().await.unwrap().total(), 1, "and nothing was deleted");
}

/// A queue that half-fails deletes: every third entry fails the first time it is tried.
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

/// A queue whose first message of each worker waits until the other worker has one, too.
struct Together {
    queue: Arc<MemoryQueue>,
    both: Arc<tokio::sync::Barrier>,
    has_waited: AtomicBool,
}

#[async_trait]
impl Queue for Together {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        let messages = self.queue.receive(wait).await?;
        if !messages.is_empty() && !self.has_waited.swap(true, Ordering::SeqCst) {
            self.both.wait().await;
        }
        Ok(messages)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.delete(receipts).await
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.extend(receipts, timeout).await
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.release(receipts).await
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        Ok(false)
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        self.queue.backlog().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_that_drain_one_queue_do_not_wait_for_each_other() {
    let edges = Edges::new();
    (0..100).for_each(|seq| drop(edges.queue.send(tick("AAPL", seq), None)));
    let mut settings = settings();
    // Each holds messages that the other one counts, and no epoch closes by its age.
    settings.epoch.age_max = Duration::from_mins(10);
    settings.queue.receivers_max = 1;
    let config = config(settings);
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let ports = || {
        let (queue, both) = (edges.queue.clone(), both.clone());
        let queue = Arc::new(Together { queue, both, has_waited: AtomicBool::new(false) });
        Ports { queues: vec![queue], ..edges.ports() }
    };
    let ((one, one_meters), (other, other_meters)) = tokio::join!(drain(ports(), &config), drain(ports(), &config));
    one.unwrap();
    other.unwrap();
    let deleted = [one_meters, other_meters].map(|meters| meters.stats.messages_deleted.get());
    assert!(deleted.iter().all(|deleted| *deleted >= 10) && deleted.iter().sum::<u64>() == 100, "{deleted:?}");
    assert_eq!(lake::ticks(&edges.objects()).len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_only_after_the_messages_that_others_hold() {
    let edges = Edges::new();
    (0..20).for_each(|seq| drop(edges.queue.send(tick("AAPL", seq), None)));
    let held = edges.queue.receive(Duration::ZERO).await.unwrap();
    let receipts: Vec<_> = held.iter().map(|message| message.receipt.clone()).collect();
    let config = config(settings());
    let meters = Meters::new(&config);
    let other = async {
        while meters.stats.messages_deleted.get() < 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Longer than an empty queue has to be quiet.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(edges.queue.release(&receipts).await.unwrap().is_empty());
    };
    let run = run(edges.ports(), &config, DRAIN, meters.clone(), std::future::pending());
    let (result, ()) = tokio::join!(async { tokio::time::timeout(MINUTE, run).await.expect("the run ends") }, other);
    result.unwrap();
    assert_eq!(lake::ticks(&edges.objects()).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_run_in_one_process() {
    let (first, second) = (Edges::new(), Edges::new());
    first.queue.send(tick("AAPL", 0), None);
    second.queue.send(tick("MSFT", 0), None);
    let config = config(settings());
    let (a, b) = tokio::join!(drain(first.ports(), &config), drain(second.ports(), &config));
    a.0.unwrap();
    b.0.unwrap();
    assert_eq!(lake::ticks(&first.objects())[0].symbol, "AAPL");
    assert_eq!(lake::ticks(&second.objects())[0].symbol, "MSFT");
}

/// A visibility timeout that is far shorter than what the messages have to wait for.
const SHORT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn messages_held_for_longer_than_their_visibility_are_extended_and_delivered_once() {
    let edges = Edges { queue: Arc::new(MemoryQueue::new(SHORT)), ..Edges::new() };
    for seq in 0..95 {
        edges.queue.send(tick("AAPL", seq), None);
    }
    let mut settings = settings();
    settings.queue.visibility_timeout = SHORT;
    settings.queue.wait = SHORT / 5;
    settings.epoch.age_max = 2 * SHORT + SHORT / 2;
    let config = config(settings);
    let meters = Meters::new(&config);
    let stored = async {
        while meters.stats.messages_deleted.get() < 95 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let run = run(edges.ports(), &config, RunOptions::default(), meters.clone(), stored);
    tokio::time::timeout(MINUTE, run).await.unwrap().unwrap();
    let stats = &meters.stats;
    assert!(stats.messages_extended.get() >= 4 * 95, "each every half of its time: {}", stats.messages_extended.get());
    assert_eq!((stats.messages_redelivered.get(), stats.messages_lapsed.get()), (0, 0));
    assert_eq!(lake::ticks(&edges.objects()).len(), 95);
}

/// A queue that refuses to extend one message, once, as SQS does with a receipt that has expired.
struct Refusing {
    queue: Arc<MemoryQueue>,
    refused: AtomicBool,
}

#[async_trait]
impl Queue for Refusing {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        self.queue.receive(wait).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.delete(receipts).await
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        let Some(index) = receipts.iter().position(|receipt| receipt.starts_with("message-7-")) else {
            return self.queue.extend(receipts, timeout).await;
        };
        if self.refused.swap(true, Ordering::SeqCst) {
            return self.queue.extend(receipts, timeout).await;
        }
        let others: Vec<_> = receipts.iter().filter(|receipt| !receipt.starts_with("message-7-")).cloned().collect();
        assert!(self.queue.extend(&others, timeout).await?.is_empty());
        Ok(vec![EntryFailure { index, retryable: false, code: "ReceiptHandleIsInvalid".to_owned() }])
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
async fn message_that_is_not_ours_any_more_leaves_the_open_epoch_and_is_stored_by_its_next_delivery() {
    let edges = Edges { queue: Arc::new(MemoryQueue::new(SHORT)), ..Edges::new() };
    for seq in 0..20 {
        edges.queue.send(format!("[{},{{}}]", tick("AAPL", seq)), None);
    }
    let mut settings = settings();
    settings.queue.visibility_timeout = SHORT;
    settings.queue.wait = SHORT / 5;
    settings.epoch.age_max = 2 * SHORT;
    let config = config(settings);
    let meters = Meters::new(&config);
    let stored = async {
        while meters.stats.messages_deleted.get() < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let queue = Arc::new(Refusing { queue: edges.queue.clone(), refused: AtomicBool::new(false) });
    let run =
        run(Ports { queues: vec![queue], ..edges.ports() }, &config, RunOptions::default(), meters.clone(), stored);
    tokio::time::timeout(MINUTE, run).await.unwrap().unwrap();
    // What comes while the open epoch holds the message is left alone, and comes again after its visibility timeout.
    let redelivered = meters.stats.messages_redelivered.get();
    assert!(meters.stats.messages_lapsed.get() == 1 && (1..=4).contains(&redelivered), "{redelivered}");
    let mut seqs: Vec<_> = lake::ticks(&edges.objects()).iter().map(|tick| tick.seq.unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..20).collect::<Vec<_>>(), "every tick once");
    assert_eq!(lake::rejects(&edges.objects()).len(), 20, "every reject once");
}
