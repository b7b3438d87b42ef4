//! Tests alerts of workers that die, stall or freeze, and alerts of several workers about one price.

use super::deliveries::Altered;
use super::*;

/// A topic that takes no alert and never answers.
struct Silent(Notify);

#[async_trait]
impl Notifier for Silent {
    async fn publish(&self, _: &[Notification]) -> Result<Vec<EntryFailure>, PortError> {
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_of_a_worker_that_dies_while_publishing_is_published_by_another() {
    let world = World::new();
    let topic = Arc::new(Silent(Notify::new()));
    let worker = start(Ports { notifier: Some(topic.clone()), ..world.ports() });
    tokio::time::timeout(MINUTE, topic.0.notified()).await.expect("the worker stalls");
    // The file of alerts comes only after they are published.
    let is_stored = || world.store.objects().keys().filter(|key| key.ends_with(".parquet")).count() >= FILES - 1;
    while !is_stored() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.abort();
    let (result, meters) = world.drain(false).await;
    result.unwrap();
    world.assert_exact().await;
    assert_eq!(meters.stats.alerts_published.get(), world.notifier.published().len() as u64);
}

/// Time tells one worker that a far price was a spike. The price after it, in another message, tells the other one.
#[tokio::test(flavor = "multi_thread")]
async fn alert_that_two_workers_raise_about_one_price_is_stored_once() {
    let world =
        World { queue: Arc::new(MemoryQueue::new(VISIBILITY)), store: Arc::default(), notifier: Arc::default() };
    let tick = |seq: i64, price: f64| {
        let ts = AFTERNOON_US + seq;
        format!(r#"{{"symbol":"AAPL","price":{price},"volume":1,"ts":{ts},"seq":{seq}}}"#)
    };
    let usual: Vec<_> = (0..100).map(|seq| tick(seq, 100.25)).collect();
    let mut settings = (*config()).clone();
    settings.detect.level_shift.enabled = true;
    let config = settings.validate().unwrap();
    let mut found = Vec::new();
    for next in [None, Some(tick(101, 100.25))] {
        world.queue.send(format!("[{},{}]", usual.join(","), tick(100, 150.25)), None);
        if let Some(next) = next {
            world.queue.send(next, None);
        }
        let meters = Meters::new(&config);
        let options = RunOptions { drain: true };
        let run = run(world.ports(), &config, options, meters.clone(), std::future::pending());
        tokio::time::timeout(MINUTE, run).await.expect("the queue is drained").unwrap();
        found.push(meters.stats.rows_found_stored.get());
    }
    let published = world.notifier.published();
    assert_eq!((published.len(), &published[0].id), (2, &published[1].id), "each worker has raised it");
    assert_eq!(lake::alert_ids(&world.store.objects()), [published[0].id.clone()]);
    assert_eq!(found, [0, 1]);
}

/// The next worker waits for the file of the dead one. Then it puts a void in its place, which decides.
#[tokio::test(flavor = "multi_thread")]
async fn alert_that_a_worker_claimed_before_it_died_is_stored_by_the_next_one_that_raises_it() {
    let world = World::new();
    let id = Alert::id_of("spike-up", "AAPL", AFTERNOON_US + SPIKE as i64);
    let file = Partition::of(Table::Alerts, AFTERNOON_US).key("", &"dead-1");
    let (body, epoch, kind) = (Bytes::from(file.clone()), "dead-1", ObjectKind::Claim);
    world.store.put_new(NewObject { key: &claim_key("", &id, 0), body, epoch, kind }).await.unwrap();
    world.drain(true).await.0.unwrap();
    assert_eq!(world.notifier.published()[0].id, id);
    assert!(world.store.head(&file).await.unwrap().unwrap().is_void);
    world.assert_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_that_is_raised_and_adopted_in_one_epoch_is_stored_once() {
    let earlier = World::new();
    earlier.drain(true).await.0.unwrap();
    let alert = Alert::from_json(&earlier.notifier.published()[0].body).unwrap();
    let world = World::new();
    let (key, body) = (note_key("", &note_name(0, "dead", 1)), Bytes::from(note_body([&alert])));
    world.store.put_new(NewObject { key: &key, body, epoch: "", kind: ObjectKind::Note }).await.unwrap();
    world.drain(true).await.0.unwrap();
    world.assert_exact().await;
    let notes = world.store.list("ledger-notes/").await.unwrap();
    assert!(notes.is_empty(), "it is in the table: {notes:?}");
}

/// The only worker is frozen at a PUT for longer than the visibility timeout. It gets its messages again, and its
/// detectors know their ticks already.
#[tokio::test(flavor = "multi_thread")]
async fn only_worker_that_is_frozen_stores_every_row_and_every_alert_that_it_published() {
    let puts = [ObjectKind::Entry, ObjectKind::Claim, ObjectKind::Data].into_iter();
    let mut cases = JoinSet::new();
    for (kind, answer_only) in puts.flat_map(|kind| [(kind, false), (kind, true)]) {
        cases.spawn(async move {
            let world = World::new();
            let store = Stalling::new(&world.store, kind, 1, answer_only);
            let queue = Arc::new(Altered { extends: false, ..Altered::new(&world.queue) });
            let ports = Ports { store: store.clone(), queues: vec![queue], ..world.ports() };
            let worker = tokio::spawn(async move {
                let (config, options) = (config(), RunOptions { drain: true });
                run(ports, &config, options, Meters::new(&config), std::future::pending()).await
            });
            tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker stalls");
            tokio::time::sleep(config().queue.visibility_timeout).await;
            store.go_on.notify_one();
            tokio::time::timeout(MINUTE, worker).await.expect("the queue is drained").unwrap().unwrap();
            world.assert_exact().await;
            assert_eq!(world.notifier.published().len(), 1, "its detectors judge no tick twice: {kind:?}");
        });
    }
    cases.join_all().await;
}
