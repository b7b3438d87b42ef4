//! A subscriber of the topic. It reads the alerts from the queue that gets them, as a trading desk's tool would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use serde::Deserialize;
use ticklake_core::alert::State;
use tokio::task::JoinHandle;

use super::Alerts;
use crate::sandbox::Sandbox;

/// How long the last alerts may take from the topic to the queue.
const PATIENCE: Duration = Duration::from_secs(10);

/// A task that collects alerts.
pub(super) struct Subscriber {
    task: JoinHandle<anyhow::Result<Alerts>>,
    /// How many alerts will come in all. It is `u64::MAX` until the engine has ended.
    expected: Arc<AtomicU64>,
}

#[derive(Deserialize)]
struct Alert {
    id: String,
    state: State,
}

impl Subscriber {
    #[expect(clippy::disallowed_methods, reason = "the subscriber is no part of the engine")]
    pub(super) fn start(sandbox: &Sandbox) -> Self {
        let expected = Arc::new(AtomicU64::new(u64::MAX));
        let (client, url) = (sandbox.clients.sqs.clone(), sandbox.alerts_url.clone());
        Self { task: tokio::spawn(collect(client, url, expected.clone())), expected }
    }

    /// Waits for the last of `expected` alerts, or until no more come.
    pub(super) async fn finish(self, expected: u64) -> anyhow::Result<Alerts> {
        self.expected.store(expected, Ordering::Relaxed);
        self.task.await.context("the subscriber panicked")?
    }
}

async fn collect(client: Client, url: String, expected: Arc<AtomicU64>) -> anyhow::Result<Alerts> {
    let mut alerts = Alerts::new();
    let (mut received, mut quiet) = (0, Duration::ZERO);
    let wait = Duration::from_secs(1);
    while received < expected.load(Ordering::Relaxed) && quiet < PATIENCE {
        let receive = client.receive_message().queue_url(&url).max_number_of_messages(10);
        let answer = receive.wait_time_seconds(wait.as_secs() as i32).send().await?;
        let messages = answer.messages.unwrap_or_default();
        let engine_ended = expected.load(Ordering::Relaxed) != u64::MAX;
        quiet = if messages.is_empty() && engine_ended { quiet + wait } else { Duration::ZERO };
        if messages.is_empty() {
            continue;
        }
        received += messages.len() as u64;
        let mut deletes = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            let alert: Alert = serde_json::from_str(&message.body.unwrap_or_default())?;
            if alert.state == State::Open {
                *alerts.entry(alert.id).or_default() += 1;
            }
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            deletes.push(entry.set_receipt_handle(message.receipt_handle).build()?);
        }
        client.delete_message_batch().queue_url(&url).set_entries(Some(deletes)).send().await?;
    }
    Ok(alerts)
}
