//! A local endpoint with everything an engine needs: queue, dead-letter queue, bucket, topic, and a queue subscribed to
//! it.
//!
//! It serves the demo and the tests. It owns what is created and under which names. It does *not* own how that is used.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::QueueAttributeName;
use localaws::{LocalAws, Options};

use crate::aws::Clients;
use crate::config::Aws;

/// The bucket, and also the folder of the lake.
pub const BUCKET: &str = "lake";
const REGION: &str = "us-east-1";

/// A running local endpoint and what was created in it. The endpoint stops when this is dropped.
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
        let options = Options { region: REGION.to_owned(), ..Options::new(dir) };
        let aws = LocalAws::start(options).await.context("failed to start the local endpoint")?;
        let clients = connect(&aws.url()).await;
        let Resources { queue_url, dead_letter_url, topic_arn, alerts_url } =
            Resources::create(&clients, "", BUCKET).await?;
        Ok(Self { aws, clients, queue_url, dead_letter_url, topic_arn, alerts_url, lake: dir.join(BUCKET) })
    }
}

/// Clients of an endpoint that takes any credentials.
pub async fn connect(url: &str) -> Clients {
    let (endpoint_url, region) = (Some(url.to_owned()), Some(REGION.to_owned()));
    let config = Aws { endpoint_url, region, s3_path_style: true, ..Aws::default() };
    // The credentials are fixed, so that nothing in the environment is looked for or used by mistake.
    Clients::connect_as(&config, Credentials::new("local", "local", None, None, "local")).await
}

/// What an engine needs of SQS, S3 and SNS, beside a bucket.
#[derive(Debug)]
pub struct Resources {
    /// The queue of ticks; its messages go to the dead-letter queue after 100 deliveries.
    pub queue_url: String,
    /// The dead-letter queue.
    pub dead_letter_url: String,
    /// The topic of alerts.
    pub topic_arn: String,
    /// A queue that is subscribed to the topic, with raw delivery.
    pub alerts_url: String,
}

impl Resources {
    /// Creates them, with names that end in `suffix`, and the bucket.
    pub async fn create(clients: &Clients, suffix: &str, bucket: &str) -> anyhow::Result<Self> {
        let dead_letter_url = create_queue(clients, &format!("ticks-dead-letter{suffix}"), None).await?;
        let redrive = serde_json::json!({
            "deadLetterTargetArn": queue_arn(clients, &dead_letter_url).await?,
            "maxReceiveCount": 100,
        });
        let redrive = Some((QueueAttributeName::RedrivePolicy, redrive.to_string()));
        let queue_url = create_queue(clients, &format!("ticks{suffix}"), redrive).await?;
        clients.s3.create_bucket().bucket(bucket).send().await.context("failed to create the bucket")?;
        let topic = clients.sns.create_topic().name(format!("alerts{suffix}")).send().await;
        let topic_arn = topic.context("failed to create the topic")?.topic_arn.context("the new topic has no ARN")?;
        let alerts_url = create_queue(clients, &format!("alerts{suffix}"), None).await?;
        clients
            .sns
            .subscribe()
            .topic_arn(&topic_arn)
            .protocol("sqs")
            .endpoint(queue_arn(clients, &alerts_url).await?)
            .attributes("RawMessageDelivery", "true")
            .send()
            .await
            .context("failed to subscribe the queue of alerts")?;
        Ok(Self { queue_url, dead_letter_url, topic_arn, alerts_url })
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
