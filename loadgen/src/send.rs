//! Sending: what to send, how fast, and the call that does it all.
//!
//! Producer threads fill a bounded channel with batches; sender tasks empty it into the queue. When the queue is slow the
//! channel fills and the producers wait, so memory is bounded by [`CHANNEL_BATCHES_PER_SENDER`] batches of at most 1 MiB
//! for each sender, and some that are handed over together. This file owns that graph; it does *not* own the call of `SendMessageBatch` (`deliver`) or when a batch is
//! due (`schedule`).

mod deliver;
mod feed;
mod schedule;
mod shape;

use std::{
    num::NonZeroU64,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use aws_sdk_sqs::Client;
use tokio::{
    sync::{Mutex, mpsc},
    task::{self, JoinSet},
};

use crate::{
    batch::Batch,
    manifest::Sent,
    market::{Market, MarketConfig, MarketError},
    payload::Packing,
    produce::{self, Emit, ProduceError, Produced},
    replay::Recording,
};
use deliver::Deliverer;
use feed::Feed;
use schedule::Schedule;

pub use deliver::DeliveryError;
pub use shape::{Shape, ShapeError};

/// How many batches are prepared ahead for each sender.
pub const CHANNEL_BATCHES_PER_SENDER: usize = 2;

/// Batches that producers hand over at once: to wake a sender, and a producer in turn, costs more than to prepare a batch.
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
    /// Threads that prepare messages; at least 1 is used, and for a recording no more.
    pub threads: usize,
    /// Calls of `SendMessageBatch` in flight at a time; at least 1.
    pub senders: usize,
    /// Ticks per second, on a schedule that a slow queue does not stretch (open loop). `None` sends as fast as the queue
    /// takes it (closed loop).
    pub rate: Option<NonZeroU64>,
    /// How that rate changes over time.
    pub shape: Shape,
}

impl Plan {
    /// Sends `source` packed as `packing`, as fast as possible, with 2 threads and 16 senders.
    #[must_use]
    pub fn new(source: Source, packing: Packing) -> Self {
        Self { source, packing, threads: 2, senders: 16, rate: None, shape: Shape::Constant }
    }
}

/// What the queue has taken so far, for whoever watches, and whether it is to go on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Set by whoever wants the run to end: no more is prepared then, and what is, is sent at once.
    pub stop: AtomicBool,
    /// Ticks.
    pub ticks: AtomicU64,
    /// Messages.
    pub messages: AtomicU64,
}

impl Progress {
    fn add(&self, ticks: u64, messages: u64) {
        self.ticks.fetch_add(ticks, Ordering::Relaxed);
        self.messages.fetch_add(messages, Ordering::Relaxed);
    }
}

/// Why a run ended early. What was sent until then stays in the queue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The market cannot be generated.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The messages cannot be prepared.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// The queue does not take them.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// Sends the ticks of `plan` to the queue and says what was sent. Every message was taken by the queue when this returns
/// `Ok`. Dropping the future stops producers and senders.
pub async fn run(client: Client, queue_url: &str, plan: Plan, progress: Arc<Progress>) -> Result<Sent, Error> {
    let senders = plan.senders.max(1);
    let (to_senders, from_producers) = mpsc::channel((senders * CHANNEL_BATCHES_PER_SENDER).div_ceil(TOGETHER));
    let started = Instant::now();
    let producing = start_producers(&plan, to_senders, progress.clone())?;
    let schedule = plan.rate.map(|rate| Schedule::new(rate, plan.shape));
    let feed = Arc::new(Mutex::new(Feed::new(from_producers, schedule, progress.clone())));
    let mut deliverer = Deliverer::new(&client, queue_url, progress.clone());
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        tasks.spawn(send_all(feed.clone(), deliverer.clone()));
    }
    while let Some(finished) = tasks.join_next().await {
        // An error here drops the other tasks and the feed, and with it the channel, which stops the producers.
        deliverer.absorb(finished.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?);
    }
    let produced = producing.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let counts = deliverer.into_counts();
    let behind = feed.lock().await.behind_max();
    Ok(Sent {
        symbols: produced.symbols,
        truth: produced.truth,
        ticks: counts.ticks,
        messages: counts.messages,
        bytes: counts.bytes,
        calls: counts.calls,
        retries: counts.retries,
        unanswered_calls: counts.unanswered_calls,
        throttled: counts.throttled,
        elapsed: started.elapsed(),
        rate: plan.rate.map(NonZeroU64::get),
        shape: plan.rate.map(|_| plan.shape.to_string()),
        behind,
        is_whole: !progress.stop.load(Ordering::Relaxed),
        latency_us: counts.latency_us,
    })
}

/// One sender: takes batches until there are no more.
async fn send_all(feed: Arc<Mutex<Feed>>, mut deliverer: Deliverer) -> Result<Deliverer, DeliveryError> {
    loop {
        // The lock is held while waiting for the next batch and for its time: the schedule has one order.
        let next = feed.lock().await.next().await;
        let Some((batch, due)) = next else { return Ok(deliverer) };
        deliverer.deliver(batch, due).await?;
    }
}

fn start_producers(
    plan: &Plan,
    to_senders: mpsc::Sender<Vec<Batch>>,
    progress: Arc<Progress>,
) -> Result<task::JoinHandle<Result<Produced, ProduceError>>, Error> {
    let (packing, threads) = (plan.packing, plan.threads);
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
    Ok(match &plan.source {
        Source::Market(config) => {
            let market = Market::new(config.clone())?;
            task::spawn_blocking(move || emit(&|emit| produce::market(&market, packing, threads, emit)))
        }
        Source::Recording(recording) => {
            let recording = recording.clone();
            task::spawn_blocking(move || emit(&|emit| produce::recording(&recording, packing, emit)))
        }
    })
}
