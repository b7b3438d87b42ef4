//! Tests the engine with the real SDK and real HTTP against the local endpoint: the whole path, and how it fails.

use std::path::Path;
use std::time::Duration;

use ticklake::adapters::ports;
use ticklake::config::{Config, Settings};
use ticklake::meter::Meters;
use ticklake::pipeline::{RunError, RunOptions, run};
use ticklake::sandbox::{BUCKET, Sandbox};

use crate::lake;

pub const MINUTE: Duration = Duration::from_mins(1);

/// Settings for the queue, bucket and topic of `sandbox`, changed by `change`.
pub fn config(sandbox: &Sandbox, change: impl FnOnce(&mut Settings)) -> Config {
    let mut settings = Settings::default();
    settings.queue.url.clone_from(&sandbox.queue_url);
    settings.queue.wait = Duration::from_secs(1);
    BUCKET.clone_into(&mut settings.lake.bucket);
    settings.alerts.topic_arn = Some(sandbox.topic_arn.clone());
    settings.shutdown.deadline = Duration::from_secs(10);
    change(&mut settings);
    settings.validate().unwrap()
}

/// Runs an engine until the queue is empty.
pub async fn drain(sandbox: &Sandbox, config: &Config) -> (Result<(), RunError>, Meters) {
    let meters = Meters::new(config);
    let options = RunOptions { drain: true };
    let run = run(ports(&sandbox.clients, config), config, options, meters.clone(), std::future::pending());
    (tokio::time::timeout(2 * MINUTE, run).await.expect("the run ends"), meters)
}

async fn send(sandbox: &Sandbox, body: &str) {
    sandbox.clients.sqs.send_message().queue_url(&sandbox.queue_url).message_body(body).send().await.unwrap();
}

async fn start(dir: &Path) -> Sandbox {
    Sandbox::start(dir).await.unwrap()
}

fn flat_ticks(symbol: &str, count: usize) -> String {
    let ticks: Vec<_> =
        (0..count).map(|seq| format!(r#"{{"symbol":"{symbol}","price":100.25,"volume":1,"seq":{seq}}}"#)).collect();
    format!("[{}]", ticks.join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_become_parquet_and_an_anomaly_reaches_a_filtering_subscriber() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await;
    let subscriptions = sandbox.clients.sns.list_subscriptions_by_topic().topic_arn(&sandbox.topic_arn);
    let subscriptions = subscriptions.send().await.unwrap();
    sandbox
        .clients
        .sns
        .set_subscription_attributes()
        .subscription_arn(subscriptions.subscriptions()[0].subscription_arn().unwrap())
        .attribute_name("FilterPolicy")
        .attribute_value(r#"{"symbol":["MSFT"],"kind":["spike"],"direction":["up"]}"#)
        .send()
        .await
        .unwrap();
    for symbol in ["AAPL", "MSFT"] {
        let mut body = flat_ticks(symbol, 100);
        body.truncate(body.len() - 1);
        send(&sandbox, &format!(r#"{body},{{"symbol":"{symbol}","price":150.5,"volume":1,"seq":100}}]"#)).await;
    }
    let (result, meters) = drain(&sandbox, &config(&sandbox, |_| {})).await;
    result.unwrap();

    let objects = lake::objects_in(&sandbox.lake);
    let rows = lake::ticks(&objects);
    assert_eq!(rows.len(), 202);
    assert!(rows.is_sorted_by(|a, b| (&a.symbol, a.ts_us) <= (&b.symbol, b.ts_us)));
    assert_eq!(lake::alert_ids(&objects).len(), 2);
    assert_eq!(meters.stats.alerts_published.get(), 2);
    let alerts = sandbox.clients.sqs.receive_message().queue_url(&sandbox.alerts_url).max_number_of_messages(10);
    let alerts = alerts.wait_time_seconds(1).send().await.unwrap();
    assert_eq!(alerts.messages().len(), 1, "the policy let one of two pass");
    let alert: serde_json::Value = serde_json::from_str(alerts.messages()[0].body().unwrap()).unwrap();
    assert_eq!((&alert["symbol"], &alert["observed"]), (&"MSFT".into(), &150.5.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_bucket_ends_the_run_with_its_name_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await;
    send(&sandbox, &flat_ticks("AAPL", 1)).await;
    let config = config(&sandbox, |settings| "no-such-bucket".clone_into(&mut settings.lake.bucket));
    let error = drain(&sandbox, &config).await.0.unwrap_err().to_string();
    assert!(error.contains("no-such-bucket") && error.contains("not found"), "{error}");
    let back = sandbox.clients.sqs.receive_message().queue_url(&sandbox.queue_url).send().await.unwrap();
    assert_eq!(back.messages().len(), 1, "the message is visible again");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_ends_the_run_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await;
    send(&sandbox, &flat_ticks("AAPL", 1)).await;
    for action in ["s3:PutObject", "sqs:ReceiveMessage"] {
        sandbox.aws.faults().deny(action);
        let error = drain(&sandbox, &config(&sandbox, |_| {})).await.0.unwrap_err().to_string();
        assert!(error.contains(action), "{error}");
        sandbox.aws.faults().clear();
    }
    drain(&sandbox, &config(&sandbox, |_| {})).await.0.unwrap();
    assert_eq!(lake::ticks(&lake::objects_in(&sandbox.lake)).len(), 1);
}

/// Waits until `holds` returns `true`, at most a minute.
async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(MINUTE, wait).await.expect("the condition holds within a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_that_is_deleted_leaves_the_others_and_is_drained_again_once_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await;
    let sqs = &sandbox.clients.sqs;
    let create = || async { sqs.create_queue().queue_name("other").send().await.unwrap().queue_url.unwrap() };
    let other = create().await;
    let config = config(&sandbox, |settings| {
        settings.queues = vec![std::mem::take(&mut settings.queue.url), other.clone()];
        settings.epoch.age_max = Duration::from_mins(10);
        settings.queue.receivers_max = 2;
    });
    let send = |url: String, seq: usize| async move {
        let body = format!(r#"{{"symbol":"AAPL","price":100.25,"volume":1,"seq":{seq}}}"#);
        sqs.send_message().queue_url(url).message_body(body).send().await.unwrap();
    };
    let meters = Meters::new(&config);
    let stats = &meters.stats;
    let change = async {
        send(other.clone(), 0).await;
        until(|| stats.ticks_decoded.get() == 1).await;
        sqs.delete_queue().queue_url(&other).send().await.unwrap();
        until(|| meters.queues[1].is_gone()).await;
        // Its epoch does not wait for its age, because nobody can extend its message any more.
        until(|| stats.ticks_stored.get() == 1).await;
        assert!(meters.is_receiving() && !meters.queues[0].is_gone());
        send(sandbox.queue_url.clone(), 1).await;
        until(|| stats.ticks_decoded.get() == 2).await;
        assert_eq!(create().await, other);
        send(other.clone(), 2).await;
        until(|| stats.ticks_decoded.get() == 3).await;
        assert!(!meters.queues[1].is_gone());
    };
    let run = run(ports(&sandbox.clients, &config), &config, RunOptions::default(), meters.clone(), change);
    tokio::time::timeout(2 * MINUTE, run).await.unwrap().unwrap();
    let mut seqs: Vec<_> = lake::ticks(&lake::objects_in(&sandbox.lake)).iter().map(|row| row.seq.unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [0, 1, 2]);
    assert_eq!((stats.messages_deleted.get(), stats.messages_lapsed.get()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_though_one_of_its_queues_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await;
    let sqs = &sandbox.clients.sqs;
    let other = sqs.create_queue().queue_name("other").send().await.unwrap().queue_url.unwrap();
    let config = config(&sandbox, |settings| {
        settings.queues = vec![std::mem::take(&mut settings.queue.url), other.clone()];
    });
    send(&sandbox, &flat_ticks("AAPL", 5)).await;
    // The engine cannot delete the message, so the drain goes on.
    sandbox.aws.faults().fail("sqs:DeleteMessageBatch", localaws::FaultKind::Status(503));
    let delete = async {
        until(|| sandbox.aws.faults().calls("sqs:DeleteMessageBatch") > 0).await;
        sqs.delete_queue().queue_url(&other).send().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        sandbox.aws.faults().clear();
    };
    let ((result, meters), ()) = tokio::join!(drain(&sandbox, &config), delete);
    result.unwrap();
    assert!(meters.queues[1].is_gone());
    assert_eq!(meters.stats.messages_deleted.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_that_never_was_there_and_the_loss_of_every_queue_end_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await;
    let sqs = &sandbox.clients.sqs;
    let missing = sandbox.queue_url.replace("/ticks", "/missing");
    let with = |other: &str| {
        config(&sandbox, |settings| {
            settings.queues = vec![std::mem::take(&mut settings.queue.url), other.to_owned()];
        })
    };
    let error = drain(&sandbox, &with(&missing)).await.0.unwrap_err().to_string();
    assert!(error.contains(&missing) && error.contains("not found"), "{error}");
    let other = sqs.create_queue().queue_name("other").send().await.unwrap().queue_url.unwrap();
    let config = with(&other);
    let meters = Meters::new(&config);
    let ports = ports(&sandbox.clients, &config);
    let run = run(ports, &config, RunOptions::default(), meters.clone(), std::future::pending());
    let delete = async {
        until(|| meters.is_receiving()).await;
        // By then each queue has answered, because a poll waits for a second.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for url in [&sandbox.queue_url, &other] {
            sqs.delete_queue().queue_url(url).send().await.unwrap();
        }
    };
    let (result, ()) = tokio::join!(async { tokio::time::timeout(MINUTE, run).await.unwrap() }, delete);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("every queue is gone") && error.contains("not found"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_deleted_while_running_ends_the_run_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await;
    let config = config(&sandbox, |_| {});
    send(&sandbox, &flat_ticks("AAPL", 5)).await;
    let meters = Meters::new(&config);
    let ports = ports(&sandbox.clients, &config);
    let run = run(ports, &config, RunOptions::default(), meters.clone(), std::future::pending());
    let delete = async {
        while meters.stats.ticks_decoded.get() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sandbox.clients.sqs.delete_queue().queue_url(&sandbox.queue_url).send().await.unwrap();
    };
    let (result, ()) = tokio::join!(async { tokio::time::timeout(MINUTE, run).await.unwrap() }, delete);
    let error = result.unwrap_err().to_string();
    assert!(error.contains(&sandbox.queue_url) && error.contains("not found"), "{error}");
    assert_eq!(lake::ticks(&lake::objects_in(&sandbox.lake)).len(), 5, "what was received is stored all the same");
}
