//! Tests the edge to SQS: requests repeated without the SDK, several queues, FIFO queues, and a queue at its limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry};
use localaws::{LocalAws, Options};
use ticklake::adapters::{SqsQueue, ports, queue};
use ticklake::aws::Clients;
use ticklake::config::{Aws, Config, Settings};
use ticklake::memory::{MemoryQueue, MemoryStore};
use ticklake::meter::Meters;
use ticklake::pipeline::{RunOptions, run};
use ticklake::ports::{Backlog, EntryFailure, PortError, Ports, Queue, Receipt, ReceivedMessage};
use ticklake::sandbox::Sandbox;

use crate::local::MINUTE;
use crate::{lake, local};

const VISIBILITY: Duration = Duration::from_mins(5);
const WAIT: Duration = Duration::from_secs(1);

/// An endpoint that verifies signatures, and a queue in it with messages of every kind.
struct Signed {
    aws: LocalAws,
    clients: Clients,
    url: String,
    _dir: tempfile::TempDir,
}

impl Signed {
    async fn new(credentials: Credentials) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let known = BTreeMap::from([("AKID".to_owned(), "secret".to_owned())]);
        let aws = LocalAws::start(Options { credentials: known, ..Options::new(dir.path()) }).await.unwrap();
        let config = Aws { endpoint_url: Some(aws.url()), region: Some("us-east-1".to_owned()), ..Aws::default() };
        let clients = Clients::connect_as(&config, credentials).await;
        let created = clients.sqs.create_queue().queue_name("ticks").send().await.unwrap();
        Self { aws, clients, url: created.queue_url.unwrap(), _dir: dir }
    }

    fn queue(&self, repeated: Option<Duration>) -> SqsQueue {
        SqsQueue::new(self.clients.sqs.clone(), self.url.clone(), VISIBILITY, repeated)
    }

    /// Sends as many messages as one receive brings. Each is odd in another way.
    async fn send(&self) {
        let encoding = MessageAttributeValue::builder().data_type("String").string_value("zstd").build().unwrap();
        for body in
            ["{\"a\":\"\\u00e4\\n\"}", "\u{1F600} \u{e4}\t\\", "\"", " ", "[1,2]", "x", "/", "\\/", "\r\n", "\u{2028}"]
        {
            let send = self.clients.sqs.send_message().queue_url(&self.url).message_body(body);
            let encoding = (body == "x").then(|| HashMap::from([("content-encoding".to_owned(), encoding.clone())]));
            send.set_message_attributes(encoding).send().await.unwrap();
        }
    }
}

fn credentials() -> Credentials {
    Credentials::new("AKID", "secret", None, None, "test")
}

/// The fields on which both ways to receive must agree. Receipts and counts differ from delivery to delivery.
fn told(messages: &[ReceivedMessage]) -> BTreeMap<&str, (&[u8], Option<&str>, i64)> {
    let told = |message: &'_ ReceivedMessage| message.sent_at_us.unwrap();
    messages.iter().map(|m| (m.id.as_str(), (&m.body[..], m.content_encoding.as_deref(), told(m)))).collect()
}

async fn receive_all(queue: &SqsQueue) -> Vec<ReceivedMessage> {
    let mut messages = Vec::new();
    while messages.len() < 10 {
        messages.extend(queue.receive(WAIT).await.unwrap());
    }
    messages
}

fn receipts(messages: &[ReceivedMessage]) -> Vec<Receipt> {
    messages.iter().map(|message| message.receipt.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_requests_are_signed_and_tell_the_same_as_those_of_the_sdk() {
    let world = Signed::new(credentials()).await;
    world.send().await;
    let (sdk, direct) = (world.queue(None), world.queue(Some(MINUTE)));
    let by_sdk = receive_all(&sdk).await;
    assert!(sdk.release(&receipts(&by_sdk)).await.unwrap().is_empty());
    let first = receive_all(&direct).await;
    assert_eq!(direct.repeated(), 0, "the first call is the SDK's");
    assert!(direct.release(&receipts(&first)).await.unwrap().is_empty());
    let repeated = receive_all(&direct).await;
    assert!(direct.repeated() > 0);
    assert_eq!(told(&repeated), told(&by_sdk));

    let receipts = receipts(&repeated);
    assert!(direct.delete(&receipts[..5]).await.unwrap().is_empty(), "by the SDK");
    let before = direct.repeated();
    let failures = direct.delete(&[receipts[5..].to_vec(), vec![Receipt::from("no receipt")]].concat()).await.unwrap();
    assert_eq!(direct.repeated(), before + 1);
    let failed: Vec<_> = failures.iter().map(|entry| (entry.index, entry.retryable, &*entry.code)).collect();
    let by_sdk = sdk.delete(&[Receipt::from("no receipt")]).await.unwrap();
    assert_eq!(failed, [(5, by_sdk[0].retryable, &*by_sdk[0].code)]);
    assert_eq!((direct.backlog().await.unwrap().total(), sdk.repeated()), (0, 0));
}

/// SQS refuses signatures that are more than 15 minutes off. If the clock jumps, the client learns the difference from
/// the answers and goes on. Requests that are repeated without the SDK use the difference as well.
#[tokio::test(flavor = "multi_thread")]
async fn clock_that_jumps_is_learnt_from_the_answers() {
    let world = Signed::new(credentials()).await;
    let queue = world.queue(Some(MINUTE));
    queue.receive(WAIT).await.unwrap();
    for ahead in [20 * 60, -20 * 60, 0] {
        world.aws.set_clock_ahead(ahead);
        let mut refused = 0;
        while let Err(error) = queue.receive(WAIT).await {
            assert!(matches!(error, PortError::Retry(_)) && error.to_string().contains("(NTP)"), "{error}");
            refused += 1;
        }
        assert!(refused <= 1, "{ahead}: {refused}");
        let before = queue.repeated();
        queue.receive(WAIT).await.unwrap();
        assert_eq!(queue.repeated(), before + 1, "{ahead}");
    }
    // A wrong secret stops the client, even while the clock is wrong.
    world.aws.set_clock_ahead(20 * 60);
    let config = Aws { endpoint_url: Some(world.aws.url()), region: Some("us-east-1".to_owned()), ..Aws::default() };
    let stranger = Clients::connect_as(&config, Credentials::new("AKID", "wrong", None, None, "test")).await;
    let stranger = SqsQueue::new(stranger.sqs, world.url.clone(), VISIBILITY, None);
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        outcomes.push(stranger.receive(WAIT).await.unwrap_err());
    }
    assert!(matches!(outcomes[..], [_, PortError::Stop(_)]), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letter_says_so_by_both_ways_to_receive_and_its_queue_has_sources() {
    let world = Signed::new(credentials()).await;
    let sqs = &world.clients.sqs;
    let queue = world.queue(Some(MINUTE));
    assert!(!queue.has_sources().await.unwrap());
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:ticks","maxReceiveCount":1}"#;
    let create = sqs.create_queue().queue_name("source").attributes(QueueAttributeName::RedrivePolicy, policy);
    let source = create.send().await.unwrap().queue_url.unwrap();
    assert!(queue.has_sources().await.unwrap());

    for (url, body) in [(&source, "dead"), (&world.url, "alive")] {
        sqs.send_message().queue_url(url).message_body(body).send().await.unwrap();
    }
    for delivered in [1, 0] {
        let receive = sqs.receive_message().queue_url(&source).visibility_timeout(0).send().await.unwrap();
        assert_eq!(receive.messages().len(), delivered);
    }
    for repeated in [0, 1] {
        let messages = queue.receive(WAIT).await.unwrap();
        assert_eq!((messages.len(), queue.repeated()), (2, repeated));
        for message in &messages {
            assert_eq!(message.was_dead_lettered, &message.body[..] == b"dead");
        }
        assert!(queue.release(&receipts(&messages)).await.unwrap().is_empty());
    }

    world.aws.faults().deny("sqs:ListDeadLetterSourceQueues");
    let error = queue.has_sources().await.unwrap_err();
    assert!(error.to_string().contains("sqs:ListDeadLetterSourceQueues"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_without_the_sdk_is_made_again_by_it() {
    let world = Signed::new(credentials()).await;
    let queue = world.queue(Some(Duration::from_secs(5)));
    queue.receive(Duration::ZERO).await.unwrap();
    queue.receive(Duration::ZERO).await.unwrap();
    assert_eq!(queue.repeated(), 1);
    for effect in ["status:503", "status:403", "reset", "cut-answer"] {
        let before = (queue.repeated(), world.aws.faults().calls("sqs:ReceiveMessage"));
        // Every second request fails. The SDK sends its requests after a failed one, so its requests never fail.
        world.aws.faults().add(format!("sqs:ReceiveMessage={effect}@1/2").parse().unwrap());
        for _ in 0..5 {
            queue.receive(Duration::ZERO).await.unwrap();
        }
        world.aws.faults().clear();
        assert_eq!(world.aws.faults().calls("sqs:ReceiveMessage"), before.1 + 9, "{effect}");
        queue.receive(Duration::ZERO).await.unwrap();
        assert_eq!(queue.repeated(), before.0 + 2, "what the SDK has sent is repeated from then on");
    }
    world.aws.faults().deny("sqs:ReceiveMessage");
    let error = queue.receive(Duration::ZERO).await.unwrap_err();
    assert!(matches!(&error, PortError::Stop(_)) && error.to_string().contains("sqs:ReceiveMessage"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_about_to_end_are_left_to_the_sdk() {
    let soon = SystemTime::now() + Duration::from_secs(14);
    let world = Signed::new(Credentials::new("AKID", "secret", None, Some(soon), "test")).await;
    let queue = world.queue(Some(MINUTE));
    for _ in 0..3 {
        queue.receive(Duration::ZERO).await.unwrap();
    }
    assert_eq!(queue.repeated(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_stores_the_same_with_and_without_the_sdk() {
    for sdk_only in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(dir.path()).await.unwrap();
        send(&sandbox, &sandbox.queue_url, (0..200).map(|seq| (tick("AAPL", seq), "a"))).await;
        let config = local::config(&sandbox, |settings| settings.aws.sdk_only = sdk_only);
        let queue = queue(&sandbox.clients, &config, &sandbox.dead_letter_url);
        for _ in 0..2 {
            queue.receive(Duration::ZERO).await.unwrap();
        }
        assert_eq!(queue.repeated(), u64::from(!sdk_only), "the switch is obeyed");
        local::drain(&sandbox, &config).await.0.unwrap();
        let mut stored = seqs(&lake::objects_in(&sandbox.lake)).remove("AAPL").unwrap();
        stored.sort_unstable();
        assert_eq!(stored, (0..200).collect::<Vec<_>>(), "{sdk_only}");
    }
}

fn tick(symbol: &str, seq: usize) -> String {
    format!(r#"{{"symbol":"{symbol}","price":100.25,"volume":1,"ts":1795442400000000,"seq":{seq}}}"#)
}

/// The sequence numbers of each symbol, in the order of epochs and rows.
fn seqs(objects: &lake::Objects) -> BTreeMap<String, Vec<i64>> {
    let mut files: Vec<_> = objects.iter().filter(|(key, _)| key.starts_with("ticks/")).collect();
    // Sort by the number of the epoch: one worker's epochs are `WORKER-0`, `WORKER-1` and so on.
    files.sort_by_key(|(key, _)| {
        let number = key.rsplit('-').next().and_then(|name| name.strip_suffix(".parquet"));
        number.unwrap().parse::<u64>().unwrap()
    });
    let mut seqs = BTreeMap::<String, Vec<i64>>::new();
    for (key, file) in files {
        for row in lake::ticks(&lake::Objects::from([(key.clone(), file.clone())])) {
            seqs.entry(row.symbol).or_default().push(row.seq.unwrap());
        }
    }
    seqs
}

/// Sends bodies, each with its group. Only a FIFO queue looks at the group.
async fn send(sandbox: &Sandbox, url: &str, bodies: impl Iterator<Item = (String, &'static str)>) {
    let bodies: Vec<_> = bodies.collect();
    let is_fifo = url.strip_suffix(".fifo").is_some();
    for (batch, chunk) in bodies.chunks(10).enumerate() {
        let entry = |(id, (body, group)): (usize, &(String, &str))| {
            let entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body);
            let entry = entry.set_message_group_id(is_fifo.then(|| (*group).to_owned()));
            entry.set_message_deduplication_id(is_fifo.then(|| format!("{batch}-{id}"))).build().unwrap()
        };
        let entries = chunk.iter().enumerate().map(entry).collect();
        let send = sandbox.clients.sqs.send_message_batch().queue_url(url).set_entries(Some(entries));
        assert!(send.send().await.unwrap().failed.is_empty());
    }
}

/// The order within a group is kept up to the detectors, and so in rows of the same microsecond. A group goes on only
/// after its messages are deleted. An epoch that waited for its age, an hour here, would never get the second ten.
#[tokio::test(flavor = "multi_thread")]
async fn groups_of_a_fifo_queue_stay_in_order_and_do_not_wait_for_epochs() {
    const GROUPS: [&str; 3] = ["A", "B", "C"];
    // An engine that drains knows more about its queue, and must not wait either.
    for drain in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(dir.path()).await.unwrap();
        let create = sandbox.clients.sqs.create_queue().queue_name("ticks.fifo");
        let create = create.attributes(QueueAttributeName::FifoQueue, "true").send().await.unwrap();
        let url = create.queue_url.unwrap();
        send(&sandbox, &url, (0..120).map(|n| (tick(GROUPS[n % 3], n / 3), GROUPS[n % 3]))).await;
        let config = local::config(&sandbox, |settings| {
            settings.queue.url.clone_from(&url);
            settings.epoch.age_max = Duration::from_hours(1);
            settings.threads.decode = 4;
        });
        let meters = Meters::new(&config);
        let stored = async {
            while drain || meters.stats.messages_deleted.get() < 120 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let run = run(ports(&sandbox.clients, &config), &config, RunOptions { drain }, meters.clone(), stored);
        tokio::time::timeout(MINUTE, run).await.expect("groups go on").unwrap();
        let stored = seqs(&lake::objects_in(&sandbox.lake));
        for group in GROUPS {
            assert_eq!(stored[group], (0..40).collect::<Vec<_>>(), "{group}");
        }
    }
}

fn config(queues: &[&str], change: impl FnOnce(&mut Settings)) -> Config {
    let queues = queues.iter().map(|name| format!("http://127.0.0.1/000000000000/{name}")).collect();
    let mut settings = Settings { queues, ..Settings::default() };
    "lake".clone_into(&mut settings.lake.bucket);
    settings.decode.ts_future_max = Duration::from_hours(24 * 365 * 100);
    change(&mut settings);
    settings.validate().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_queues_are_drained_at_once_each_with_its_own_share() {
    const EACH: usize = 300;
    let queues = [(); 3].map(|()| Arc::new(MemoryQueue::new(VISIBILITY)));
    for (queue, symbol) in queues.iter().zip(["A", "B", "C"]) {
        (0..EACH).for_each(|seq| drop(queue.send(tick(symbol, seq), None)));
    }
    let config = config(&["a", "b", "c"], |settings| {
        settings.queue.workers = 600; // 200 messages of each queue
        settings.epoch.age_max = Duration::from_hours(1);
        settings.epoch.messages_max = 100_000;
    });
    let meters = Meters::new(&config);
    let store = Arc::<MemoryStore>::default();
    let sources = queues.iter().map(|queue| queue.clone() as Arc<dyn Queue>).collect();
    let ports = Ports { queues: sources, store: store.clone(), notifier: None };
    let run = run(ports, &config, RunOptions { drain: true }, meters.clone(), std::future::pending());
    tokio::time::timeout(MINUTE, run).await.expect("a full share closes the epoch").unwrap();
    let stored = seqs(&store.objects());
    for (queue, (meter, symbol)) in queues.iter().zip(meters.queues.iter().zip(["A", "B", "C"])) {
        let mut seqs = stored[symbol].clone();
        seqs.sort_unstable();
        assert_eq!(seqs, (0..EACH as i64).collect::<Vec<_>>(), "{symbol}");
        assert_eq!(queue.backlog().await.unwrap().total(), 0);
        assert!((100..=200).contains(&meter.budget.peak().messages), "{:?}", meter.budget.peak());
        assert_eq!(meter.budget.in_flight().messages, 0);
    }
    assert_eq!(meters.stats.messages_deleted.get(), 3 * EACH as u64);
}

/// A queue that allows [`LIMIT`] messages in flight. At the limit it returns an error, as SQS does to short polls.
struct Limited {
    queue: MemoryQueue,
    in_flight: AtomicUsize,
}

const LIMIT: usize = 30;

#[async_trait]
impl Queue for Limited {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        if self.in_flight.load(Ordering::SeqCst) >= LIMIT {
            return Err(PortError::over_limit("receive messages", "over the limit".to_owned()));
        }
        let messages = self.queue.receive(wait).await?;
        self.in_flight.fetch_add(messages.len(), Ordering::SeqCst);
        Ok(messages)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.in_flight.fetch_sub(receipts.len(), Ordering::SeqCst);
        self.queue.delete(receipts).await
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.extend(receipts, timeout).await
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.release(receipts).await
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        self.queue.backlog().await
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        self.queue.has_sources().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_that_allows_no_more_in_flight_closes_the_epoch() {
    let queue = Arc::new(Limited { queue: MemoryQueue::new(VISIBILITY), in_flight: AtomicUsize::new(0) });
    (0..100).for_each(|seq| drop(queue.queue.send(tick("A", seq), None)));
    // Without the limit, the epoch would wait for an hour.
    let config = config(&["limited"], |settings| {
        settings.epoch.age_max = Duration::from_hours(1);
        settings.queue.receivers_max = 1;
    });
    let meters = Meters::new(&config);
    let enough = async {
        // The last messages are fewer than the limit, so their epoch waits for its age.
        while meters.stats.messages_deleted.get() < (100 - LIMIT) as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let store = Arc::<MemoryStore>::default();
    let ports = Ports { queues: vec![queue.clone()], store: store.clone(), notifier: None };
    let run = run(ports, &config, RunOptions::default(), meters.clone(), enough);
    tokio::time::timeout(MINUTE, run).await.expect("the limit closes the epoch").unwrap();
    assert!(meters.stats.receive_failures.get() >= 2);
}
