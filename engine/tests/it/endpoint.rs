//! Tests the whole path over the AWS-compatible endpoint that `TICKLAKE_TEST_ENDPOINT` names, or the local one.
//!
//! The tests look at everything through the protocols alone. If two endpoints behave differently, one of them is wrong.
//! CI therefore runs these tests against a second implementation.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use bytes::Bytes;
use localaws::{LocalAws, Options};
use tempfile::TempDir;
use ticklake::adapters::ports;
use ticklake::aws::Clients;
use ticklake::check::check;
use ticklake::config::{Config, Settings};
use ticklake::meter::Meters;
use ticklake::pipeline::{RunOptions, run};
use ticklake::ports::{Found, NewObject, ObjectKind, PutOutcome};
use ticklake::sandbox::{Resources, connect};

use crate::{lake, local::MINUTE};

/// An endpoint with resources of this test's own.
struct World {
    clients: Clients,
    resources: Resources,
    bucket: String,
    /// The local endpoint, if no other one is named.
    _local: Option<(LocalAws, TempDir)>,
}

impl World {
    async fn new(test: &str) -> Self {
        let (url, local) = if let Ok(url) = std::env::var("TICKLAKE_TEST_ENDPOINT") {
            (url, None)
        } else {
            let dir = tempfile::tempdir().unwrap();
            let local = LocalAws::start(Options::new(dir.path())).await.unwrap();
            (local.url(), Some((local, dir)))
        };
        let clients = connect(&url).await;
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let bucket = format!("{test}-{run}");
        let resources = Resources::create(&clients, &format!("-{bucket}"), &bucket).await.unwrap();
        Self { clients, resources, bucket, _local: local }
    }

    fn config(&self) -> Config {
        let mut settings = Settings::default();
        settings.queue.url.clone_from(&self.resources.queue_url);
        settings.queue.wait = Duration::from_secs(1);
        settings.lake.bucket.clone_from(&self.bucket);
        settings.alerts.topic_arn = Some(self.resources.topic_arn.clone());
        settings.validate().unwrap()
    }

    async fn send(&self, bodies: &[String]) {
        for batch in bodies.chunks(10) {
            let entry = |(id, body): (usize, &String)| {
                SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build().unwrap()
            };
            let entries = batch.iter().enumerate().map(entry).collect();
            let send = self.clients.sqs.send_message_batch().queue_url(&self.resources.queue_url);
            assert!(send.set_entries(Some(entries)).send().await.unwrap().failed.is_empty());
        }
    }

    async fn drain(&self) -> Meters {
        let config = self.config();
        let meters = Meters::new(&config);
        let options = RunOptions { drain: true };
        let run = run(ports(&self.clients, &config), &config, options, meters.clone(), std::future::pending());
        tokio::time::timeout(2 * MINUTE, run).await.expect("the run ends").unwrap();
        meters
    }

    async fn objects(&self) -> lake::Objects {
        let mut objects = lake::Objects::new();
        let list = self.clients.s3.list_objects_v2().bucket(&self.bucket).send().await.unwrap();
        for key in list.contents().iter().filter_map(|object| object.key()) {
            let object = self.clients.s3.get_object().bucket(&self.bucket).key(key).send().await.unwrap();
            let bytes: Bytes = object.body.collect().await.unwrap().into_bytes();
            objects.insert(key.to_owned(), bytes);
        }
        objects
    }
}

fn tick(symbol: &str, seq: usize, price: f64) -> String {
    format!(r#"{{"symbol":"{symbol}","price":{price},"volume":1,"seq":{seq}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_rejects_and_alerts_arrive_once() {
    let world = World::new("once").await;
    let singles: Vec<String> = (0..200).map(|seq| tick("AAPL", seq, 100.25)).collect();
    world.send(&singles).await;
    let mut packed: Vec<String> = (0..300).map(|seq| tick("MSFT", seq, 50.5)).collect();
    packed.push(tick("MSFT", 300, 75.0));
    world.send(&[format!("[{}]", packed.join(",")), "garbage".to_owned()]).await;
    let meters = world.drain().await;
    assert_eq!(meters.stats.messages_deleted.get(), 202);

    let objects = world.objects().await;
    let mut rows: Vec<_> =
        lake::ticks(&objects).into_iter().map(|row| (row.symbol, row.seq.unwrap(), row.price)).collect();
    rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let aapl = (0..200).map(|seq| ("AAPL".to_owned(), seq, 100.25));
    let msft = (0..=300).map(|seq| ("MSFT".to_owned(), seq, if seq == 300 { 75.0 } else { 50.5 }));
    assert_eq!(rows, aapl.chain(msft).collect::<Vec<_>>());
    assert_eq!(lake::rejects(&objects).iter().map(|reject| &*reject.body).collect::<Vec<_>>(), [b"garbage"]);
    let receive = world.clients.sqs.receive_message().queue_url(&world.resources.alerts_url).wait_time_seconds(5);
    let alerts = receive.message_attribute_names("All").send().await.unwrap();
    let alert: serde_json::Value = serde_json::from_str(alerts.messages()[0].body().unwrap()).unwrap();
    assert_eq!((&alert["symbol"], &alert["observed"]), (&"MSFT".into(), &75.0.into()));
    assert_eq!(lake::alert_ids(&objects), [alert["id"].as_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn name_is_given_to_one_object_only() {
    let world = World::new("names").await;
    let store = ports(&world.clients, &world.config()).store;
    let object = |body: &'static str, kind| NewObject { key: "a/k", body: body.into(), epoch: "w-1", kind };
    assert_eq!(store.head("a/k").await.unwrap(), None);
    assert_eq!(store.get("a/k").await.unwrap(), None);
    assert_eq!(store.put_new(object("one", ObjectKind::Void)).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.put_new(object("two", ObjectKind::Data)).await.unwrap(), PutOutcome::Exists);
    let found = Found { epoch: Some("w-1".to_owned()), is_void: true };
    assert_eq!(store.head("a/k").await.unwrap(), Some(found), "its epoch and kind");
    assert_eq!(store.get("a/k").await.unwrap().unwrap(), "one");
    assert_eq!(store.list("a/").await.unwrap(), ["a/k"]);
    store.delete("a/k").await.unwrap();
    assert!(store.list("a/").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn released_messages_are_back_at_once_and_deleted_ones_never() {
    let world = World::new("release").await;
    world.send(&(0..20).map(|seq| tick("A", seq, 1.0)).collect::<Vec<_>>()).await;
    let queue = ports(&world.clients, &world.config()).queues.remove(0);
    let mut held = Vec::new();
    while held.len() < 20 {
        held.extend(queue.receive(Duration::from_secs(1)).await.unwrap());
    }
    assert!(queue.receive(Duration::from_secs(1)).await.unwrap().is_empty(), "all of them are hidden");
    let receipts: Vec<_> = held.iter().map(|message| message.receipt.clone()).collect();
    assert!(queue.delete(&receipts[..10]).await.unwrap().is_empty());
    assert!(queue.release(&receipts[10..]).await.unwrap().is_empty());
    let mut again = Vec::new();
    while again.len() < 10 {
        again.extend(queue.receive(Duration::from_secs(1)).await.unwrap());
    }
    assert!(again.iter().all(|message| message.receive_count == 2), "{again:?}");
    let [released, returned] =
        [&held[10..], &again].map(|messages| messages.iter().map(|message| &*message.id).collect::<BTreeSet<_>>());
    assert_eq!(released, returned);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_everything_in_order() {
    let world = World::new("check").await;
    let report = check(&world.config(), &world.clients).await;
    assert!(report.passed(), "{report}");
}
