//! What can be watched while an engine runs: its counters, its budget, and the numbers of each queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tracing::{debug, warn};

use crate::budget::{Amount, Budget};
use crate::config::Config;
use crate::listeners::Listeners;
use crate::ports::{Backlog, PortError, Queue};
use crate::redact;
use crate::rejected::RejectWatch;
use crate::stats::{Counter, Stats};

/// How often a queue is asked what it holds. SQS's own counts are up to a minute behind.
const ASK_AGAIN: Duration = Duration::from_secs(15);

const UNKNOWN: i64 = -1;

/// What can be watched while an engine runs. Made by the caller, who keeps a clone.
#[derive(Debug, Clone)]
pub struct Meters {
    /// What was counted.
    pub stats: Arc<Stats>,
    /// What is in flight, and the most that ever was.
    pub budget: Arc<Budget>,
    /// The same for each queue, and what else is known of it.
    pub queues: Arc<[Arc<QueueMeter>]>,
    /// Watches whether so much is rejected that nothing more is received.
    pub rejects: Arc<RejectWatch>,
    /// The listeners to alerts, beside the topic.
    pub listeners: Listeners,
}

impl Meters {
    /// Meters at zero, with the budget that `config` allows.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let max = Amount { messages: config.messages_max(), bytes: config.budget.bytes_max };
        let budget = Budget::new(max);
        let share = config.share_of_queue().min(max.messages);
        let queues = config.queue_urls().map(|url| Arc::new(QueueMeter::new(url, budget.share(share)))).collect();
        let rejects = Arc::new(RejectWatch::new(&config.decode));
        Self { stats: Arc::default(), budget, queues, rejects, listeners: Listeners::default() }
    }

    /// Whether every queue that is not gone is being received from, and at least one is.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        if self.rejects.halted().is_some() {
            return false;
        }
        let is_receiving = |queue: &Arc<QueueMeter>| queue.is_receiving() || queue.is_gone();
        self.queues.iter().all(is_receiving) && self.queues.iter().any(|queue| queue.is_receiving())
    }

    /// The names of the queues that do not exist any more.
    pub fn queues_gone(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().filter(|queue| queue.is_gone()).map(|queue| &*queue.name)
    }
}

/// The numbers of one queue.
#[derive(Debug)]
pub struct QueueMeter {
    /// The queue's account and name: the path of its URL.
    pub name: Arc<str>,
    /// Whether it keeps groups of messages in order. Then it holds back what follows a held message in its group.
    pub is_fifo: bool,
    /// Its messages in flight: a share of the budget.
    pub budget: Arc<Budget>,
    receiving: AtomicBool,
    was_there: AtomicBool,
    gone: AtomicBool,
    messages_decoded: Counter,
    ticks_decoded: Counter,
    age_us: AtomicI64,
    backlog: AtomicI64,
}

impl QueueMeter {
    /// The meter of the queue at `url`, of which nothing is held or known yet.
    #[must_use]
    pub fn new(url: &str, budget: Arc<Budget>) -> Self {
        let url = &*redact::urls(url);
        let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or(url, |(_, path)| path);
        Self {
            name: path.into(),
            is_fifo: url.strip_suffix(".fifo").is_some(),
            budget,
            receiving: AtomicBool::new(false),
            was_there: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            messages_decoded: Counter::default(),
            ticks_decoded: Counter::default(),
            age_us: AtomicI64::new(0),
            backlog: AtomicI64::new(UNKNOWN),
        }
    }

    /// Whether receive calls succeed, as far as is known, and no stop has begun.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.receiving.load(Ordering::Relaxed)
    }

    pub(crate) fn set_receiving(&self, receiving: bool) {
        self.receiving.store(receiving, Ordering::Relaxed);
    }

    /// Whether the queue does not exist any more, as far as is known.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Whether the queue has ever answered.
    pub(crate) fn was_there(&self) -> bool {
        self.was_there.load(Ordering::Relaxed)
    }

    /// A receive was answered. Returns whether the queue was gone until then.
    pub(crate) fn found(&self) -> bool {
        self.was_there.store(true, Ordering::Relaxed);
        self.gone.swap(false, Ordering::Relaxed)
    }

    /// The queue does not exist. Returns whether that is new.
    pub(crate) fn not_found(&self) -> bool {
        !self.gone.swap(true, Ordering::Relaxed)
    }

    /// How long the oldest message of the last receive had been in the queue, in microseconds; 0 if that was empty.
    #[must_use]
    pub fn age_us(&self) -> i64 {
        self.age_us.load(Ordering::Relaxed)
    }

    /// About how many messages the queue holds, including those in flight; `None` if that is not known.
    #[must_use]
    pub fn backlog(&self) -> Option<u64> {
        u64::try_from(self.backlog.load(Ordering::Relaxed)).ok()
    }

    /// About how many ticks the queue holds, at the average ticks per message so far; `None` if either is not known.
    #[must_use]
    pub fn backlog_ticks(&self) -> Option<f64> {
        let messages = self.messages_decoded.get();
        let each = (messages > 0).then(|| self.ticks_decoded.get() as f64 / messages as f64)?;
        Some(self.backlog()? as f64 * each)
    }

    /// Counts what was decoded of it.
    pub(crate) fn count(&self, messages: usize, ticks: usize) {
        self.messages_decoded.add(messages);
        self.ticks_decoded.add(ticks);
    }

    /// A receive was answered, and its oldest message was sent `age_us` ago; `None` if it brought no message.
    pub(crate) fn note_age(&self, age_us: Option<i64>) {
        self.age_us.store(age_us.unwrap_or(0).max(0), Ordering::Relaxed);
    }
}

/// Asks `queue` again and again what it holds, until the call is refused for good.
pub(crate) async fn watch_backlog(queue: Arc<dyn Queue>, meter: Arc<QueueMeter>) {
    loop {
        let asked = queue.backlog().await;
        let count = |backlog: &Backlog| i64::try_from(backlog.total()).unwrap_or(i64::MAX);
        let backlog = asked.as_ref().map_or(UNKNOWN, count);
        meter.backlog.store(backlog, Ordering::Relaxed);
        match asked {
            Ok(_) => meter.was_there.store(true, Ordering::Relaxed),
            Err(error @ PortError::Stop(_)) => return warn!(%error, "the backlog will not be known"),
            Err(error) => debug!(%error, "backlog unknown, asking again"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
