//! The receiving stage: one long poll after another, as far as the budget allows.
//!
//! It owns when to poll. It does *not* look into bodies, and never waits for the stages behind it: the budget, not the
//! channel, is what holds it back.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tracing::{debug, warn};

use crate::budget::{Amount, Budget, Permit};
use crate::clock::now_us;
use crate::message::ReceivedBatch;
use crate::ports::{BATCH_MAX, PortError, Queue, ReceivedMessage};
use crate::retry::Backoff;
use crate::stats::Stats;
use crate::stop::Stop;

/// What one receive may bring: ten messages of the largest size that SQS takes, 1 MiB.
pub(crate) const RECEIVE_MAX: Amount = Amount { messages: BATCH_MAX, bytes: BATCH_MAX << 20 };

/// How long a poll that is under way when a stop begins may still take.
const LAST_POLL: Duration = Duration::from_secs(1);

/// One of several parallel pollers.
pub(crate) struct Receiver {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) wait: Duration,
    pub(crate) to_decode: Sender<ReceivedBatch>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

impl Receiver {
    /// Polls until the stop begins, or nobody takes messages any more.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::default();
        while !self.stop.has_begun() {
            let permit = tokio::select! {
                permit = self.budget.take(RECEIVE_MAX) => permit,
                () = self.stop.begun() => return,
            };
            match self.poll().await {
                None => return,
                Some(Ok(messages)) => {
                    backoff.reset();
                    self.pass_on(messages, permit);
                }
                Some(Err(error @ PortError::Retry { .. })) => {
                    drop(permit);
                    self.wait_after(&error, &mut backoff).await;
                }
                Some(Err(error)) => return self.stop.fail(error),
            }
        }
    }

    /// The answer to one poll; `None` if it was abandoned because of a stop.
    ///
    /// A busy queue is about to answer, and what an abandoned poll would have brought stays hidden until its visibility
    /// times out: so a poll under way is given a moment, unless the run ends because something is broken.
    async fn poll(&self) -> Option<Result<Vec<ReceivedMessage>, PortError>> {
        let mut receive = pin!(self.queue.receive(self.wait));
        tokio::select! {
            answer = &mut receive => Some(answer),
            () = self.stop.begun() => {
                let moment = if self.stop.has_failed() { Duration::ZERO } else { LAST_POLL };
                tokio::time::timeout(moment, receive).await.ok()
            }
        }
    }

    async fn wait_after(&self, error: &PortError, backoff: &mut Backoff) {
        self.stats.receive_failures.add(1);
        let first = backoff.is_fresh();
        let wait = backoff.next_wait();
        let wait_ms = wait.as_millis() as u64;
        if first {
            warn!(%error, wait_ms, "receive failed, trying again");
        } else {
            debug!(%error, wait_ms, "receive failed again");
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stop.begun() => {}
        }
    }

    fn pass_on(&self, messages: Vec<ReceivedMessage>, mut permit: Permit) {
        if messages.is_empty() {
            return;
        }
        let received_at_us = now_us();
        let count = messages.len();
        self.stats.messages_received.add(count);
        self.stats.messages_redelivered.add(messages.iter().filter(|message| message.receive_count > 1).count());
        self.stats.bytes_received.add(messages.iter().map(|message| message.body.len()).sum());
        let messages: Option<Vec<_>> = messages
            .into_iter()
            .map(|message| {
                let share = permit.split(Amount { messages: 1, bytes: message.body.len() })?;
                Some((message, share))
            })
            .collect();
        let passed = messages.map(|messages| self.to_decode.try_send(ReceivedBatch { messages, received_at_us }));
        if !matches!(passed, Some(Ok(()))) {
            // More than SQS promises to bring, a channel with less room than the budget admits, or a decoder that died:
            // each a broken promise, after which nothing can be relied on. The messages come back by their visibility.
            self.stats.messages_lapsed.add(count);
            let text = "it does not fit the budget, or nobody decodes".to_owned();
            self.stop.fail(PortError::Stop { action: "take in what was received", text });
        }
    }
}
