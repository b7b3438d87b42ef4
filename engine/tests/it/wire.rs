//! Tests what travels between the engine and the services: attributes, half-failed batches, calls without an answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::config::Credentials;
use loadgen::market::MarketConfig;
use loadgen::{Dialect, Disturbance, Layout, Packing, Plan, Progress, Source};
use ticklake::adapters::S3Store;
use ticklake::aws::Clients;
use ticklake::config::Aws;
use ticklake::ports::{NewObject, ObjectKind, ObjectStore as _, PutOutcome};
use ticklake::sandbox::{BUCKET, Sandbox};

use crate::{lake, local};

async fn start() -> (tempfile::TempDir, Sandbox) {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    (dir, sandbox)
}

async fn send_many(sandbox: &Sandbox, messages: usize) {
    for batch in 0..messages / 10 {
        let entries = (0..10).map(|entry| {
            let body = format!(r#"{{"symbol":"AAPL","price":100.25,"volume":1,"seq":{}}}"#, batch * 10 + entry);
            let entry = aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder().id(entry.to_string());
            entry.message_body(body).build().unwrap()
        });
        let send = sandbox.clients.sqs.send_message_batch().queue_url(&sandbox.queue_url);
        send.set_entries(Some(entries.collect())).send().await.unwrap();
    }
}

fn seqs(sandbox: &Sandbox) -> Vec<i64> {
    let mut seqs: Vec<_> = lake::ticks(&lake::objects_in(&sandbox.lake)).iter().map(|tick| tick.seq.unwrap()).collect();
    seqs.sort_unstable();
    seqs
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_are_read_by_their_attribute() {
    let (_dir, sandbox) = start().await;
    for layout in [Layout::Array, Layout::Lines] {
        let market = MarketConfig { ticks: 5_000, symbols: 10, ..MarketConfig::default() };
        let packing = Packing::new(200, layout, Dialect::Canonical).unwrap().compressed(3);
        let plan = Plan::new(Source::Market(market), packing);
        let send = loadgen::run(
            sandbox.clients.sqs.clone(),
            std::slice::from_ref(&sandbox.queue_url),
            plan,
            Arc::new(Progress::default()),
        );
        let sent = send.await.unwrap();
        let (result, meters) = local::drain(&sandbox, &local::config(&sandbox, |_| {})).await;
        result.unwrap();
        assert_eq!(meters.stats.rejects_stored.get(), 0);
        let report = loadgen::audit(&sandbox.lake, &sent).unwrap();
        assert!(report.is_clean(), "{report}");
        std::fs::remove_dir_all(sandbox.lake.join("ticks")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_quarantined_and_what_is_late_or_sent_twice_is_stored_as_it_came() {
    let (_dir, sandbox) = start().await;
    let disturbance = Disturbance {
        seed: 5,
        late: "0.02/10m".parse().unwrap(),
        out_of_order: "0.1/1s".parse().unwrap(),
        duplicates: 0.02,
        malformed: 0.05,
    };
    for (layout, per_message) in [(Layout::Array, 20), (Layout::Lines, 20), (Layout::Object, 1)] {
        let market = MarketConfig { ticks: 2_000, symbols: 10, ..MarketConfig::default() };
        let packing = Packing::new(per_message, layout, Dialect::Canonical).unwrap();
        let plan = Plan { disturbance, ..Plan::new(Source::Market(market), packing) };
        let queue = std::slice::from_ref(&sandbox.queue_url);
        let sent = loadgen::run(sandbox.clients.sqs.clone(), queue, plan, Arc::default()).await.unwrap();
        let (result, meters) = local::drain(&sandbox, &local::config(&sandbox, |_| {})).await;
        result.unwrap();
        assert!(sent.malformed > 50 && sent.ticks > 2_010, "{sent}");
        assert_eq!(meters.stats.rejects_stored.get(), sent.malformed, "{layout:?}");
        let report = loadgen::audit(&sandbox.lake, &sent).unwrap();
        assert!(report.is_clean() && report.quarantined == sent.malformed, "{report}");
        for table in ["ticks", "quarantine"] {
            std::fs::remove_dir_all(sandbox.lake.join(table)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tick_without_time_gets_that_of_the_queue() {
    let (_dir, sandbox) = start().await;
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let before = now_ms();
    send_many(&sandbox, 10).await;
    let after = now_ms();
    // While the engine drains, its own clock is well past that time.
    tokio::time::sleep(Duration::from_millis(300)).await;
    local::drain(&sandbox, &local::config(&sandbox, |_| {})).await.0.unwrap();
    for tick in lake::ticks(&lake::objects_in(&sandbox.lake)) {
        assert!((before..=after).contains(&(tick.ts_us / 1_000)), "{before} {} {after}", tick.ts_us);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_fail_alone_are_deleted_in_the_end() {
    let (_dir, sandbox) = start().await;
    send_many(&sandbox, 200).await;
    sandbox.aws.faults().add("sqs:DeleteMessage=fail-entries@1/3".parse().unwrap());
    let (result, meters) = local::drain(&sandbox, &local::config(&sandbox, |_| {})).await;
    result.unwrap();
    assert_eq!((meters.stats.messages_deleted.get(), meters.stats.messages_lapsed.get()), (200, 0));
    assert_eq!(seqs(&sandbox), (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_get_lost_lose_and_double_nothing() {
    let (_dir, sandbox) = start().await;
    send_many(&sandbox, 300).await;
    for fault in ["s3:PutObject=lose-answer@1/2", "sqs:DeleteMessage=lose-answer@1/3", "s3:PutObject=slow-down@1/5"] {
        sandbox.aws.faults().add(fault.parse().unwrap());
    }
    let config = local::config(&sandbox, |settings| settings.epoch.messages_max = 50);
    local::drain(&sandbox, &config).await.0.unwrap();
    assert_eq!(seqs(&sandbox), (0..300).collect::<Vec<_>>(), "a PUT that was repeated stored its file once");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_never_answer_are_given_up_and_tried_again() {
    let (_dir, sandbox) = start().await;
    send_many(&sandbox, 50).await;
    for action in ["sqs:ReceiveMessage", "s3:PutObject", "sqs:DeleteMessage"] {
        sandbox.aws.faults().add(format!("{action}=delay:3600s@1/3").parse().unwrap());
    }
    let clients = connect(&sandbox, Duration::from_millis(1_500)).await;
    let impatient = Sandbox { clients, ..sandbox };
    local::drain(&impatient, &local::config(&impatient, |_| {})).await.0.unwrap();
    assert_eq!(seqs(&impatient), (0..50).collect::<Vec<_>>());
}

/// Otherwise a PUT that takes longer than `aws.attempt_timeout` would begin again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn large_file_gets_time_for_its_bytes() {
    let (_dir, sandbox) = start().await;
    let clients = connect(&sandbox, Duration::from_secs(1)).await;
    sandbox.aws.faults().add("s3:PutObject=delay:2s".parse().unwrap());
    let store = S3Store::new(clients.s3, BUCKET.to_owned());
    let put = |key, bytes: usize| {
        let body = vec![0; bytes].into();
        store.put_new(NewObject { key, body, epoch: "w-1", kind: ObjectKind::Data })
    };
    put("small", 1_000).await.expect_err("no answer within a second");
    assert_eq!(put("large", 3 << 20).await.unwrap(), PutOutcome::Created, "at its first attempt");
}

async fn connect(sandbox: &Sandbox, attempt_timeout: Duration) -> Clients {
    let aws = Aws {
        endpoint_url: Some(sandbox.aws.url()),
        region: Some("us-east-1".to_owned()),
        attempt_timeout,
        ..Aws::default()
    };
    Clients::connect_as(&aws, Credentials::new("local", "local", None, None, "local")).await
}
