//! Faults injected for real, at the local endpoint.

use std::time::Duration;

use localaws::FaultKind;
use ticklake::sandbox::Sandbox;

use crate::{lake, local};

const MESSAGES: usize = 3_000;

/// Invariant 3: memory is flat however long S3 is down. After the budget is full, thirty seconds and thirty hours are the same.
#[tokio::test(flavor = "multi_thread")]
async fn store_down_for_30_s_stays_within_the_budget_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    for batch in 0..MESSAGES / 10 {
        let entries = (0..10).map(|entry| {
            let seq = batch * 10 + entry;
            let body = format!(r#"{{"symbol":"AAPL","price":100.25,"volume":1,"seq":{seq}}}"#);
            let entry = aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder().id(entry.to_string());
            entry.message_body(body).build().unwrap()
        });
        let send = sandbox.clients.sqs.send_message_batch().queue_url(&sandbox.queue_url);
        send.set_entries(Some(entries.collect())).send().await.unwrap();
    }
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
    let mut seqs: Vec<_> = lake::ticks(&lake::objects_in(&sandbox.lake)).iter().map(|tick| tick.seq.unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..MESSAGES as i64).collect::<Vec<_>>(), "every tick once");
    assert_eq!(meters.stats.messages_redelivered.get(), 0);
}
