//! Starting, stopping, and what survives.

use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use localaws::{LocalAws, Options};

use crate::{Local, MOMENT, clients, code};

#[tokio::test]
async fn shutdown_is_quick_with_long_polls_open() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let polls: Vec<_> = (0..20)
        .map(|_| {
            let poll = local.sqs.receive_message().queue_url(&queue).wait_time_seconds(20);
            tokio::spawn(async move { poll.send().await })
        })
        .collect();
    tokio::time::sleep(MOMENT * 3).await;
    let start = Instant::now();
    local.server.shutdown().await;
    assert!(start.elapsed() < Duration::from_millis(250), "took {:?}", start.elapsed());
    for poll in polls {
        assert!(poll.await.unwrap().unwrap().messages.unwrap_or_default().is_empty(), "answered, with nothing");
    }
}

#[tokio::test]
async fn dropping_the_server_stops_it() {
    let local = Local::start().await;
    let addr = local.server.addr();
    drop(local.server);
    tokio::time::sleep(MOMENT).await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn objects_are_back_after_a_restart_with_all_that_is_known_of_them() {
    let local = Local::start().await;
    let bucket = local.bucket("lake").await;
    for key in ["kept/a", "kept//odd", "gone"] {
        let put = local.s3.put_object().bucket(bucket).key(key).metadata("rows", "7").content_type("text/x");
        put.body(ByteStream::from_static(b"data")).send().await.unwrap();
    }
    local.s3.delete_object().bucket(bucket).key("gone").send().await.unwrap();
    local.server.shutdown().await;
    std::fs::write(local.dir.path().join("lake/by-hand"), b"hello").unwrap();

    let again = LocalAws::start(Options::new(local.dir.path())).await.unwrap();
    let (s3, ..) = clients(&again.url(), "us-east-1").await;
    for key in ["kept/a", "kept//odd"] {
        let got = s3.get_object().bucket(bucket).key(key).send().await.unwrap();
        assert_eq!(got.content_type(), Some("text/x"));
        assert_eq!(got.metadata().unwrap()["rows"], "7");
        assert_eq!(got.body.collect().await.unwrap().to_vec(), b"data");
    }
    assert_eq!(code(s3.get_object().bucket(bucket).key("gone").send().await).0, "NoSuchKey");
    let by_hand = s3.head_object().bucket(bucket).key("by-hand").send().await.unwrap();
    assert_eq!(by_hand.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""), "a file put there becomes an object");
}

#[tokio::test]
async fn another_region_has_its_own_queues_and_not_this_bucket() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let bucket = local.bucket("lake").await;
    let (s3, _, sqs) = clients(&local.server.url(), "eu-west-1").await;
    let receive = code(sqs.receive_message().queue_url(&queue).send().await);
    assert_eq!(receive, ("AWS.SimpleQueueService.NonExistentQueue".to_owned(), 400));
    assert_eq!(sqs.list_queues().send().await.unwrap().queue_urls.unwrap_or_default(), [""; 0]);
    let put = s3.put_object().bucket(bucket).key("k").body(ByteStream::from_static(b"x")).send().await;
    let region =
        put.as_ref().unwrap_err().raw_response().unwrap().headers().get("x-amz-bucket-region").map(str::to_owned);
    assert_eq!(region.as_deref(), Some("us-east-1"));
    assert_eq!(code(put), ("PermanentRedirect".to_owned(), 301));
    assert_eq!(code(s3.head_bucket().bucket(bucket).send().await).1, 301);
}
