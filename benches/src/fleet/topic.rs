//! A topic, and a queue that gets everything published to it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use aws_sdk_sqs::types::QueueAttributeName;
use ticklake::aws::Clients;

/// The topic.
pub(crate) struct Topic {
    clients: Clients,
    arn: String,
    queue: String,
}

impl Topic {
    /// Creates both.
    pub(crate) async fn create(clients: Clients, name: &str) -> anyhow::Result<Self> {
        let queue = clients.sqs.create_queue().queue_name(name).send().await?.queue_url;
        let queue = queue.context("the queue has no URL")?;
        let asked = clients.sqs.get_queue_attributes().queue_url(&queue);
        let asked = asked.attribute_names(QueueAttributeName::QueueArn).send().await?;
        let of_queue = asked.attributes.and_then(|mut all| all.remove(&QueueAttributeName::QueueArn));
        let arn = clients.sns.create_topic().name(name).send().await?.topic_arn.context("no topic")?;
        let subscribe = clients.sns.subscribe().topic_arn(&arn).protocol("sqs").set_endpoint(of_queue);
        subscribe.attributes("RawMessageDelivery", "true").send().await?;
        Ok(Self { clients, arn, queue })
    }

    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }

    /// The ids of all alerts published since the last call.
    pub(crate) async fn published(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        loop {
            let receive = self.clients.sqs.receive_message().queue_url(&self.queue).max_number_of_messages(10);
            let messages = receive.send().await?.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(ids);
            }
            for message in messages {
                let alert: serde_json::Value = serde_json::from_str(message.body.as_deref().unwrap_or_default())?;
                ids.insert(alert["id"].as_str().context("an alert has no id")?.to_owned());
            }
        }
    }
}
