//! The world: its services, and the network between them and the workers.
//!
//! A request takes some time. It may be lost, or served long after its sender gave up. A lost answer looks the same to
//! the sender, although the request had its effect.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fastrand::Rng;

use super::kernel::{Kernel, Millis, Process, Slot};
use super::load::Load;
use super::plan::Plan;
use super::sqs::Sqs;
use super::store::{Store, Topic};

/// The services that workers talk to.
pub(super) struct Services {
    pub(super) sqs: Sqs,
    pub(super) store: Store,
    pub(super) topic: Topic,
}

/// The service of a request, and how late it may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Sqs,
    /// A release. The engine relies on it that no release arrives later than the request timeout.
    SqsInTime,
    Store,
    Topic,
}

/// Counts of what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Counts {
    pub(super) kills: u64,
    pub(super) freezes: u64,
    pub(super) stops: u64,
    pub(super) takeovers: u64,
    pub(super) voids: u64,
    pub(super) aborts: u64,
}

/// A running world.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) load: Rc<Load>,
    pub(super) kernel: Rc<Kernel>,
    pub(super) services: RefCell<Services>,
    pub(super) rng: RefCell<Rng>,
    pub(super) counts: Cell<Counts>,
    /// The number of the next worker process: its id, never used again.
    pub(super) next_worker: Cell<u64>,
    pub(super) is_traced: bool,
}

impl World {
    pub(super) fn new(plan: Plan, is_traced: bool) -> Rc<Self> {
        let load = Load::of(&plan);
        let services = Services { sqs: Sqs::new(&plan, &load), store: Store::default(), topic: Topic::default() };
        Rc::new(Self {
            kernel: Kernel::with_hosts(plan.workers),
            load,
            services: RefCell::new(services),
            rng: RefCell::new(Rng::with_seed(plan.seed ^ 0x004e_4554)),
            counts: Cell::default(),
            next_worker: Cell::new(1),
            is_traced,
            plan,
        })
    }

    pub(super) fn now(&self) -> Millis {
        self.kernel.now()
    }

    pub(super) fn are_faults_over(&self) -> bool {
        self.now() >= self.plan.faults_until
    }

    pub(super) fn count(&self, what: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        what(&mut counts);
        self.counts.set(counts);
    }

    /// Prints a line of the trace.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            use std::io::Write as _;
            // If stdout is closed, nobody reads the trace.
            let _ = writeln!(std::io::stdout(), "{:>9.3} s  {}", self.now() as f64 / 1e3, line());
        }
    }

    /// Sends a request. The result of `effect` is its answer; `None` if no answer comes.
    pub(super) fn call<T: 'static>(
        self: &Rc<Self>,
        from: Process,
        to: To,
        effect: impl FnOnce(&mut Services, Millis) -> T + 'static,
    ) -> Slot<Option<T>> {
        let slot = Slot::new(&self.kernel);
        let filled = slot.clone();
        let sent_at = self.now();
        let times_out_at = sent_at + self.plan.request_timeout;
        let Some(Way { there, back }) = self.way(to) else {
            self.kernel.at(times_out_at, Some(from), move || filled.fill(None));
            return slot;
        };
        let answered_at = back.map(|back| sent_at + there + back).filter(|at| *at < times_out_at);
        if answered_at.is_none() {
            let filled = filled.clone();
            self.kernel.at(times_out_at, Some(from), move || filled.fill(None));
        }
        let world = self.clone();
        self.kernel.at(sent_at + there, None, move || {
            let now = world.now();
            let answer = effect(&mut world.services.borrow_mut(), now);
            if let Some(at) = answered_at {
                world.kernel.at(at, Some(from), move || filled.fill(Some(answer)));
            }
        });
        slot
    }

    /// How long a request and its answer take. `None` if the request is lost.
    fn way(&self, to: To) -> Option<Way> {
        let mut rng = self.rng.borrow_mut();
        let mut way = Way { there: rng.u64(2..30), back: Some(rng.u64(2..30)) };
        if self.are_faults_over() {
            return Some(way);
        }
        let (plan, now) = (&self.plan, self.now());
        if to == To::Store && plan.down.iter().any(|span| span.contains(&now)) || rng.f64() < plan.lost {
            return None;
        }
        if rng.f64() < plan.unanswered {
            way.back = None;
        }
        if to == To::Store && plan.slow.iter().any(|span| span.contains(&now)) {
            way.there += rng.u64(..plan.request_timeout * 3 / 2);
        }
        if rng.f64() < plan.late {
            let extra = rng.u64(..plan.visibility_timeout * 2);
            if rng.bool() {
                way.there += extra;
            } else {
                way.back = way.back.map(|back| back + extra);
            }
        }
        if to == To::SqsInTime {
            way.there = way.there.min(plan.request_timeout);
        }
        Some(way)
    }
}

struct Way {
    there: Millis,
    /// `None` if the answer is lost.
    back: Option<Millis>,
}
