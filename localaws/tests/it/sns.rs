//! SNS, delivering to queues of the same server.

use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use aws_sdk_sqs::types::QueueAttributeName;
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
async fn message_may_differ_between_protocols() {
    let local = Local::start().await;
    let topic = local.topic("t").await;
    let (queue, _) = local.subscribed(&topic, "q", &[("RawMessageDelivery", "true")]).await;
    let publish =
        |message: &str| local.sns.publish().topic_arn(&topic).message_structure("json").message(message).send();
    publish(r#"{"default":"all","email":"people","http":5}"#).await.unwrap();
    publish(r#"{"default":"all","sqs":"queues"}"#).await.unwrap();
    let entry = PublishBatchRequestEntry::builder().id("1").message_structure("json").message(r#"{"default":"batch"}"#);
    local
        .sns
        .publish_batch()
        .topic_arn(&topic)
        .publish_batch_request_entries(entry.build().unwrap())
        .send()
        .await
        .unwrap();
    let mut bodies = local.bodies(&queue, 3).await;
    bodies.sort();
    assert_eq!(bodies, ["all", "batch", "queues"]);
    for message in ["no json", r#"{"email":"people"}"#, "[]"] {
        assert_eq!(code(publish(message).await).0, "InvalidParameter", "{message}");
    }
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
    for (protocol, endpoint) in [("http", "http://example.com/"), ("https", "https://127.0.0.1/"), ("email", "a@b.c")] {
        let subscribe = local.sns.subscribe().topic_arn(&topic).protocol(protocol).endpoint(endpoint).send().await;
        assert_eq!(code(subscribe).0, "InvalidParameter", "{protocol}");
    }
}

/// An HTTP endpoint that answers each request with the next status. It keeps the headers and bodies that it gets.
async fn hook(statuses: &'static [u16]) -> (String, tokio::sync::mpsc::UnboundedReceiver<(String, Value)>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let (head, body) = loop {
                let read = stream.read_buf(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    if read == 0 || body.len() >= length.unwrap().parse().unwrap() {
                        break (head.to_owned(), body.to_owned());
                    }
                }
            };
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            sender.send((head, serde_json::from_str(&body).unwrap_or(Value::String(body)))).unwrap();
        }
    });
    (url, received)
}

#[tokio::test]
async fn http_subscriber_confirms_first_and_then_gets_what_is_published() {
    let local = Local::start().await;
    let topic = local.topic("t").await;
    let (url, mut received) = hook(&[200, 500, 200, 200]).await;
    let policy = r#"{"healthyRetryPolicy":{"numRetries":2,"minDelayTarget":0,"maxDelayTarget":0}}"#;
    let subscribe = local.sns.subscribe().topic_arn(&topic).protocol("http").endpoint(url);
    let pending = subscribe.attributes("DeliveryPolicy", policy).send().await.unwrap();
    assert_eq!(pending.subscription_arn(), Some("pending confirmation"));
    let (head, confirmation) = received.recv().await.unwrap();
    assert!(head.contains("x-amz-sns-message-type: SubscriptionConfirmation"), "{head}");
    local.sns.publish().topic_arn(&topic).message("too early").send().await.unwrap();
    let wrong = local.sns.confirm_subscription().topic_arn(&topic).token("wrong").send().await;
    assert_eq!(code(wrong).0, "InvalidParameter");
    // This follows the link as a browser does.
    let link = confirmation["SubscribeURL"].as_str().unwrap().strip_prefix(&local.server.url()).unwrap();
    let answer = crate::raw::call(local.server.addr(), "GET", link, "", b"").await;
    assert!(answer.contains(&format!("<SubscriptionArn>{topic}:")), "{answer}");

    local
        .sns
        .publish()
        .topic_arn(&topic)
        .message("hello")
        .message_attributes("kind", text("spike"))
        .send()
        .await
        .unwrap();
    let (_, refused) = received.recv().await.unwrap();
    let (head, notification) = received.recv().await.unwrap();
    assert_eq!(refused, notification, "tried again after a 500");
    assert!(
        head.contains("x-amz-sns-message-type: Notification") && head.contains("x-amz-sns-subscription-arn"),
        "{head}"
    );
    assert_eq!(
        (&notification["Message"], &notification["MessageAttributes"]["kind"]["Value"]),
        (&"hello".into(), &"spike".into())
    );

    let all = local.sns.list_subscriptions().send().await.unwrap();
    let subscription = all.subscriptions()[0].subscription_arn().unwrap();
    let raw = local.sns.set_subscription_attributes().subscription_arn(subscription);
    raw.attribute_name("RawMessageDelivery").attribute_value("true").send().await.unwrap();
    local.sns.publish().topic_arn(&topic).message("bare").send().await.unwrap();
    let (head, body) = received.recv().await.unwrap();
    assert!(head.contains("x-amz-sns-rawdelivery: true"), "{head}");
    assert_eq!(body, Value::String("bare".into()));
}

#[tokio::test]
async fn fifo_topic_drops_repeats_for_every_kind_of_queue_and_keeps_the_order() {
    let local = Local::start().await;
    let create = local.sns.create_topic().name("t.fifo").attributes("FifoTopic", "true");
    let topic = create.attributes("ContentBasedDeduplication", "true").send().await.unwrap().topic_arn.unwrap();
    let queue = local.sqs.create_queue().queue_name("q.fifo");
    let ordered = queue.attributes(QueueAttributeName::FifoQueue, "true").send().await.unwrap().queue_url.unwrap();
    let subscribe = local.sns.subscribe().topic_arn(&topic).protocol("sqs").attributes("RawMessageDelivery", "true");
    subscribe.endpoint("arn:aws:sqs:us-east-1:000000000000:q.fifo").send().await.unwrap();
    let (plain, _) = local.subscribed(&topic, "plain", &[("RawMessageDelivery", "true")]).await;
    let publish = |message: &str| local.sns.publish().topic_arn(&topic).message(message).message_group_id("g").send();
    let mut sequences = Vec::new();
    for message in ["1", "2", "1", "3"] {
        sequences.push(publish(message).await.unwrap().sequence_number.unwrap());
    }
    assert_eq!(sequences[0], sequences[2], "a repeat is told what it repeats");
    assert!(sequences[0] < sequences[1] && sequences[1] < sequences[3]);
    assert_eq!(local.bodies(&plain, 4).await, ["1", "2", "3"]);
    let receive = local.sqs.receive_message().queue_url(&ordered).max_number_of_messages(10);
    let messages = receive.send().await.unwrap().messages.unwrap();
    assert_eq!(messages.iter().map(|message| message.body().unwrap()).collect::<Vec<_>>(), ["1", "2", "3"]);
    let alone = local.sns.publish().topic_arn(&topic).message("x").send().await;
    assert_eq!(code(alone).0, "InvalidParameter", "a group is needed");
    let http = local.sns.subscribe().topic_arn(&topic).protocol("http").endpoint("http://127.0.0.1:1/").send().await;
    assert_eq!(code(http).0, "InvalidParameter", "FIFO topics deliver to queues");
}
