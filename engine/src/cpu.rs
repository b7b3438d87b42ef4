//! The CPU half of the engine: every thread between a received body and an encoded epoch, and the channels that join
//! them.
//!
//! ```text
//!                    each batch to every detector                      epochs
//!                 .-----------------> detector 0 --.                  .-> encoder 0 --.
//! batches ---> decoder 0 ... n -----> detector 1 --+--> builder ------+-> encoder 1 --+--> encoded epochs
//!                 ^  '--------------> detector m --'    |  ^ |  alerts '-> encoder k --'
//!                 '----------- emptied batches ---------'  | '-------> alerts    |
//!                                                          '-- emptied columns --'
//! ```
//!
//! [`crate::pipeline`] joins it to the queue, the store and the topic, and makes every other channel and task. It is a
//! file of its own because a benchmark also runs it, without any of these. It has no other callers.
//!
//! Channels are bounded, or their contents are (see [`crate::pipeline`]). Stages end from the front: when the senders
//! of received batches are gone, each channel closes in turn, and batches under way flow to the end.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ticklake_core::batch::Decoded;
use ticklake_core::decode::Decoder;
use ticklake_core::detect::{Detectors, Shard};
use ticklake_core::encode::{EncodeError, Encoder};
use ticklake_core::epoch::EpochBuilder;
use ticklake_core::tick::Dictionaries;
use tokio::sync::mpsc;

use crate::bounds::Bounds;
use crate::builder::Builder;
use crate::config::Config;
use crate::decoders::{Decoding, TICK_TEXT_MIN};
use crate::flush::Flush;
use crate::message::{AlertBatch, CarriedAlerts, DecodedBatch, EncodedEpoch, HeldMessage, ReceivedBatch};
use crate::meter::Meters;
use crate::ports::PortError;
use crate::quiet::Quiet;
use crate::stop::Stop;
use crate::{detectors, encoders};

/// Alert batches that may wait for the publisher. If the topic is down, they stall the builder, then the budget.
const ALERT_BATCHES: usize = 64;

/// Epochs whose columns wait to be filled again. The encoders finish about as often as an epoch begins.
const SPARE_COLUMNS: usize = 1;

/// Why the threads could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration of the encoder is invalid.
    #[error(transparent)]
    Encoder(#[from] EncodeError),
    /// The operating system gave no thread.
    #[error("failed to start a thread")]
    Thread(#[from] std::io::Error),
}

/// What the threads need.
#[derive(Debug, Clone, Copy)]
pub struct Cpu<'a> {
    /// How many threads, and what they do.
    pub config: &'a Config,
    /// Told when a thread breaks.
    pub stop: &'a Stop,
    /// The counters, and the budget that the permits of received batches are from.
    pub meters: &'a Meters,
    /// Why an epoch should not wait for more.
    pub flush: &'a Arc<Flush>,
    /// Tells the detectors whether nothing comes.
    pub quiet: &'a Arc<Quiet>,
    /// The name of the worker, which names its epochs.
    pub worker: &'a Arc<str>,
}

/// The outer ends of the channels, and the threads.
#[derive(Debug)]
pub struct Channels {
    /// Has room for as many batches as the budget admits messages: a sender that holds permits never waits here.
    pub to_decode: Sender<ReceivedBatch>,
    /// Batches that have to be looked up in the ledger. If it is dropped, batches of redelivered messages are lost.
    pub unresolved: mpsc::UnboundedReceiver<Decoded<HeldMessage>>,
    /// Takes these batches back. The builder does not end until it is dropped.
    pub resolved: Sender<Decoded<HeldMessage>>,
    /// Epochs to store.
    pub epochs: mpsc::Receiver<EncodedEpoch>,
    /// Takes alerts that an epoch could not store, or that a dead worker has noted.
    pub carried: Sender<CarriedAlerts>,
    /// Alerts to publish. If it is dropped, alerts only go into epochs, and count as not published.
    pub alerts: mpsc::Receiver<AlertBatch>,
    /// They end after the last sender of batches is dropped.
    pub threads: Vec<JoinHandle<()>>,
}

/// The channels around the decoders.
struct Neighbours {
    received: Receiver<ReceivedBatch>,
    to_detect: Vec<Sender<Arc<DecodedBatch>>>,
    to_build: Sender<Decoded<HeldMessage>>,
    spare: Receiver<Decoded<HeldMessage>>,
}

impl Cpu<'_> {
    /// Starts every thread.
    #[expect(clippy::disallowed_methods, reason = "the budget bounds what is in these channels")]
    pub fn start(&self) -> Result<Channels, StartError> {
        let config = self.config;
        let names = Dictionaries::new(config.decode.names_max);
        // There is a place for every message that the budget admits: the receivers, which are async, never wait here.
        let (to_decode, received) = bounded(config.budget.messages_max);
        let (to_build, detected) = bounded(2 * config.threads.decode);
        let (to_encode, built) = bounded(1);
        let (to_commit, epochs) = mpsc::channel(1);
        let (to_publish, alerts) = mpsc::channel(ALERT_BATCHES);
        // The budget bounds what is on its way to the resolver and back.
        let (to_resolve, unresolved) = mpsc::unbounded_channel();
        let (resolved, resolved_batches) = unbounded();
        // Carried alerts are those of earlier epochs, or the notes of dead workers: both are bounded.
        let (carried, carried_alerts) = unbounded();
        // One for each decoder: the budget does not count these, so there should be few.
        let (spare_batches, emptied_batches) = bounded(config.threads.decode);
        let (spare_columns, emptied_columns) = bounded(SPARE_COLUMNS);

        let mut threads = Vec::new();
        let to_detect = self.start_detectors(&names, &to_build, &mut threads)?;
        let neighbours = Neighbours { received, to_detect, to_build, spare: emptied_batches };
        self.start_decoders(&names, &neighbours, &mut threads)?;
        drop(neighbours);
        let builder = Builder {
            epochs: EpochBuilder::new(config.epoch.clone()),
            alerts_done: Vec::new(),
            batches: detected,
            to_resolve: Some(to_resolve),
            resolved: resolved_batches,
            carried: carried_alerts,
            sources: 2,
            spare_batches,
            waiting: VecDeque::new(),
            to_encode,
            spare_columns: emptied_columns,
            to_publish,
            meters: self.meters.clone(),
            flush: self.flush.clone(),
            holds_fifo: false,
        };
        threads.push(self.thread("builder", move || builder.run())?);
        for _ in 0..config.threads.encode {
            let encoder = Encoder::new(&config.encode, names.clone())?;
            let (worker, stop, stats) = (self.worker.clone(), self.stop.clone(), self.meters.stats.clone());
            let (built, to_commit, spare_columns) = (built.clone(), to_commit.clone(), spare_columns.clone());
            threads.push(self.thread("encoder", move || {
                if let Err(error) = encoders::run(encoder, &worker, &built, &to_commit, &spare_columns, &stats) {
                    stop.fail(PortError::stop("encode an epoch", error.to_string()));
                }
            })?);
        }
        Ok(Channels { to_decode, unresolved, resolved, epochs, carried, alerts, threads })
    }

    /// Starts the detectors, each for a shard and with a channel of its own. Returns the senders of the channels.
    fn start_detectors(
        &self,
        names: &Dictionaries,
        to_build: &Sender<Decoded<HeldMessage>>,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<Vec<Sender<Arc<DecodedBatch>>>, StartError> {
        let config = self.config;
        let mut to_detect = Vec::new();
        let bounds = Arc::new(Bounds::new(config.detect.symbols_max));
        for shard in Shard::all(config.threads.detect as u32) {
            let (to_shard, decoded) = bounded(2 * config.threads.decode);
            let detectors = Detectors::of_shard(&config.detect, shard);
            let (names, to_build) = (names.clone(), to_build.clone());
            let (quiet, stats, bounds) = (self.quiet.clone(), self.meters.stats.clone(), bounds.clone());
            let work = move || detectors::run(detectors, &names, &decoded, &to_build, (&quiet, &stats, &bounds));
            threads.push(self.thread("detector", work)?);
            to_detect.push(to_shard);
        }
        Ok(to_detect)
    }

    fn start_decoders(
        &self,
        names: &Dictionaries,
        neighbours: &Neighbours,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<(), StartError> {
        for _ in 0..self.config.threads.decode {
            let decoding = Decoding {
                decoder: Decoder::new(&self.config.decode, names),
                tick_text: TICK_TEXT_MIN,
                batches: neighbours.received.clone(),
                to_detect: neighbours.to_detect.clone(),
                to_build: neighbours.to_build.clone(),
                spare: neighbours.spare.clone(),
                meters: self.meters.clone(),
                stop: self.stop.clone(),
            };
            threads.push(self.thread("decoder", move || decoding.run())?);
        }
        Ok(())
    }

    /// Starts a named thread. If it panics, the run ends, and its messages are delivered again.
    #[expect(clippy::disallowed_methods, reason = "the threads of a run start here")]
    fn thread(&self, stage: &'static str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        let stop = self.stop.clone();
        std::thread::Builder::new().name(stage.to_owned()).spawn(move || {
            // The closure is dropped right after a panic: nothing sees its state, which may be half-done.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                stop.panicked(stage);
            }
        })
    }
}
