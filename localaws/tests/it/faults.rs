//! Faults that tests switch on, as the SDK sees them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName as System, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use localaws::FaultKind;

use crate::{
    Local, code,
    raw::{body, call, status},
};

fn entry(id: usize) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(format!("m{id}")).build().unwrap()
}

#[tokio::test]
async fn denied_actions_are_worded_as_each_service_words_them() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let bucket = local.bucket("lake").await;
    let topic = local.sns.create_topic().name("t").send().await.unwrap().topic_arn.unwrap();
    let faults = local.server.faults();
    for action in ["sqs:ReceiveMessage", "s3:PutObject", "s3:ListBucket", "sns:Publish"] {
        faults.deny(action);
    }
    let receive = code(local.sqs.receive_message().queue_url(&queue).send().await);
    assert_eq!(receive, ("AccessDenied".to_owned(), 403));
    let put = code(local.s3.put_object().bucket(bucket).key("k").body(ByteStream::from_static(b"x")).send().await);
    assert_eq!(put, ("AccessDenied".to_owned(), 403));
    assert_eq!(code(local.s3.head_bucket().bucket(bucket).send().await).1, 403);
    let publish = code(local.sns.publish().topic_arn(&topic).message("m").send().await);
    assert_eq!(publish, ("AuthorizationError".to_owned(), 403));
    faults.clear();
    local.sqs.receive_message().queue_url(&queue).send().await.unwrap();
    assert_eq!(faults.calls("sqs:ReceiveMessage"), 2);
}

#[tokio::test]
async fn failing_s3_fails_and_stores_nothing() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    let put = || local.s3.put_object().bucket(bucket).key("k").body(ByteStream::from_static(b"x")).send();
    for (kind, expected) in [
        (FaultKind::Status(503), ("ServiceUnavailable", 503)),
        (FaultKind::SlowDown, ("SlowDown", 503)),
        (FaultKind::InternalError, ("InternalError", 500)),
        (
            FaultKind::Code { status: 409, code: "ConditionalRequestConflict".into() },
            ("ConditionalRequestConflict", 409),
        ),
    ] {
        local.server.faults().fail("s3:*", kind);
        assert_eq!(code(put().await), (expected.0.to_owned(), expected.1));
        local.server.faults().clear();
    }
    local.server.faults().add("s3:PutObject=reset".parse().unwrap());
    assert_eq!(code(put().await).1, 0, "no answer at all");
    local.server.faults().clear();
    assert_eq!(code(local.s3.get_object().bucket(bucket).key("k").send().await).0, "NoSuchKey");
    put().await.unwrap();
}

#[tokio::test]
async fn delays_delay() {
    let local = Local::start().await;
    local.server.faults().add("sqs:ListQueues=delay:300ms".parse().unwrap());
    let start = Instant::now();
    local.sqs.list_queues().send().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn batches_fail_by_half() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    local.server.faults().add("sqs:SendMessage=fail-entries@1/2".parse().unwrap());
    let sent = local.sqs.send_message_batch().queue_url(&queue).set_entries(Some((0..4).map(entry).collect()));
    let sent = sent.send().await.unwrap();
    let ids: Vec<_> = sent.failed.iter().map(|failed| (failed.id.as_str(), failed.sender_fault)).collect();
    assert_eq!(ids, [("1", false), ("3", false)]);
    assert_eq!(local.bodies(&queue, 4).await, ["m0", "m2"]);
}

#[tokio::test]
async fn old_receipts_count_where_they_are_said_to() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    local.sqs.send_message().queue_url(&queue).message_body("m").send().await.unwrap();
    let receive = async || {
        let receive = local.sqs.receive_message().queue_url(&queue).visibility_timeout(1).wait_time_seconds(3);
        let received = receive.send().await.unwrap().messages.unwrap_or_default();
        received.first().and_then(|message| message.receipt_handle.clone())
    };
    let delete = async |receipt: &Option<String>| {
        let entry = DeleteMessageBatchRequestEntry::builder().id("0").set_receipt_handle(receipt.clone());
        local.sqs.delete_message_batch().queue_url(&queue).entries(entry.build().unwrap()).send().await.unwrap();
    };
    let (first, second) = (receive().await, receive().await);
    delete(&first).await;
    assert!(receive().await.is_some(), "the first receipt is worth nothing any more");
    local.server.faults().add("sqs:*=old-receipts".parse().unwrap());
    delete(&second).await;
    assert_eq!(receive().await, None);
}

#[tokio::test]
async fn large_upload_that_is_refused_gets_its_answer() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    local.server.faults().fail("s3:PutObject", FaultKind::SlowDown);
    for _ in 0..3 {
        let body = ByteStream::from(vec![7; 8 * 1024 * 1024]);
        let put = local.s3.put_object().bucket(bucket).key("k").body(body).send().await;
        assert_eq!(code(put), ("SlowDown".to_owned(), 503));
    }
    local.server.faults().clear();
    let missing = local.s3.put_object().bucket("no-such-bucket").key("k").body(ByteStream::from(vec![7; 1 << 20]));
    assert_eq!(code(missing.send().await), ("NoSuchBucket".to_owned(), 404));
}

#[tokio::test]
async fn answers_get_lost_after_the_deed_is_done() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let bucket = local.bucket("lake").await;
    let switch = |fault: &str| local.server.faults().set(vec![fault.parse().unwrap()], 0);
    switch("sqs:SendMessage=lose-answer");
    assert_eq!(code(local.sqs.send_message().queue_url(&queue).message_body("m").send().await).1, 0);
    switch("sqs:SendMessage=cut-answer");
    assert_eq!(code(local.sqs.send_message().queue_url(&queue).message_body("n").send().await).0, "none");
    assert_eq!(local.bodies(&queue, 2).await, ["m", "n"]);
    local.s3.put_object().bucket(bucket).key("k").body(ByteStream::from(vec![7; 100_000])).send().await.unwrap();
    switch("s3:GetObject=cut-answer");
    let half = local.s3.get_object().bucket(bucket).key("k").send().await.unwrap();
    assert_eq!(half.content_length(), Some(100_000));
    assert!(half.body.collect().await.is_err(), "the connection broke in the middle");
    switch("s3:PutObject=lose-answer");
    let put = local.s3.put_object().bucket(bucket).key("late").if_none_match("*");
    assert_eq!(code(put.body(ByteStream::from_static(b"x")).send().await).1, 0);
    local.server.faults().clear();
    local.s3.head_object().bucket(bucket).key("late").send().await.unwrap();
}

#[tokio::test]
async fn rates_are_kept_per_prefix() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    local.server.faults().add("s3:PutObject=rate:2".parse().unwrap());
    let put = async |key: &str| {
        let put = local.s3.put_object().bucket(bucket).key(key).body(ByteStream::from_static(b"x"));
        put.send().await.is_ok()
    };
    let mut refused = 0;
    for index in 0..20 {
        refused += u32::from(!put(&format!("a/{index}")).await);
    }
    assert!(refused > 0, "twenty at once are more than two a second");
    assert!(put("b/0").await, "another prefix has a rate of its own");
}

#[tokio::test]
async fn queue_is_as_rude_as_it_is_told_to_be() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let send = async |count: usize| {
        for id in 0..count {
            local.sqs.send_message().queue_url(&queue).message_body(format!("{id:02}")).send().await.unwrap();
        }
    };
    let switch = |faults: &[&str]| {
        local.server.faults().set(faults.iter().map(|fault| fault.parse().unwrap()).collect(), 3);
    };
    // Messages are delivered again, each copy with its own count.
    send(10).await;
    switch(&["sqs:ReceiveMessage=duplicate"]);
    let receive = || {
        let receive = local.sqs.receive_message().queue_url(&queue).max_number_of_messages(10);
        receive.message_system_attribute_names(System::ApproximateReceiveCount).send()
    };
    let (first, again) = (receive().await.unwrap().messages.unwrap(), receive().await.unwrap().messages.unwrap());
    let ids =
        |messages: &[Message]| messages.iter().map(|message| message.message_id.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&again), "the same messages");
    let counts = again.iter().map(|message| message.attributes.clone().unwrap().into_values().next().unwrap());
    assert!(counts.into_iter().all(|count| count == "1"));
    local.server.faults().clear();
    local.sqs.purge_queue().queue_url(&queue).send().await.unwrap();

    // Messages come in another order, and none is lost.
    send(50).await;
    switch(&["sqs:ReceiveMessage=shuffle:50"]);
    let mut bodies = Vec::new();
    while bodies.len() < 50 {
        bodies.extend(receive().await.unwrap().messages.unwrap().into_iter().map(|message| message.body.unwrap()));
    }
    assert!(!bodies.is_sorted(), "{bodies:?}");
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 50);

    // Short polls see only some messages. Long polls see all.
    send(10).await;
    switch(&["sqs:ReceiveMessage=sample:0%"]);
    assert_eq!(receive().await.unwrap().messages, None, "there are ten, and none was looked at");
    let long = local.sqs.receive_message().queue_url(&queue).max_number_of_messages(10).wait_time_seconds(1);
    assert_eq!(long.send().await.unwrap().messages.unwrap().len(), 10);

    // Counts are old.
    let visible = async || {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let counts = local.sqs.get_queue_attributes().queue_url(&queue).attribute_names(name.clone()).send().await;
        counts.unwrap().attributes.unwrap().remove(&name).unwrap()
    };
    switch(&["sqs:GetQueueAttributes=stale:3600s"]);
    assert_eq!(visible().await, "0");
    send(5).await;
    assert_eq!(visible().await, "0", "so far as it was told before");
    local.server.faults().clear();
    assert_eq!(visible().await, "5");
}

/// Everything that a queue delivers in a second and a half: id, body, receive count and receipt of each delivery.
async fn deliveries(local: &Local, queue: &str) -> Vec<(String, String, String, String)> {
    let (mut all, end) = (Vec::new(), Instant::now() + Duration::from_millis(1500));
    while Instant::now() < end {
        let receive = local.sqs.receive_message().queue_url(queue).max_number_of_messages(10).wait_time_seconds(1);
        let receive = receive.message_system_attribute_names(System::ApproximateReceiveCount);
        for message in receive.send().await.unwrap().messages.unwrap_or_default() {
            let count = message.attributes.unwrap().remove(&System::ApproximateReceiveCount).unwrap();
            let (id, body) = (message.message_id.unwrap(), message.body.unwrap());
            all.push((id, body, count, message.receipt_handle.unwrap()));
        }
    }
    all
}

#[tokio::test]
async fn every_nth_message_is_handed_out_again_with_the_count_that_was_asked_for() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let faults = local.server.faults();
    faults.add("sqs:ReceiveMessage=again:10:500ms@7".parse().unwrap());
    for id in 0..4 {
        let batch = local.sqs.send_message_batch().queue_url(&queue);
        batch.set_entries(Some((id * 10..id * 10 + 10).map(entry).collect())).send().await.unwrap();
    }
    let all = deliveries(&local, &queue).await;
    assert_eq!((all.len(), faults.calls("sqs:again")), (44, 4));
    let mut deliveries_of = BTreeMap::<_, Vec<_>>::new();
    for (id, body, count, receipt) in &all {
        deliveries_of.entry((id, body)).or_default().push((count.as_str(), receipt.as_str()));
    }
    assert_eq!(deliveries_of.len(), 40, "a copy has the id and the body of its message");
    deliveries_of.retain(|_, deliveries| deliveries.len() > 1);
    assert_eq!(deliveries_of.len(), 4);
    for deliveries in deliveries_of.values_mut() {
        deliveries.sort_unstable();
        assert!(matches!(deliveries[..], [("1", first), ("7", second)] if first != second), "{deliveries:?}");
    }

    // Any of the receipts deletes the message with its copy, and changes the visibility of its own delivery.
    let change = local.sqs.change_message_visibility().queue_url(&queue).visibility_timeout(0);
    for ((id, _), deliveries) in deliveries_of {
        let (_, copy) = deliveries[1];
        change.clone().receipt_handle(copy).send().await.unwrap();
        let back = local.sqs.receive_message().queue_url(&queue).send().await.unwrap().messages.unwrap().remove(0);
        assert_eq!(back.message_id.as_ref(), Some(id));
        let delete = local.sqs.delete_message().queue_url(&queue).receipt_handle(back.receipt_handle.unwrap());
        delete.send().await.unwrap();
        assert_eq!(code(change.clone().receipt_handle(deliveries[0].1).send().await).0, "InvalidParameterValue");
    }
}

#[tokio::test]
async fn deleted_message_is_handed_out_again_where_that_was_asked_for() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let faults = local.server.faults();
    faults.add("sqs:ReceiveMessage=again-deleted:1:100ms@2".parse().unwrap());
    local.sqs.send_message().queue_url(&queue).message_body("m").send().await.unwrap();
    let [first] = &deliveries(&local, &queue).await[..] else { panic!("once, before it is deleted") };
    local.sqs.delete_message().queue_url(&queue).receipt_handle(&first.3).send().await.unwrap();
    let [copy] = &deliveries(&local, &queue).await[..] else { panic!("once, after it was deleted") };
    assert_eq!((&copy.0, copy.2.as_str()), (&first.0, "2"));
    assert_eq!((faults.calls("sqs:again"), faults.calls("sqs:again-deleted")), (0, 1));
}

#[tokio::test]
async fn faults_are_switched_by_a_call_while_it_runs() {
    let local = Local::start().await;
    let admin = async |method: &str, what: &str, sent: &str| {
        let answer = call(local.server.addr(), method, &format!("/_localaws/{what}"), "", sent.as_bytes()).await;
        (status(&answer), body(&answer).to_owned())
    };
    let on = admin("PUT", "faults", r#"["sqs:ListQueues=throttle","s3:*=delay:1ms@10%"]"#).await;
    assert_eq!(on, (200, r#"{"faults":["sqs:ListQueues=throttle","s3:*=delay:1ms@10%"]}"#.to_owned()));
    assert_eq!(code(local.sqs.list_queues().send().await), ("ThrottlingException".to_owned(), 400));
    assert_eq!(admin("GET", "faults", "").await, on);
    let (refused, why) = admin("PUT", "faults", r#"{"seed":1,"faults":["sqs:ListQueues=explode"]}"#).await;
    assert_eq!(refused, 400);
    assert!(why.contains("explode") && why.contains("none of deny"), "{why}");
    assert_eq!(admin("GET", "faults", "").await, on, "nothing has changed");
    assert_eq!(admin("DELETE", "faults", "").await, (200, r#"{"faults":[]}"#.to_owned()));
    local.sqs.list_queues().send().await.unwrap();
    assert!(admin("GET", "calls", "").await.1.contains(r#""sqs:ListQueues":2"#));
    assert_eq!(admin("GET", "nonsense", "").await.0, 404);
    assert_eq!(admin("POST", "faults", "").await.0, 405);
}
