//! A message that a simulated worker holds: its deadline, and the mark that makes it known as held.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ticklake_core::batch::Yield;
use ticklake_core::commit::{Deadline, Holdings, Layout, MessageId};

use super::kernel::Millis;
use super::sqs::Receipt;

/// What the holder and the heartbeat share.
pub(super) struct Term {
    pub(super) receipt: Receipt,
    pub(super) deadline: RefCell<Deadline<Millis>>,
    /// When the last extension was asked for.
    pub(super) asked_at: Cell<Millis>,
    pub(super) is_ended: Cell<bool>,
}

impl Term {
    pub(super) fn new(receipt: Receipt, asked_at: Millis, timeout: Millis) -> Rc<Self> {
        let deadline = RefCell::new(Deadline::new(asked_at + timeout));
        Rc::new(Self { receipt, deadline, asked_at: Cell::new(asked_at), is_ended: Cell::new(false) })
    }

    pub(super) fn is_ours(&self, now: Millis) -> bool {
        self.deadline.borrow_mut().look(|until| now >= until).is_some()
    }

    /// Whether it is time for an extension.
    pub(super) fn is_due(&self, now: Millis, half: Millis) -> bool {
        self.is_ours(now) && now >= self.asked_at.get() + half
    }
}

/// Makes a message known as held. Dropping it lets the message go.
pub(super) struct Hold {
    pub(super) id: MessageId,
    pub(super) term: Rc<Term>,
    pub(super) holdings: Rc<RefCell<Holdings>>,
    pub(super) held: Rc<Cell<usize>>,
    pub(super) is_over: Cell<bool>,
}

impl Hold {
    /// Lets the message go. Returns whether the queue handed it out once more in the meantime.
    pub(super) fn let_go(&self) -> bool {
        !self.is_over.replace(true) && self.holdings.borrow_mut().let_go(self.id)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.term.is_ended.set(true);
        self.let_go();
        self.held.set(self.held.get() - 1);
    }
}

/// A decoded message.
pub(super) struct HeldMessage {
    pub(super) hold: Hold,
    pub(super) layout: Layout,
    pub(super) yielded: Yield,
    pub(super) ticks: Vec<TickRow>,
    pub(super) rejects: Vec<ticklake_core::decode::Reject>,
}

/// A good tick, with the fields that the audit looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct TickRow {
    pub(super) ts_us: i64,
    pub(super) seq: i64,
    pub(super) price: f64,
}

impl HeldMessage {
    pub(super) fn receipt(&self) -> Receipt {
        self.hold.term.receipt
    }

    pub(super) fn is_ours(&self, now: Millis) -> bool {
        self.hold.term.is_ours(now)
    }
}
