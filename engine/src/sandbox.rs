//! A local endpoint with everything an engine needs: queue, dead-letter queue, bucket, topic, and a queue subscribed to it.
//!
//! For the demo and the tests. It owns what is created and under which names, not what is done with it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::QueueAttributeName;
use localaws::{LocalAws, Options};

use crate::aws::Clients;
use crate::config::Aws;

/// The bucket, and so the folder of the lake.
pub const BUCKET: &str = "lake";
const REGION: &str = "us-east-1";

/// A running local endpoint and what was created in it. Ends with its value.
pub struct Sandbox {
    /// The endpoint.
    pub aws: LocalAws,
    /// Clients of it.
    pub clients: Clients,
    /// The queue of ticks; its messages go to the dead-letter queue after 100 deliveries.
    pub queue_url: String,
    /// The dead-letter queue.
    pub dead_letter_url: String,
    /// The topic of alerts.
    pub topic_arn: String,
    /// A queue that is subscribed to the topic, with raw delivery.
    pub alerts_url: String,
    /// The folder whose content is the bucket [`BUCKET`].
    pub lake: PathBuf,
}

impl Sandbox {
    /// Starts an endpoint on a free port of the loopback interface, which keeps its objects below `dir`.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let options = Options { listen, data_dir: dir.to_owned(), region: REGION.to_owned() };
        let aws = LocalAws::start(options).await.context("failed to start the local endpoint")?;
        let config = Aws { endpoint_url: Some(aws.url()), region: Some(REGION.to_owned()), ..Aws::default() };
        // Fixed, so that nothing in the environment is looked for, or used by mistake.
        let clients = Clients::connect_as(&config, Credentials::new("local", "local", None, None, "local")).await;
        let dead_letter_url = create_queue(&clients, "ticks-dead-letter", None).await?;
        let redrive = serde_json::json!({
            "deadLetterTargetArn": queue_arn(&clients, &dead_letter_url).await?,
            "maxReceiveCount": 100,
        });
        let queue_url =
            create_queue(&clients, "ticks", Some((QueueAttributeName::RedrivePolicy, redrive.to_string()))).await?;
        clients.s3.create_bucket().bucket(BUCKET).send().await.context("failed to create the bucket")?;
        let topic = clients.sns.create_topic().name("alerts").send().await.context("failed to create the topic")?;
        let topic_arn = topic.topic_arn.context("the new topic has no ARN")?;
        let alerts_url = create_queue(&clients, "alerts", None).await?;
        clients
            .sns
            .subscribe()
            .topic_arn(&topic_arn)
            .protocol("sqs")
            .endpoint(queue_arn(&clients, &alerts_url).await?)
            .attributes("RawMessageDelivery", "true")
            .send()
            .await
            .context("failed to subscribe the queue of alerts")?;
        Ok(Self { aws, clients, queue_url, dead_letter_url, topic_arn, alerts_url, lake: dir.join(BUCKET) })
    }
}

async fn create_queue(
    clients: &Clients,
    name: &str,
    attribute: Option<(QueueAttributeName, String)>,
) -> anyhow::Result<String> {
    let attributes = attribute.map(|attribute| HashMap::from([attribute]));
    let queue = clients.sqs.create_queue().queue_name(name).set_attributes(attributes).send().await;
    let queue = queue.with_context(|| format!("failed to create the queue {name}"))?;
    queue.queue_url.context("the new queue has no URL")
}

async fn queue_arn(clients: &Clients, url: &str) -> anyhow::Result<String> {
    let name = QueueAttributeName::QueueArn;
    let answer = clients.sqs.get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await?;
    answer.attributes.and_then(|mut all| all.remove(&name)).context("the new queue has no ARN")
}
