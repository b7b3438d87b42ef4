//! Faults that tests switch on, as the SDK sees them.

use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use localaws::FaultKind;

use crate::{Local, code};

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
        (FaultKind::Code { status: 409, code: "ConditionalRequestConflict" }, ("ConditionalRequestConflict", 409)),
    ] {
        local.server.faults().fail("s3:*", kind);
        assert_eq!(code(put().await), (expected.0.to_owned(), expected.1));
        local.server.faults().clear();
    }
    local.server.faults().reset("s3:PutObject");
    assert_eq!(code(put().await).1, 0, "no answer at all");
    local.server.faults().clear();
    assert_eq!(code(local.s3.get_object().bucket(bucket).key("k").send().await).0, "NoSuchKey");
    put().await.unwrap();
}

#[tokio::test]
async fn delays_delay() {
    let local = Local::start().await;
    local.server.faults().delay("sqs:ListQueues", Duration::from_millis(300));
    let start = Instant::now();
    local.sqs.list_queues().send().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn batches_fail_by_half() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    local.server.faults().fail_entries("sqs:SendMessage", 2);
    let sent = local.sqs.send_message_batch().queue_url(&queue).set_entries(Some((0..4).map(entry).collect()));
    let sent = sent.send().await.unwrap();
    let ids: Vec<_> = sent.failed.iter().map(|failed| (failed.id.as_str(), failed.sender_fault)).collect();
    assert_eq!(ids, [("1", false), ("3", false)]);
    assert_eq!(local.bodies(&queue, 4).await, ["m0", "m2"]);
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
