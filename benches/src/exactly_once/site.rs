//! Where a round takes place: its queues, bucket and topic, on the local endpoint or on other people's servers, and the
//! proxies ("doors") in front of them.
//!
//! It does *not* own the workers.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_sdk_sqs::types::QueueAttributeName;
use tempfile::TempDir;
use ticklake::aws::Clients;

use super::scenario::{Place, Scenario};
use crate::fleet::proxy::Proxy;
use crate::fleet::scene::{connect, set_up};
use crate::fleet::topic::Topic;
use crate::localaws::served::Served;

/// A message that has not come back by then never will.
const PATIENCE: Duration = Duration::from_mins(4);

/// The counts of a queue: visible messages, messages in flight, and delayed messages.
const COUNTS: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

/// Servers that already run, and replace the local endpoint. Alerts always go to the local endpoint.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// A server that speaks like SQS.
    pub queue: Option<String>,
    /// A server that speaks like S3.
    pub store: Option<String>,
}

/// The place of a round.
pub(super) struct Site {
    clients: Clients,
    bucket: String,
    pub(super) queues: Vec<String>,
    pub(super) dead_letters: Option<String>,
    deleted: Option<String>,
    pub(super) topic: Topic,
    queue_door: Proxy,
    store_door: Proxy,
    topic_door: Proxy,
}

impl Site {
    /// Creates what a scenario needs. `name` is part of all names.
    pub(super) async fn create(
        served: &Served,
        endpoints: &Endpoints,
        scenario: &Scenario,
        name: &str,
    ) -> anyhow::Result<Self> {
        let queue_url = endpoints.queue.as_ref().unwrap_or(&served.url);
        let store_url = endpoints.store.as_ref().unwrap_or(&served.url);
        let local = connect(&served.url).await;
        let clients = Clients { s3: connect(store_url).await.s3, sns: local.sns.clone(), ..connect(queue_url).await };
        let bucket = format!("lake-{name}");
        clients.s3.create_bucket().bucket(&bucket).send().await.context("failed to create the bucket")?;
        let mut site = Self {
            clients,
            bucket,
            queues: Vec::new(),
            dead_letters: None,
            deleted: None,
            topic: Topic::create(local, &format!("alerts-{name}")).await?,
            queue_door: Proxy::open(queue_url)?,
            store_door: Proxy::open(store_url)?,
            topic_door: Proxy::open(&served.url)?,
        };
        let redrive = match scenario.receives_max {
            Some(receives_max) => Some(site.add_dead_letters(name, receives_max).await?),
            None => None,
        };
        for number in 0..scenario.queues {
            let create = site.clients.sqs.create_queue().queue_name(format!("ticks-{name}-{number}"));
            let create = match &redrive {
                Some(redrive) => create.attributes(QueueAttributeName::RedrivePolicy, redrive),
                None => create,
            };
            let created = create.send().await.context("failed to create the queue")?;
            site.queues.push(created.queue_url.context("the queue has no URL")?);
        }
        Ok(site)
    }

    /// Creates a dead-letter queue, and returns the redrive policy that leads to it.
    async fn add_dead_letters(&mut self, name: &str, receives_max: u32) -> anyhow::Result<String> {
        let sqs = &self.clients.sqs;
        let created = sqs.create_queue().queue_name(format!("dead-{name}")).send().await;
        let queue = created.context("failed to create the dead-letter queue")?.queue_url.context("it has no URL")?;
        let asked = sqs.get_queue_attributes().queue_url(&queue).attribute_names(QueueAttributeName::QueueArn);
        let asked = asked.send().await.context("failed to ask for the ARN of the dead-letter queue")?;
        let arn = asked.attributes().and_then(|all| all.get(&QueueAttributeName::QueueArn)).cloned();
        self.dead_letters = Some(queue);
        let arn = arn.context("the dead-letter queue has no ARN")?;
        Ok(serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": receives_max.to_string() }).to_string())
    }

    pub(super) fn sqs(&self) -> &aws_sdk_sqs::Client {
        &self.clients.sqs
    }

    /// Sets up an engine's process to use this site through the doors.
    pub(super) fn set_up(&self, command: &mut Command) {
        set_up(command, &self.bucket);
        command
            .env("AWS_ENDPOINT_URL_SQS", self.queue_door.url())
            .env("AWS_ENDPOINT_URL_S3", self.store_door.url())
            .env("AWS_ENDPOINT_URL_SNS", self.topic_door.url())
            .env("TICKLAKE_ALERTS__TOPIC_ARN", self.topic.arn());
    }

    pub(super) async fn shut(&mut self, place: Place) {
        if place != Place::Store {
            self.queue_door.shut().await;
        }
        if place != Place::Queue {
            self.store_door.shut().await;
        }
        if place == Place::Everything {
            self.topic_door.shut().await;
        }
    }

    /// Opens all doors.
    pub(super) fn reopen(&mut self) -> anyhow::Result<()> {
        [&mut self.queue_door, &mut self.store_door, &mut self.topic_door].into_iter().try_for_each(Proxy::reopen)
    }

    /// Limits each connection to the store to this many bytes a second, or lifts the limit.
    pub(super) fn slow_down(&self, bytes_per_s: Option<u64>) {
        self.store_door.narrow(bytes_per_s);
    }

    /// Deletes the last queue.
    pub(super) async fn delete_queue(&mut self) -> anyhow::Result<()> {
        let queue = self.queues.pop().context("there is no queue to delete")?;
        self.clients.sqs.delete_queue().queue_url(&queue).send().await.context("failed to delete a queue")?;
        self.deleted = Some(queue);
        Ok(())
    }

    /// Whether a worker ended because the deleted queue was gone when the worker started. It ends on purpose then,
    /// because its configuration names a queue that it never saw.
    pub(super) fn explains(&self, last_words: &str) -> bool {
        let name = self.deleted.as_ref().and_then(|queue| queue.rsplit('/').next());
        name.is_some_and(|name| last_words.ends_with(&format!("/{name}: not found")))
    }

    /// The messages in a queue in any state, as far as the server says.
    pub(super) async fn backlog(&self, queue: &str) -> Option<u64> {
        let ask = self.clients.sqs.get_queue_attributes().queue_url(queue);
        let asked = ask.set_attribute_names(Some(COUNTS.to_vec())).send().await.ok()?;
        let attributes = asked.attributes?;
        // Some servers do not know the last of these counts.
        let counts = COUNTS.iter().filter_map(|name| attributes.get(name));
        counts.map(|count| count.parse::<u64>().ok()).sum()
    }

    /// Waits until `queues` have been empty for `quiet`, and calls `meanwhile` again and again. Returns `false` if they
    /// are not empty in time.
    pub(super) async fn drained(
        &self,
        queues: &[String],
        quiet: Duration,
        mut meanwhile: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let (deadline, mut empty_since) = (Instant::now() + PATIENCE, None);
        while Instant::now() < deadline {
            let mut is_empty = true;
            for queue in queues {
                is_empty &= self.backlog(queue).await == Some(0);
            }
            empty_since = if is_empty { empty_since.or_else(|| Some(Instant::now())) } else { None };
            if empty_since.is_some_and(|since: Instant| since.elapsed() >= quiet) {
                return Ok(true);
            }
            meanwhile()?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(false)
    }

    /// Copies all objects into a folder.
    pub(super) async fn lake(&self) -> anyhow::Result<TempDir> {
        let folder = TempDir::new().context("failed to make a folder for the lake")?;
        let mut pages = self.clients.s3.list_objects_v2().bucket(&self.bucket).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.context("failed to list the lake")?.contents() {
                let key = object.key().context("an object has no key")?;
                let path = folder.path().join(key);
                let got = self.clients.s3.get_object().bucket(&self.bucket).key(key).send().await;
                let body = got.with_context(|| format!("failed to get {key}"))?.body.collect().await?;
                fs::create_dir_all(path.parent().context("a key has no folder")?)?;
                fs::write(&path, body.into_bytes()).with_context(|| format!("failed to write {}", path.display()))?;
            }
        }
        Ok(folder)
    }
}
