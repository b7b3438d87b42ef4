//! Requests of the official SDK, as many as a measurement wants, several at a time.

use std::time::Duration;

use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::Credentials;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry};
use tokio::task::JoinSet;

use super::BATCH;

/// Concurrent requests.
const CLIENTS: usize = 8;

/// Length of a message.
const BODY_BYTES: usize = 200;

/// A queue and a bucket, and the clients for them.
pub(super) struct Load {
    sqs: aws_sdk_sqs::Client,
    s3: aws_sdk_s3::Client,
    queue: String,
    bucket: String,
}

impl Load {
    pub(super) async fn new(url: &str, name: &str) -> anyhow::Result<Self> {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(url)
            .load()
            .await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let (sqs, s3) = (aws_sdk_sqs::Client::new(&config), aws_sdk_s3::Client::from_conf(s3));
        let created = sqs.create_queue().queue_name(name).send().await.context("failed to create the queue")?;
        let queue = created.queue_url.context("the queue has no URL")?;
        let bucket = format!("bench-{name}");
        s3.create_bucket().bucket(&bucket).send().await.context("failed to create the bucket")?;
        Ok(Self { sqs, s3, queue, bucket })
    }

    /// Sends `batches` full batches.
    pub(super) async fn send(&self, batches: usize) -> anyhow::Result<()> {
        self.spread(batches, |sqs, queue| async move {
            let entries = (0..BATCH).map(|index| {
                let body = format!("{index:0>BODY_BYTES$}");
                SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body).build()
            });
            let entries = entries.collect::<Result<_, _>>()?;
            let sent = sqs.send_message_batch().queue_url(queue).set_entries(Some(entries)).send().await?;
            anyhow::ensure!(sent.successful.len() == BATCH, "a batch half-failed");
            Ok(())
        })
        .await
    }

    /// Receives `batches` full batches, and keeps their messages in flight.
    pub(super) async fn hold(&self, batches: usize) -> anyhow::Result<()> {
        self.spread(batches, |sqs, queue| async move { receive(&sqs, &queue).await.map(drop) }).await
    }

    /// Receives and deletes `batches` full batches.
    pub(super) async fn drain(&self, batches: usize) -> anyhow::Result<()> {
        self.spread(batches, |sqs, queue| async move {
            let receipts = receive(&sqs, &queue).await?;
            let entries = receipts.into_iter().enumerate().map(|(index, receipt)| {
                DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(receipt).build()
            });
            let entries = entries.collect::<Result<_, _>>()?;
            let deleted = sqs.delete_message_batch().queue_url(queue).set_entries(Some(entries)).send().await?;
            anyhow::ensure!(deleted.successful.len() == BATCH, "a batch half-failed");
            Ok(())
        })
        .await
    }

    /// Stores an object `rounds` times.
    pub(super) async fn put(&self, object: &[u8], rounds: usize) -> anyhow::Result<()> {
        let body = bytes::Bytes::copy_from_slice(object);
        for _ in 0..rounds {
            let put = self.s3.put_object().bucket(&self.bucket).key("large").body(body.clone().into());
            // The future of an S3 request is large.
            Box::pin(put.send()).await?;
        }
        Ok(())
    }

    /// Opens long polls of 20 seconds on the empty queue.
    pub(super) fn open_polls(&self, polls: usize) -> JoinSet<()> {
        (0..polls)
            .map(|_| {
                let receive = self.sqs.receive_message().queue_url(&self.queue).wait_time_seconds(20);
                async move {
                    // The poll ends when the server does, with an answer or without.
                    let _ended = receive.send().await;
                }
            })
            .collect()
    }

    /// Runs `work` `times` times, spread over all clients.
    async fn spread<F>(
        &self,
        times: usize,
        work: impl Fn(aws_sdk_sqs::Client, String) -> F + Clone + Send + 'static,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let share = times / CLIENTS + usize::from(client < times % CLIENTS);
            let (sqs, queue, work) = (self.sqs.clone(), self.queue.clone(), work.clone());
            clients.spawn(async move {
                for _ in 0..share {
                    work(sqs.clone(), queue.clone()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        Ok(())
    }
}

/// Receives one full batch, which the queue must hold.
async fn receive(sqs: &aws_sdk_sqs::Client, queue: &str) -> anyhow::Result<Vec<String>> {
    let visibility = Duration::from_mins(10);
    let request = sqs.receive_message().queue_url(queue).max_number_of_messages(BATCH as i32);
    let received = request.visibility_timeout(visibility.as_secs() as i32).send().await?;
    let receipts: Vec<String> =
        received.messages.unwrap_or_default().into_iter().filter_map(|message| message.receipt_handle).collect();
    anyhow::ensure!(receipts.len() == BATCH, "{} messages came where {BATCH} were expected", receipts.len());
    Ok(receipts)
}
