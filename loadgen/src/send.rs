//! Sending: what to send, how fast, and the call that does it all.
//!
//! Producer threads fill a bounded channel with batches. Sender tasks empty it into the queue. When the queue is slow,
//! the channel fills and the producers wait. So memory is bounded by [`CHANNEL_BATCHES_PER_SENDER`] batches of at most
//! 1 MiB for each sender, and some that are handed over together. This file owns that graph. It does *not* own the call
//! of `SendMessageBatch` (`deliver`), when a batch is due (`schedule`), or what becomes of it ([`crate::watch`]).

mod deliver;
mod feed;
mod progress;
mod schedule;
mod shape;

use std::{
    num::NonZeroU64,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use aws_sdk_sqs::Client;
use tokio::{
    sync::{Mutex, mpsc},
    task::{self, JoinSet},
};

use crate::{
    batch::Batch,
    disturb::Disturbance,
    manifest::Sent,
    market::{Market, MarketConfig, MarketError},
    payload::Packing,
    produce::{self, Emit, Preparation, ProduceError, Produced, Speed},
    replay::Recording,
};
use deliver::Deliverer;
use feed::{Due, Feed};

pub use deliver::DeliveryError;
pub use progress::Progress;
pub use shape::{Shape, ShapeError};

/// How many batches are prepared ahead for each sender.
pub const CHANNEL_BATCHES_PER_SENDER: usize = 2;

/// Batches that producers hand over at once. To wake a sender, and then a producer, costs more than to prepare a batch.
const TOGETHER: usize = 8;

/// Where the ticks come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A model market.
    Market(MarketConfig),
    /// A recorded file.
    Recording(Recording),
}

/// What to send, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The ticks.
    pub source: Source,
    /// How they are packed into messages.
    pub packing: Packing,
    /// What happens to ticks on their way.
    pub disturbance: Disturbance,
    /// When the batches are sent.
    pub pace: Pace,
    /// Threads that prepare messages, at least 1. A recording uses only one.
    pub threads: usize,
    /// Calls of `SendMessageBatch` in flight at a time, at least 1.
    pub senders: usize,
}

/// When batches are sent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Pace {
    /// As fast as the queue takes them: a closed loop.
    #[default]
    AsTaken,
    /// At a rate, on a schedule that a slow queue does not stretch: an open loop.
    Rate {
        /// The rate.
        ticks_per_s: NonZeroU64,
        /// How the rate changes over time.
        shape: Shape,
    },
    /// By the clock of a recording, however slow the queue is: an open loop. A market has no such clock.
    EventTime(Speed),
}

impl Pace {
    /// An even rate.
    #[must_use]
    pub fn even(ticks_per_s: NonZeroU64) -> Self {
        Self::Rate { ticks_per_s, shape: Shape::Constant }
    }

    /// Ticks per second that are asked for, when `at` has passed since the beginning. `None` if the pace has no rate.
    #[must_use]
    pub fn asked_per_s(&self, at: Duration) -> Option<f64> {
        match self {
            Self::Rate { ticks_per_s, shape } => Some(shape.rate_at(ticks_per_s.get() as f64, at)),
            Self::AsTaken | Self::EventTime(_) => None,
        }
    }
}

impl Plan {
    /// Sends `source` packed as `packing`, undisturbed, as fast as possible, with 2 threads and 16 senders.
    #[must_use]
    pub fn new(source: Source, packing: Packing) -> Self {
        let (disturbance, pace) = (Disturbance::default(), Pace::AsTaken);
        Self { source, packing, disturbance, pace, threads: 2, senders: 16 }
    }
}

/// Why a run ended early. What was sent until then stays in the queue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The market cannot be generated.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// There is no queue to send to.
    #[error("failed to send: no queue is named; name at least one")]
    NoQueue,
    /// A market cannot be sent by its own clock.
    #[error("failed to send a market by its own clock: its lanes are not in the order of event time; give a rate")]
    MarketPace,
    /// The messages cannot be prepared.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// The queue does not take the messages.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// Sends the ticks of `plan` to the queues and returns what was sent. [`ticklake_schemas::queue_of`] says to which
/// queue a symbol's ticks go. When this returns `Ok`, the queues have taken every message. Dropping the future stops
/// producers and senders.
pub async fn run(client: Client, queue_urls: &[String], plan: Plan, progress: Arc<Progress>) -> Result<Sent, Error> {
    if queue_urls.is_empty() {
        return Err(Error::NoQueue);
    }
    let senders = plan.senders.max(1);
    let (to_senders, from_producers) = mpsc::channel((senders * CHANNEL_BATCHES_PER_SENDER).div_ceil(TOGETHER));
    let started = Instant::now();
    let producing = start_producers(&plan, queue_urls.len(), to_senders, progress.clone())?;
    let feed = Arc::new(Mutex::new(Feed::new(from_producers, Due::by(plan.pace), progress.clone())));
    let mut deliverer = Deliverer::new(&client, queue_urls, progress.clone());
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        tasks.spawn(send_all(feed.clone(), deliverer.clone()));
    }
    while let Some(finished) = tasks.join_next().await {
        // An error here drops the other tasks, the feed and its channel. The closed channel stops the producers.
        deliverer.absorb(finished.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?);
    }
    let produced = producing.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    progress.is_sent.store(true, Ordering::Relaxed);
    let counts = deliverer.into_counts();
    let behind = feed.lock().await.behind_max();
    let (rate, shape, speed) = match plan.pace {
        Pace::AsTaken => (None, None, None),
        Pace::Rate { ticks_per_s, shape } => (Some(ticks_per_s.get()), Some(shape.to_string()), None),
        Pace::EventTime(speed) => (None, None, Some(speed.factor)),
    };
    Ok(Sent {
        symbols: produced.symbols,
        truth: produced.truth,
        ticks: counts.ticks,
        malformed: produced.malformed,
        messages: counts.messages,
        bytes: counts.bytes,
        calls: counts.calls,
        retries: counts.retries,
        unanswered_calls: counts.unanswered_calls,
        throttled: counts.throttled,
        elapsed: started.elapsed(),
        rate,
        shape,
        speed,
        behind,
        is_whole: !progress.stop.load(Ordering::Relaxed),
        latency_us: counts.latency_us,
    })
}

/// One sender: takes batches until there are no more.
async fn send_all(feed: Arc<Mutex<Feed>>, mut deliverer: Deliverer) -> Result<Deliverer, DeliveryError> {
    loop {
        // A sender holds the lock while it waits for the next batch and for its time: the schedule has one order.
        let next = feed.lock().await.next().await;
        let Some((batch, due)) = next else { return Ok(deliverer) };
        deliverer.deliver(batch, due).await?;
    }
}

fn start_producers(
    plan: &Plan,
    queues: usize,
    to_senders: mpsc::Sender<Vec<Batch>>,
    progress: Arc<Progress>,
) -> Result<task::JoinHandle<Result<Produced, ProduceError>>, Error> {
    let (marks, threads) = (progress.watch.is_some(), plan.threads);
    let how = Preparation { packing: plan.packing, queues, disturbance: plan.disturbance, marks };
    let gathered = std::sync::Mutex::new(Vec::new());
    let hand_over = move |batch: Option<Batch>| {
        let is_last = batch.is_none();
        let full = {
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.extend(batch);
            (is_last || gathered.len() >= TOGETHER).then(|| std::mem::take(&mut *gathered))
        };
        full.is_none_or(|full| to_senders.blocking_send(full).is_ok()) && !progress.stop.load(Ordering::Relaxed)
    };
    let emit = move |produce: &dyn Fn(Emit<'_>) -> Result<Produced, ProduceError>| {
        let produced = produce(&|batch| hand_over(Some(batch)));
        hand_over(None);
        produced
    };
    let speed = match plan.pace {
        Pace::EventTime(speed) => Some(speed),
        Pace::AsTaken | Pace::Rate { .. } => None,
    };
    Ok(match &plan.source {
        Source::Market(_) if speed.is_some() => return Err(Error::MarketPace),
        Source::Market(config) => {
            let market = Market::new(config.clone())?;
            task::spawn_blocking(move || emit(&|emit| produce::market(&market, &how, threads, emit)))
        }
        Source::Recording(recording) => {
            let recording = recording.clone();
            task::spawn_blocking(move || emit(&|emit| produce::recording(&recording, &how, speed, emit)))
        }
    })
}
