//! A queue that lives: its state behind a lock, the receivers that wait on it, and the task that wakes them in time.
//!
//! A waiting receiver registers for the wake-up before it looks, so none is lost, and one send wakes one receiver, which
//! wakes the next where it leaves something. It does *not* own what the state does.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    error::SqsError,
    message::{Content, Delivery},
    queue::{Ask, Queue, Received, Sent},
};
use crate::clock::{Clock, Millis};

const OPEN: u8 = 0;
const DELETED: u8 = 1;
const STOPPING: u8 = 2;

/// A queue and those who wait for it.
#[derive(Debug)]
pub(crate) struct LiveQueue {
    pub(crate) name: String,
    pub(crate) arn: Arc<str>,
    pub(crate) created: Millis,
    clock: Clock,
    state: Mutex<Queue>,
    tags: Mutex<BTreeMap<String, String>>,
    life: AtomicU8,
    /// Something is visible.
    arrived: Notify,
    /// The first timer is earlier than it was.
    rearm: Notify,
}

impl LiveQueue {
    /// A queue with its timer task.
    pub(crate) fn start(name: String, arn: String, queue: Queue, clock: Clock) -> Arc<Self> {
        let live = Arc::new(Self {
            name,
            arn: arn.into(),
            created: clock.now(),
            clock,
            state: Mutex::new(queue),
            tags: Mutex::default(),
            life: AtomicU8::new(OPEN),
            arrived: Notify::new(),
            rearm: Notify::new(),
        });
        tokio::spawn(live.clone().keep_time());
        live
    }

    /// The state. What changes visibility goes through the methods below, which wake whom it concerns.
    pub(crate) fn state(&self) -> MutexGuard<'_, Queue> {
        // The state may be inconsistent after a panic, which is a bug; a test that runs into it still gets answers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_tags(&self, tags: BTreeMap<String, String>) {
        *self.tags.lock().unwrap_or_else(PoisonError::into_inner) = tags;
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Sends messages and wakes one receiver for all of them.
    pub(crate) fn send(&self, contents: impl IntoIterator<Item = (Arc<Content>, Option<u64>)>) -> Vec<Sent> {
        let now = self.now();
        let mut state = self.state();
        let before = state.next_timer();
        let sent = contents.into_iter().map(|(content, delay)| state.send(content, delay, now)).collect();
        self.wake(state, before);
        sent
    }

    /// Receives, and waits up to `wait` while there is nothing. Dropping the future takes nothing.
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
            let received = self.look(ask, dead_letters);
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

    /// Runs `change` for each receipt under one lock, then wakes a receiver if that made something visible.
    pub(crate) fn for_receipts<T>(
        &self,
        entries: impl IntoIterator<Item = T>,
        mut change: impl FnMut(&mut Queue, T, Millis) -> Result<(), SqsError>,
    ) -> Vec<Result<(), SqsError>> {
        let now = self.now();
        let mut state = self.state();
        let before = state.next_timer();
        let results = entries.into_iter().map(|entry| change(&mut state, entry, now)).collect();
        self.wake(state, before);
        results
    }

    /// Ends all waiting with "no such queue".
    pub(crate) fn delete(&self) {
        self.end(DELETED);
    }

    /// Ends all waiting with nothing received.
    pub(crate) fn stop(&self) {
        self.end(STOPPING);
    }

    fn end(&self, life: u8) {
        self.life.store(life, Ordering::Release);
        self.arrived.notify_waiters();
        self.rearm.notify_one();
    }

    fn look(&self, ask: &Ask, dead_letters: Option<&LiveQueue>) -> Received {
        let now = self.now();
        let mut state = self.state();
        let before = state.next_timer();
        let mut received = state.receive(ask, now);
        self.wake(state, before);
        if let Some(target) = dead_letters.filter(|_| !received.moved.is_empty()) {
            let mut state = target.state();
            for moved in received.moved.drain(..) {
                state.take_moved(moved, &self.arn, now);
            }
            target.wake(state, None);
        }
        received
    }

    /// Lets go of the state, and wakes a receiver if there is something for it, and the timer if it sleeps too long.
    fn wake(&self, state: MutexGuard<'_, Queue>, timer_before: Option<Millis>) {
        let visible = state.has_visible();
        let timer = state.next_timer();
        drop(state);
        if visible {
            self.arrived.notify_one();
        }
        if timer.is_some_and(|timer| timer_before.is_none_or(|before| timer < before)) {
            self.rearm.notify_one();
        }
    }

    /// Makes messages visible when their time comes, for receivers that wait.
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
        // The timer is at work already and needs no wake-up from itself.
        self.wake(state, next);
        next
    }
}
