//! Simulated SQS: visibility, receive counts, copies, old receipts and dead-letter queues.
//!
//! It keeps what AWS promises and no more: another worker gets a message only when its visibility is over. A worker
//! that holds a message may get a copy of it, with any count.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fastrand::Rng;

use super::kernel::Millis;
use super::load::Load;
use super::plan::Plan;

/// The most messages of one receive.
pub(super) const BATCH_MAX: usize = 10;

/// The number of recent deliveries that a copy is taken from.
const RECENT: usize = 64;

/// How long a deleted message may come again. The ledger keeps its entry for longer.
const GHOST: Millis = 60_000;

/// A receipt: a message and the number of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) message: usize,
    number: u32,
}

/// A message as the queue hands it out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) receipt: Receipt,
    pub(super) count: u32,
    /// The count for a worker that never got the original delivery, because that answer was lost. No count may hide
    /// such a delivery.
    pub(super) honest_count: u32,
    pub(super) was_dead_lettered: bool,
}

#[derive(Debug, Clone)]
struct Queued {
    queue: usize,
    visible_at: Millis,
    count: u32,
    receipt: u32,
    /// The worker that got it last.
    holder: Option<u64>,
    deleted_at: Option<Millis>,
    was_dead_lettered: bool,
}

#[derive(Debug, Default)]
struct Queue {
    unsent: VecDeque<(Millis, usize)>,
    visible: VecDeque<usize>,
    hidden: BinaryHeap<Reverse<(Millis, usize)>>,
    recent: VecDeque<usize>,
}

/// All queues. Each one is followed by its dead-letter queue.
#[derive(Debug)]
pub(super) struct Sqs {
    queues: Vec<Queue>,
    messages: Vec<Queued>,
    rng: Rng,
    visibility_timeout: Millis,
    copy_share: f64,
    old_receipts: f64,
    receives_max: Option<u32>,
    are_faults_over: bool,
    /// Messages that are not deleted.
    pub(super) left: usize,
    pub(super) copies: u64,
    pub(super) moves: u64,
    pub(super) redeliveries: u64,
}

impl Sqs {
    pub(super) fn new(plan: &Plan, load: &Load) -> Self {
        let mut queues: Vec<Queue> = (0..2 * plan.queues).map(|_| Queue::default()).collect();
        let queued = |queue| Queued {
            queue,
            visible_at: 0,
            count: 0,
            receipt: 0,
            holder: None,
            deleted_at: None,
            was_dead_lettered: false,
        };
        for (number, message) in load.messages.iter().enumerate() {
            queues[2 * message.queue].unsent.push_back((message.sent_at, number));
        }
        Self {
            queues,
            messages: load.messages.iter().map(|message| queued(2 * message.queue)).collect(),
            rng: Rng::with_seed(plan.seed ^ 0x5153),
            visibility_timeout: plan.visibility_timeout,
            copy_share: plan.copies,
            old_receipts: plan.old_receipts,
            receives_max: plan.receives_max,
            are_faults_over: false,
            left: load.messages.len(),
            copies: 0,
            moves: 0,
            redeliveries: 0,
        }
    }

    pub(super) fn end_faults(&mut self) {
        self.are_faults_over = true;
    }

    /// Up to ten messages of `queue` for `worker`.
    pub(super) fn receive(&mut self, queue: usize, worker: u64, now: Millis) -> Vec<Received> {
        self.show(queue, now);
        let mut received = Vec::new();
        let wanted = self.rng.usize(1..=BATCH_MAX);
        while received.len() < wanted {
            let of = &mut self.queues[queue];
            let at = if of.visible.len() > 1 { self.rng.usize(..of.visible.len().min(8)) } else { 0 };
            let Some(number) = of.visible.swap_remove_front(at) else { break };
            let message = &self.messages[number];
            if message.queue != queue || message.deleted_at.is_some() || message.visible_at > now {
                continue;
            }
            let is_too_often = self.receives_max.is_some_and(|most| message.count >= most);
            if is_too_often && queue.is_multiple_of(2) && !self.are_faults_over {
                self.move_to_dead_letters(number);
            } else {
                received.push(self.hand_out(number, worker, now));
            }
        }
        if !self.are_faults_over && self.rng.f64() < self.copy_share && received.len() < BATCH_MAX {
            received.extend(self.copy(queue, worker, now));
        }
        received
    }

    /// Makes messages visible that are due to be sent, or whose visibility timeout is over.
    fn show(&mut self, queue: usize, now: Millis) {
        let of = &mut self.queues[queue];
        while let Some((_, number)) = of.unsent.pop_front_if(|(sent_at, _)| *sent_at <= now) {
            of.visible.push_back(number);
        }
        while let Some(&Reverse((visible_at, number))) = of.hidden.peek() {
            if visible_at > now {
                break;
            }
            of.hidden.pop();
            let message = &mut self.messages[number];
            if message.queue == queue && message.visible_at == visible_at && message.deleted_at.is_none() {
                message.holder = None;
                of.visible.push_back(number);
            }
        }
    }

    fn hand_out(&mut self, number: usize, worker: u64, now: Millis) -> Received {
        let message = &mut self.messages[number];
        message.count += 1;
        message.receipt += 1;
        message.holder = Some(worker);
        self.redeliveries += u64::from(message.receipt > 1);
        let (count, was_dead_lettered) = (message.count, message.was_dead_lettered);
        let receipt = Receipt { message: number, number: message.receipt };
        self.hide(number, now);
        let recent = &mut self.queues[self.messages[number].queue].recent;
        recent.push_back(number);
        if recent.len() > RECENT {
            recent.pop_front();
        }
        Received { receipt, count, honest_count: count, was_dead_lettered }
    }

    fn hide(&mut self, number: usize, now: Millis) {
        let message = &mut self.messages[number];
        message.visible_at = message.visible_at.max(now + self.visibility_timeout);
        self.queues[message.queue].hidden.push(Reverse((message.visible_at, number)));
    }

    /// The count starts anew in the dead-letter queue. No real queue can do worse.
    fn move_to_dead_letters(&mut self, number: usize) {
        let message = &mut self.messages[number];
        message.queue += 1;
        message.count = 0;
        message.was_dead_lettered = true;
        self.queues[message.queue].visible.push_back(number);
        self.moves += 1;
    }

    /// Hands out once more a message that `worker` holds or deleted a moment ago.
    fn copy(&mut self, queue: usize, worker: u64, now: Millis) -> Option<Received> {
        let number = *self.rng.choice(&self.queues[queue].recent)?;
        let message = &mut self.messages[number];
        let may_be = match message.deleted_at {
            None => message.queue == queue && message.visible_at > now,
            Some(deleted_at) => deleted_at + GHOST > now,
        };
        if message.holder != Some(worker) || !may_be {
            return None;
        }
        self.copies += 1;
        message.receipt += 1;
        let receipt = Receipt { message: number, number: message.receipt };
        let (message_count, was_dead_lettered) = (message.count, message.was_dead_lettered);
        let count = self.rng.u32(1..=3);
        if message.deleted_at.is_none() {
            self.hide(number, now);
        }
        Some(Received { receipt, count, honest_count: message_count + 1, was_dead_lettered })
    }

    fn is_honoured(&mut self, receipt: Receipt) -> bool {
        self.messages[receipt.message].receipt == receipt.number || self.rng.f64() < self.old_receipts
    }

    /// Hides messages for another timeout. Returns for each message whether the queue accepted it.
    pub(super) fn extend(&mut self, receipts: &[Receipt], now: Millis) -> Vec<bool> {
        let extend = |receipt: &Receipt| {
            let message = &self.messages[receipt.message];
            let is_in_flight = message.deleted_at.is_none() && message.visible_at > now;
            let may = is_in_flight && self.is_honoured(*receipt);
            if may {
                self.hide(receipt.message, now);
            }
            may
        };
        receipts.iter().map(extend).collect()
    }

    /// Deletes messages. For an old receipt it may do nothing, and still reports success.
    pub(super) fn delete(&mut self, receipts: &[Receipt], now: Millis) {
        for receipt in receipts {
            if self.messages[receipt.message].deleted_at.is_none() && self.is_honoured(*receipt) {
                self.messages[receipt.message].deleted_at = Some(now);
                self.left -= 1;
            }
        }
    }

    /// Makes messages visible at once.
    pub(super) fn release(&mut self, receipts: &[Receipt], now: Millis) {
        for receipt in receipts {
            let message = &self.messages[receipt.message];
            if message.deleted_at.is_none() && message.visible_at > now && self.is_honoured(*receipt) {
                let message = &mut self.messages[receipt.message];
                message.visible_at = now;
                message.holder = None;
                self.queues[message.queue].visible.push_back(receipt.message);
            }
        }
    }
}
