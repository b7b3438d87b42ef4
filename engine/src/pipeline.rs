//! The whole engine at once: every channel, thread and task is made here or in [`crate::cpu`], and nowhere else.
//!
//! ```text
//! receivers --> decoders --> detectors --> builder --> encoders --> committer --> queue (delete)
//!  (tasks)      (threads)    (threads)    (thread)    (threads)      (task)  \--> store (put)
//!     \                                    ^  | \------> publisher (task) -------> notifier
//!      \                                   '--+ resolver (task) ----------------> store (ledger)
//!      \       '---------------------- cpu -----------------------'
//!       \-----> heartbeat (task) -----------------------------------------------> queue (extend)
//! ```
//!
//! Stages end from the front: when the receivers stop, each channel closes in turn, and batches under way flow to the
//! end. Channels are bounded, or the budget bounds their contents: the heartbeat's, and those to the resolver and back.
//! Alerts that no epoch could store, and those of dead workers, go back to the builder through `carried`. The alerts of
//! earlier epochs and the notes in the store bound it. The receivers start polls, each a task of its own.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Sender;
use futures_util::FutureExt as _;
use ticklake_core::batch::Decoded;
use ticklake_core::encode::{EncodeConfig, Encoder};
use ticklake_core::lake::EpochId;
use ticklake_core::outbox::Outbox;
use ticklake_core::tick::Dictionaries;
use ticklake_schemas::Table;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::info;

use crate::aws::ATTEMPTS;
use crate::committer::Committer;
use crate::config::{Config, Delivery};
use crate::cpu::{Channels, Cpu, StartError};
use crate::drain::Drain;
use crate::flush::Flush;
use crate::heartbeat::Heartbeat;
use crate::hold::HeldMessages;
use crate::ledger::Ledger;
use crate::message::{AlertBatch, CarriedAlerts, EncodedEpoch, HeldMessage, ReceivedBatch};
use crate::meter::{Meters, watch_backlog};
use crate::notes::Notes;
use crate::pace::Pace;
use crate::ports::{PortError, Ports};
use crate::publisher::Publisher;
use crate::quiet::Quiet;
use crate::receiver::{Poll, Receivers};
use crate::resolver::Resolver;
use crate::stats::Stats;
use crate::stop::Stop;

/// Options of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// End when the queues are empty, and everything that they held is in the lake.
    pub drain: bool,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The CPU threads could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The meters were made for another number of queues.
    #[error("failed to start: there are {queues} queues, but meters for {meters}")]
    #[expect(missing_docs, reason = "the text says what the fields are")]
    Meters { queues: usize, meters: usize },
    /// A service refused for good, or a stage broke. Held messages were given back to the queue, or are delivered again
    /// when their visibility times out.
    #[error("{0}")]
    Port(PortError),
    /// The shutdown missed its deadline. Messages not committed are delivered again when their visibility times out.
    #[error("failed to shut down within {0:?}: the {1} was late")]
    Late(Duration, &'static str),
}

/// Runs one engine until `shutdown` resolves, the queue is drained (if asked for), or a service refuses for good.
///
/// After `shutdown` it commits what it holds, or gives it back to the queue, within the configured deadline.
#[expect(clippy::disallowed_methods, reason = "the tasks of a run start here")]
pub async fn run(
    ports: Ports,
    config: &Config,
    options: RunOptions,
    meters: Meters,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    if ports.queues.len() != meters.queues.len() {
        return Err(RunError::Meters { queues: ports.queues.len(), meters: meters.queues.len() });
    }
    let worker: Arc<str> = uuid::Uuid::now_v7().simple().to_string().into();
    info!(%worker, queues = ports.queues.len(), "engine started");
    let shared = Shared::new(&ports, config, &meters, &worker)?;
    let (stop, notes) = (&shared.stop, &shared.notes);

    let cpu = Cpu { config, stop, meters: &meters, flush: &shared.flush, quiet: &shared.quiet, worker: &worker };
    let Channels { to_decode, unresolved, resolved, epochs, carried, alerts, threads } = cpu.start()?;
    let (mut receivers, mut watchers) = shared.receive(options, &to_decode);
    drop(to_decode);
    if options.drain {
        receivers.spawn(guarded("drain", stop.clone(), shared.drain().run()));
    }
    let resolver = shared.resolver(unresolved, resolved, carried.clone());
    receivers.spawn(guarded("resolver", stop.clone(), resolver.run()));
    let publisher = shared.publisher(alerts, carried.clone());
    let publisher = tokio::spawn(guarded("publisher", stop.clone(), publisher.run()));
    let committer = shared.committer(epochs, carried.clone())?;
    let committer = tokio::spawn(guarded("committer", stop.clone(), committer.run()));
    let ledger = shared.ledger.clone();
    watchers.spawn(async move { ledger.remove_entries().await });
    if let Some(notes) = notes.clone() {
        let adopt_after = config.alerts.adopt_after;
        let adopt = async move {
            tokio::join!(notes.remove_finished(), notes.adopt(adopt_after, &carried));
        };
        watchers.spawn(guarded("adopter", stop.clone(), adopt));
    } else {
        drop(carried);
    }

    tokio::select! {
        () = shutdown => info!("shutdown requested: committing what is held"),
        () = stop.begun() => {}
    }
    stop.begin();
    let late = finish(stop, receivers, committer, publisher, threads).await;
    // Nothing is held any more, or it is too late to do anything about it.
    drop(watchers);
    shared.ledger.leave_retired().await;
    if let Some(notes) = notes {
        notes.remove_last_finished().await;
    }
    log_summary(&meters.stats);
    match (stop.take_cause(), late) {
        (Some(cause), _) => Err(RunError::Port(cause)),
        (None, Some(stage)) => Err(RunError::Late(config.shutdown.deadline, stage)),
        (None, None) => Ok(()),
    }
}

/// What several stages hold. Each method makes one stage from it.
struct Shared<'a> {
    ports: &'a Ports,
    config: &'a Config,
    meters: &'a Meters,
    stop: Stop,
    flush: Arc<Flush>,
    quiet: Arc<Quiet>,
    ledger: Arc<Ledger>,
    notes: Option<Arc<Notes>>,
}

impl<'a> Shared<'a> {
    fn new(ports: &'a Ports, config: &'a Config, meters: &'a Meters, worker: &Arc<str>) -> Result<Self, StartError> {
        let stop = Stop::new(config.shutdown.deadline);
        let (store, prefix) = (&ports.store, &config.lake.prefix);
        let ledger = Ledger::new(store.clone(), prefix.clone(), voids(&config.encode)?, stop.clone())
            .outlasting(config.queue.visibility_timeout)
            .for_splitting(config.decode.splitting());
        let is_exact = config.lake.delivery == Delivery::ExactlyOnce;
        let stats = &meters.stats;
        let notes =
            is_exact.then(|| Notes::new(store.clone(), prefix.clone(), worker.clone(), stop.clone(), stats.clone()));
        let (flush, quiet) = Default::default();
        Ok(Self { ports, config, meters, stop, flush, quiet, ledger: Arc::new(ledger), notes: notes.map(Arc::new) })
    }

    /// Starts the receivers and heartbeats of every queue. Returns the tasks that end with the receiving, and those
    /// that go on to the end.
    #[expect(clippy::disallowed_methods, reason = "the budget bounds what is in it")]
    fn receive(&self, options: RunOptions, to_decode: &Sender<ReceivedBatch>) -> (JoinSet<()>, JoinSet<()>) {
        let Self { ports, config, meters, stop, .. } = self;
        let held = (config.lake.delivery == Delivery::ExactlyOnce).then(Arc::<HeldMessages>::default);
        let (mut receivers, mut watchers) = (JoinSet::new(), JoinSet::new());
        for (index, (queue, meter)) in ports.queues.iter().zip(meters.queues.iter()).enumerate() {
            let (to_extend, received) = mpsc::unbounded_channel();
            let visibility_timeout = config.queue.visibility_timeout;
            let poll = Poll {
                queue: queue.clone(),
                index,
                meter: meter.clone(),
                all: meters.queues.clone(),
                flush: self.flush.clone(),
                quiet: self.quiet.clone(),
                visibility_timeout,
                held: held.clone(),
                identity: config.queue.identity,
                is_dead_letters: false,
                to_extend,
                wait: if options.drain { Drain::WAIT } else { config.queue.wait },
                to_decode: to_decode.clone(),
                rejects: meters.rejects.clone(),
                stop: stop.clone(),
                stats: meters.stats.clone(),
            };
            let pace = Pace::new(config.queue.receivers_min..=config.queue.receivers_max);
            receivers.spawn(guarded("receiver", stop.clone(), Receivers { poll, pace }.run()));
            let (queue, stop, stats) = (queue.clone(), stop.clone(), meters.stats.clone());
            if config.metrics.listen.is_some() {
                watchers.spawn(watch_backlog(queue.clone(), meter.clone()));
            }
            let heartbeat = Heartbeat { queue, visibility_timeout, received, stop: stop.clone(), stats };
            watchers.spawn(guarded("heartbeat", stop, heartbeat.run()));
        }
        (receivers, watchers)
    }

    fn drain(&self) -> Drain {
        Drain {
            queues: self.ports.queues.clone(),
            notes: self.notes.clone(),
            stats: self.meters.stats.clone(),
            rejects: self.meters.rejects.clone(),
            flush: self.flush.clone(),
            stop: self.stop.clone(),
        }
    }

    fn resolver(
        &self,
        batches: mpsc::UnboundedReceiver<Decoded<HeldMessage>>,
        resolved: Sender<Decoded<HeldMessage>>,
        carried: Sender<CarriedAlerts>,
    ) -> Resolver {
        let (ledger, stop, stats) = (self.ledger.clone(), self.stop.clone(), self.meters.stats.clone());
        Resolver { ledger, batches, resolved, carried, stop, stats }
    }

    fn publisher(&self, alerts: mpsc::Receiver<AlertBatch>, carried: Sender<CarriedAlerts>) -> Publisher {
        Publisher {
            notifier: self.ports.notifier.clone(),
            notes: self.notes.clone(),
            carried,
            alerts,
            listeners: self.meters.listeners.clone(),
            outbox: Outbox::new(self.config.alerts.outbox()),
            stop: self.stop.clone(),
            stats: self.meters.stats.clone(),
        }
    }

    fn committer(
        &self,
        epochs: mpsc::Receiver<EncodedEpoch>,
        carried: Sender<CarriedAlerts>,
    ) -> Result<Committer, StartError> {
        let config = self.config;
        Ok(Committer {
            queues: self.ports.queues.clone(),
            store: self.ports.store.clone(),
            ledger: self.ledger.clone(),
            notes: self.notes.clone(),
            carried,
            encoder: Encoder::new(&config.encode, Dictionaries::new(1))?,
            delivery: config.lake.delivery,
            release_margin: config.aws.attempt_timeout * ATTEMPTS,
            prefix: config.lake.prefix.clone(),
            has_alerts_at_risk: AtomicBool::new(false),
            epochs,
            stop: self.stop.clone(),
            stats: self.meters.stats.clone(),
        })
    }
}

/// For each table, a file without rows.
fn voids(config: &EncodeConfig) -> Result<BTreeMap<Table, Bytes>, StartError> {
    let encoder = Encoder::new(config, Dictionaries::new(1))?;
    let epoch = EpochId::new(Arc::from("void"), 0);
    Table::ALL.into_iter().map(|table| Ok((table, encoder.void(table, &epoch)?.into()))).collect()
}

/// Waits for the stages in the order in which they end. Returns the name of the stage that was late, if one was.
async fn finish(
    stop: &Stop,
    mut receivers: JoinSet<()>,
    committer: tokio::task::JoinHandle<()>,
    publisher: tokio::task::JoinHandle<()>,
    threads: Vec<JoinHandle<()>>,
) -> Option<&'static str> {
    let waiting_for = Mutex::new("receivers");
    let now_waiting_for = |stage| *waiting_for.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    // If a task panicked, its guard has ended the run already. So the results do not matter here.
    let stages = async {
        while receivers.join_next().await.is_some() {}
        now_waiting_for("committer");
        let _ = committer.await;
        now_waiting_for("publisher");
        let _ = publisher.await;
    };
    tokio::select! {
        () = stages => {}
        () = stop.release_by() => return Some(*waiting_for.lock().unwrap_or_else(PoisonError::into_inner)),
    }
    // The committer ends after the encoders, and these end after the other threads. So no join waits here.
    for thread in threads {
        let _ = thread.join();
    }
    None
}

/// Runs a task of the graph. If it panics, the run ends, because the other stages need it.
async fn guarded(stage: &'static str, stop: Stop, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        stop.panicked(stage);
    }
}

/// Logs the counters at the end, because a reader of the log may miss any of them otherwise.
fn log_summary(stats: &Stats) {
    info!(
        messages_received = stats.messages_received.get(),
        messages_repeated = stats.messages_repeated.get(),
        messages_redelivered = stats.messages_redelivered.get(),
        messages_deleted = stats.messages_deleted.get(),
        messages_released = stats.messages_released.get(),
        messages_extended = stats.messages_extended.get(),
        messages_lapsed = stats.messages_lapsed.get(),
        receive_failures = stats.receive_failures.get(),
        ticks_stored = stats.ticks_stored.get(),
        ticks_unwatched = stats.ticks_unwatched.get(),
        ticks_skipped = stats.ticks_skipped.get(),
        rejects_stored = stats.rejects_stored.get(),
        events_left_out = stats.events_left_out.get(),
        rows_found_stored = stats.rows_found_stored.get(),
        alert_notes = stats.alert_notes.get(),
        alerts_published = stats.alerts_published.get(),
        alerts_refused = stats.alerts_refused.get(),
        alerts_suppressed = stats.alerts_suppressed.get(),
        epochs_stored = stats.epochs_stored.get(),
        "engine ended"
    );
}
