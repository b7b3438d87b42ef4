//! Signatures, if the server knows the credentials.

use std::time::Duration;

use aws_sdk_s3::{
    config::{ConfigBag, Credentials, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
    presigning::PresigningConfig,
    primitives::{ByteStream, SdkBody},
};
use localaws::{LocalAws, Options};
use tempfile::TempDir;

use crate::{
    code,
    raw::{call, status},
};

async fn as_user(url: &str, id: &str, secret: &str) -> (aws_sdk_s3::Client, aws_sdk_sns::Client, aws_sdk_sqs::Client) {
    crate::clients_of(url, "us-east-1", Credentials::new(id, secret, None, None, "test")).await
}

async fn start() -> (TempDir, LocalAws) {
    let dir = TempDir::new().unwrap();
    let credentials = [("AKID".to_owned(), "right".to_owned())].into();
    let server = LocalAws::start(Options { credentials, ..Options::new(dir.path()) }).await.unwrap();
    (dir, server)
}

#[tokio::test]
async fn sdk_of_the_right_user_may_do_everything() {
    let (dir, server) = start().await;
    let (s3, sns, sqs) = as_user(&server.url(), "AKID", "right").await;
    sqs.create_queue().queue_name("q").send().await.unwrap();
    sns.create_topic().name("t").attributes("DisplayName", "a b+c/ü").send().await.unwrap();
    s3.create_bucket().bucket("lake").send().await.unwrap();
    for key in ["plain", "dt=1/a b+c%20ü&'(x)", "a//b", "~tilde_-."] {
        let body = ByteStream::from(vec![7; 100_000]);
        s3.put_object().bucket("lake").key(key).body(body).metadata("spaced", "a  b").send().await.unwrap();
        s3.get_object().bucket("lake").key(key).range("bytes=0-9").send().await.unwrap();
    }
    let list = s3.list_objects_v2().bucket("lake").prefix("dt=1/a b+").delimiter("/").max_keys(3).send().await.unwrap();
    assert_eq!(list.contents().len(), 1);
    let path = dir.path().join("upload");
    std::fs::write(&path, vec![1; 200_000]).unwrap();
    let streamed = ByteStream::from_path(&path).await.unwrap();
    s3.put_object().bucket("lake").key("streamed").body(streamed).send().await.unwrap();
}

#[tokio::test]
async fn strangers_and_wrong_secrets_are_refused_as_each_service_refuses_them() {
    let (_dir, server) = start().await;
    for (id, secret, expected) in [
        ("AKID", "wrong", ["SignatureDoesNotMatch"; 3]),
        ("OTHER", "right", ["InvalidAccessKeyId", "InvalidClientTokenId", "InvalidClientTokenId"]),
    ] {
        let (s3, sns, sqs) = as_user(&server.url(), id, secret).await;
        let found = [
            code(s3.create_bucket().bucket("lake").send().await),
            code(sns.create_topic().name("t").send().await),
            code(sqs.create_queue().queue_name("q").send().await),
        ];
        assert_eq!(found, expected.map(|code| (code.to_owned(), 403)));
    }
    let unsigned = call(server.addr(), "PUT", "/lake", "", b"").await;
    assert!(unsigned.contains("<Code>AccessDenied</Code>"), "{unsigned}");
    assert_eq!(server.faults().calls("s3:CreateBucket"), 0, "none of them got in");
}

#[tokio::test]
async fn presigned_urls_are_good_for_what_they_were_signed_for() {
    let (_dir, server) = start().await;
    let (s3, ..) = as_user(&server.url(), "AKID", "right").await;
    s3.create_bucket().bucket("lake").send().await.unwrap();
    s3.put_object().bucket("lake").key("a b").body(ByteStream::from_static(b"x")).send().await.unwrap();
    let for_a_minute = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let url = s3.get_object().bucket("lake").key("a b").presigned(for_a_minute).await.unwrap();
    let target = url.uri().strip_prefix(&server.url()).unwrap();
    let get = async |target: &str| {
        let host = format!("host: {}\r\n", server.addr());
        let mut raw = crate::raw::Raw::connect(server.addr()).await;
        raw.write(format!("GET {target} HTTP/1.1\r\n{host}connection: close\r\n\r\n")).await;
        raw.read().await
    };
    assert_eq!(status(&get(target).await), 200);
    assert_eq!(status(&get(&target.replace("a%20b", "a%20c")).await), 403);
    assert_eq!(status(&get(&target.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).await), 403);
}

/// Replaces the body after it was signed.
#[derive(Debug)]
struct Replace;

impl Intercept for Replace {
    fn name(&self) -> &'static str {
        "Replace"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *context.request_mut().body_mut() = SdkBody::from(vec![8; 1000]);
        Ok(())
    }
}

#[tokio::test]
async fn body_that_is_not_the_one_signed_is_refused() {
    let (_dir, server) = start().await;
    let (s3, ..) = as_user(&server.url(), "AKID", "right").await;
    s3.create_bucket().bucket("lake").send().await.unwrap();
    let put = || s3.put_object().bucket("lake").key("k").body(ByteStream::from(vec![7; 1000]));
    put().send().await.unwrap();
    let replaced = put().customize().interceptor(Replace).send().await;
    assert_eq!(code(replaced), ("XAmzContentSHA256Mismatch".to_owned(), 400));
}

#[tokio::test]
async fn unsigned_links_do_only_what_they_carry_a_secret_for() {
    let (_dir, server) = start().await;
    for action in ["CreateTopic&Name=t", "ListTopics", "Publish&TopicArn=x&Message=m"] {
        let answer = call(server.addr(), "GET", &format!("/?Action={action}"), "", b"").await;
        assert_eq!(status(&answer), 403, "{answer}");
    }
    let confirm = "/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:000000000000:t&Token=x";
    let answer = call(server.addr(), "GET", confirm, "", b"").await;
    assert_eq!(status(&answer), 404, "it may ask, and there is no such topic: {answer}");
    for method in ["GET", "PUT", "DELETE"] {
        let answer = call(server.addr(), method, "/_localaws/faults", "", b"[]").await;
        assert_eq!(status(&answer), 403, "{answer}");
    }
}
