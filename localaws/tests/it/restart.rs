//! A killed server comes back with everything that it had confirmed.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeName as System, QueueAttributeName as Attribute,
};
use tempfile::TempDir;

use crate::clients;

/// The program, its folder, and clients for it.
struct Program {
    child: Child,
    s3: aws_sdk_s3::Client,
    sns: aws_sdk_sns::Client,
    sqs: aws_sdk_sqs::Client,
}

impl Program {
    async fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_localaws"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().strip_prefix("export AWS_ENDPOINT_URL=").map(str::to_owned));
        let (s3, sns, sqs) = clients(&url.unwrap(), "us-east-1").await;
        Self { child, s3, sns, sqs }
    }

    /// Sends SIGKILL, which leaves no time for anything.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn receive(&self, queue: &str, visibility: i32, wait: i32) -> BTreeMap<String, aws_sdk_sqs::types::Message> {
        let receive = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
        let receive = receive.visibility_timeout(visibility).wait_time_seconds(wait);
        let receive = receive.message_system_attribute_names(System::All).message_attribute_names("All");
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        messages.into_iter().map(|message| (message.body.clone().unwrap(), message)).collect()
    }

    /// The queue's URL under the address that the server has now.
    async fn url(&self, name: &str) -> String {
        self.sqs.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // If the test passes, the process has ended already.
        let _ = self.child.kill();
    }
}

#[tokio::test]
async fn messages_are_back_where_they_were() {
    let folder = TempDir::new().unwrap();
    let program = Program::start(folder.path()).await;
    let create = program.sqs.create_queue().queue_name("q").attributes(Attribute::VisibilityTimeout, "45");
    let queue = create.tags("team", "a").send().await.unwrap().queue_url.unwrap();
    let text = MessageAttributeValue::builder().data_type("String").string_value("v").build().unwrap();
    let binary =
        MessageAttributeValue::builder().data_type("Binary").binary_value(vec![0, 255].into()).build().unwrap();
    for body in ["deleted", "released", "soon", "late", "untouched ✓ \"\n"] {
        let send = program.sqs.send_message().queue_url(&queue).message_body(body);
        send.message_attributes("k", text.clone()).message_attributes("b", binary.clone()).send().await.unwrap();
    }
    program.sqs.send_message().queue_url(&queue).message_body("delayed").delay_seconds(900).send().await.unwrap();
    let mut taken = BTreeMap::new();
    while taken.len() < 4 {
        let receive = program.sqs.receive_message().queue_url(&queue).visibility_timeout(600);
        let message = receive.send().await.unwrap().messages.unwrap().remove(0);
        taken.insert(message.body.clone().unwrap(), message);
    }
    let handle = |body: &str| taken[body].receipt_handle.clone().unwrap();
    program.sqs.delete_message().queue_url(&queue).receipt_handle(handle("deleted")).send().await.unwrap();
    for (body, seconds) in [("released", 0), ("soon", 3)] {
        let change = program.sqs.change_message_visibility().queue_url(&queue).receipt_handle(handle(body));
        change.visibility_timeout(seconds).send().await.unwrap();
    }
    program.kill();

    let program = Program::start(folder.path()).await;
    let queue = program.url("q").await;
    let attributes =
        program.sqs.get_queue_attributes().queue_url(&queue).attribute_names(Attribute::All).send().await.unwrap();
    let attributes = attributes.attributes.unwrap();
    assert_eq!(attributes[&Attribute::VisibilityTimeout], "45");
    assert_eq!(attributes[&Attribute::ApproximateNumberOfMessagesDelayed], "1");
    let tags = program.sqs.list_queue_tags().queue_url(&queue).send().await.unwrap().tags.unwrap();
    assert_eq!(tags["team"], "a");
    let visible = program.receive(&queue, 600, 0).await;
    assert_eq!(visible.keys().collect::<Vec<_>>(), ["released", "untouched ✓ \"\n"]);
    let system = |body: &str| visible[body].attributes.clone().unwrap();
    assert_eq!(system("released")[&System::ApproximateReceiveCount], "2");
    let untouched = &visible["untouched ✓ \"\n"];
    let attributes = untouched.message_attributes.clone().unwrap();
    assert_eq!(attributes["k"], text);
    assert_eq!(attributes["b"], binary);
    let again = program.receive(&queue, 600, 10).await;
    assert_eq!(again.keys().collect::<Vec<_>>(), ["soon"], "visible by its deadline, and the late one is not");
    assert_eq!(again["soon"].attributes.clone().unwrap()[&System::ApproximateReceiveCount], "2");
    assert_eq!(again["soon"].message_id, taken["soon"].message_id);
    // A receipt from before the restart is still valid.
    program.sqs.delete_message().queue_url(&queue).receipt_handle(handle("late")).send().await.unwrap();
    let name = Attribute::ApproximateNumberOfMessagesNotVisible;
    let counts =
        program.sqs.get_queue_attributes().queue_url(&queue).attribute_names(name.clone()).send().await.unwrap();
    assert_eq!(counts.attributes.unwrap()[&name], "3");
}

#[tokio::test]
async fn fifo_queues_keep_their_order_their_locks_and_their_memory() {
    let folder = TempDir::new().unwrap();
    let program = Program::start(folder.path()).await;
    let create = program.sqs.create_queue().queue_name("q.fifo").attributes(Attribute::FifoQueue, "true");
    let queue = create.send().await.unwrap().queue_url.unwrap();
    let send = async |program: &Program, queue: &str, id: &str| {
        let send = program.sqs.send_message().queue_url(queue).message_body(id).message_group_id("g");
        send.message_deduplication_id(id).send().await.unwrap().sequence_number.unwrap()
    };
    for id in ["1", "2", "3"] {
        send(&program, &queue, id).await;
    }
    let first = program.sqs.receive_message().queue_url(&queue).visibility_timeout(2).send().await.unwrap();
    assert_eq!(first.messages()[0].body(), Some("1"));
    program.kill();

    let program = Program::start(folder.path()).await;
    let queue = program.url("q.fifo").await;
    assert!(program.receive(&queue, 600, 0).await.is_empty(), "the group is closed while its first is in flight");
    let repeated = send(&program, &queue, "2").await;
    let fourth = send(&program, &queue, "4").await;
    assert!(repeated < fourth, "the one is the number of before, the other the next");
    let rest = program.sqs.receive_message().queue_url(&queue).max_number_of_messages(10).wait_time_seconds(5);
    let rest: Vec<_> =
        rest.send().await.unwrap().messages.unwrap().into_iter().map(|message| message.body.unwrap()).collect();
    assert_eq!(rest, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn topics_subscriptions_and_objects_are_back() {
    let folder = TempDir::new().unwrap();
    let program = Program::start(folder.path()).await;
    program.sqs.create_queue().queue_name("q").send().await.unwrap();
    program.s3.create_bucket().bucket("lake").send().await.unwrap();
    let put = program.s3.put_object().bucket("lake").key("a/b").metadata("epoch", "7").if_none_match("*");
    let tag = put.body(ByteStream::from_static(b"rows")).send().await.unwrap().e_tag;
    let topic = program.sns.create_topic().name("t").send().await.unwrap().topic_arn.unwrap();
    let subscribe = program.sns.subscribe().topic_arn(&topic).protocol("sqs");
    let subscribe = subscribe.endpoint("arn:aws:sqs:us-east-1:000000000000:q").attributes("RawMessageDelivery", "true");
    subscribe.attributes("FilterPolicy", r#"{"kind":["spike"]}"#).send().await.unwrap();
    program.kill();

    let program = Program::start(folder.path()).await;
    let head = program.s3.head_object().bucket("lake").key("a/b").send().await.unwrap();
    assert_eq!((head.e_tag(), head.metadata().unwrap()["epoch"].as_str()), (tag.as_deref(), "7"));
    let again = program.s3.put_object().bucket("lake").key("a/b").if_none_match("*");
    assert_eq!(crate::code(again.send().await).1, 412);
    let kind = |value: &str| {
        aws_sdk_sns::types::MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
    };
    for (message, attribute) in [("yes", "spike"), ("no", "other")] {
        let publish = program.sns.publish().topic_arn(&topic).message(message);
        publish.message_attributes("kind", kind(attribute)).send().await.unwrap();
    }
    let queue = program.url("q").await;
    assert_eq!(program.receive(&queue, 600, 2).await.into_keys().collect::<Vec<_>>(), ["yes"]);
}

#[tokio::test]
async fn deleted_queues_stay_deleted_and_half_a_line_does_no_harm() {
    let folder = TempDir::new().unwrap();
    let program = Program::start(folder.path()).await;
    let mut queues = Vec::new();
    for name in ["gone", "kept"] {
        queues.push(program.sqs.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap());
        let send = program.sqs.send_message().queue_url(queues.last().unwrap()).message_body("m");
        send.send().await.unwrap();
    }
    program.sqs.delete_queue().queue_url(&queues[0]).send().await.unwrap();
    program.kill();
    let journal = folder.path().join(".localaws/queues/us-east-1/kept.jsonl");
    let mut lines = std::fs::read(&journal).unwrap();
    lines.extend_from_slice(br#"{"message":{"sequence":2,"id":"01"#);
    std::fs::write(&journal, lines).unwrap();

    let program = Program::start(folder.path()).await;
    let names = program.sqs.list_queues().send().await.unwrap().queue_urls.unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(program.receive(&names[0], 600, 0).await.into_keys().collect::<Vec<_>>(), ["m"]);
    program.sqs.send_message().queue_url(&names[0]).message_body("n").send().await.unwrap();
    program.kill();
    let program = Program::start(folder.path()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(program.receive(&program.url("kept").await, 600, 0).await.into_keys().collect::<Vec<_>>(), ["n"]);
}
