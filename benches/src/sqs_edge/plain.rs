//! The plainest consumer that the SDK's documentation leads to: receive ten messages, throw them away, delete them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tokio::task::JoinSet;

/// Parallel loops: as many as the engine has long polls on a busy queue.
const LOOPS: usize = 16;

/// Consumes `messages` messages of the queue.
pub fn consume(endpoint: &str, queue: &str, messages: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    runtime.block_on(async {
        let sqs = crate::fleet::scene::connect(endpoint).await.sqs;
        let left = Arc::new(AtomicUsize::new(messages));
        let mut loops = JoinSet::new();
        for _ in 0..LOOPS {
            loops.spawn(consume_some(sqs.clone(), queue.to_owned(), left.clone()));
        }
        while let Some(ended) = loops.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn consume_some(sqs: aws_sdk_sqs::Client, queue: String, left: Arc<AtomicUsize>) -> anyhow::Result<()> {
    while left.load(Ordering::Relaxed) > 0 {
        let receive = sqs.receive_message().queue_url(&queue).max_number_of_messages(10).wait_time_seconds(1);
        let messages = receive.send().await?.messages.unwrap_or_default();
        if messages.is_empty() {
            continue;
        }
        let entry = |(index, message): (usize, aws_sdk_sqs::types::Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.set_receipt_handle(message.receipt_handle).build()
        };
        let entries = messages.into_iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
        let deleted = sqs.delete_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await?;
        anyhow::ensure!(deleted.failed.is_empty(), "a delete failed");
        left.fetch_sub(deleted.successful.len(), Ordering::Relaxed);
    }
    Ok(())
}
