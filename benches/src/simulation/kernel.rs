//! Simulated time: events in their order, and the tasks that wait for them.
//!
//! A task is a future that belongs to a process of a host, or to none. A killed process loses its tasks. A frozen
//! process gets its events when it thaws. This file does *not* own what the events are.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustc_hash::FxHashMap;

/// Milliseconds since the start of the simulation.
pub(super) type Millis = u64;

/// One life of a host: a worker process from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) host: usize,
    pub(super) life: u32,
}

/// Time, events and tasks.
#[derive(Default)]
pub(super) struct Kernel {
    now: Cell<Millis>,
    /// The number of the next event or task. It breaks ties, so that every run is the same.
    next: Cell<u64>,
    events: RefCell<BinaryHeap<Reverse<Event>>>,
    tasks: RefCell<FxHashMap<u64, Task>>,
    ready: RefCell<VecDeque<u64>>,
    /// The task that is being polled.
    current: Cell<u64>,
    hosts: RefCell<Vec<Host>>,
    /// The hash of all events so far.
    hash: Cell<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Host {
    life: u32,
    frozen_until: Millis,
}

struct Event {
    at: Millis,
    number: u64,
    owner: Option<Process>,
    happen: Box<dyn FnOnce()>,
}

struct Task {
    owner: Option<Process>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Kernel {
    pub(super) fn with_hosts(hosts: usize) -> Rc<Self> {
        let kernel = Self::default();
        kernel.hosts.borrow_mut().resize(hosts, Host::default());
        Rc::new(kernel)
    }

    pub(super) fn now(&self) -> Millis {
        self.now.get()
    }

    /// The hash that tells two different runs apart.
    pub(super) fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// Mixes `word` into the hash.
    pub(super) fn note(&self, word: u64) {
        let mixed = (self.hash.get() ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash.set(mixed ^ mixed >> 29);
    }

    /// The process that runs on `host` now.
    pub(super) fn process(&self, host: usize) -> Process {
        Process { host, life: self.hosts.borrow()[host].life }
    }

    pub(super) fn is_frozen(&self, host: usize) -> bool {
        self.hosts.borrow()[host].frozen_until > self.now()
    }

    /// Ends the process of `host`. What it has sent still arrives.
    pub(super) fn kill(&self, host: usize) {
        let dead = self.process(host);
        {
            let host = &mut self.hosts.borrow_mut()[host];
            host.life += 1;
            host.frozen_until = 0;
        }
        let mut numbers: Vec<u64> = Vec::new();
        numbers
            .extend(self.tasks.borrow().iter().filter(|(_, task)| task.owner == Some(dead)).map(|(number, _)| *number));
        let tasks: Vec<Task> = numbers.iter().filter_map(|number| self.tasks.borrow_mut().remove(number)).collect();
        drop(tasks);
    }

    pub(super) fn freeze(&self, host: usize, until: Millis) {
        self.hosts.borrow_mut()[host].frozen_until = until;
    }

    /// Calls `happen` at `at`, unless the owner has ended by then.
    pub(super) fn at(&self, at: Millis, owner: Option<Process>, happen: impl FnOnce() + 'static) {
        let number = self.number();
        self.events.borrow_mut().push(Reverse(Event { at, number, owner, happen: Box::new(happen) }));
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Starts a task. Another task can wait for its result.
    pub(super) fn spawn<T: 'static>(
        self: &Rc<Self>,
        owner: Option<Process>,
        future: impl Future<Output = T> + 'static,
    ) -> Slot<T> {
        let slot = Slot::new(self);
        let filled = slot.clone();
        let future = Box::pin(async move { filled.fill(future.await) });
        let number = self.number();
        self.tasks.borrow_mut().insert(number, Task { owner, future });
        self.ready.borrow_mut().push_back(number);
        slot
    }

    /// Resolves at `at`.
    pub(super) async fn sleep_until(self: &Rc<Self>, owner: Option<Process>, at: Millis) {
        let slot = Slot::new(self);
        let filled = slot.clone();
        self.at(at.max(self.now()), owner, move || filled.fill(()));
        slot.await;
    }

    /// Runs until `is_over`, or until there are no more events.
    pub(super) fn run(&self, is_over: impl Fn() -> bool) {
        self.run_ready();
        while !is_over() {
            let Some(Reverse(mut event)) = self.events.borrow_mut().pop() else { return };
            self.now.set(event.at);
            if let Some(owner) = event.owner {
                let host = self.hosts.borrow()[owner.host];
                if host.life != owner.life {
                    continue;
                }
                if host.frozen_until > event.at {
                    event.at = host.frozen_until;
                    event.number = self.number();
                    self.events.borrow_mut().push(Reverse(event));
                    continue;
                }
            }
            self.note(event.at ^ event.number.rotate_left(32));
            (event.happen)();
            self.run_ready();
        }
    }

    /// Ends all tasks, and forgets all events.
    pub(super) fn clear(&self) {
        let (tasks, events) = (self.tasks.take(), self.events.take());
        drop((tasks, events));
    }

    fn run_ready(&self) {
        loop {
            let Some(number) = self.ready.borrow_mut().pop_front() else { return };
            let Some(mut task) = self.tasks.borrow_mut().remove(&number) else { continue };
            self.current.set(number);
            let poll = task.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let is_alive = task.owner.is_none_or(|owner| self.process(owner.host) == owner);
            if poll.is_pending() && is_alive {
                self.tasks.borrow_mut().insert(number, task);
            }
        }
    }
}

/// A future value, and the one task that waits for it.
pub(super) struct Slot<T> {
    kernel: Rc<Kernel>,
    value: Rc<Cell<Option<T>>>,
    waiter: Rc<Cell<Option<u64>>>,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self { kernel: self.kernel.clone(), value: self.value.clone(), waiter: self.waiter.clone() }
    }
}

impl<T> Slot<T> {
    pub(super) fn new(kernel: &Rc<Kernel>) -> Self {
        Self { kernel: kernel.clone(), value: Rc::default(), waiter: Rc::default() }
    }

    pub(super) fn fill(&self, value: T) {
        self.value.set(Some(value));
        if let Some(waiter) = self.waiter.take() {
            self.kernel.ready.borrow_mut().push_back(waiter);
        }
    }
}

impl<T> Future for Slot<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let Some(value) = self.value.take() else {
            self.waiter.set(Some(self.kernel.current.get()));
            return Poll::Pending;
        };
        Poll::Ready(value)
    }
}
