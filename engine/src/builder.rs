//! The building stage: one thread that shows every tick to the detectors as it arrives, and gathers epochs.
//!
//! It owns the order "detect, then gather", and hands alerts on at once: they wait neither for the epoch nor for a store
//! that is down. When an epoch rolls is decided in [`ticklake_core::epoch`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use ticklake_core::alert::Alert;
use ticklake_core::detect::Detectors;
use ticklake_core::epoch::{Decoded, Epoch, EpochBuilder, RollReason};
use ticklake_core::names::Names;
use tokio::sync::{mpsc, oneshot};

use crate::budget::Budget;
use crate::clock::now_us;
use crate::message::{AlertsDone, HeldMessage};
use crate::stats::Stats;

/// How long the stage waits for more before it looks whether the open epoch should roll.
const IDLE: Duration = Duration::from_millis(50);

/// Alerts on their way to the publisher.
pub(crate) struct AlertBatch {
    pub(crate) alerts: Vec<Alert>,
    /// When the messages that raised them were received, microseconds since the Unix epoch, UTC.
    pub(crate) received_at_us: i64,
    /// Tells whoever waits for them what became of them.
    pub(crate) done: oneshot::Sender<bool>,
}

/// An epoch on its way to the encoder, with its alerts' publishing.
pub(crate) type BuiltEpoch = (Epoch<HeldMessage>, Vec<AlertsDone>);

/// The stage's state and its neighbours.
pub(crate) struct Builder {
    pub(crate) detectors: Detectors,
    pub(crate) symbols: Arc<Names>,
    pub(crate) epochs: EpochBuilder<HeldMessage>,
    pub(crate) alerts_done: Vec<AlertsDone>,
    /// Closed epochs that the encoder has no room for yet. Each holds at least one message, so the budget bounds them.
    pub(crate) waiting: VecDeque<BuiltEpoch>,
    pub(crate) batches: Receiver<Decoded<HeldMessage>>,
    pub(crate) to_encode: Sender<BuiltEpoch>,
    pub(crate) to_publish: mpsc::Sender<AlertBatch>,
    pub(crate) budget: Arc<Budget>,
    /// Set when the queue holds nothing but what is in here: waiting for more is pointless.
    pub(crate) flush: Arc<AtomicBool>,
    pub(crate) stats: Arc<Stats>,
}

impl Builder {
    /// Builds until no more batches come, then flushes; ends early if nobody takes epochs.
    pub(crate) fn run(mut self) {
        let start = Instant::now();
        loop {
            let reason = match self.batches.recv_timeout(IDLE) {
                Ok(batch) => {
                    self.add(start.elapsed(), batch);
                    self.due(start.elapsed())
                }
                Err(RecvTimeoutError::Timeout) => self.due(start.elapsed()).or_else(|| self.idle_reason()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Some(reason) = reason {
                self.roll(start.elapsed(), reason);
            }
            if self.hand_on().is_err() {
                return;
            }
        }
        self.roll(start.elapsed(), RollReason::Flush);
        for epoch in self.waiting {
            if self.to_encode.send(epoch).is_err() {
                return;
            }
        }
    }

    /// Why the open epoch should be closed. Behind one that waits it may grow old: closed, it would only wait as well, and
    /// be smaller than it need be.
    fn due(&self, now: Duration) -> Option<RollReason> {
        self.epochs.due(now).filter(|reason| *reason != RollReason::Age || self.waiting.is_empty())
    }

    /// Nothing came for a while: waiting on is pointless if the budget is what keeps messages away, or the queue is empty.
    fn idle_reason(&self) -> Option<RollReason> {
        let no_room = self.budget.is_starved() || self.budget.is_exceeded();
        (no_room || self.flush.load(Ordering::Relaxed)).then_some(RollReason::Flush)
    }

    fn add(&mut self, now: Duration, mut batch: Decoded<HeldMessage>) {
        let (suppressed, unwatched) = (self.detectors.suppressed(), self.detectors.unwatched());
        self.detectors.observe(&batch.ticks, &self.symbols, now_us(), &mut batch.alerts);
        self.stats.alerts_raised.add(batch.alerts.len());
        self.stats.alerts_suppressed.add((self.detectors.suppressed() - suppressed) as usize);
        self.stats.ticks_unwatched.add((self.detectors.unwatched() - unwatched) as usize);
        if !batch.alerts.is_empty() {
            let (done, alerts_done) = oneshot::channel();
            let received_at_us = batch.ticks.received_at_us.iter().copied().min().unwrap_or_default();
            // If nobody takes them any more, `done` is dropped, and the committer finds them not published.
            let _ = self.to_publish.blocking_send(AlertBatch { alerts: batch.alerts.clone(), received_at_us, done });
            self.alerts_done.push(alerts_done);
        }
        self.epochs.add(now, batch);
    }

    fn roll(&mut self, now: Duration, reason: RollReason) {
        if let Some(epoch) = self.epochs.roll(now, reason) {
            self.waiting.push_back((epoch, std::mem::take(&mut self.alerts_done)));
        }
    }

    /// Gives the encoder what it has room for; an error if it is gone.
    fn hand_on(&mut self) -> Result<(), EncoderGone> {
        while let Some(epoch) = self.waiting.pop_front() {
            match self.to_encode.try_send(epoch) {
                Ok(()) => {}
                Err(TrySendError::Full(epoch)) => {
                    self.waiting.push_front(epoch);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return Err(EncoderGone),
            }
        }
        Ok(())
    }
}

/// Nobody takes epochs any more.
struct EncoderGone;
