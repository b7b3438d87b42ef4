//! A running queue: its state behind a lock, the journal of its changes, the waiting receivers, and the task that wakes
//! them in time.
//!
//! A waiting receiver registers for the wake-up before it looks, so it misses none. One send wakes one receiver. If
//! that receiver leaves messages, it wakes the next. This file does *not* own what the state does.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    error::SqsError,
    journal::Journal,
    message::{Content, Delivery},
    queue::{Ask, Moved, Queue, Received, Sent, Setup},
    settings::Settings,
};
use crate::{
    clock::{Clock, Millis},
    faults::Faults,
};

const OPEN: u8 = 0;
const DELETED: u8 = 1;
const STOPPING: u8 = 2;

/// A queue and its waiting receivers.
#[derive(Debug)]
pub(crate) struct LiveQueue {
    pub(crate) name: String,
    pub(crate) arn: Arc<str>,
    pub(crate) created: Millis,
    clock: Clock,
    faults: Faults,
    state: Mutex<Queue>,
    /// Locked only while `state` is locked.
    kept: Mutex<Kept>,
    life: AtomicU8,
    /// Notified when something is visible.
    arrived: Notify,
    /// Notified when the first timer has become earlier.
    rearm: Notify,
}

/// What outlives the process, apart from the messages.
#[derive(Debug)]
struct Kept {
    setup: Setup,
    journal: Journal,
}

impl LiveQueue {
    /// Starts a queue with its timer task, and with its journal at `path`.
    pub(crate) fn start(
        (name, arn): (String, String),
        queue: Queue,
        setup: Setup,
        path: PathBuf,
        (clock, faults): (Clock, Faults),
    ) -> io::Result<Arc<Self>> {
        let journal = Journal::create(path, &queue.snapshot(&setup))?;
        let live = Arc::new(Self {
            name,
            arn: arn.into(),
            created: setup.created,
            clock,
            faults,
            state: Mutex::new(queue),
            kept: Mutex::new(Kept { setup, journal }),
            life: AtomicU8::new(OPEN),
            arrived: Notify::new(),
            rearm: Notify::new(),
        });
        tokio::spawn(live.clone().keep_time());
        Ok(live)
    }

    /// The state. Changes of messages must go through the methods below, which write the journal and wake receivers.
    pub(crate) fn state(&self) -> MutexGuard<'_, Queue> {
        // A panic is a bug and may leave the state inconsistent. A test that meets such a state still gets answers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        self.kept().setup.tags.clone()
    }

    pub(crate) fn set_tags(&self, tags: BTreeMap<String, String>) -> Result<(), SqsError> {
        let mut state = self.state();
        let mut kept = self.kept();
        kept.setup.tags = tags;
        state.changes.setup(&kept.setup);
        drop(kept);
        self.wake(state, None)
    }

    pub(crate) fn set_settings(&self, settings: Settings) -> Result<(), SqsError> {
        let mut state = self.state();
        let mut kept = self.kept();
        kept.setup.attributes = settings.all();
        state.settings = Arc::new(settings);
        state.changes.setup(&kept.setup);
        drop(kept);
        self.wake(state, None)
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Sends messages and wakes one receiver for all of them.
    pub(crate) fn send(
        &self,
        contents: impl IntoIterator<Item = (Arc<Content>, Option<u64>)>,
    ) -> Result<Vec<Sent>, SqsError> {
        let now = self.now();
        let mut state = self.state();
        let before = state.next_timer();
        let sent = contents.into_iter().map(|(content, delay)| state.send(content, delay, now)).collect();
        self.wake(state, before)?;
        Ok(sent)
    }

    /// Drops all messages. Within a minute of the last purge, does nothing and returns `false`.
    pub(crate) fn purge(&self) -> Result<bool, SqsError> {
        let mut state = self.state();
        let purged = state.purge(self.now());
        self.wake(state, None)?;
        Ok(purged)
    }

    /// Receives messages. If there are none, waits up to `wait`. Dropping the future takes no message.
    pub(crate) async fn receive(
        &self,
        ask: &Ask,
        wait: Duration,
        dead_letters: Option<&LiveQueue>,
    ) -> Result<Vec<Delivery>, SqsError> {
        let deadline = Instant::now() + wait;
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            match self.life.load(Ordering::Acquire) {
                DELETED => return Err(SqsError::no_such_queue()),
                STOPPING => return Ok(Vec::new()),
                _ => {}
            }
            let received = self.look(ask, dead_letters)?;
            if received.over_limit && wait.is_zero() {
                return Err(SqsError::over_limit());
            }
            if !received.deliveries.is_empty() || Instant::now() >= deadline {
                return Ok(received.deliveries);
            }
            tokio::select! {
                () = arrived => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Runs `change` for each receipt under one lock. Then wakes a receiver if that made something visible.
    pub(crate) fn for_receipts<T>(
        &self,
        entries: impl IntoIterator<Item = T>,
        mut change: impl FnMut(&mut Queue, T, Millis) -> Result<(), SqsError>,
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        let now = self.now();
        let mut state = self.state();
        let before = state.next_timer();
        let results = entries.into_iter().map(|entry| change(&mut state, entry, now)).collect();
        self.wake(state, before)?;
        Ok(results)
    }

    /// Whether this queue moves messages that were received too often to `target`.
    pub(crate) fn has_dead_letters_in(&self, target: &LiveQueue) -> bool {
        self.state().settings.redrive.as_ref().is_some_and(|redrive| redrive.target == target.arn)
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.state().settings.fifo
    }

    /// How many messages a receiver could get.
    pub(crate) fn visible(&self) -> usize {
        self.state().counts(Duration::ZERO, self.now()).visible
    }

    /// Takes out at most `max` visible messages, until `take` refuses one. That one and the rest stay here.
    pub(crate) fn redrive(&self, max: usize, mut take: impl FnMut(&Moved) -> bool) -> Result<(), SqsError> {
        let now = self.now();
        let mut state = self.state();
        let mut moved = state.take_out(max, now);
        self.wake(state, None)?;
        let sequences = moved.iter().map(|moved| moved.sequence).collect();
        let taken = moved.iter().position(|moved| !take(moved)).unwrap_or(moved.len());
        // Only now, so that a crash in between leaves two copies of them and not none.
        let mut state = self.state();
        for moved in moved.drain(taken..) {
            state.take_back(moved);
        }
        state.moved_away(sequences);
        self.wake(state, None)
    }

    /// Adds a new message with this content. Returns `false` if the queue was deleted or cannot keep the message.
    pub(crate) fn take_redriven(&self, moved: &Moved) -> bool {
        let mut state = self.state();
        if !self.is_open() {
            return false;
        }
        state.take_redriven(moved, self.now());
        self.wake(state, None).is_ok()
    }

    /// Ends all waiting with "no such queue", and removes the journal.
    pub(crate) fn delete(&self) {
        self.end(DELETED);
        if let Err(error) = self.kept().journal.remove() {
            tracing::warn!(queue = self.name, %error, "failed to remove the journal of a deleted queue");
        }
    }

    /// Ends all waiting with no message received.
    pub(crate) fn stop(&self) {
        self.end(STOPPING);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.life.load(Ordering::Acquire) != DELETED
    }

    fn end(&self, life: u8) {
        self.life.store(life, Ordering::Release);
        self.arrived.notify_waiters();
        self.rearm.notify_one();
    }

    fn look(&self, ask: &Ask, dead_letters: Option<&LiveQueue>) -> Result<Received, SqsError> {
        let now = self.now();
        // A queue that was deleted in the meantime takes no messages any more.
        let dead_letters = dead_letters.filter(|target| target.is_open());
        let ask = Ask { move_after: ask.move_after.filter(|_| dead_letters.is_some()), ..ask.clone() };
        let mut state = self.state();
        let before = state.next_timer();
        let mut received = state.receive(&ask, &mut self.faults.manners(), now);
        self.wake(state, before)?;
        self.faults.count_copies(received.copies.again, received.copies.again_deleted);
        if let Some(target) = dead_letters.filter(|_| !received.moved.is_empty()) {
            let sequences = received.moved.iter().map(|moved| moved.sequence).collect();
            let mut state = target.state();
            if !target.is_open() {
                drop(state);
                // The target was deleted at this very moment, so its messages stay here.
                state = self.state();
                for moved in received.moved.drain(..) {
                    state.take_back(moved);
                }
                state.moved_away(sequences);
                self.wake(state, None)?;
                return Ok(received);
            }
            for moved in received.moved.drain(..) {
                state.take_moved(moved, &self.arn, now);
            }
            target.wake(state, None)?;
            // Only now, so that a crash in between leaves two copies of them and not none.
            let mut state = self.state();
            state.moved_away(sequences);
            self.wake(state, None)?;
        }
        Ok(received)
    }

    /// Writes the changes to the journal, and releases the state. Then wakes a receiver if a message is visible, and
    /// the timer if it would sleep too long.
    fn wake(&self, mut state: MutexGuard<'_, Queue>, timer_before: Option<Millis>) -> Result<(), SqsError> {
        let written = self.keep(&mut state);
        let visible = state.has_visible();
        let timer = state.next_timer();
        drop(state);
        if visible {
            self.arrived.notify_one();
        }
        if timer.is_some_and(|timer| timer_before.is_none_or(|before| timer < before)) {
            self.rearm.notify_one();
        }
        written.map_err(|error| {
            tracing::error!(queue = self.name, %error, "failed to write the journal of a queue");
            SqsError::internal()
        })
    }

    fn keep(&self, state: &mut Queue) -> io::Result<()> {
        if state.changes.lines().is_empty() {
            return Ok(());
        }
        let Kept { setup, journal } = &mut *self.kept();
        let written = if journal.is_due(state.bytes()) {
            journal.rewrite(&state.snapshot(setup))
        } else {
            journal.append(state.changes.lines())
        };
        state.changes.clear();
        written
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes messages visible at their time, for waiting receivers.
    async fn keep_time(self: Arc<Self>) {
        while self.life.load(Ordering::Acquire) == OPEN {
            let next = self.advance();
            match next {
                None => self.rearm.notified().await,
                Some(instant) => {
                    let pause = instant.since(self.now());
                    tokio::select! {
                        () = self.rearm.notified() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn advance(&self) -> Option<Millis> {
        let now = self.now();
        let mut state = self.state();
        state.advance(now);
        let next = state.next_timer();
        // The timer runs already and needs no wake-up from itself. Time alone makes no changes to write.
        let _kept = self.wake(state, next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqs::{message::Extras, queue::IN_FLIGHT_MAX};

    /// "If you use short polling and reach the limit, SQS returns the `OverLimit` error message. If you use long
    /// polling, SQS returns no error messages" (SQS developer guide, "Message quotas").
    #[tokio::test]
    async fn full_flight_is_an_error_for_short_polls_and_nothing_for_long_ones() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let setup = Setup { identity: 1, created: Millis(0), attributes: settings.all(), tags: BTreeMap::new() };
        let names = ("q".to_owned(), "arn".to_owned());
        let shared = (Clock::start(), Faults::default());
        let live =
            LiveQueue::start(names, Queue::new(1, settings), setup, folder.path().join("q.jsonl"), shared).unwrap();
        let content = Arc::new(Content::new("x", Extras::default()).unwrap());
        live.send((0..=IN_FLIGHT_MAX).map(|_| (content.clone(), None))).unwrap();
        let ask = |max| Ask { max, visibility_seconds: 600, move_after: None, short_poll: false };
        let held = live.receive(&ask(IN_FLIGHT_MAX), Duration::ZERO, None).await.unwrap();
        assert_eq!(held.len(), IN_FLIGHT_MAX);
        assert_eq!(live.receive(&ask(10), Duration::ZERO, None).await.unwrap_err(), SqsError::over_limit());
        assert!(live.receive(&ask(10), Duration::from_millis(50), None).await.unwrap().is_empty());
        // A deleted message makes room, also for a waiting receiver.
        let ten = ask(10);
        let waiting = live.receive(&ten, Duration::from_mins(1), None);
        let delete = async { live.for_receipts([held[0].receipt], Queue::delete) };
        let (received, _) = tokio::join!(waiting, delete);
        assert_eq!(received.unwrap().len(), 1);
    }
}
