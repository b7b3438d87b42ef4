//! The messages that this worker holds, shared by all of its stages.
//!
//! The rules are [`ticklake_core::commit::Holdings`]'. This file locks them, and lets a message go when its [`Hold`] is
//! dropped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ticklake_core::commit::{Arrival, Holdings, MessageId};

/// Messages that were held lately and are still known: 6 MiB. It is more than SQS lets one queue have in flight.
const PAST_MAX: usize = 1 << 17;

/// What the worker holds, over all queues: a message keeps its id when SQS moves it to a dead-letter queue.
#[derive(Debug)]
pub(crate) struct HeldMessages(Mutex<Holdings>);

/// A message that is held; let go when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    id: MessageId,
    held: Arc<HeldMessages>,
    is_over: AtomicBool,
}

impl Default for HeldMessages {
    fn default() -> Self {
        Self(Mutex::new(Holdings::new(PAST_MAX)))
    }
}

impl HeldMessages {
    /// The message `id` arrives, for the first time if the queue is right. No hold is given for one that is held.
    pub(crate) fn arrive(self: &Arc<Self>, id: MessageId, is_first: bool) -> (Arrival, Option<Hold>) {
        let arrival = self.locked().arrive(id, is_first);
        let hold = (arrival != Arrival::Held).then(|| Hold { id, held: self.clone(), is_over: AtomicBool::new(false) });
        (arrival, hold)
    }

    fn locked(&self) -> MutexGuard<'_, Holdings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Lets the message go; whether it was handed out once more meanwhile, so that a delete by this receipt may be
    /// ignored.
    pub(crate) fn let_go(&self) -> bool {
        !self.is_over.swap(true, Ordering::Relaxed) && self.held.locked().let_go(self.id)
    }

    /// The message's id.
    pub(crate) fn id(&self) -> MessageId {
        self.id
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_held_until_its_hold_is_dropped() {
        let held = Arc::new(HeldMessages::default());
        let id = MessageId::new("message-1");
        let (arrival, hold) = held.arrive(id, true);
        assert_eq!((arrival, hold.as_ref().map(Hold::id)), (Arrival::First, Some(id)));
        assert!(matches!(held.arrive(id, false), (Arrival::Held, None)));
        hold.as_ref().unwrap().let_go();
        let (arrival, again) = held.arrive(id, true);
        assert_eq!(arrival, Arrival::Again { is_seen: true });
        drop(hold);
        assert_eq!(held.arrive(id, true).0, Arrival::Held, "the first hold lets go once");
        drop(again);
        assert_eq!(held.arrive(id, true).0, Arrival::Again { is_seen: true });
    }
}
