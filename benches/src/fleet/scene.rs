//! A queue with ticks in it, behind an endpoint in another process, and the processes that drain it.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::Command;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::QueueAttributeName;
use loadgen::{Dialect, Layout, MarketConfig, Pace, Packing, Plan, Sent, Source, SpikeConfig};
use ticklake::aws::Clients;
use ticklake::config::Aws;

use super::PATIENCE;
use crate::localaws::served::Served;

const REGION: &str = "us-east-1";

/// Spikes that are planted in the sent ticks. There are many of them because a check has few ticks.
pub(crate) const SPIKES: u32 = 200;

/// The endpoint, a queue and a bucket.
#[derive(Clone)]
pub(crate) struct Scene {
    url: String,
    /// The endpoint's data folder, with one folder per bucket.
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

/// The environment of an engine that stores in `bucket`, wherever its endpoints are.
pub(crate) fn set_up(command: &mut Command, bucket: &str) {
    command
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("TICKLAKE_AWS__REGION", REGION)
        .env("TICKLAKE_AWS__S3_PATH_STYLE", "true")
        .env("TICKLAKE_LAKE__BUCKET", bucket)
        .env("TICKLAKE_METRICS__LISTEN", "")
        // Every stored alert must be published, so that the two can be compared.
        .env("TICKLAKE_ALERTS__PER_MINUTE_MAX", "0")
        .env("TICKLAKE_ALERTS__MARKET_SYMBOLS_MIN", "0")
        .env("TICKLAKE_LOG__FORMAT", "json");
}

impl Scene {
    pub(crate) async fn new(served: &Served, name: &str) -> anyhow::Result<Self> {
        let clients = connect(&served.url).await;
        let bucket = format!("lake-{name}");
        let created = clients.sqs.create_queue().queue_name(name).send().await.context("failed to create the queue")?;
        let queue = created.queue_url.context("the queue has no URL")?;
        clients.s3.create_bucket().bucket(&bucket).send().await.context("failed to create the bucket")?;
        Ok(Self { url: served.url.clone(), dir: served.dir().to_owned(), clients, bucket, queue })
    }

    /// Sends the first `ticks` of the default market with [`SPIKES`], as fast as possible or at a rate.
    pub(crate) async fn send(&self, ticks: u64, per_message: usize, rate: Option<u64>) -> anyhow::Result<Sent> {
        self.send_with_spikes(SPIKES, ticks, per_message, rate).await
    }

    /// The same, with `spikes` spikes planted.
    pub(crate) async fn send_with_spikes(
        &self,
        spikes: u32,
        ticks: u64,
        per_message: usize,
        rate: Option<u64>,
    ) -> anyhow::Result<Sent> {
        let layout = if per_message == 1 { Layout::Object } else { Layout::Array };
        let packing = Packing::new(per_message, layout, Dialect::Canonical)?;
        // Spikes begin as soon as the detectors know a symbol.
        let spikes = SpikeConfig { count: spikes, quiet_ticks: 20, quiet: Duration::ZERO, ..SpikeConfig::default() };
        let market =
            MarketConfig { ticks, span: Duration::from_secs(ticks.div_ceil(1_000)), spikes, ..MarketConfig::default() };
        let pace = rate.and_then(NonZeroU64::new).map_or(Pace::AsTaken, Pace::even);
        let plan = Plan { pace, ..Plan::new(Source::Market(market), packing) };
        let sqs = self.clients.sqs.clone();
        Ok(loadgen::run(sqs, from_ref(&self.queue), plan, Arc::default()).await?)
    }

    /// The client of its queue, and the queue.
    pub(crate) fn sqs(&self) -> &aws_sdk_sqs::Client {
        &self.clients.sqs
    }

    pub(crate) fn queue(&self) -> &String {
        &self.queue
    }

    /// The folder of the bucket that holds the lake.
    pub(crate) fn lake(&self) -> PathBuf {
        self.dir.join(&self.bucket)
    }

    /// `ticklake run`, set up for this scene, with the defaults for everything else.
    pub(crate) fn engine(&self) -> anyhow::Result<Command> {
        self.engine_at(&self.url)
    }

    /// The same, with a proxy in front of the endpoint.
    pub(crate) fn engine_at(&self, url: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
        command.arg("engine").env("TICKLAKE_AWS__ENDPOINT_URL", url).env("TICKLAKE_QUEUE__URL", &self.queue);
        set_up(&mut command, &self.bucket);
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

    /// The plain consumer that drains `messages` messages.
    pub(crate) fn plain_consumer(&self, messages: u64) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
        command.args(["plain-consumer", &self.url, &self.queue, &messages.to_string()]);
        Ok(command)
    }

    /// The number of objects in the lake's `folder`.
    pub(crate) async fn objects(&self, folder: &str) -> anyhow::Result<usize> {
        let list = self.clients.s3.list_objects_v2().bucket(&self.bucket).prefix(folder).send().await?;
        Ok(list.contents().len())
    }

    /// Compares the lake with what was sent.
    pub(crate) async fn audit(&self, sent: Sent) -> anyhow::Result<loadgen::Report> {
        let lake = self.lake();
        Ok(tokio::task::spawn_blocking(move || loadgen::audit(&lake, &sent)).await??)
    }
}
