//! Starting and stopping, and what survives a restart.

use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use localaws::{LocalAws, Options};

use crate::{
    Local, MOMENT, clients, code,
    raw::{Raw, body, call, status},
};

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
    assert!(start.elapsed() < Duration::from_secs(10), "not after the polls: {:?}", start.elapsed());
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

#[tokio::test]
async fn addresses_that_others_reach_are_refused_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let anywhere = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::new(dir.path()) };
    let error = LocalAws::start(anywhere).await.unwrap_err().to_string();
    assert!(error.contains("0.0.0.0:0") && error.contains("not on loopback"), "{error}");
    let odd = Options { region: "../x".to_owned(), ..Options::new(dir.path()) };
    assert!(LocalAws::start(odd).await.unwrap_err().to_string().contains("../x"));
}

#[tokio::test]
async fn no_encoding_of_a_key_leaves_the_data_directory() {
    let local = Local::start().await;
    local.bucket("lake").await;
    let addr = local.server.addr();
    let overlong = format!("/lake/{}", "..%2f".repeat(200));
    let targets = [
        "/lake/../../escape",
        "/lake/%2e%2e/%2e%2e/escape",
        "/lake/..%2f..%2fescape",
        "/lake//etc/passwd",
        "/lake/%2fetc%2fpasswd",
        "/lake/a/..%5c..%5cescape",
        "/lake/nul%00/../escape",
        "/../escape",
        "/%2e%2e/escape",
        "/..%2f..%2fescape/key",
        "/.localaws/queues/us-east-1/q.jsonl",
        "/.localaws/topics.json",
        &overlong,
    ];
    let root = local.dir.path().parent().unwrap();
    let outside = |folder: &std::path::Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (within, hidden) = (outside(local.dir.path()), outside(&local.dir.path().join(".localaws")));
    for target in targets {
        for method in ["PUT", "GET", "DELETE", "PUT"] {
            let answer = call(addr, method, target, "", b"x").await;
            assert!((200..500).contains(&status(&answer)), "{method} {target}: {answer}");
            assert!(!answer.contains("root:"), "{method} {target}");
        }
    }
    assert_eq!(outside(local.dir.path()), within);
    assert_eq!(outside(&local.dir.path().join(".localaws")), hidden);
    assert!(!root.join("escape").exists() && !root.parent().unwrap().join("escape").exists());
}

#[tokio::test]
async fn malformed_requests_get_the_errors_of_their_service_and_leave_the_queue_alone() {
    let local = Local::start().await;
    let queue = local.queue("q").await;
    let addr = local.server.addr();
    let sqs = |operation: &str| format!("x-amz-target: AmazonSQS.{operation}\r\n");
    for (operation, sent) in [
        ("SendMessage", &b""[..]),
        ("SendMessage", b"{"),
        ("SendMessage", b"[]"),
        ("SendMessage", b"{\"QueueUrl\":7}"),
        ("SendMessage", b"\xff\xfe"),
        ("ReceiveMessage", b"{\"MaxNumberOfMessages\":1e999}"),
        ("Nonsense", b"{}"),
        ("", b"{}"),
    ] {
        let answer = call(addr, "POST", "/", &sqs(operation), sent).await;
        assert_eq!(status(&answer), 400, "{operation}: {answer}");
        assert!(answer.contains("x-amzn-query-error") && body(&answer).contains("__type"), "{answer}");
    }
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    for sent in ["", "Action", "Action=Nonsense", "Action=Publish&TopicArn=%FF", "&&=&=", "Action=Subscribe"] {
        let answer = call(addr, "POST", "/", form, sent.as_bytes()).await;
        assert_eq!(status(&answer), 400, "{sent}: {answer}");
        assert!(body(&answer).contains("<ErrorResponse"), "{answer}");
    }
    let xml =
        [("POST", "/lake?delete"), ("POST", "/lake/k?uploadId=x"), ("PUT", "/lake?versioning"), ("PATCH", "/lake/k")];
    for (method, target) in xml {
        let answer = call(addr, method, target, "", b"<a><b></a>").await;
        assert!(
            (400..502).contains(&status(&answer)) && body(&answer).contains("<Error>"),
            "{method} {target}: {answer}"
        );
    }
    // These are a body that never comes, a length that lies, and no HTTP at all.
    for bytes in [
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: AmazonSQS.SendMessage\r\ncontent-length: 10\r\n\r\n{}",
        "PUT /lake/k HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "\0\0\0\0",
    ] {
        let mut raw = Raw::connect(addr).await;
        raw.write(bytes).await;
        drop(raw);
    }
    local.sqs.send_message().queue_url(&queue).message_body("m").send().await.unwrap();
    assert_eq!(local.bodies(&queue, 1).await, ["m"]);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let local = Local::start().await;
    let addr = local.server.addr();
    let huge = vec![b'x'; 9 * 1024 * 1024];
    let answer = call(addr, "POST", "/", "x-amz-target: AmazonSQS.SendMessage\r\n", &huge).await;
    // The server refuses the request while the client still sends. The client may see the answer or only the end of the
    // connection.
    assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let answer = call(addr, "POST", "/", form, &huge).await;
    assert!(answer.is_empty() || status(&answer) == 413, "{answer}");
}

#[tokio::test]
async fn folder_belongs_to_one_server_at_a_time() {
    let local = Local::start().await;
    let second = LocalAws::start(Options::new(local.dir.path())).await.unwrap_err();
    let cause = std::error::Error::source(&second).unwrap().to_string();
    assert!(second.to_string().contains(&local.dir.path().display().to_string()), "{second}");
    assert_eq!(cause, "another server uses it");
    local.server.shutdown().await;
    LocalAws::start(Options::new(local.dir.path())).await.unwrap();
}
