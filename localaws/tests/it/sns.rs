//! SNS, delivering to queues of the same server.

use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use serde_json::Value;

use crate::{Local, code};

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
}

impl Local {
    async fn topic(&self, name: &str) -> String {
        self.sns.create_topic().name(name).send().await.unwrap().topic_arn.unwrap()
    }

    /// Subscribes a new queue, and returns its URL and the subscription.
    async fn subscribed(&self, topic: &str, queue: &str, attributes: &[(&str, &str)]) -> (String, String) {
        let url = self.queue(queue).await;
        let endpoint = format!("arn:aws:sqs:us-east-1:000000000000:{queue}");
        let mut subscribe = self.sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(endpoint);
        for (name, value) in attributes {
            subscribe = subscribe.attributes(*name, *value);
        }
        (url, subscribe.send().await.unwrap().subscription_arn.unwrap())
    }
}

#[tokio::test]
async fn message_is_wrapped_unless_delivery_is_raw() {
    let local = Local::start().await;
    let topic = local.topic("t").await;
    assert_eq!(local.topic("t").await, topic, "created once");
    let (wrapped, _) = local.subscribed(&topic, "wrapped", &[]).await;
    let (raw, _) = local.subscribed(&topic, "raw", &[("RawMessageDelivery", "true")]).await;
    let publish = local.sns.publish().topic_arn(&topic).subject("s").message("a+b & <✓>");
    publish.message_attributes("kind", text("spike")).send().await.unwrap();
    let envelope: Value = serde_json::from_str(&local.bodies(&wrapped, 1).await[0]).unwrap();
    assert_eq!(
        (&envelope["Type"], &envelope["Message"], &envelope["Subject"]),
        (&"Notification".into(), &"a+b & <✓>".into(), &"s".into())
    );
    assert_eq!(envelope["MessageAttributes"]["kind"]["Value"], "spike");
    let receive = local.sqs.receive_message().queue_url(&raw).message_attribute_names("All").send().await.unwrap();
    let message = receive.messages.unwrap().remove(0);
    assert_eq!(message.body.as_deref(), Some("a+b & <✓>"));
    assert_eq!(message.message_attributes.unwrap()["kind"].string_value(), Some("spike"));
}

#[tokio::test]
async fn subscribers_get_what_their_filter_lets_through() {
    let local = Local::start().await;
    let topic = local.topic("t").await;
    let filter = |policy| [("RawMessageDelivery", "true"), ("FilterPolicy", policy)];
    let (spikes, subscription) = local.subscribed(&topic, "spikes", &filter(r#"{"kind":["spike"]}"#)).await;
    let body = [("FilterPolicyScope", "MessageBody"), ("FilterPolicy", r#"{"price":[{"numeric":[">",5]}]}"#)];
    let (dear, _) = local.subscribed(&topic, "dear", &body).await;
    for (kind, message) in [("spike", r#"{"price":1}"#), ("threshold", r#"{"price":9}"#)] {
        let publish = local.sns.publish().topic_arn(&topic).message(message).message_attributes("kind", text(kind));
        publish.send().await.unwrap();
    }
    assert_eq!(local.bodies(&spikes, 2).await, [r#"{"price":1}"#]);
    assert_eq!(local.bodies(&dear, 2).await.len(), 1);
    let set = local.sns.set_subscription_attributes().subscription_arn(&subscription).attribute_name("FilterPolicy");
    assert_eq!(code(set.attribute_value("{").send().await).0, "InvalidParameter");
    local.sns.unsubscribe().subscription_arn(&subscription).send().await.unwrap();
    local.sns.publish().topic_arn(&topic).message("m").message_attributes("kind", text("spike")).send().await.unwrap();
    assert!(local.bodies(&spikes, 1).await.is_empty());
}

#[tokio::test]
async fn batches_are_published_whole_or_refused() {
    let local = Local::start().await;
    let topic = local.topic("t").await;
    let (queue, _) = local.subscribed(&topic, "q", &[("RawMessageDelivery", "true")]).await;
    let entry = |id: usize, message: String| {
        let entry = PublishBatchRequestEntry::builder().id(id.to_string()).message(message);
        entry.message_attributes("n", text("1")).build().unwrap()
    };
    let publish = |entries: Vec<_>| {
        local.sns.publish_batch().topic_arn(&topic).set_publish_batch_request_entries(Some(entries)).send()
    };
    let answer = publish((0..10).map(|id| entry(id, format!("m{id}"))).collect()).await.unwrap();
    assert_eq!((answer.successful().len(), answer.failed().len()), (10, 0));
    assert_eq!(local.bodies(&queue, 10).await.len(), 10);
    for (entries, expected) in [
        ((0..11).map(|id| entry(id, "x".into())).collect(), "TooManyEntriesInBatchRequest"),
        (vec![entry(1, "x".into()), entry(1, "y".into())], "BatchEntryIdsNotDistinct"),
        ((0..10).map(|id| entry(id, "x".repeat(30_000))).collect(), "BatchRequestTooLong"),
    ] {
        assert_eq!(code(publish(entries).await).0, expected);
    }
}

#[tokio::test]
async fn missing_topics_and_overlong_messages_are_errors() {
    let local = Local::start().await;
    let topic = local.topic("t").await;
    let publish = |topic: String, message: String| local.sns.publish().topic_arn(topic).message(message).send();
    let missing = publish(format!("{topic}x"), "m".into()).await;
    assert!(missing.unwrap_err().as_service_error().unwrap().is_not_found_exception());
    publish(topic.clone(), "x".repeat(262_144)).await.unwrap();
    assert_eq!(code(publish(topic.clone(), "x".repeat(262_145)).await).0, "InvalidParameter");
    let http = local.sns.subscribe().topic_arn(&topic).protocol("http").endpoint("http://127.0.0.1:1/").send().await;
    assert_eq!(code(http).0, "InvalidParameter");
}
