//! What a worker holds: every message by its id, from its receipt to its last delete.
//!
//! SQS may hand out a message again while it is held, also to the same worker. The receive count does not help then:
//! the copy may come first, or show any count. So a worker asks this file, and not the count, whether it already has a
//! message. This file does *not* own what other workers hold.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};

use rustc_hash::FxHashMap;

use super::MessageId;

/// The messages that a worker holds now, and those that it held lately. Both are in one table, so that a message needs
/// few lookups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    known: FxHashMap<MessageId, Known>,
    /// The messages of the past, the oldest first. If a message of the past is held again, it keeps its place.
    order: VecDeque<MessageId>,
    past_max: usize,
    held: usize,
}

/// What a worker knows of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Known {
    Held {
        /// Whether the queue handed it out again while it was held.
        was_copied: bool,
        /// Whether it has a place in the order of the past.
        is_past: bool,
    },
    Past,
}

/// Whether this is the first delivery of a message, by its receive count. A message in a dead-letter queue counts as
/// delivered before: SQS documents that the count goes on there, but other implementations begin anew.
#[must_use]
pub fn is_first_delivery(receive_count: u32, was_dead_lettered: bool) -> bool {
    receive_count == 1 && !was_dead_lettered
}

/// Whether a worker may take a message that it released before. `released_until` is the time until which that release
/// may arrive, if there was one. The worker may take the message only if it sent the receive after that time. A release
/// by an earlier receipt may show the message to others although it was received again. Then two workers would hold it.
pub fn may_take<T>(released_until: Option<T>, was_sent_after: impl FnOnce(T) -> bool) -> bool {
    released_until.is_none_or(was_sent_after)
}

/// What a message means to the worker that receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// Nobody had it before.
    First,
    /// It may already be stored. The worker looks it up in the ledger before its rows join an epoch. If `is_seen`, this
    /// worker had it before, and its detectors have judged its ticks.
    Again {
        /// Whether this worker had it before.
        is_seen: bool,
    },
    /// This worker already holds it, and leaves the copy alone. The copy comes back when its visibility times out,
    /// unless the message is deleted by then.
    Held,
}

impl Holdings {
    /// A worker that holds nothing. It will remember the last `past_max` messages that it held.
    #[must_use]
    pub fn new(past_max: usize) -> Self {
        Self { known: FxHashMap::default(), order: VecDeque::new(), past_max, held: 0 }
    }

    /// Like [`Holdings::new`], with room for all of the past. A busy worker fills it within seconds, and then it does
    /// not have to grow.
    #[must_use]
    pub fn with_room(past_max: usize) -> Self {
        let mut holdings = Self::new(past_max);
        holdings.known.reserve(past_max + 1);
        holdings.order.reserve(past_max + 1);
        holdings
    }

    /// The worker receives the message `id`, and holds it from now on. `is_first` is what the queue says: that this is
    /// the first delivery. A queue may be wrong, so the worker's own knowledge counts more.
    pub fn arrive(&mut self, id: MessageId, is_first: bool) -> Arrival {
        let is_seen = match self.known.entry(id) {
            Entry::Occupied(mut known) => {
                if let Known::Held { was_copied, .. } = known.get_mut() {
                    *was_copied = true;
                    return Arrival::Held;
                }
                known.insert(Known::Held { was_copied: false, is_past: true });
                true
            }
            Entry::Vacant(place) => {
                place.insert(Known::Held { was_copied: false, is_past: false });
                false
            }
        };
        self.held += 1;
        if is_first && !is_seen { Arrival::First } else { Arrival::Again { is_seen } }
    }

    /// The worker has deleted the message, or has given it up. Returns whether the message was handed out again while
    /// it was held. In that case SQS may ignore a delete by the earlier receipt, and still answer that it succeeded:
    /// the API reference of `DeleteMessage` asks for the most recent receipt.
    ///
    /// Both are one step, so that a copy that arrives later is looked up in the ledger.
    pub fn let_go(&mut self, id: MessageId) -> bool {
        let Some(known) = self.known.get_mut(&id) else { return false };
        let Known::Held { was_copied, is_past } = std::mem::replace(known, Known::Past) else { return false };
        self.held -= 1;
        if !is_past {
            self.order.push_back(id);
        }
        while self.order.len() > self.past_max {
            if let Some(oldest) = self.order.pop_front() {
                self.forget(oldest);
            }
        }
        was_copied
    }

    /// Removes the message from the past. If the worker holds it, it still does.
    fn forget(&mut self, id: MessageId) {
        if let Entry::Occupied(mut known) = self.known.entry(id) {
            match known.get_mut() {
                Known::Held { is_past, .. } => *is_past = false,
                Known::Past => {
                    known.remove();
                }
            }
        }
    }

    /// How many messages the worker holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether the worker holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }
}

// A map has no order, but a model needs one to hash.
impl Hash for Holdings {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut known: Vec<(MessageId, Known)> = self.known.iter().map(|(id, known)| (*id, *known)).collect();
        known.sort_unstable();
        known.hash(state);
        self.order.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> MessageId {
        MessageId::new(&number.to_string())
    }

    #[test]
    fn held_message_is_known_whatever_the_queue_says() {
        for first in [true, false] {
            for copy in [true, false] {
                let mut holdings = Holdings::new(4);
                assert_ne!(holdings.arrive(id(1), first), Arrival::Held);
                assert_eq!(holdings.arrive(id(1), copy), Arrival::Held);
                assert!(holdings.let_go(id(1)), "it was handed out twice");
                assert_eq!(holdings.arrive(id(1), copy), Arrival::Again { is_seen: true });
                assert!(!holdings.let_go(id(1)));
            }
        }
    }

    proptest! {
        #[test]
        fn holdings_are_exact_and_the_past_is_bounded(
            steps in prop::collection::vec((0..12_u8, any::<bool>(), any::<bool>()), 0..200),
        ) {
            let mut holdings = Holdings::new(3);
            let (mut held, mut past) = (BTreeSet::new(), Vec::new());
            for (number, arrives, is_first) in steps {
                if arrives {
                    let is_seen = past.contains(&number);
                    let expected = match held.insert(number) {
                        false => Arrival::Held,
                        true if is_seen || !is_first => Arrival::Again { is_seen },
                        true => Arrival::First,
                    };
                    prop_assert_eq!(holdings.arrive(id(number), is_first), expected);
                } else if held.remove(&number) {
                    holdings.let_go(id(number));
                    if !past.contains(&number) {
                        past.push(number);
                        past = past.split_off(past.len().saturating_sub(3));
                    }
                }
                prop_assert_eq!(holdings.len(), held.len());
            }
            prop_assert!(holdings.known.len() <= past.len() + held.len() && holdings.order.len() == past.len());
        }
    }
}
