//! Tests messages that come again: dead letters, redrives, copies, and workers that decode them differently.

use super::*;

/// A queue that deviates from the usual behaviour, as its fields say.
pub(super) struct Altered {
    pub(super) queue: Arc<MemoryQueue>,
    /// The receive count that messages show in place of the true one.
    pub(super) count: Option<u32>,
    /// If set, each message is handed out twice, the second time with this count.
    pub(super) copy_count: Option<u32>,
    pub(super) copies: std::sync::Mutex<Vec<ReceivedMessage>>,
    /// Whether messages can be extended. If not, `extend` never answers.
    pub(super) extends: bool,
    pub(super) has_sources: bool,
}

impl Altered {
    pub(super) fn new(queue: &Arc<MemoryQueue>) -> Self {
        let (copies, queue) = (std::sync::Mutex::default(), queue.clone());
        Self { queue, count: None, copy_count: None, copies, extends: true, has_sources: false }
    }
}

#[async_trait]
impl Queue for Altered {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        let mut copies = std::mem::take(&mut *self.copies.lock().unwrap());
        if copies.len() >= BATCH_MAX {
            *self.copies.lock().unwrap() = copies.split_off(BATCH_MAX);
            return Ok(copies);
        }
        let mut messages = self.queue.receive(wait).await?;
        for message in &mut messages {
            copies.extend(self.copy_count.map(|receive_count| ReceivedMessage { receive_count, ..message.clone() }));
            message.receive_count = self.count.unwrap_or(message.receive_count);
        }
        *self.copies.lock().unwrap() = copies;
        Ok(messages)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.delete(receipts).await
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        if self.extends { self.queue.extend(receipts, timeout).await } else { std::future::pending().await }
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.release(receipts).await
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        self.queue.backlog().await
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        Ok(self.has_sources)
    }
}

/// The counts of a dead-letter queue begin anew, so they say that nothing was delivered before.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_dead_letter_queue_are_stored_once_whatever_its_counts_say() {
    let world = World::new();
    let queue = Undeleting::new(&world.queue, 0);
    let worker = start(Ports { queues: vec![queue.clone()], ..world.ports() });
    tokio::time::timeout(MINUTE, queue.stalled.notified()).await.expect("the worker stalls");
    worker.abort();
    let queue = Arc::new(Altered { count: Some(1), has_sources: true, ..Altered::new(&world.queue) });
    let (config, options) = (config(), RunOptions { drain: true });
    let ports = Ports { queues: vec![queue], ..world.ports() };
    let run = run(ports, &config, options, Meters::new(&config), std::future::pending());
    tokio::time::timeout(MINUTE, run).await.expect("the queue is drained").unwrap();
    world.assert_exact().await;
}

/// A redrive makes new messages, with new ids and counts that begin anew.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_were_redriven_are_stored_once_where_their_bodies_tell_them() {
    let world = World::new();
    let mut settings = (*config()).clone();
    settings.queue.identity = Identity::Body;
    let config = settings.validate().unwrap();
    let queue = Undeleting::new(&world.queue, 0);
    let ports = Ports { queues: vec![queue.clone()], ..world.ports() };
    let first = config.clone();
    let worker = tokio::spawn(async move {
        run(ports, &first, RunOptions::default(), Meters::new(&first), std::future::pending()).await
    });
    tokio::time::timeout(MINUTE, queue.stalled.notified()).await.expect("the worker stalls");
    worker.abort();
    let redriven = World { queue: Arc::new(MemoryQueue::new(VISIBILITY)), ..World::new() };
    World::fill(&redriven.queue);
    let world = World { queue: redriven.queue, ..world };
    let options = RunOptions { drain: true };
    let run = run(world.ports(), &config, options, Meters::new(&config), std::future::pending());
    tokio::time::timeout(MINUTE, run).await.expect("the queue is drained").unwrap();
    world.assert_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_held_messages_are_stored_once_whatever_their_counts_say() {
    for counts in [(1, 1), (1, 2), (2, 1), (3, 2)] {
        let world = World::new();
        let (count, copy_count) = (Some(counts.0), Some(counts.1));
        let queue = Arc::new(Altered { count, copy_count, ..Altered::new(&world.queue) });
        let (config, options) = (config(), RunOptions { drain: true });
        let meters = Meters::new(&config);
        let ports = Ports { queues: vec![queue], ..world.ports() };
        let run = run(ports, &config, options, meters.clone(), std::future::pending());
        tokio::time::timeout(MINUTE, run).await.expect("the queue is drained").unwrap();
        world.assert_exact().await;
        assert!(meters.stats.messages_repeated.get() > 0, "{counts:?}");
    }
}

/// Drains with two workers that decode a message differently. The first dies after its first file, which is of ticks:
/// rejects come later.
async fn decoded_differently(body: &str, change: impl FnOnce(&mut Settings)) -> BTreeMap<String, Bytes> {
    let world =
        World { queue: Arc::new(MemoryQueue::new(VISIBILITY)), store: Arc::default(), notifier: Arc::default() };
    world.queue.send(body.to_owned(), None);
    let store = Stalling::new(&world.store, ObjectKind::Data, 2, false);
    let ports = Ports { store: store.clone(), ..world.ports() };
    let mut settings = (*config()).clone();
    change(&mut settings);
    let first = settings.validate().unwrap();
    let worker = tokio::spawn(async move {
        run(ports, &first, RunOptions::default(), Meters::new(&first), std::future::pending()).await
    });
    tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker stalls");
    while lake::ticks(&world.store.objects()).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.abort();
    world.drain(true).await.0.unwrap();
    assert_eq!(world.queue.backlog().await.unwrap(), Backlog::default());
    world.store.objects()
}

fn tick(symbol: &str, ts_us: i64) -> String {
    format!(r#"{{"symbol":"{symbol}","price":1,"volume":1,"ts":{ts_us},"late":{}}}"#, ts_us + HOUR_US)
}

fn symbols(objects: &BTreeMap<String, Bytes>) -> Vec<String> {
    let mut symbols: Vec<_> = lake::ticks(objects).into_iter().map(|tick| tick.symbol).collect();
    symbols.sort_unstable();
    symbols
}

#[tokio::test(flavor = "multi_thread")]
async fn tick_that_one_worker_refused_and_the_other_takes_is_stored_once() {
    let body = format!("[{},{}]", tick("A", AFTERNOON_US), tick("LONGER", AFTERNOON_US));
    let objects = decoded_differently(&body, |settings| settings.decode.symbol_max_bytes = 1).await;
    assert_eq!(symbols(&objects), ["A", "LONGER"]);
    assert!(lake::rejects(&objects).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tick_that_moves_to_another_hour_between_two_deliveries_is_stored_once() {
    let body = format!("[{},{}]", tick("A", AFTERNOON_US), tick("B", AFTERNOON_US + HOUR_US));
    let objects = decoded_differently(&body, |settings| settings.decode.fields.ts = "late".to_owned()).await;
    assert_eq!(symbols(&objects), ["A", "B"]);
}

/// While a configuration changes, one worker refuses a tick that another one takes. A stored file of an epoch says
/// nothing about a message that has no rows in it.
#[tokio::test(flavor = "multi_thread")]
async fn tick_that_the_dead_worker_refused_is_not_taken_for_one_that_it_stored() {
    let world =
        World { queue: Arc::new(MemoryQueue::new(VISIBILITY)), store: Arc::default(), notifier: Arc::default() };
    for symbol in ["A", "LONGER"] {
        let body = format!(r#"{{"symbol":"{symbol}","price":1,"volume":1,"ts":{AFTERNOON_US},"seq":1}}"#);
        world.queue.send(body, None);
    }
    // Ticks come before rejects, so the worker dies before it stores the reject.
    let store = Stalling::new(&world.store, ObjectKind::Data, 2, false);
    let ports = Ports { store: store.clone(), ..world.ports() };
    let worker = tokio::spawn(async move {
        let mut settings = (*config()).clone();
        settings.decode.symbol_max_bytes = 1;
        let config = settings.validate().unwrap();
        run(ports, &config, RunOptions::default(), Meters::new(&config), std::future::pending()).await
    });
    tokio::time::timeout(MINUTE, store.stalled.notified()).await.expect("the worker stalls");
    while lake::ticks(&world.store.objects()).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.abort();
    world.drain(true).await.0.unwrap();
    let mut symbols: Vec<_> = lake::ticks(&world.store.objects()).into_iter().map(|tick| tick.symbol).collect();
    symbols.sort_unstable();
    assert_eq!(symbols, ["A", "LONGER"]);
}
