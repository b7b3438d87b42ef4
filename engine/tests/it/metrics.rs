//! Tests what monitoring sees: metrics and health over HTTP, and the table in the documentation.

use std::sync::Arc;
use std::time::Duration;

use ticklake::config::Settings;
use ticklake::endpoint::Endpoint;
use ticklake::exporter::Exporter;
use ticklake::memory::{MemoryNotifier, MemoryQueue, MemoryStore};
use ticklake::meter::Meters;
use ticklake::metrics::{QUEUE_TABLE, TABLE};
use ticklake::pipeline::{RunOptions, run};
use ticklake::ports::{Ports, Queue as _};
use ticklake::stats::Stage;
use ticklake_core::detect::ThresholdConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends one request, and returns the status and the body of its answer.
async fn ask(address: std::net::SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// A wrong mapping does not drain the queue into the quarantine.
#[tokio::test(flavor = "multi_thread")]
async fn engine_that_rejects_nearly_everything_stops_receiving_and_says_why() {
    let queue = Arc::new(MemoryQueue::new(Duration::from_mins(1)));
    let mut settings = Settings::default();
    "http://127.0.0.1/000000000000/ticks".clone_into(&mut settings.queue.url);
    "lake".clone_into(&mut settings.lake.bucket);
    settings.epoch.age_max = Duration::from_millis(100);
    settings.decode.only = [("kind", vec!["trade".into()])].into();
    // So that receiving does not run far ahead of decoding.
    (settings.budget.messages_max, settings.epoch.messages_max) = (2_000, 500);
    let config = settings.validate().unwrap();
    let meters = Meters::new(&config);
    let endpoint =
        Endpoint::bind("127.0.0.1:0".parse().unwrap(), Exporter::new(meters.clone()).unwrap()).await.unwrap();
    let address = endpoint.address().unwrap();
    tokio::spawn(endpoint.serve());
    queue.send(r#"[{"kind":"quote","p":1},{"kind":"quote","p":2}]"#.to_owned(), None);
    for _ in 0..20_000 {
        queue.send(r#"{"kind":"trade","sym":"A","p":1}"#.to_owned(), None);
    }
    let stats = meters.stats.clone();
    let watch = async {
        while !ask(address, "GET /readyz").await.1.contains("were rejected") || stats.messages_held() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (status, why) = ask(address, "GET /readyz").await;
        assert_eq!(status, 503);
        assert!(why.starts_with("not receiving: ") && why.contains("missing_symbol: tick has no symbol"), "{why}");
        assert_eq!(ask(address, "GET /healthz").await.0, 200);
    };
    let ports = Ports { queues: vec![queue.clone()], store: Arc::<MemoryStore>::default(), notifier: None };
    let run = run(ports, &config, RunOptions::default(), meters.clone(), watch);
    tokio::time::timeout(Duration::from_mins(1), run).await.expect("it is halted").unwrap();
    let (_, metrics) = ask(address, "GET /metrics").await;
    assert_eq!(value(&metrics, "ticklake_receiving"), 0.0);
    let rejected = value(&metrics, r#"ticklake_ticks_rejected_total{reason="missing_symbol"}"#);
    assert!((1_000.0..20_000.0).contains(&rejected), "{rejected} of 20,000: polls that were under way go on");
    assert_eq!(value(&metrics, r#"ticklake_events_left_out_total{field="kind",value="quote"}"#), 2.0);
    assert!(queue.backlog().await.unwrap().total() > 0, "the rest stays in the queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_tells_what_it_does_and_whether_it_receives() {
    let queue = Arc::new(MemoryQueue::new(Duration::from_mins(1)));
    let mut settings = Settings::default();
    "http://127.0.0.1/000000000000/ticks".clone_into(&mut settings.queue.url);
    "lake".clone_into(&mut settings.lake.bucket);
    settings.epoch.age_max = Duration::from_millis(500);
    let config = settings.validate().unwrap();
    let meters = Meters::new(&config);
    let exporter = Exporter::new(meters.clone()).unwrap();
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), exporter).await.unwrap();
    let address = endpoint.address().unwrap();
    tokio::spawn(endpoint.serve());

    assert_eq!(ask(address, "GET /readyz").await.0, 503, "the engine does not run yet");
    let watch = async {
        // It gets ready with nothing to receive, long before the first poll is answered.
        let ready = async {
            while ask(address, "GET /readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(config.queue.wait / 2, ready).await.expect("a quiet queue is no reason not to be ready");
        for seq in 0..50 {
            queue.send(format!(r#"[{{"symbol":"A","price":1.5,"volume":1,"seq":{seq}}},{{}}]"#), None);
        }
        while meters.stats.messages_deleted.get() < 50 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(ask(address, "GET /readyz").await, (200, "receiving\n".to_owned()));
    };
    let store = Arc::<MemoryStore>::default();
    let ports = Ports { queues: vec![queue.clone()], store, notifier: Some(Arc::<MemoryNotifier>::default()) };
    run(ports, &config, RunOptions::default(), meters.clone(), watch).await.unwrap();

    assert_eq!(ask(address, "GET /readyz").await.0, 503, "a stop has begun");
    assert_eq!(ask(address, "GET /healthz").await.0, 200);
    assert_eq!(ask(address, "GET /nothing").await.0, 404);
    assert_eq!(ask(address, "POST /metrics").await.0, 405);
    let (status, metrics) = ask(address, "GET /metrics").await;
    assert_eq!(status, 200);
    for name in ["messages_received_total", "messages_deleted_total", "ticks_stored_total", "rejects_stored_total"] {
        assert_eq!(value(&metrics, &format!("ticklake_{name}")), 50.0, "{name}");
    }
    assert_eq!(value(&metrics, "ticklake_budget_messages"), 0.0);
    assert_eq!(value(&metrics, "ticklake_budget_messages_max"), config.messages_max() as f64);
    assert_eq!(value(&metrics, "ticklake_open_epoch_age_seconds"), 0.0);
    assert_eq!(value(&metrics, "ticklake_queue_in_flight_messages{queue=\"000000000000/ticks\"}"), 0.0);
    let in_queue = value(&metrics, "ticklake_queue_backlog_messages{queue=\"000000000000/ticks\"}");
    assert_eq!(
        value(&metrics, "ticklake_queue_backlog_ticks{queue=\"000000000000/ticks\"}"),
        in_queue,
        "one tick each"
    );
    let epochs = value(&metrics, "ticklake_epochs_stored_total");
    assert!(epochs >= 1.0);
    for stage in [Stage::Encode, Stage::Commit] {
        assert_eq!(value(&metrics, &format!("{}_count", stage.name())), epochs, "{stage:?}");
    }
    // A second request shows that nothing is counted twice.
    let (_, again) = ask(address, "GET /metrics").await;
    assert_eq!(value(&again, "ticklake_ticks_stored_total"), 50.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_streamed_to_every_listener_also_without_a_topic() {
    let queue = Arc::new(MemoryQueue::new(Duration::from_mins(1)));
    let mut settings = Settings::default();
    "http://127.0.0.1/000000000000/ticks".clone_into(&mut settings.queue.url);
    "lake".clone_into(&mut settings.lake.bucket);
    settings.detect.threshold =
        vec![ThresholdConfig { symbol: "A".to_owned(), above: Some(100.0), below: None, hysteresis: 0.0 }];
    let config = settings.validate().unwrap();
    let meters = Meters::new(&config);
    let endpoint =
        Endpoint::bind("127.0.0.1:0".parse().unwrap(), Exporter::new(meters.clone()).unwrap()).await.unwrap();
    let address = endpoint.address().unwrap();
    let served = tokio::spawn(endpoint.serve());

    let listen = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /alerts HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        stream
    };
    let mut listeners = [listen().await, listen().await];
    let mut heard = [String::new(), String::new()];
    let watch = async {
        for price in [99, 101] {
            queue.send(format!(r#"{{"symbol":"A","price":{price},"volume":1}}"#), None);
        }
        for (stream, heard) in listeners.iter_mut().zip(&mut heard) {
            while !heard.contains("\n\n\r\n") {
                let mut bytes = [0; 1024];
                let count = stream.read(&mut bytes).await.unwrap();
                assert_ne!(count, 0, "{heard}");
                heard.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
        }
    };
    let watch = async { tokio::time::timeout(Duration::from_mins(1), watch).await.expect("both hear of the alert") };
    let ports = Ports { queues: vec![queue.clone()], store: Arc::<MemoryStore>::default(), notifier: None };
    run(ports, &config, RunOptions::default(), meters.clone(), watch).await.unwrap();
    for heard in heard {
        assert!(heard.contains("text/event-stream"), "{heard}");
        let data = heard.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let alert: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!((&alert["kind"], &alert["observed"]), (&"threshold".into(), &101.0.into()));
    }
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_keep_nobody_out() {
    let mut settings = Settings::default();
    "http://127.0.0.1/000000000000/ticks".clone_into(&mut settings.queue.url);
    "lake".clone_into(&mut settings.lake.bucket);
    let exporter = Exporter::new(Meters::new(&settings.validate().unwrap())).unwrap();
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), exporter).await.unwrap();
    let address = endpoint.address().unwrap();
    tokio::spawn(endpoint.serve());
    // The answers to these are more than the buffers of a connection hold.
    let requests = "GET /metrics HTTP/1.1\r\nhost: t\r\n\r\n".repeat(2_000);
    let mut clients = Vec::new();
    for at in 0..100 {
        let mut client = TcpStream::connect(address).await.unwrap();
        // Every second client never asks at all.
        if at % 2 == 0 {
            let _ = tokio::time::timeout(Duration::from_millis(20), client.write_all(requests.as_bytes())).await;
        }
        clients.push(client);
    }
    let asked = tokio::time::timeout(Duration::from_secs(3), ask(address, "GET /healthz")).await;
    assert_eq!(asked.expect("an answer comes in time").0, 200);
    // The last client asks nothing, so the endpoint closes its connection.
    let end = tokio::time::timeout(Duration::from_secs(20), clients.pop().unwrap().read(&mut [0])).await;
    assert_eq!(end.expect("the connection is closed").unwrap_or(0), 0);
}

#[test]
fn documentation_lists_every_metric_with_its_meaning() {
    let chapter = include_str!("../../../docs/src/operations.md");
    let rows = TABLE.iter().map(|metric| (metric.name, metric.help));
    let rows = rows.chain(QUEUE_TABLE.iter().map(|metric| (metric.name, metric.help)));
    for (name, help) in rows.chain(Stage::ALL.map(|stage| (stage.name(), stage.help()))) {
        assert!(chapter.contains(&format!("| `{name}` | {help} |")), "docs/src/operations.md lacks `{name}`: {help}");
    }
}
