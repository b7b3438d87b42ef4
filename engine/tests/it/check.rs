//! Tests `ticklake check` against the local endpoint: it names everything that is missing.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use localaws::{LocalAws, Options};
use tempfile::TempDir;
use ticklake::aws::Clients;
use ticklake::check::{Report, Subject, Verdict, check};
use ticklake::config::{Aws, Config, Settings};

const REGION: &str = "eu-west-1";

/// A local endpoint with a queue, a bucket and a topic, and the settings that name them.
struct World {
    local: LocalAws,
    clients: Clients,
    settings: Settings,
    _data: TempDir,
}

impl World {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let options = Options { region: REGION.to_owned(), ..Options::new(data.path()) };
        let local = LocalAws::start(options).await.unwrap();
        let mut settings = Settings { aws: aws(&local.url()), ..Settings::default() };
        let clients = connect(&settings.aws).await;
        settings.queue.url = create_queues(&clients).await;
        "market-lake".clone_into(&mut settings.lake.bucket);
        clients.s3.create_bucket().bucket("market-lake").send().await.unwrap();
        let topic = clients.sns.create_topic().name("tick-alerts").send().await.unwrap();
        settings.alerts.topic_arn = topic.topic_arn;
        Self { local, clients, settings, _data: data }
    }

    async fn check(&self) -> Report {
        check(&self.config(), &self.clients).await
    }

    fn config(&self) -> Config {
        self.settings.clone().validate().unwrap()
    }
}

/// Creates a queue with a dead-letter queue, and returns its URL.
async fn create_queues(clients: &Clients) -> String {
    use aws_sdk_sqs::types::QueueAttributeName::{QueueArn, RedrivePolicy};
    let dead = clients.sqs.create_queue().queue_name("dead").send().await.unwrap().queue_url.unwrap();
    let attributes = clients.sqs.get_queue_attributes().queue_url(dead).attribute_names(QueueArn).send().await.unwrap();
    let arn = &attributes.attributes.unwrap()[&QueueArn];
    let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"5"}}"#);
    let ticks = clients.sqs.create_queue().queue_name("ticks").attributes(RedrivePolicy, policy).send().await.unwrap();
    ticks.queue_url.unwrap()
}

fn aws(endpoint_url: &str) -> Aws {
    Aws {
        region: Some(REGION.to_owned()),
        endpoint_url: Some(endpoint_url.to_owned()),
        s3_path_style: true,
        ..Aws::default()
    }
}

async fn connect(aws: &Aws) -> Clients {
    Clients::connect_as(aws, Credentials::new("local", "local", None, None, "test")).await
}

/// Whether a line with this verdict and subject contains all of `words`.
fn says(report: &Report, verdict: Verdict, subject: Subject, words: &[&str]) -> bool {
    report.findings.iter().any(|finding| {
        finding.verdict == verdict && finding.subject == subject && words.iter().all(|word| finding.text.contains(word))
    })
}

#[tokio::test]
async fn all_fine_is_one_ok_line_each_and_leaves_nothing_behind() {
    let world = World::new().await;
    let report = world.check().await;
    assert!(report.passed(), "{report}");
    assert!(says(&report, Verdict::Ok, Subject::Queue, &["about 0 messages", "visibility 30 s"]), "{report}");
    assert!(says(&report, Verdict::Ok, Subject::Bucket, &["s3://market-lake"]), "{report}");
    assert!(says(&report, Verdict::Ok, Subject::Topic, &["tick-alerts"]), "{report}");
    assert!(report.findings.iter().all(|finding| finding.verdict != Verdict::Warn), "{report}");
    let objects = world.clients.s3.list_objects_v2().bucket("market-lake").send().await.unwrap();
    assert_eq!(objects.key_count, Some(0), "the probe was removed");
}

#[tokio::test]
async fn missing_queue_bucket_and_topic_are_each_named() {
    let mut world = World::new().await;
    world.settings.queue.url = world.settings.queue.url.replace("ticks", "tocks");
    world.settings.lake.bucket = "other-lake".to_owned();
    world.settings.alerts.topic_arn = world.settings.alerts.topic_arn.map(|arn| arn.replace("tick", "tock"));
    let report = world.check().await;
    assert!(says(&report, Verdict::Fail, Subject::Queue, &["tocks", "no such queue"]), "{report}");
    assert!(says(&report, Verdict::Fail, Subject::Bucket, &["other-lake", "no such bucket"]), "{report}");
    assert!(says(&report, Verdict::Fail, Subject::Topic, &["tock-alerts", "no such topic"]), "{report}");
}

#[tokio::test]
async fn missing_permission_is_named_as_an_action() {
    let cases = [
        ("sqs:GetQueueAttributes", Subject::Queue, Verdict::Fail),
        ("sqs:DeleteMessage", Subject::Queue, Verdict::Fail),
        ("sqs:ChangeMessageVisibility", Subject::Queue, Verdict::Fail),
        ("s3:PutObject", Subject::Bucket, Verdict::Fail),
        ("s3:DeleteObject", Subject::Bucket, Verdict::Warn),
        ("s3:ListBucket", Subject::Bucket, Verdict::Fail),
        ("s3:GetObject", Subject::Bucket, Verdict::Fail),
        ("sns:GetTopicAttributes", Subject::Topic, Verdict::Fail),
    ];
    for (action, subject, verdict) in cases {
        let world = World::new().await;
        world.local.faults().deny(action);
        let report = world.check().await;
        assert!(says(&report, verdict, subject, &["access denied", action]), "{action}:\n{report}");
        assert_eq!(report.passed(), verdict != Verdict::Fail, "{action}:\n{report}");
    }
}

#[tokio::test]
async fn denied_put_names_the_objects() {
    let mut world = World::new().await;
    world.settings.lake.prefix = "market/eu".to_owned();
    world.local.faults().deny("s3:PutObject");
    let report = world.check().await;
    assert!(says(&report, Verdict::Fail, Subject::Bucket, &["arn:aws:s3:::market-lake/market/eu/*"]), "{report}");
}

#[tokio::test]
async fn wrong_region_names_the_right_one() {
    let mut world = World::new().await;
    world.settings.aws.region = Some("us-east-2".to_owned());
    world.clients = connect(&world.settings.aws).await;
    let report = world.check().await;
    assert!(says(&report, Verdict::Fail, Subject::Bucket, &["wrong region", REGION]), "{report}");
    assert!(says(&report, Verdict::Fail, Subject::Topic, &["wrong region", REGION]), "{report}");
}

#[tokio::test]
async fn queue_url_of_another_region_names_it() {
    let mut world = World::new().await;
    world.settings.queue.url = "https://sqs.us-east-2.amazonaws.com/000000000000/ticks".to_owned();
    let report = world.check().await;
    assert!(says(&report, Verdict::Fail, Subject::Queue, &["wrong region", "us-east-2"]), "{report}");
}

#[tokio::test]
async fn queue_without_dead_letters_is_warned_about() {
    let mut world = World::new().await;
    world.settings.queue.url = world.settings.queue.url.replace("ticks", "dead");
    let report = world.check().await;
    assert!(report.passed(), "{report}");
    assert!(says(&report, Verdict::Warn, Subject::Queue, &["no dead-letter queue"]), "{report}");
}

#[tokio::test]
async fn check_receives_no_message() {
    let world = World::new().await;
    let sqs = &world.clients.sqs;
    sqs.send_message().queue_url(&world.settings.queue.url).message_body("{}").send().await.unwrap();
    let report = world.check().await;
    assert!(says(&report, Verdict::Ok, Subject::Queue, &["about 1 message,"]), "{report}");
    let received = sqs
        .receive_message()
        .queue_url(&world.settings.queue.url)
        .message_system_attribute_names(aws_sdk_sqs::types::MessageSystemAttributeName::ApproximateReceiveCount)
        .send()
        .await
        .unwrap();
    let attributes = received.messages()[0].attributes().unwrap();
    assert_eq!(attributes.values().collect::<Vec<_>>(), ["1"], "this was the first receive");
}

#[tokio::test]
async fn bucket_that_refuses_every_new_object_is_refused() {
    let world = World::new().await;
    world.local.faults().add("s3:PutObject=code:412:PreconditionFailed".parse().unwrap());
    let report = world.check().await;
    assert!(says(&report, Verdict::Fail, Subject::Bucket, &["refused", "nothing is there"]), "{report}");
}

/// `GoAWS` 0.4 answers like this, as every other server of SQS's query protocol does.
#[tokio::test]
async fn queue_endpoint_that_does_not_speak_json_is_named_as_such() {
    let answer = "<ErrorResponse><Error><Code>InvalidAction</Code></Error></ErrorResponse>";
    for status in ["200 OK", "400 Bad Request", "404 Not Found"] {
        let mut world = World::new().await;
        let url = serve(format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        ))
        .await;
        world.settings.queue.url = format!("{url}/000000000000/ticks");
        let clients = connect(&aws(&url)).await;
        world.clients.sqs = clients.sqs;
        let report = world.check().await;
        assert!(
            says(&report, Verdict::Fail, Subject::Queue, &["SQS's JSON protocol", "text/xml"]),
            "{status}: {report}"
        );
    }
}

/// Starts an endpoint that gives the same answer to every request, and returns its URL.
async fn serve(answer: String) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 16 << 10];
                while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn no_endpoint_is_told_within_seconds() {
    // The port was free a moment ago, and nobody listens on it.
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut settings = Settings { aws: aws(&format!("http://{free}")), ..Settings::default() };
    settings.queue.url = format!("http://user:secret@{free}/000000000000/ticks");
    "market-lake".clone_into(&mut settings.lake.bucket);
    let clients = connect(&settings.aws).await;
    let started = Instant::now();
    let report = check(&settings.validate().unwrap(), &clients).await;
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(says(&report, Verdict::Fail, Subject::Queue, &["no connection", "://***@"]), "{report}");
    assert!(!report.to_string().contains("secret"), "{report}");
    assert!(says(&report, Verdict::Fail, Subject::Bucket, &["no connection"]), "{report}");
    assert!(says(&report, Verdict::Note, Subject::Topic, &["no `alerts.topic_arn`"]), "{report}");
}
