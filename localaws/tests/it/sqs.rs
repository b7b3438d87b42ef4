//! SQS. Behaviour over long times is tested beside the queue, with a clock that the tests turn.

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName as System, QueueAttributeName as Attribute, SendMessageBatchRequestEntry,
};

use crate::{Local, MOMENT, code};

fn entry(id: u32, body: impl Into<String>) -> SendMessageBatchRequestEntry {
    named(&id.to_string(), body)
}

fn named(id: &str, body: impl Into<String>) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap()
}

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
}

impl Local {
    async fn send(&self, queue: &str, body: &str) {
        self.sqs.send_message().queue_url(queue).message_body(body).send().await.unwrap();
    }

    async fn counts(&self, queue: &str) -> (String, String) {
        let all =
            self.sqs.get_queue_attributes().queue_url(queue).attribute_names(Attribute::All).send().await.unwrap();
        let all = all.attributes.unwrap();
        let take = |name| all.get(&name).cloned().unwrap();
        (take(Attribute::ApproximateNumberOfMessages), take(Attribute::ApproximateNumberOfMessagesNotVisible))
    }
}

#[tokio::test]
async fn queue_is_created_once_and_not_with_other_attributes() {
    let local = Local::start().await;
    let create = |seconds: &str| {
        local.sqs.create_queue().queue_name("q").attributes(Attribute::VisibilityTimeout, seconds).send()
    };
    let url = create("7").await.unwrap().queue_url.unwrap();
    assert_eq!(url, format!("{}/000000000000/q", local.server.url()));
    assert_eq!(create("7").await.unwrap().queue_url.unwrap(), url);
    assert_eq!(code(create("9").await).0, "QueueAlreadyExists");
    let missing = local.sqs.get_queue_url().queue_name("none").send().await;
    assert!(missing.unwrap_err().as_service_error().unwrap().is_queue_does_not_exist());
}

#[tokio::test]
async fn sent_message_comes_back_with_what_was_asked_for() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let body = "{\"u\":\"žluťoučký 🐎 \\n\\\"\"}\t\r\n";
    let send = local.sqs.send_message().queue_url(&queue).message_body(body).message_attributes("keep.a", text("1"));
    let sent = send.message_attributes("drop", text("2")).send().await.unwrap();
    let receive = local.sqs.receive_message().queue_url(&queue).visibility_timeout(0);
    let bare = receive.clone().send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!((bare.body.as_deref(), bare.message_id, bare.attributes), (Some(body), sent.message_id, None));
    assert_eq!(bare.message_attributes, None);
    let full = receive.message_system_attribute_names(System::All).message_attribute_names("keep.*");
    let full = full.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!(full.attributes.unwrap()[&System::ApproximateReceiveCount], "2");
    assert_eq!(full.message_attributes.unwrap().into_keys().collect::<Vec<_>>(), ["keep.a"]);
}

#[tokio::test]
async fn waiting_receiver_gets_what_arrives_at_once() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let poll = local.sqs.receive_message().queue_url(&queue).wait_time_seconds(10);
    let poll = tokio::spawn(async move { (poll.send().await, Instant::now()) });
    tokio::time::sleep(MOMENT * 3).await;
    let sent = Instant::now();
    local.send(&queue, "x").await;
    let (received, at) = poll.await.unwrap();
    assert_eq!(received.unwrap().messages.unwrap().len(), 1);
    assert!(at - sent < Duration::from_secs(5), "long before the poll ends: {:?}", at - sent);
}

#[tokio::test]
async fn waiting_receiver_gets_what_becomes_visible_again() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    // The second receive begins to wait while the message is in flight. Only the queue's timer can wake it.
    local.send(&queue, "x").await;
    let take = local.sqs.receive_message().queue_url(&queue).visibility_timeout(1).send().await.unwrap();
    assert_eq!(take.messages.unwrap().len(), 1);
    let start = Instant::now();
    let again = local.sqs.receive_message().queue_url(&queue).wait_time_seconds(10).send().await.unwrap();
    assert_eq!(again.messages.unwrap().len(), 1);
    assert!((Duration::from_millis(800)..Duration::from_secs(8)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn abandoned_polls_take_nothing() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    for _ in 0..10 {
        let poll = local.sqs.receive_message().queue_url(&queue).max_number_of_messages(10).wait_time_seconds(20);
        let poll = tokio::spawn(async move { poll.send().await });
        tokio::time::sleep(MOMENT / 2).await;
        poll.abort();
    }
    tokio::time::sleep(MOMENT * 2).await;
    for body in ["1", "2", "3"] {
        local.send(&queue, body).await;
    }
    assert_eq!(local.bodies(&queue, 3).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn many_receivers_get_each_message_once() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let (sqs, queue) = (local.sqs.clone(), queue.clone());
            tokio::spawn(async move {
                let mut bodies = Vec::new();
                loop {
                    let poll = sqs.receive_message().queue_url(&queue).max_number_of_messages(10).wait_time_seconds(2);
                    let messages = poll.send().await.unwrap().messages.unwrap_or_default();
                    if messages.is_empty() {
                        return bodies;
                    }
                    bodies.extend(messages.into_iter().map(|message| message.body.unwrap()));
                }
            })
        })
        .collect();
    for batch in 0..30 {
        let entries = (0..10).map(|index| entry(index, format!("{:03}", batch * 10 + index))).collect();
        local.sqs.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await.unwrap();
    }
    let mut all = Vec::new();
    for receiver in receivers {
        all.extend(receiver.await.unwrap());
    }
    all.sort();
    assert_eq!(all, (0..300).map(|index| format!("{index:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn batches_are_deleted_and_bad_handles_fail_alone() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    local.send(&queue, "x").await;
    let message = local.sqs.receive_message().queue_url(&queue).send().await.unwrap().messages.unwrap().remove(0);
    let handle = message.receipt_handle.unwrap();
    let delete = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
    };
    let batch = local.sqs.delete_message_batch().queue_url(&queue);
    let answer = batch.entries(delete("good", &handle)).entries(delete("bad", "nonsense")).send().await.unwrap();
    assert_eq!((answer.successful[0].id.as_str(), answer.failed[0].id.as_str()), ("good", "bad"));
    assert_eq!(answer.failed[0].code, "ReceiptHandleIsInvalid");
    assert_eq!(local.counts(&queue).await, ("0".to_owned(), "0".to_owned()));
    let change = ChangeMessageVisibilityBatchRequestEntry::builder().id("gone").receipt_handle(&handle);
    let change = change.visibility_timeout(30).build().unwrap();
    let answer = local.sqs.change_message_visibility_batch().queue_url(&queue).entries(change).send().await.unwrap();
    assert_eq!(answer.failed[0].code, "InvalidParameterValue");
}

#[tokio::test]
async fn one_mebibyte_is_taken_and_no_byte_more() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let mebibyte = "x".repeat(1_048_576);
    local.send(&queue, &mebibyte).await;
    assert_eq!(local.bodies(&queue, 1).await, [&*mebibyte]);
    let send = |body: String| local.sqs.send_message().queue_url(&queue).message_body(body).send();
    assert_eq!(code(send(mebibyte.clone() + "x").await).0, "InvalidParameterValue");
    assert_eq!(code(send("a\u{1}b".to_owned()).await).0, "InvalidMessageContents");
    let halves = [entry(1, &mebibyte[..524_288]), entry(2, &mebibyte[..524_289])];
    let batch = local.sqs.send_message_batch().queue_url(&queue).set_entries(Some(halves.into())).send().await;
    assert_eq!(code(batch).0, "AWS.SimpleQueueService.BatchRequestTooLong");
}

#[tokio::test]
async fn batches_with_wrong_entries_are_refused_whole() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let send = |entries: Vec<_>| local.sqs.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send();
    for (entries, expected) in [
        (vec![], "EmptyBatchRequest"),
        ((0..11).map(|id| entry(id, "x")).collect(), "TooManyEntriesInBatchRequest"),
        (vec![entry(1, "x"), entry(1, "y")], "BatchEntryIdsNotDistinct"),
        (vec![named("a b", "x")], "InvalidBatchEntryId"),
    ] {
        assert_eq!(code(send(entries).await), (format!("AWS.SimpleQueueService.{expected}"), 400));
    }
}

#[tokio::test]
async fn poison_goes_to_the_dead_letter_queue() {
    let local = Local::start().await;
    let dead = local.queue("dead").await;
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":1}"#;
    let create = local.sqs.create_queue().queue_name("q").attributes(Attribute::RedrivePolicy, policy);
    let queue = create.send().await.unwrap().queue_url.unwrap();
    let sources = local.sqs.list_dead_letter_source_queues().queue_url(&dead).send().await.unwrap().queue_urls;
    assert_eq!(sources, [&*queue]);
    local
        .sqs
        .send_message()
        .queue_url(&queue)
        .message_body("poison")
        .message_attributes("k", text("v"))
        .send()
        .await
        .unwrap();
    let take = || local.sqs.receive_message().queue_url(&queue).visibility_timeout(0).send();
    assert_eq!(take().await.unwrap().messages.unwrap().len(), 1);
    assert_eq!(take().await.unwrap().messages, None);
    let receive = local.sqs.receive_message().queue_url(&dead).message_attribute_names("All");
    let receive = receive.message_system_attribute_names(System::DeadLetterQueueSourceArn).send().await.unwrap();
    let message = receive.messages.unwrap().remove(0);
    assert_eq!(message.body.as_deref(), Some("poison"));
    assert_eq!(message.attributes.unwrap()[&System::DeadLetterQueueSourceArn], "arn:aws:sqs:us-east-1:000000000000:q");
    assert!(message.message_attributes.unwrap().contains_key("k"));
}

#[tokio::test]
async fn deleting_a_queue_ends_the_polls_on_it() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let poll = local.sqs.receive_message().queue_url(&queue).wait_time_seconds(20);
    let poll = tokio::spawn(async move { poll.send().await });
    tokio::time::sleep(MOMENT * 2).await;
    local.sqs.delete_queue().queue_url(&queue).send().await.unwrap();
    let missing = "AWS.SimpleQueueService.NonExistentQueue";
    assert_eq!(code(poll.await.unwrap()).0, missing);
    assert_eq!(code(local.sqs.send_message().queue_url(&queue).message_body("x").send().await).0, missing);
}

#[tokio::test]
async fn fifo_groups_are_ordered_locked_and_free_of_repeats() {
    let local = Local::start().await;
    let create = local.sqs.create_queue().queue_name("q.fifo").attributes(Attribute::FifoQueue, "true");
    let queue =
        create.attributes(Attribute::ContentBasedDeduplication, "true").send().await.unwrap().queue_url.unwrap();
    for index in 0..12 {
        let group = if index % 2 == 0 { "even" } else { "odd" };
        for _ in 0..2 {
            let send = local.sqs.send_message().queue_url(&queue).message_body(index.to_string());
            send.message_group_id(group).send().await.unwrap();
        }
    }
    let receive = || local.sqs.receive_message().queue_url(&queue).max_number_of_messages(4);
    let take = async || {
        let messages = receive().send().await.unwrap().messages.unwrap_or_default();
        messages.into_iter().map(|message| (message.body.unwrap(), message.receipt_handle.unwrap())).collect::<Vec<_>>()
    };
    let bodies = |taken: &[(String, String)]| taken.iter().map(|(body, _)| body.clone()).collect::<Vec<_>>();
    let (first, second) = (take().await, take().await);
    assert_eq!(bodies(&first), ["0", "2", "4", "6"], "as many of one group as there is room for");
    assert_eq!(bodies(&second), ["1", "3", "5", "7"], "the other group: the first is locked");
    assert!(take().await.is_empty(), "both are locked");
    for (_, handle) in &first {
        local.sqs.delete_message().queue_url(&queue).receipt_handle(handle).send().await.unwrap();
    }
    assert_eq!(bodies(&take().await), ["8", "10"]);
    let missing = local.sqs.send_message().queue_url(&queue).message_body("x").send().await;
    assert_eq!(code(missing).0, "MissingParameter", "a group is needed");
    let delayed = local.sqs.send_message().queue_url(&queue).message_body("x").message_group_id("g").delay_seconds(1);
    assert_eq!(code(delayed.send().await).0, "InvalidParameterValue", "no delay of its own");
}

#[tokio::test]
async fn message_whose_dead_letter_queue_is_gone_is_delivered_on() {
    let local = Local::start().await;
    let dead = local.queue("dead").await;
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":1}"#;
    let create = local.sqs.create_queue().queue_name("q").attributes(Attribute::RedrivePolicy, policy);
    let queue = create.send().await.unwrap().queue_url.unwrap();
    local.send(&queue, "x").await;
    let take = || local.sqs.receive_message().queue_url(&queue).visibility_timeout(0).send();
    assert_eq!(take().await.unwrap().messages.unwrap().len(), 1);
    local.sqs.delete_queue().queue_url(&dead).send().await.unwrap();
    assert_eq!(take().await.unwrap().messages.unwrap().len(), 1, "not lost");
}
