//! The building stage: one thread that gathers what the detectors have seen into epochs.
//!
//! It hands alerts on at once: they wait neither for the epoch nor for a message that is looked up in the ledger.
//! [`ticklake_core::epoch`] owns the bounds of an epoch. This file also rolls one if more can only come after it is
//! stored.

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

/// How long an epoch with messages of a FIFO queue may be open. Until it is stored, the queue holds back the messages
/// that follow in their groups.
const FIFO_AGE_MAX: Duration = Duration::from_secs(1);

/// The stage's state and its neighbours.
pub(crate) struct Builder {
    pub(crate) epochs: EpochBuilder<HeldMessage>,
    pub(crate) alerts_done: Vec<AlertsDone>,
    /// Closed epochs that the encoders have no room for yet. Each holds alerts, or messages, which the budget bounds.
    pub(crate) waiting: VecDeque<BuiltEpoch>,
    pub(crate) batches: Receiver<Decoded<HeldMessage>>,
    /// Takes batches with redelivered messages to the resolver; `None` once no more come.
    pub(crate) to_resolve: Option<mpsc::UnboundedSender<Decoded<HeldMessage>>>,
    /// Brings these batches back.
    pub(crate) resolved: Receiver<Decoded<HeldMessage>>,
    /// Alerts that an earlier epoch could not store, or that a dead worker has noted.
    pub(crate) carried: Receiver<CarriedAlerts>,
    /// How many of the two, detectors and resolver, may still send something.
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
    /// Builds until no more batches come, then flushes. Ends early if the encoders are gone.
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

    /// Why the open epoch should be closed. If a closed epoch waits for the encoders, age is no reason: the open one
    /// would only wait, too, and be smaller than necessary.
    fn due(&self, now: Duration) -> Option<RollReason> {
        let reason = self.epochs.due(now);
        if self.waiting.is_empty() {
            reason.or_else(|| self.is_in_the_way(now).then_some(RollReason::Flush))
        } else {
            reason.filter(|reason| *reason != RollReason::Age)
        }
    }

    /// Whether some queue sends more only after the open epoch is stored, even if other queues send messages.
    fn is_in_the_way(&self, now: Duration) -> bool {
        let age = self.epochs.age(now).unwrap_or_default();
        let is_full = |queue: &Arc<QueueMeter>| queue.budget.messages_left() < BATCH_MAX;
        age >= IDLE && (self.flush.is_over_limit() || self.meters.queues.iter().any(is_full))
            || age >= FIFO_AGE_MAX && self.holds_fifo
    }

    /// Why to close the epoch after nothing came for a while. It is pointless to wait if the budget keeps messages
    /// away, if the queues are empty, or if a queue holds back what follows the messages of this epoch.
    ///
    /// On a busy machine, batches may still be with the decoders or detectors. The builder does not wait for them: a
    /// decoder may itself wait for the excess of the budget, which this epoch holds. They come later, into another
    /// epoch. So the only cost is an epoch that is smaller than necessary.
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
                // The detectors have ended. The resolver ends once it has given back what it has.
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

    /// Hands on a batch's alerts. If the batch has to be looked up, gives it to the resolver and returns `None`.
    fn look_up(&mut self, now: Duration, mut batch: Decoded<HeldMessage>) -> Option<Decoded<HeldMessage>> {
        if !batch.alerts.is_empty() {
            let received_at_us = received_at_us(&batch).unwrap_or_else(now_us);
            let alerts = batch.alerts.drain(..).map(|raised| raised.alert).collect();
            self.add_alerts(now, alerts, received_at_us, Vec::new());
        }
        let is_unresolved = batch.messages.first().is_some_and(|message| message.unresolved.is_some());
        let Some(to_resolve) = self.to_resolve.as_ref().filter(|_| is_unresolved) else { return Some(batch) };
        // If the resolver is gone, the run is over, and the messages come back when their visibility times out.
        let _ = to_resolve.send(batch);
        None
    }

    /// Alerts do not wait for the messages that raised them: they are published at once, and stored by the open epoch.
    fn add_alerts(&mut self, now: Duration, alerts: Vec<Alert>, received_at_us: i64, notes: Vec<Note>) {
        self.epochs.add_alerts(now, &alerts);
        let (done, alerts_done) = oneshot::channel();
        // If the publisher is gone, `done` is dropped, and the committer counts the alerts as not published.
        let _ = self.to_publish.blocking_send(AlertBatch { alerts, received_at_us, notes, is_last: false, done });
        self.alerts_done.push(alerts_done);
    }

    /// Asks the publisher for its summaries of alerts and waits for them, because they belong into the last epoch.
    fn sum_up(&self) {
        let (done, is_done) = oneshot::channel();
        let (alerts, notes) = (Vec::new(), Vec::new());
        let last = AlertBatch { alerts, received_at_us: now_us(), notes, is_last: true, done };
        if self.to_publish.blocking_send(last).is_ok() {
            // The publisher gives up when the time for a stop is over.
            let _ = is_done.blocking_recv();
        }
    }

    /// Takes over the alerts that wait for an epoch, as long as the publisher has room.
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
            // The receiver is kept: see the next line.
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

    /// Gives the encoders the epochs that they have room for; an error if they are gone.
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

/// The result of waiting.
#[expect(clippy::large_enum_variant, reason = "taken apart as soon as it is made")]
enum Next {
    Batch(Decoded<HeldMessage>),
    /// A batch came, and has gone to the resolver.
    Elsewhere,
    /// Nothing came in time, or a source has ended.
    Nothing,
    End,
}

/// The encoders take no more epochs.
struct EncodersGone;
