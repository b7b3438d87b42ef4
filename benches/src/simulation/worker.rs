//! A simulated worker: it does what the engine's shell does between the state machines of the protocol.
//!
//! This file owns a worker's parts and its tasks: polls, the heartbeat, the clock that rolls epochs, and the end. The
//! path of a message is in `receiver`, `resolver` and `committer`, the path of an alert in `publisher` and `notes`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use ticklake_core::alert::Alert;
use ticklake_core::commit::{Fate, Holdings};

use super::kernel::{Millis, Process, Slot};
use super::lease::{HeldMessage, Term};
use super::load::Load;
use super::network::{Services, To, World};
use super::plan::Broken;
use super::sqs::{BATCH_MAX, Receipt};
use super::store::{Epoch, Place};

/// Messages that a worker still knows after it has let them go.
const PAST_MAX: usize = 1 << 17;

/// How long an entry stays after the last delete of its messages. These are the engine's values.
const GRACE_MIN: Millis = 5 * 60 * 1_000;
const GRACE_MARGIN: Millis = 60 * 1_000;

/// How often a worker looks whether an epoch should roll, and whether other work is due.
const LOOK: Millis = 200;
const LOOK_AGAIN: Millis = 1_000;

/// The worker gave up a call, because the time for a stop is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GaveUp;

/// One process.
pub(super) struct Worker {
    pub(super) world: Rc<World>,
    pub(super) process: Process,
    /// Its id, never used again.
    pub(super) id: u64,
    /// Its configuration.
    pub(super) variant: u8,
    pub(super) holdings: Rc<RefCell<Holdings>>,
    /// Messages that it has received.
    pub(super) received: RefCell<FxHashSet<usize>>,
    /// Until when a sent release may arrive.
    pub(super) released: RefCell<FxHashMap<usize, Millis>>,
    pub(super) terms: RefCell<Vec<Rc<Term>>>,
    /// The number of messages that it holds in any stage.
    pub(super) held: Rc<Cell<usize>>,
    pub(super) open: RefCell<Open>,
    pub(super) epochs: Cell<u64>,
    pub(super) is_committing: Cell<bool>,
    pub(super) fates: RefCell<FxHashMap<Place, Fate>>,
    pub(super) retired: RefCell<Vec<(Millis, Epoch)>>,
    pub(super) notes: Cell<u64>,
    pub(super) finished_notes: RefCell<Vec<String>>,
    pub(super) adopted_notes: RefCell<BTreeSet<String>>,
    /// Some alerts could not be noted, so the worker deletes no messages any more.
    pub(super) has_alerts_at_risk: Cell<bool>,
    clock_alerts: Cell<u64>,
    /// When a begun stop is over.
    pub(super) stop_by: Cell<Option<Millis>>,
}

/// A note of alerts.
pub(super) struct Note {
    pub(super) name: String,
    /// Whether the store has confirmed the note. A late note may exist without it, and is removed as well.
    pub(super) is_confirmed: bool,
}

/// What the publisher did with alerts.
pub(super) struct Published {
    /// Whether all alerts are published.
    pub(super) is_out: bool,
    /// The notes of the alerts.
    pub(super) notes: Vec<Note>,
}

/// The open epoch.
#[derive(Default)]
pub(super) struct Open {
    pub(super) since: Millis,
    pub(super) messages: Vec<HeldMessage>,
    pub(super) alerts: Vec<Alert>,
    pub(super) done: Vec<Slot<Published>>,
}

impl Open {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.alerts.is_empty()
    }
}

impl Worker {
    /// Starts a process on `host`.
    pub(super) fn start(world: &Rc<World>, host: usize) -> Rc<Self> {
        let id = world.next_worker.replace(world.next_worker.get() + 1);
        let variant = world.rng.borrow_mut().u8(..world.plan.variants);
        let worker = Rc::new(Self {
            world: world.clone(),
            process: world.kernel.process(host),
            id,
            variant,
            holdings: Rc::new(RefCell::new(Holdings::new(PAST_MAX))),
            received: RefCell::default(),
            released: RefCell::default(),
            terms: RefCell::default(),
            held: Rc::default(),
            open: RefCell::default(),
            epochs: Cell::default(),
            is_committing: Cell::default(),
            fates: RefCell::default(),
            retired: RefCell::default(),
            notes: Cell::default(),
            finished_notes: RefCell::default(),
            adopted_notes: RefCell::default(),
            has_alerts_at_risk: Cell::default(),
            clock_alerts: Cell::default(),
            stop_by: Cell::default(),
        });
        world.tell(|| format!("worker {id} starts on host {host}, configuration {variant}"));
        let plan = &world.plan;
        for at in 0..plan.queues_of_worker {
            let queue = (host * (1 + 6 * at) + at) % plan.queues;
            for queue in [2 * queue, 2 * queue + 1] {
                worker.clone().spawn(|worker| worker.poll(queue));
            }
        }
        worker.clone().spawn(Self::beat);
        worker.clone().spawn(Self::build);
        worker.clone().spawn(Self::keep_house);
        worker.clone().spawn(Self::adopt);
        worker
    }

    /// Starts a task of this process.
    pub(super) fn spawn<F: Future<Output: 'static> + 'static>(
        self: Rc<Self>,
        task: impl FnOnce(Rc<Self>) -> F,
    ) -> Slot<F::Output> {
        let (kernel, process) = (self.world.kernel.clone(), self.process);
        kernel.spawn(Some(process), task(self))
    }

    pub(super) async fn sleep(&self, millis: Millis) {
        let until = self.world.now() + millis;
        self.world.kernel.sleep_until(Some(self.process), until).await;
    }

    pub(super) fn now(&self) -> Millis {
        self.world.now()
    }

    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        self.world.tell(|| format!("worker {}: {}", self.id, line()));
    }

    /// Sends a request once.
    pub(super) async fn call<T: 'static>(
        &self,
        to: To,
        effect: impl FnOnce(&mut Services, Millis) -> T + 'static,
    ) -> Option<T> {
        self.world.call(self.process, to, effect).await
    }

    /// Sends requests until one gets an answer, or the time for a stop is over.
    pub(super) async fn retry<T: 'static, E>(&self, to: To, mut request: impl FnMut() -> E) -> Result<T, GaveUp>
    where
        E: FnOnce(&mut Services, Millis) -> T + 'static,
    {
        self.retry_until(to, Millis::MAX, &mut request).await
    }

    /// The same, but no longer than until `until`.
    pub(super) async fn retry_until<T: 'static, E>(
        &self,
        to: To,
        until: Millis,
        mut request: impl FnMut() -> E,
    ) -> Result<T, GaveUp>
    where
        E: FnOnce(&mut Services, Millis) -> T + 'static,
    {
        let mut wait = 50;
        loop {
            let ends = self.stop_by.get().unwrap_or(Millis::MAX).min(until);
            if self.now() >= ends {
                return Err(GaveUp);
            }
            if let Some(answer) = self.call(to, request()).await {
                return Ok(answer);
            }
            self.sleep(wait).await;
            wait = (wait * 2).min(2_000);
        }
    }

    /// Extends messages for which half of the visibility timeout has passed since the last extension.
    async fn beat(self: Rc<Self>) {
        let half = self.world.plan.visibility_timeout / 2;
        loop {
            self.sleep((half / 4).max(LOOK)).await;
            let now = self.now();
            self.terms.borrow_mut().retain(|term| !term.is_ended.get());
            let due: Vec<Rc<Term>> =
                self.terms.borrow().iter().filter(|term| term.is_due(now, half)).cloned().collect();
            for terms in due.chunks(BATCH_MAX).map(<[_]>::to_vec) {
                self.clone().spawn(|worker| async move { worker.extend(&terms).await });
            }
        }
    }

    async fn extend(&self, terms: &[Rc<Term>]) {
        let receipts: Vec<Receipt> = terms.iter().map(|term| term.receipt).collect();
        let asked_at = self.now();
        for term in terms {
            term.asked_at.set(asked_at);
        }
        let answer = self.call(To::Sqs, move |services, now| services.sqs.extend(&receipts, now)).await;
        let half = self.world.plan.visibility_timeout / 2;
        let Some(accepted) = answer else {
            // The extension is due again at once.
            for term in terms {
                term.asked_at.set(term.asked_at.get().saturating_sub(half));
            }
            return;
        };
        let (now, until) = (self.now(), asked_at + self.world.plan.visibility_timeout);
        for (term, accepted) in terms.iter().zip(accepted) {
            let mut deadline = term.deadline.borrow_mut();
            if accepted {
                deadline.extend(until, |until| now >= until);
            } else {
                deadline.lapse();
            }
        }
    }

    /// Closes epochs when they are due, and commits them one after the other.
    async fn build(self: Rc<Self>) {
        loop {
            self.sleep(LOOK).await;
            let plan = &self.world.plan;
            let is_due = {
                let open = self.open.borrow();
                let is_old = self.now() >= open.since + plan.epoch_age_max;
                let is_full = open.messages.len() >= plan.epoch_messages_max || self.held.get() >= plan.held_max;
                !open.is_empty() && (is_old || is_full || self.stop_by.get().is_some())
            };
            if is_due {
                let open = self.open.take();
                self.is_committing.set(true);
                self.clone().commit(open).await;
                self.is_committing.set(false);
            }
        }
    }

    /// The open epoch. If it is empty, it begins now.
    pub(super) fn opened(&self) -> std::cell::RefMut<'_, Open> {
        let mut open = self.open.borrow_mut();
        if open.is_empty() {
            open.since = self.now();
        }
        open
    }

    /// Removes retired entries and finished notes, and raises the alerts that come from the clock alone.
    async fn keep_house(self: Rc<Self>) {
        loop {
            self.sleep(LOOK_AGAIN).await;
            let now = self.now();
            self.remove_retired(|due| due <= now).await;
            self.remove_finished_notes().await;
            let every = self.world.plan.clock_alert_every;
            let is_time = self.world.rng.borrow_mut().u64(..every) < LOOK_AGAIN;
            if is_time && !self.world.are_faults_over() && self.stop_by.get().is_none() {
                let number = self.clock_alerts.replace(self.clock_alerts.get() + 1);
                self.raise(vec![Load::alert_of_clock(self.id, number)], Vec::new());
            }
        }
    }

    pub(super) fn retire(&self, epoch: Epoch) {
        let grace = GRACE_MIN.max(self.world.plan.visibility_timeout + GRACE_MARGIN);
        self.retired.borrow_mut().push((self.now() + grace, epoch));
    }

    async fn remove_retired(&self, is_due: impl Fn(Millis) -> bool) {
        let due: Vec<(Millis, Epoch)> = self.retired.borrow_mut().extract_if(.., |(at, _)| is_due(*at)).collect();
        for (at, epoch) in due {
            let removed = self.call(To::Store, move |services, _| services.store.remove_entry(epoch)).await;
            if removed.is_none() {
                self.retired.borrow_mut().push((at, epoch));
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.get() == 0 && self.open.borrow().is_empty() && !self.is_committing.get()
    }

    /// Ends in good order within `time`.
    pub(super) async fn stop(self: Rc<Self>, time: Millis) {
        let by = self.now() + time;
        self.stop_by.set(Some(by));
        self.tell(|| format!("stop within {time} ms"));
        let last = by + 3 * self.world.plan.request_timeout;
        while !self.is_idle() && self.now() < last {
            self.sleep(LOOK).await;
        }
        let (now, is_hasty) = (self.now(), self.world.plan.is(Broken::EntriesRemovedAtStop));
        self.remove_retired(|due| due <= now || is_hasty).await;
        self.remove_finished_notes().await;
    }
}
