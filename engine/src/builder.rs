//! The building stage: one thread that gathers what the detectors have seen into epochs.
//!
//! It hands alerts on at once: they wait neither for the epoch nor for a message that is looked up in the ledger. When
//! an epoch rolls is decided in [`ticklake_core::epoch`], and here, where more can only come after it is stored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, select};
use ticklake_core::alert::Alert;
use ticklake_core::batch::Decoded;
use ticklake_core::epoch::{EpochBuilder, RollReason};
use ticklake_core::tick::TickBatch;
use tokio::sync::{mpsc, oneshot};

use crate::clock::now_us;
use crate::flush::Flush;
use crate::message::{AlertBatch, AlertsDone, BuiltEpoch, CarriedAlerts, HeldMessage, Note, Published, received_at_us};
use crate::meter::{Meters, QueueMeter};
use crate::ports::BATCH_MAX;

/// How long the stage waits for more before it looks whether the open epoch should roll.
const IDLE: Duration = Duration::from_millis(50);

/// How long an epoch with messages of a FIFO queue may be open: until it is stored, what follows them in their groups
/// is held back.
const FIFO_AGE_MAX: Duration = Duration::from_secs(1);

/// The stage's state and its neighbours.
pub(crate) struct Builder {
    pub(crate) epochs: EpochBuilder<HeldMessage>,
    pub(crate) alerts_done: Vec<AlertsDone>,
    /// Closed epochs that the encoders have no room for yet. Each holds messages, so that the budget bounds them, or
    /// alerts.
    pub(crate) waiting: VecDeque<BuiltEpoch>,
    pub(crate) batches: Receiver<Decoded<HeldMessage>>,
    /// Takes batches with redelivered messages to the resolver; `None` once no more come.
    pub(crate) to_resolve: Option<mpsc::UnboundedSender<Decoded<HeldMessage>>>,
    /// Brings them back.
    pub(crate) resolved: Receiver<Decoded<HeldMessage>>,
    /// Alerts that an earlier epoch could not store, or that a dead worker has noted.
    pub(crate) carried: Receiver<CarriedAlerts>,
    /// Detectors and resolver, as long as something may come from them.
    pub(crate) sources: u8,
    /// Takes emptied batches to the decoders, with columns of their own or of an earlier epoch.
    pub(crate) spare_batches: Sender<Decoded<HeldMessage>>,
    pub(crate) to_encode: Sender<BuiltEpoch>,
    /// Brings an encoded epoch's columns back.
    pub(crate) spare_columns: Receiver<Vec<TickBatch>>,
    pub(crate) to_publish: mpsc::Sender<AlertBatch>,
    pub(crate) meters: Meters,
    pub(crate) flush: Arc<Flush>,
    /// Whether the open epoch holds messages of a FIFO queue.
    pub(crate) holds_fifo: bool,
}

impl Builder {
    /// Builds until no more batches come, then flushes; ends early if nobody takes epochs.
    pub(crate) fn run(mut self) {
        let start = Instant::now();
        loop {
            let reason = match self.next(start.elapsed()) {
                Next::Batch(batch) => {
                    self.add(start.elapsed(), batch);
                    self.due(start.elapsed())
                }
                Next::Elsewhere => self.due(start.elapsed()),
                Next::Nothing => self.due(start.elapsed()).or_else(|| self.idle_reason()),
                Next::End => break,
            };
            if let Some(reason) = reason {
                self.roll(start.elapsed(), reason);
            }
            self.carry(start.elapsed());
            self.meters.stats.set_open_epoch(self.epochs.open_rows());
            if self.hand_on().is_err() {
                return;
            }
        }
        self.sum_up();
        self.carry(start.elapsed());
        self.roll(start.elapsed(), RollReason::Flush);
        for epoch in self.waiting {
            if self.to_encode.send(epoch).is_err() {
                return;
            }
        }
    }

    /// Why the open epoch should be closed. Behind one that waits it may grow old: closed, it would only wait as well,
    /// and be smaller than it need be.
    fn due(&self, now: Duration) -> Option<RollReason> {
        let reason = self.epochs.due(now);
        if self.waiting.is_empty() {
            reason.or_else(|| self.is_in_the_way(now).then_some(RollReason::Flush))
        } else {
            reason.filter(|reason| *reason != RollReason::Age)
        }
    }

    /// Whether more of some queue comes only after the open epoch is stored, even while others bring messages.
    fn is_in_the_way(&self, now: Duration) -> bool {
        let age = self.epochs.age(now).unwrap_or_default();
        let is_full = |queue: &Arc<QueueMeter>| queue.budget.messages_left() < BATCH_MAX;
        age >= IDLE && (self.flush.is_over_limit() || self.meters.queues.iter().any(is_full))
            || age >= FIFO_AGE_MAX && self.holds_fifo
    }

    /// Nothing came for a while: waiting on is pointless if the budget is what keeps messages away, if the queues are
    /// empty, or if one holds back what follows the messages of this epoch.
    ///
    /// Batches may still be with the decoders or detectors, if the machine is that busy. It is not waited for them: a
    /// decoder may itself wait until the excess of a budget is returned, which is what this epoch holds. They come in
    /// time, each pause closes what had come before it, and an epoch that is smaller than it need be is all that is
    /// lost.
    fn idle_reason(&self) -> Option<RollReason> {
        let no_room = self.meters.budget.is_starved() || self.meters.budget.is_exceeded();
        let pointless = no_room || self.flush.is_drained() || self.holds_fifo;
        (pointless && self.waiting.is_empty()).then_some(RollReason::Flush)
    }

    /// Waits for a batch, from the detectors or back from the resolver.
    fn next(&mut self, now: Duration) -> Next {
        let (detected, resolved) = select! {
            recv(self.batches) -> batch => (Some(batch), None),
            recv(self.resolved) -> batch => (None, Some(batch)),
            default(IDLE) => (None, None),
        };
        match (detected, resolved) {
            (Some(Ok(batch)), _) => self.look_up(now, batch).map_or(Next::Elsewhere, Next::Batch),
            (Some(Err(_)), _) => {
                // Nothing more comes from there. The resolver ends once it has given back what it has.
                self.batches = crossbeam_channel::never();
                self.to_resolve = None;
                self.sources -= 1;
                self.nothing_or_end()
            }
            (_, Some(Ok(batch))) => Next::Batch(batch),
            (_, Some(Err(_))) => {
                self.resolved = crossbeam_channel::never();
                self.sources -= 1;
                self.nothing_or_end()
            }
            (None, None) => Next::Nothing,
        }
    }

    fn nothing_or_end(&self) -> Next {
        if self.sources == 0 { Next::End } else { Next::Nothing }
    }

    /// Hands on a batch's alerts, and gives the batch to the resolver if it has to be looked up; `None` then.
    fn look_up(&mut self, now: Duration, mut batch: Decoded<HeldMessage>) -> Option<Decoded<HeldMessage>> {
        if !batch.alerts.is_empty() {
            let received_at_us = received_at_us(&batch).unwrap_or_else(now_us);
            let alerts = batch.alerts.drain(..).map(|raised| raised.alert).collect();
            self.add_alerts(now, alerts, received_at_us, Vec::new());
        }
        let is_unresolved = batch.messages.first().is_some_and(|message| message.unresolved.is_some());
        let Some(to_resolve) = self.to_resolve.as_ref().filter(|_| is_unresolved) else { return Some(batch) };
        // Without a resolver the run is over, and the messages come back by their visibility.
        let _ = to_resolve.send(batch);
        None
    }

    /// Alerts do not wait for the messages that raised them: they are published at once, and stored by the open epoch.
    fn add_alerts(&mut self, now: Duration, alerts: Vec<Alert>, received_at_us: i64, notes: Vec<Note>) {
        self.epochs.add_alerts(now, &alerts);
        let (done, alerts_done) = oneshot::channel();
        // If nobody takes them any more, `done` is dropped, and the committer finds them not published.
        let _ = self.to_publish.blocking_send(AlertBatch { alerts, received_at_us, notes, is_last: false, done });
        self.alerts_done.push(alerts_done);
    }

    /// Has the publisher say what sums alerts up, and waits for it: those alerts belong into the last epoch.
    fn sum_up(&self) {
        let (done, is_done) = oneshot::channel();
        let (alerts, notes) = (Vec::new(), Vec::new());
        let last = AlertBatch { alerts, received_at_us: now_us(), notes, is_last: true, done };
        if self.to_publish.blocking_send(last).is_ok() {
            // The publisher gives up when the time for a stop is over.
            let _ = is_done.blocking_recv();
        }
    }

    /// Takes the alerts over that wait for an epoch, as far as the publisher has room for them.
    fn carry(&mut self, now: Duration) {
        while self.to_publish.capacity() > 0
            && let Ok(CarriedAlerts { alerts, notes, is_out }) = self.carried.try_recv()
        {
            if !is_out {
                self.add_alerts(now, alerts, now_us(), notes);
                continue;
            }
            self.epochs.add_alerts(now, &alerts);
            let (done, alerts_done) = oneshot::channel();
            // The receiver is right below.
            let _ = done.send(Published { is_out, notes });
            self.alerts_done.push(alerts_done);
        }
    }

    fn add(&mut self, now: Duration, mut batch: Decoded<HeldMessage>) {
        for columns in self.spare_columns.try_iter() {
            self.epochs.reuse(columns);
        }
        self.holds_fifo |= batch.messages.iter().any(|message| self.meters.queues[message.queue].is_fifo);
        self.epochs.add(now, &mut batch);
        if let Err(TrySendError::Full(batch)) = self.spare_batches.try_send(batch) {
            self.epochs.reuse(vec![batch.ticks]);
        }
    }

    fn roll(&mut self, now: Duration, reason: RollReason) {
        if let Some(epoch) = self.epochs.roll(now, reason) {
            self.waiting.push_back((epoch, std::mem::take(&mut self.alerts_done)));
            self.holds_fifo = false;
            self.flush.set_over_limit(false);
        }
    }

    /// Gives the encoders what they have room for; an error if they are gone.
    fn hand_on(&mut self) -> Result<(), EncodersGone> {
        while let Some(epoch) = self.waiting.pop_front() {
            match self.to_encode.try_send(epoch) {
                Ok(()) => {}
                Err(TrySendError::Full(epoch)) => {
                    self.waiting.push_front(epoch);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return Err(EncodersGone),
            }
        }
        Ok(())
    }
}

/// What the stage waited for.
#[expect(clippy::large_enum_variant, reason = "taken apart as soon as it is made")]
enum Next {
    Batch(Decoded<HeldMessage>),
    /// A batch came, and has gone to the resolver.
    Elsewhere,
    /// It waited in vain.
    Nothing,
    End,
}

/// Nobody takes epochs any more.
struct EncodersGone;
