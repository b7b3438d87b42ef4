//! Tests the pipeline over ports in memory: what goes in, what comes out, and what a failing edge does to it.

mod failing;
mod sharing;

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
    // A run adopts at once the alerts that the run before has left.
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
        (r#"{"symbol":"\u001b[2J","price":1,"volume":1}"#.into(), "bad_symbol"),
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
    // Two symbols have a tick in each second of the last seven minutes.
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
        // The tenth symbol is one too many. Every third symbol jumps, and then jumps again within the cool-down.
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
