//! Tests engines that share a queue, and messages that are held for long or come again.

use super::*;

/// A queue that holds back each worker's first messages until the other worker has some, too.
struct Together {
    queue: Arc<MemoryQueue>,
    both: Arc<tokio::sync::Barrier>,
    has_waited: AtomicBool,
}

#[async_trait]
impl Queue for Together {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        let messages = self.queue.receive(wait).await?;
        if !messages.is_empty() && !self.has_waited.swap(true, Ordering::SeqCst) {
            self.both.wait().await;
        }
        Ok(messages)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.delete(receipts).await
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.extend(receipts, timeout).await
    }

    async fn release(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.release(receipts).await
    }

    async fn has_sources(&self) -> Result<bool, PortError> {
        Ok(false)
    }

    async fn backlog(&self) -> Result<Backlog, PortError> {
        self.queue.backlog().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_that_drain_one_queue_do_not_wait_for_each_other() {
    let edges = Edges::new();
    (0..100).for_each(|seq| drop(edges.queue.send(tick("AAPL", seq), None)));
    let mut settings = settings();
    // Each engine holds messages that the other one counts, and no epoch closes by its age.
    settings.epoch.age_max = Duration::from_mins(10);
    settings.queue.receivers_max = 1;
    let config = config(settings);
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let ports = || {
        let (queue, both) = (edges.queue.clone(), both.clone());
        let queue = Arc::new(Together { queue, both, has_waited: AtomicBool::new(false) });
        Ports { queues: vec![queue], ..edges.ports() }
    };
    let ((one, one_meters), (other, other_meters)) = tokio::join!(drain(ports(), &config), drain(ports(), &config));
    one.unwrap();
    other.unwrap();
    let deleted = [one_meters, other_meters].map(|meters| meters.stats.messages_deleted.get());
    assert!(deleted.iter().all(|deleted| *deleted >= 10) && deleted.iter().sum::<u64>() == 100, "{deleted:?}");
    assert_eq!(lake::ticks(&edges.objects()).len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_only_after_the_messages_that_others_hold() {
    let edges = Edges::new();
    (0..20).for_each(|seq| drop(edges.queue.send(tick("AAPL", seq), None)));
    let held = edges.queue.receive(Duration::ZERO).await.unwrap();
    let receipts: Vec<_> = held.iter().map(|message| message.receipt.clone()).collect();
    let config = config(settings());
    let meters = Meters::new(&config);
    let other = async {
        while meters.stats.messages_deleted.get() < 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // That is longer than an empty queue has to be quiet.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(edges.queue.release(&receipts).await.unwrap().is_empty());
    };
    let run = run(edges.ports(), &config, DRAIN, meters.clone(), std::future::pending());
    let (result, ()) = tokio::join!(async { tokio::time::timeout(MINUTE, run).await.expect("the run ends") }, other);
    result.unwrap();
    assert_eq!(lake::ticks(&edges.objects()).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_run_in_one_process() {
    let (first, second) = (Edges::new(), Edges::new());
    first.queue.send(tick("AAPL", 0), None);
    second.queue.send(tick("MSFT", 0), None);
    let config = config(settings());
    let (a, b) = tokio::join!(drain(first.ports(), &config), drain(second.ports(), &config));
    a.0.unwrap();
    b.0.unwrap();
    assert_eq!(lake::ticks(&first.objects())[0].symbol, "AAPL");
    assert_eq!(lake::ticks(&second.objects())[0].symbol, "MSFT");
}

/// A visibility timeout that is far shorter than the time for which the messages have to wait.
const SHORT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn messages_held_for_longer_than_their_visibility_are_extended_and_delivered_once() {
    let edges = Edges { queue: Arc::new(MemoryQueue::new(SHORT)), ..Edges::new() };
    for seq in 0..95 {
        edges.queue.send(tick("AAPL", seq), None);
    }
    let mut settings = settings();
    settings.queue.visibility_timeout = SHORT;
    settings.queue.wait = SHORT / 5;
    settings.epoch.age_max = 2 * SHORT + SHORT / 2;
    let config = config(settings);
    let meters = Meters::new(&config);
    let stored = async {
        while meters.stats.messages_deleted.get() < 95 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let run = run(edges.ports(), &config, RunOptions::default(), meters.clone(), stored);
    tokio::time::timeout(MINUTE, run).await.unwrap().unwrap();
    let stats = &meters.stats;
    assert!(stats.messages_extended.get() >= 4 * 95, "each every half of its time: {}", stats.messages_extended.get());
    assert_eq!((stats.messages_redelivered.get(), stats.messages_lapsed.get()), (0, 0));
    assert_eq!(lake::ticks(&edges.objects()).len(), 95);
}

/// A queue that refuses to extend one message, once, as SQS does with a receipt that has expired.
struct Refusing {
    queue: Arc<MemoryQueue>,
    refused: AtomicBool,
}

#[async_trait]
impl Queue for Refusing {
    async fn receive(&self, wait: Duration) -> Result<Vec<ReceivedMessage>, PortError> {
        self.queue.receive(wait).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<EntryFailure>, PortError> {
        self.queue.delete(receipts).await
    }

    async fn extend(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<EntryFailure>, PortError> {
        let Some(index) = receipts.iter().position(|receipt| receipt.starts_with("message-7-")) else {
            return self.queue.extend(receipts, timeout).await;
        };
        if self.refused.swap(true, Ordering::SeqCst) {
            return self.queue.extend(receipts, timeout).await;
        }
        let others: Vec<_> = receipts.iter().filter(|receipt| !receipt.starts_with("message-7-")).cloned().collect();
        assert!(self.queue.extend(&others, timeout).await?.is_empty());
        Ok(vec![EntryFailure { index, retryable: false, code: "ReceiptHandleIsInvalid".to_owned() }])
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
async fn message_that_is_not_ours_any_more_leaves_the_open_epoch_and_is_stored_by_its_next_delivery() {
    let edges = Edges { queue: Arc::new(MemoryQueue::new(SHORT)), ..Edges::new() };
    for seq in 0..20 {
        edges.queue.send(format!("[{},{{}}]", tick("AAPL", seq)), None);
    }
    let mut settings = settings();
    settings.queue.visibility_timeout = SHORT;
    settings.queue.wait = SHORT / 5;
    settings.epoch.age_max = 2 * SHORT;
    let config = config(settings);
    let meters = Meters::new(&config);
    let stored = async {
        while meters.stats.messages_deleted.get() < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let queue = Arc::new(Refusing { queue: edges.queue.clone(), refused: AtomicBool::new(false) });
    let run =
        run(Ports { queues: vec![queue], ..edges.ports() }, &config, RunOptions::default(), meters.clone(), stored);
    tokio::time::timeout(MINUTE, run).await.unwrap().unwrap();
    // A delivery while the open epoch holds the message is left alone. It comes again after its visibility timeout.
    let redelivered = meters.stats.messages_redelivered.get();
    assert!(meters.stats.messages_lapsed.get() == 1 && (1..=4).contains(&redelivered), "{redelivered}");
    let mut seqs: Vec<_> = lake::ticks(&edges.objects()).iter().map(|tick| tick.seq.unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..20).collect::<Vec<_>>(), "every tick once");
    assert_eq!(lake::rejects(&edges.objects()).len(), 20, "every reject once");
}
