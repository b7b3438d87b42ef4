//! A queue with ticks in it, behind an endpoint in another process, and the processes that drain it.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::QueueAttributeName;
use loadgen::{Dialect, Layout, MarketConfig, Packing, Plan, Sent, Source};
use ticklake::aws::Clients;
use ticklake::config::Aws;

use super::PATIENCE;
use crate::localaws::served::Served;

const REGION: &str = "us-east-1";

/// The endpoint, a queue and a bucket.
#[derive(Clone)]
pub(crate) struct Scene {
    url: String,
    /// The folder whose folders are the endpoint's buckets.
    dir: PathBuf,
    clients: Clients,
    bucket: String,
    queue: String,
}

/// Clients of the local endpoint, which takes any credentials.
pub(crate) async fn connect(url: &str) -> Clients {
    let (endpoint_url, region) = (Some(url.to_owned()), Some(REGION.to_owned()));
    let config = Aws { endpoint_url, region, s3_path_style: true, ..Aws::default() };
    Clients::connect_as(&config, Credentials::new("local", "local", None, None, "local")).await
}

impl Scene {
    pub(crate) async fn new(served: &Served, name: &str) -> anyhow::Result<Self> {
        Self::at(&served.url, served.dir(), name).await
    }

    pub(crate) async fn at(url: &str, dir: &Path, name: &str) -> anyhow::Result<Self> {
        let clients = connect(url).await;
        let bucket = format!("lake-{name}");
        let created = clients.sqs.create_queue().queue_name(name).send().await.context("failed to create the queue")?;
        let queue = created.queue_url.context("the queue has no URL")?;
        clients.s3.create_bucket().bucket(&bucket).send().await.context("failed to create the bucket")?;
        Ok(Self { url: url.to_owned(), dir: dir.to_owned(), clients, bucket, queue })
    }

    /// Sends the first `ticks` of the default market, as fast as possible or at a rate.
    pub(crate) async fn send(&self, ticks: u64, per_message: usize, rate: Option<u64>) -> anyhow::Result<Sent> {
        let layout = if per_message == 1 { Layout::Object } else { Layout::Array };
        let packing = Packing::new(per_message, layout, Dialect::Canonical)?;
        let market =
            MarketConfig { ticks, span: Duration::from_secs(ticks.div_ceil(1_000)), ..MarketConfig::default() };
        let rate = rate.and_then(NonZeroU64::new);
        let plan = Plan { rate, ..Plan::new(Source::Market(market), packing) };
        let sqs = self.clients.sqs.clone();
        Ok(loadgen::run(sqs, &self.queue, plan, Arc::default()).await?)
    }

    /// `ticklake run`, set up for this scene and otherwise as it is by default.
    pub(crate) fn engine(&self) -> anyhow::Result<Command> {
        self.engine_at(&self.url)
    }

    /// The same, with a proxy before the endpoint.
    pub(crate) fn engine_at(&self, url: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
        command
            .arg("engine")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("TICKLAKE_AWS__ENDPOINT_URL", url)
            .env("TICKLAKE_AWS__REGION", REGION)
            .env("TICKLAKE_AWS__S3_PATH_STYLE", "true")
            .env("TICKLAKE_QUEUE__URL", &self.queue)
            .env("TICKLAKE_LAKE__BUCKET", &self.bucket)
            .env("TICKLAKE_METRICS__LISTEN", "")
            .env("TICKLAKE_LOG__FORMAT", "json");
        Ok(command)
    }

    /// Waits until the queue holds nothing, neither visible nor in flight.
    pub(crate) async fn drained(&self) -> anyhow::Result<()> {
        let counts = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let ask = self.clients.sqs.get_queue_attributes().queue_url(&self.queue);
            let asked = ask.set_attribute_names(Some(counts.to_vec())).send().await;
            let attributes = asked.ok().and_then(|answer| answer.attributes).unwrap_or_default();
            if counts.iter().all(|name| attributes.get(name).is_some_and(|count| count == "0")) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the queue was not drained within {PATIENCE:?}")
    }

    /// The endpoint's URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The plain consumer of so many messages.
    pub(crate) fn plain_consumer(&self, messages: u64) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
        command.args(["plain-consumer", &self.url, &self.queue, &messages.to_string()]);
        Ok(command)
    }

    /// How many objects of the lake's `folder` there are.
    pub(crate) async fn objects(&self, folder: &str) -> anyhow::Result<usize> {
        let list = self.clients.s3.list_objects_v2().bucket(&self.bucket).prefix(folder).send().await?;
        Ok(list.contents().len())
    }

    /// Compares the lake with what was sent.
    pub(crate) async fn audit(&self, sent: Sent) -> anyhow::Result<loadgen::Report> {
        let lake: PathBuf = self.dir.join(&self.bucket);
        Ok(tokio::task::spawn_blocking(move || loadgen::audit(&lake, &sent)).await??)
    }
}
