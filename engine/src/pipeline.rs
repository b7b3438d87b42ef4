//! The whole engine at once: every channel, thread and task is made here, and nowhere else.
//!
//! ```text
//! receivers --> decoders --> builder --> encoder --> committer --> queue (delete)
//!  (tasks)      (threads)   (thread)     (thread)     (task)  \--> store (put)
//!                               \------> publisher (task) -------> notifier
//! ```
//!
//! Stages end from the front: when the receivers stop, each channel closes in turn, and what is under way flows to its
//! end. Every channel is bounded; the budget keeps the first one from filling up.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;
use ticklake_core::decode::Decoder;
use ticklake_core::detect::Detectors;
use ticklake_core::encode::{EncodeError, Encoder};
use ticklake_core::epoch::EpochBuilder;
use ticklake_core::tick::Dictionaries;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::budget::{Amount, Budget};
use crate::builder::Builder;
use crate::committer::Committer;
use crate::config::Config;
use crate::drain::Drain;
use crate::ports::{PortError, Ports};
use crate::publisher::Publisher;
use crate::receiver::Receiver;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::{decoders, encoders};

/// Alert batches that may wait for the publisher. Behind a topic that is down they stall the detectors, then the budget.
const ALERT_BATCHES: usize = 64;

/// How a run goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// End when the queue is empty, and everything it held is in the lake.
    pub drain: bool,
}

/// What can be watched while an engine runs. Made by the caller, who keeps a clone.
#[derive(Debug, Clone)]
pub struct Meters {
    /// What was counted.
    pub stats: Arc<Stats>,
    /// What is in flight, and the most that ever was.
    pub budget: Arc<Budget>,
}

impl Meters {
    /// At zero, with the budget that `config` allows.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let max = Amount { messages: config.budget.messages_max, bytes: config.budget.bytes_max };
        Self { stats: Arc::default(), budget: Budget::new(max) }
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration of the encoder does not hold.
    #[error(transparent)]
    Encoder(#[from] EncodeError),
    /// The operating system gave no thread.
    #[error("failed to start a thread")]
    Thread(#[from] std::io::Error),
    /// A service refused for good, or a stage broke. What was held was given back to the queue, or is delivered again when
    /// its visibility times out.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The deadline of the shutdown passed. What was not committed is delivered again when its visibility times out.
    #[error("failed to shut down within {0:?}: the {1} was late")]
    Late(Duration, &'static str),
}

/// Runs one engine until `shutdown` resolves, the queue is drained (if asked for), or a service refuses for good.
///
/// After `shutdown` it commits what it holds, or gives it back to the queue, within the configured deadline.
pub async fn run(
    ports: Ports,
    config: &Config,
    options: RunOptions,
    meters: Meters,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let Meters { stats, budget } = meters;
    let stop = Stop::new(config.shutdown.deadline);
    let flush = Arc::new(AtomicBool::new(false));
    let worker: Arc<str> = uuid::Uuid::now_v7().simple().to_string().into();
    info!(%worker, "engine started");

    let cpu = Cpu { config, stop: &stop, stats: &stats, budget: &budget, flush: &flush, worker: &worker };
    let Channels { to_decode, epochs, alerts, threads } = cpu.spawn()?;

    let mut receivers = JoinSet::new();
    for _ in 0..config.queue.receivers {
        let receiver = Receiver {
            queue: ports.queue.clone(),
            budget: budget.clone(),
            wait: if options.drain { Drain::WAIT } else { config.queue.wait },
            to_decode: to_decode.clone(),
            stop: stop.clone(),
            stats: stats.clone(),
        };
        receivers.spawn(guarded("receiver", stop.clone(), receiver.run()));
    }
    drop(to_decode);
    if options.drain {
        let drain = Drain { queue: ports.queue.clone(), stats: stats.clone(), flush, stop: stop.clone() };
        receivers.spawn(guarded("drain", stop.clone(), drain.run()));
    }
    let publisher = Publisher { notifier: ports.notifier, alerts, stop: stop.clone(), stats: stats.clone() };
    let committer = Committer {
        queue: ports.queue,
        store: ports.store,
        prefix: config.lake.prefix.clone(),
        epochs,
        stop: stop.clone(),
        stats: stats.clone(),
    };
    let publisher = tokio::spawn(guarded("publisher", stop.clone(), publisher.run()));
    let committer = tokio::spawn(guarded("committer", stop.clone(), committer.run()));

    tokio::select! {
        () = shutdown => info!("shutdown asked for: committing what is held"),
        () = stop.begun() => {}
    }
    stop.begin();
    let late = finish(&stop, receivers, committer, publisher, threads).await;
    log_summary(&stats);
    match (stop.take_cause(), late) {
        (Some(cause), _) => Err(cause.into()),
        (None, Some(stage)) => Err(RunError::Late(config.shutdown.deadline, stage)),
        (None, None) => Ok(()),
    }
}

/// Waits for the stages in the order in which they end; names the one that was late, if one was.
async fn finish(
    stop: &Stop,
    mut receivers: JoinSet<()>,
    committer: tokio::task::JoinHandle<()>,
    publisher: tokio::task::JoinHandle<()>,
    threads: Vec<JoinHandle<()>>,
) -> Option<&'static str> {
    let waiting_for = Cell::new("receivers");
    // A task that panicked has ended the run through its guard; how it ended is of no interest here.
    let stages = async {
        while receivers.join_next().await.is_some() {}
        waiting_for.set("committer");
        let _ = committer.await;
        waiting_for.set("publisher");
        let _ = publisher.await;
    };
    tokio::select! {
        () = stages => {}
        () = stop.release_by() => return Some(waiting_for.get()),
    }
    // The committer ends after the encoder has, which ends after the others have: none of these waits.
    for thread in threads {
        let _ = thread.join();
    }
    None
}

/// Runs a task of the graph; if it panics the run ends, for the other stages cannot do without it.
async fn guarded(stage: &'static str, stop: Stop, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        stage_panicked(stage, &stop);
    }
}

fn stage_panicked(stage: &'static str, stop: &Stop) {
    error!(stage, "stage panicked");
    stop.fail(PortError::Stop { action: "run a stage", text: format!("the {stage} panicked") });
}

/// The counters at the end, each of which a reader of the log may miss otherwise.
fn log_summary(stats: &Stats) {
    info!(
        messages_received = stats.messages_received.get(),
        messages_redelivered = stats.messages_redelivered.get(),
        messages_deleted = stats.messages_deleted.get(),
        messages_released = stats.messages_released.get(),
        messages_lapsed = stats.messages_lapsed.get(),
        receive_failures = stats.receive_failures.get(),
        ticks_stored = stats.ticks_stored.get(),
        ticks_unwatched = stats.ticks_unwatched.get(),
        rejects_stored = stats.rejects_stored.get(),
        alerts_published = stats.alerts_published.get(),
        alerts_refused = stats.alerts_refused.get(),
        alerts_suppressed = stats.alerts_suppressed.get(),
        epochs_stored = stats.epochs_stored.get(),
        "engine ended"
    );
}

/// What the CPU threads are made of.
struct Cpu<'a> {
    config: &'a Config,
    stop: &'a Stop,
    stats: &'a Arc<Stats>,
    budget: &'a Arc<Budget>,
    flush: &'a Arc<AtomicBool>,
    worker: &'a Arc<str>,
}

/// The ends of the CPU threads' channels, and the threads.
struct Channels {
    to_decode: crossbeam_channel::Sender<crate::message::ReceivedBatch>,
    epochs: mpsc::Receiver<crate::message::EncodedEpoch>,
    alerts: mpsc::Receiver<crate::builder::AlertBatch>,
    threads: Vec<JoinHandle<()>>,
}

impl Cpu<'_> {
    fn spawn(&self) -> Result<Channels, RunError> {
        let config = self.config;
        let names = Dictionaries::new(config.decode.names_max);
        // A place for every message the budget admits: the receivers, which are async, never wait here.
        let (to_decode, received) = crossbeam_channel::bounded(config.budget.messages_max);
        let (to_build, decoded) = crossbeam_channel::bounded(2 * config.threads.decode);
        let (to_encode, built) = crossbeam_channel::bounded(1);
        let (to_commit, epochs) = mpsc::channel(1);
        let (to_publish, alerts) = mpsc::channel(ALERT_BATCHES);

        let mut threads = Vec::new();
        for _ in 0..config.threads.decode {
            let decoder = Decoder::new(&config.decode, &names);
            let (received, to_build) = (received.clone(), to_build.clone());
            let (budget, stop, stats) = (self.budget.clone(), self.stop.clone(), self.stats.clone());
            let work = move || decoders::run(decoder, &received, &to_build, &budget, &stop, &stats);
            threads.push(self.thread("decoder", work)?);
        }
        let builder = Builder {
            detectors: Detectors::new(&config.detect),
            symbols: names.symbols.clone(),
            epochs: EpochBuilder::new(config.epoch.clone()),
            alerts_done: Vec::new(),
            batches: decoded,
            waiting: VecDeque::new(),
            to_encode,
            to_publish,
            budget: self.budget.clone(),
            flush: self.flush.clone(),
            stats: self.stats.clone(),
        };
        threads.push(self.thread("builder", move || builder.run())?);
        let encoder = Encoder::new(&config.encode, names)?;
        let (worker, stop) = (self.worker.clone(), self.stop.clone());
        threads.push(self.thread("encoder", move || {
            if let Err(error) = encoders::run(encoder, &worker, &built, &to_commit) {
                stop.fail(PortError::Stop { action: "encode an epoch", text: error.to_string() });
            }
        })?);
        Ok(Channels { to_decode, epochs, alerts, threads })
    }

    /// A named thread; if it panics, the run ends, and its messages are delivered again.
    fn thread(&self, stage: &'static str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        let stop = self.stop.clone();
        std::thread::Builder::new().name(stage.to_owned()).spawn(move || {
            // The closure is dropped right after a panic: nothing sees what it may have left half-done.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                stage_panicked(stage, &stop);
            }
        })
    }
}
