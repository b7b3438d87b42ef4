//! Tests the engine with faults that the local endpoint injects.

use std::time::Duration;

use localaws::FaultKind;
use ticklake::sandbox::Sandbox;

use crate::{lake, local};

const MESSAGES: usize = 3_000;

async fn send_ticks(sandbox: &Sandbox, messages: usize) {
    for batch in 0..messages / 10 {
        let entries = (0..10).map(|entry| {
            let seq = batch * 10 + entry;
            let body = format!(r#"{{"symbol":"AAPL","price":100.25,"volume":1,"seq":{seq}}}"#);
            let entry = aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder().id(entry.to_string());
            entry.message_body(body).build().unwrap()
        });
        let send = sandbox.clients.sqs.send_message_batch().queue_url(&sandbox.queue_url);
        send.set_entries(Some(entries.collect())).send().await.unwrap();
    }
}

fn assert_every_tick_once(sandbox: &Sandbox, ticks: usize) {
    let mut seqs: Vec<_> = lake::ticks(&lake::objects_in(&sandbox.lake)).iter().map(|tick| tick.seq.unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..ticks as i64).collect::<Vec<_>>());
}

/// SQS delivers a message twice, each time as if it were the first: while its epoch is open, or after it was stored.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_messages_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    send_ticks(&sandbox, 500).await;
    sandbox.aws.faults().add("sqs:ReceiveMessage=duplicate@20%".parse().unwrap());
    let config = local::config(&sandbox, |settings| {
        settings.queue.visibility_timeout = Duration::from_secs(5);
        settings.epoch.age_max = Duration::from_millis(200);
    });
    let (result, meters) = local::drain(&sandbox, &config).await;
    result.unwrap();
    assert_every_tick_once(&sandbox, 500);
    let copies = meters.stats.messages_repeated.get();
    assert!((50..=150).contains(&copies), "{copies}");
}

/// Invariant 3: memory is flat, however long S3 is down. Once the budget is full, thirty hours would be no different
/// from thirty seconds.
#[tokio::test(flavor = "multi_thread")]
async fn store_down_for_30_s_stays_within_the_budget_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    send_ticks(&sandbox, MESSAGES).await;
    sandbox.aws.faults().fail("s3:*", FaultKind::Status(503));
    let faults = sandbox.aws.faults().clone();
    let mend = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        faults.clear();
    });
    let config = local::config(&sandbox, |settings| {
        settings.budget.messages_max = 1_000;
        settings.epoch.messages_max = 200;
    });
    let (result, meters) = local::drain(&sandbox, &config).await;
    result.unwrap();
    mend.await.unwrap();
    let peak = meters.budget.peak();
    assert!((900..=1_000).contains(&peak.messages), "the budget is what held it back: {peak:?}");
    assert_every_tick_once(&sandbox, MESSAGES);
    assert_eq!(meters.stats.messages_redelivered.get(), 0);
}
