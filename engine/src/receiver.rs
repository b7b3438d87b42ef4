//! The receiving stage: long polls side by side, as many as are useful and as the budget allows.
//!
//! It owns when to poll. It does *not* look into bodies, and never waits for the stages behind it: the budget holds it
//! back, not the channel.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use ticklake_core::commit::{Arrival, MessageId, is_first_delivery};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::budget::{Amount, Permit};
use crate::clock::{Moment, now_us};
use crate::config::Identity;
use crate::flush::Flush;
use crate::hold::{HeldMessages, Hold};
use crate::lease::{Lease, Term};
use crate::message::{Delivered, ReceivedBatch};
use crate::meter::QueueMeter;
use crate::pace::Pace;
use crate::ports::{Failure, PortError, Queue, RECEIVE_MAX, ReceivedMessage};
use crate::quiet::Quiet;
use crate::rejected::RejectWatch;
use crate::retry::{Backoff, GaveUp, retry};
use crate::stats::{Stage, Stats};
use crate::stop::Stop;

/// How long a poll that is under way when a stop begins may still take.
const LAST_POLL: Duration = Duration::from_secs(1);

/// How long to ask whether this is the dead-letter queue of others.
const SOURCES_WAIT: Duration = Duration::from_secs(10);

/// The shortest time between two warnings of failed receives. If a queue throttles, a call fails now and then for as
/// long as the queue is busy.
const WARN_AGAIN: Duration = Duration::from_mins(1);

/// How often a queue that is gone is asked again, in case it is created again. SQS frees a name after 60 s.
const GONE_AGAIN: Duration = Duration::from_secs(30);

/// The stage: it starts polls and learns from what they bring.
pub(crate) struct Receivers {
    pub(crate) poll: Poll,
    pub(crate) pace: Pace,
}

/// What a poll needs.
#[derive(Clone)]
pub(crate) struct Poll {
    pub(crate) queue: Arc<dyn Queue>,
    /// The position of the queue.
    pub(crate) index: usize,
    pub(crate) meter: Arc<QueueMeter>,
    /// The meters of all queues, this one included.
    pub(crate) all: Arc<[Arc<QueueMeter>]>,
    /// Told when the queue allows no more in flight.
    pub(crate) flush: Arc<Flush>,
    /// Told of polls and of what they bring.
    pub(crate) quiet: Arc<Quiet>,
    pub(crate) wait: Duration,
    pub(crate) visibility_timeout: Duration,
    /// What this worker holds; `None` if redelivered messages are not looked up in the ledger.
    pub(crate) held: Option<Arc<HeldMessages>>,
    pub(crate) identity: Identity,
    /// Whether the queue is the dead-letter queue of others. Then its receive counts may mean nothing.
    pub(crate) is_dead_letters: bool,
    /// Takes what is received to the heartbeat. It is unbounded, because the budget bounds what is held.
    pub(crate) to_extend: mpsc::UnboundedSender<Vec<Arc<Term>>>,
    pub(crate) to_decode: Sender<ReceivedBatch>,
    pub(crate) rejects: Arc<RejectWatch>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

/// How a poll went.
enum Polled {
    /// It brought so many messages.
    Messages(usize),
    /// The call failed, and may succeed later.
    Failed(PortError),
    /// The run is ending.
    Stopped,
}

impl Receivers {
    /// Polls until the stop begins, or nobody takes messages any more.
    pub(crate) async fn run(mut self) {
        let (mut polls, mut setbacks) = (JoinSet::new(), Setbacks::default());
        let stop = self.poll.stop.clone();
        self.poll.is_dead_letters = self.is_dead_letters().await;
        // On a quiet queue the first answer takes 20 seconds, and that is no failure.
        self.poll.meter.set_receiving(true);
        loop {
            let may_poll = |polls: &JoinSet<Polled>| polls.len() < self.pace.polls() && !self.poll.is_over();
            while may_poll(&polls) && setbacks.are_over() {
                polls.spawn(self.poll.clone().run());
            }
            tokio::select! {
                Some(polled) = polls.join_next() => match polled {
                    Ok(Polled::Messages(count)) => {
                        self.pace.answered(count);
                        setbacks.reset();
                        if self.poll.meter.found() {
                            info!(queue = &*self.poll.meter.name, "the queue is there again");
                        }
                        self.poll.meter.set_receiving(!stop.has_begun());
                    }
                    Ok(Polled::Failed(error)) => {
                        self.poll.meter.set_receiving(false);
                        self.pace.failed();
                        setbacks.add(&error);
                        self.poll.stats.receive_failures.add(1);
                    }
                    Ok(Polled::Stopped) => {}
                    Err(_) => stop.panicked("receiver"),
                },
                // The condition does not ask `are_over` again: the clock may have moved on since the check above.
                () = setbacks.over(), if may_poll(&polls) => {}
                () = stop.begun(), if polls.is_empty() => return self.poll.meter.set_receiving(false),
            }
        }
    }
}

impl Receivers {
    /// Whether this is the dead-letter queue of others. It asks only if messages are looked up in the ledger.
    async fn is_dead_letters(&self) -> bool {
        let Poll { queue, held, stop, .. } = &self.poll;
        if held.is_none() {
            return false;
        }
        let asked = retry(stop.begun(), || queue.has_sources());
        let Ok(asked) = tokio::time::timeout(SOURCES_WAIT, asked).await else {
            warn!("cannot tell whether this is a dead-letter queue: every message is looked up in the ledger");
            return true;
        };
        match asked {
            Ok(has_sources) => has_sources,
            Err(GaveUp::Stop(error)) => {
                let text = "messages that carry no DeadLetterQueueSourceArn are taken for new if their count is 1";
                info!(%error, "cannot tell whether this is a dead-letter queue: {text}");
                false
            }
            Err(GaveUp::TimeIsUp) => false,
        }
    }
}

/// Calls that failed one after the other, and how long to leave the queue alone because of them.
#[derive(Default)]
struct Setbacks {
    backoff: Backoff,
    until: Option<Instant>,
    warned_at: Option<Instant>,
    /// Whether the last failure was that the queue does not exist.
    is_gone: bool,
    /// Failures since the last warning.
    untold: usize,
}

impl Setbacks {
    fn reset(&mut self) {
        self.backoff.reset();
        self.is_gone = false;
        self.until = None;
    }

    /// Notes a failure. Polls under way when another one failed do not make the wait longer, unless the queue is gone.
    fn add(&mut self, error: &PortError) {
        let now = Instant::now();
        self.untold += 1;
        let is_gone = matches!(error, PortError::NotFound(_));
        if is_gone {
            self.until = Some(now + GONE_AGAIN);
        } else if self.are_over() {
            self.until = Some(now + self.backoff.next_wait());
        }
        let wait_ms = self.until.map_or(0, |until| until.duration_since(now).as_millis() as u64);
        let is_new = is_gone && !std::mem::replace(&mut self.is_gone, is_gone);
        if is_new || self.warned_at.is_none_or(|warned_at| now >= warned_at + WARN_AGAIN) {
            if is_gone {
                error!(%error, wait_ms, "the queue is gone, going on without it and asking again");
            } else {
                warn!(%error, failures = self.untold, wait_ms, "receive failed, trying again");
            }
            self.warned_at = Some(now);
            self.untold = 0;
        } else {
            debug!(%error, wait_ms, "receive failed again");
        }
    }

    fn are_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    async fn over(&self) {
        if let Some(until) = self.until {
            sleep_until(until).await;
        }
    }
}

impl Poll {
    /// Whether no more polls may start.
    fn is_over(&self) -> bool {
        self.stop.has_begun() || self.rejects.halted().is_some()
    }

    /// Waits for room in the budget, polls once, and passes on what comes.
    async fn run(self) -> Polled {
        let permit = tokio::select! {
            permit = self.meter.budget.take(RECEIVE_MAX) => permit,
            () = self.stop.begun() => return Polled::Stopped,
        };
        let (started, asked_at) = (Instant::now(), Moment::now());
        match self.poll().await {
            None => Polled::Stopped,
            Some(Ok(messages)) => {
                let count = messages.len();
                if count > 0 {
                    self.stats.took(Stage::Receive, started.elapsed());
                }
                self.pass_on(messages, asked_at, permit);
                Polled::Messages(count)
            }
            Some(Err(error @ PortError::Stop(_))) => {
                self.stop.fail(error);
                Polled::Stopped
            }
            Some(Err(PortError::NotFound(failure))) => self.not_found(failure),
            Some(Err(error)) => {
                if matches!(error, PortError::OverLimit(_)) {
                    self.flush.set_over_limit(true);
                }
                Polled::Failed(error)
            }
        }
    }

    /// The queue is not there. The run goes on without it, unless it never was there or no other queue is left.
    fn not_found(&self, failure: Failure) -> Polled {
        if self.meter.not_found() {
            // Its messages cannot be extended any more. So the open epoch is stored while they are ours, as at a limit.
            self.flush.set_over_limit(true);
        }
        if !self.meter.was_there() {
            self.stop.fail(PortError::NotFound(failure));
            return Polled::Stopped;
        }
        if self.all.iter().all(|queue| queue.is_gone()) {
            let text = format!("every queue is gone, the last one was {}", failure.text);
            self.stop.fail(PortError::Stop(Failure { text, ..failure }));
            return Polled::Stopped;
        }
        Polled::Failed(PortError::NotFound(failure))
    }

    /// The answer to one poll; `None` if it was abandoned because of a stop.
    ///
    /// A busy queue is about to answer, and the messages of an abandoned poll stay hidden until their visibility times
    /// out. So a poll under way gets a moment, unless the run ends because of an error.
    async fn poll(&self) -> Option<Result<Vec<ReceivedMessage>, PortError>> {
        let _under_way = self.quiet.polls();
        let mut receive = pin!(self.queue.receive(self.wait));
        tokio::select! {
            answer = &mut receive => Some(answer),
            () = self.stop.begun() => {
                let moment = if self.stop.has_failed() { Duration::ZERO } else { LAST_POLL };
                tokio::time::timeout(moment, receive).await.ok()
            }
        }
    }

    fn pass_on(&self, messages: Vec<ReceivedMessage>, asked_at: Moment, mut permit: Permit) {
        let received_at_us = now_us();
        let oldest_us = messages.iter().filter_map(|message| message.sent_at_us).min();
        self.meter.note_age(oldest_us.map(|sent_at_us| received_at_us - sent_at_us));
        let redelivered = messages.iter().filter(|message| message.receive_count > 1).count();
        self.stats.messages_redelivered.add(redelivered);
        let (mut fresh, mut seen, mut delivery) = (Vec::new(), Vec::new(), Delivered::First);
        for message in messages {
            let (arrival, hold) = self.arrival(&message, asked_at);
            let lease = || Lease::new(message.receipt.clone(), asked_at, self.visibility_timeout).with(hold);
            match arrival {
                // The copy comes back when its visibility times out, unless the message is deleted by then.
                Arrival::Held => self.stats.messages_repeated.add(1),
                Arrival::Again { is_seen: true } => seen.push((lease(), message)),
                Arrival::Again { is_seen: false } => {
                    delivery = Delivered::Again;
                    fresh.push((lease(), message));
                }
                Arrival::First => fresh.push((lease(), message)),
            }
        }
        for (messages, delivery) in [(fresh, delivery), (seen, Delivered::Seen)] {
            if !messages.is_empty() {
                self.hand_on(messages, delivery, received_at_us, &mut permit);
            }
        }
    }

    /// What a message is to this worker. If nothing is looked up in the ledger, all messages are new.
    fn arrival(&self, message: &ReceivedMessage, asked_at: Moment) -> (Arrival, Option<Hold>) {
        let Some(held) = &self.held else { return (Arrival::First, None) };
        match self.identity {
            Identity::MessageId => {
                let was_dead_lettered = message.was_dead_lettered || self.is_dead_letters;
                let is_first = is_first_delivery(message.receive_count, was_dead_lettered);
                held.arrive(MessageId::new(&message.id), is_first, asked_at)
            }
            // A redrive makes a new message of it, with a new count.
            Identity::Body => held.arrive(MessageId::of_body(&message.body), false, asked_at),
        }
    }

    fn hand_on(
        &self,
        messages: Vec<(Lease, ReceivedMessage)>,
        delivery: Delivered,
        received_at_us: i64,
        permit: &mut Permit,
    ) {
        self.quiet.stirs();
        let count = messages.len();
        self.stats.messages_received.add(count);
        self.stats.bytes_received.add(messages.iter().map(|(_, message)| message.body.len()).sum());
        let messages: Option<Vec<_>> = messages
            .into_iter()
            .map(|(lease, message)| {
                let share = permit.split(Amount { messages: 1, bytes: message.body.len() })?;
                Some((message, lease, share))
            })
            .collect();
        if let Some(messages) = &messages {
            // If the heartbeat is gone, the run is over, and the leases end by themselves.
            let _ = self.to_extend.send(messages.iter().map(|(_, lease, _)| lease.term()).collect());
        }
        let batch = |messages| ReceivedBatch { messages, queue: self.index, delivery, received_at_us };
        let passed = messages.map(|messages| self.to_decode.try_send(batch(messages)));
        if !matches!(passed, Some(Ok(()))) {
            // SQS brought more than it promises, the channel has less room than the budget admits, or the decoders
            // died. Then nothing can be relied on. The messages come back when their visibility times out.
            self.stats.messages_lapsed.add(count);
            let text = "they do not fit the budget, or the decoders are gone".to_owned();
            self.stop.fail(PortError::stop("take in received messages", text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> PortError {
        PortError::retry("receive", "nobody there".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn polls_that_fail_together_are_one_setback() {
        let mut setbacks = Setbacks::default();
        assert!(setbacks.are_over());
        (0..100).for_each(|_| setbacks.add(&error()));
        // The first wait is at most 50 ms; a hundred setbacks would wait for seconds.
        assert!(setbacks.until.is_some_and(|until| until <= Instant::now() + Duration::from_millis(50)));
        setbacks.over().await;
        assert!(setbacks.are_over());
    }

    #[tokio::test(start_paused = true)]
    async fn queue_that_is_gone_is_told_at_once_and_asked_again_once_in_a_while() {
        let mut setbacks = Setbacks::default();
        setbacks.add(&error());
        for _ in 0..3 {
            setbacks.add(&PortError::not_found("receive", "http://h/1/q".to_owned()));
            assert_eq!(setbacks.until, Some(Instant::now() + GONE_AGAIN));
        }
        assert_eq!(setbacks.untold, 2, "the first of them was told, though a warning came just before");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_told_at_once_and_then_once_a_minute() {
        let mut setbacks = Setbacks::default();
        setbacks.add(&error());
        assert_eq!(setbacks.untold, 0);
        (0..5).for_each(|_| setbacks.add(&error()));
        assert_eq!(setbacks.untold, 5);
        tokio::time::advance(WARN_AGAIN).await;
        setbacks.reset();
        setbacks.add(&error());
        assert_eq!(setbacks.untold, 0);
    }
}
