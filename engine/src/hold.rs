//! The messages that this worker holds, shared by all of its stages.
//!
//! [`ticklake_core::commit::Holdings`] owns the rules. This file locks them, and lets a message go when its [`Hold`] is
//! dropped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use ticklake_core::commit::{Arrival, Holdings, MessageId, may_take};

use crate::clock::Moment;

/// How many messages that were held lately are still known: 10 MiB. SQS allows fewer in flight per queue.
const PAST_MAX: usize = 1 << 17;

/// Releases that are kept. Beyond that, those that cannot arrive any more are dropped.
const RELEASES_MAX: usize = 1 << 14;

/// What the worker holds, from all queues, because a message keeps its id when SQS moves it to a dead-letter queue.
#[derive(Debug)]
pub(crate) struct HeldMessages {
    holdings: Mutex<Holdings>,
    /// Messages that were released, each with the moment until which the release may still arrive at the queue.
    releases: Mutex<FxHashMap<MessageId, Moment>>,
}

/// A held message. It is let go when this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    id: MessageId,
    held: Arc<HeldMessages>,
    is_over: AtomicBool,
}

impl Default for HeldMessages {
    fn default() -> Self {
        Self { holdings: Mutex::new(Holdings::with_room(PAST_MAX)), releases: Mutex::default() }
    }
}

impl HeldMessages {
    /// The message `id` arrives with a receive that was sent at `asked_at`. `is_first` is what the queue says. Returns
    /// no hold if the message is held, or if an earlier release may show it to others: SQS honours a release even if
    /// the message was received since.
    pub(crate) fn arrive(self: &Arc<Self>, id: MessageId, is_first: bool, asked_at: Moment) -> (Arrival, Option<Hold>) {
        let released_until = self.releases().get(&id).copied();
        if !may_take(released_until, |until| until.has_passed(asked_at)) {
            return (Arrival::Held, None);
        }
        let arrival = self.locked().arrive(id, is_first);
        let hold = (arrival != Arrival::Held).then(|| Hold { id, held: self.clone(), is_over: AtomicBool::new(false) });
        (arrival, hold)
    }

    fn locked(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn releases(&self) -> MutexGuard<'_, FxHashMap<MessageId, Moment>> {
        self.releases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Lets the message go. Returns whether it was handed out again meanwhile: then SQS may ignore a delete by this
    /// receipt.
    pub(crate) fn let_go(&self) -> bool {
        !self.is_over.swap(true, Ordering::Relaxed) && self.held.locked().let_go(self.id)
    }

    /// The message was released, and the release cannot arrive after `until`: it was answered then, or its request
    /// gives up then.
    pub(crate) fn released(&self, until: Moment) {
        let mut releases = self.held.releases();
        if releases.len() >= RELEASES_MAX {
            let now = Moment::now();
            releases.retain(|_, until| !until.has_passed(now));
        }
        releases.insert(self.id, until);
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn message_is_held_until_its_hold_is_dropped() {
        let held = Arc::new(HeldMessages::default());
        let id = MessageId::new("message-1");
        let (arrival, hold) = held.arrive(id, true, Moment::now());
        assert_eq!((arrival, hold.as_ref().map(Hold::id)), (Arrival::First, Some(id)));
        assert!(matches!(held.arrive(id, false, Moment::now()), (Arrival::Held, None)));
        hold.as_ref().unwrap().let_go();
        let (arrival, again) = held.arrive(id, true, Moment::now());
        assert_eq!(arrival, Arrival::Again { is_seen: true });
        drop(hold);
        assert_eq!(held.arrive(id, true, Moment::now()).0, Arrival::Held, "the first hold lets go once");
        drop(again);
        assert_eq!(held.arrive(id, true, Moment::now()).0, Arrival::Again { is_seen: true });
    }

    /// The queue sees that another poll of this worker receives the message, and then the release shows it to all.
    #[test]
    fn message_is_left_alone_that_was_asked_for_before_its_release_was_answered() {
        let held = Arc::new(HeldMessages::default());
        let id = MessageId::new("message-1");
        let at = |seconds| Moment::of(Duration::from_secs(seconds), Duration::from_secs(seconds));
        let (_, hold) = held.arrive(id, true, at(0));
        hold.as_ref().unwrap().released(at(10));
        drop(hold);
        assert!(matches!(held.arrive(id, false, at(9)), (Arrival::Held, None)));
        assert_eq!(held.arrive(id, false, at(10)).0, Arrival::Again { is_seen: true });
    }
}
