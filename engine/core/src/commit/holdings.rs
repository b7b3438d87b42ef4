//! What a worker holds: every message from its receipt to the last delete, by its id.
//!
//! SQS may hand a message out again while it is held, to the same worker as well, and its receive count says nothing
//! then: the copy may come first, or show any count. So a worker asks here, and not the count, whether it has the
//! message already. It does *not* own what other workers hold.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};

use rustc_hash::FxHashMap;

use super::MessageId;

/// The messages that a worker holds now, and those that it held lately. One table has both: a message passes through it
/// with few lookups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    known: FxHashMap<MessageId, Known>,
    /// The messages of the past, the oldest first. One that is held again keeps its place.
    order: VecDeque<MessageId>,
    past_max: usize,
    held: usize,
}

/// What a worker knows of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Known {
    Held {
        /// Whether it was handed out again meanwhile.
        was_copied: bool,
        /// Whether it has a place in the order of the past.
        is_past: bool,
    },
    Past,
}

/// Whether the queue says that it has not delivered a message before: by its receive count, unless the message was
/// moved to a dead-letter queue. SQS documents that the count goes on there; other implementations begin anew.
#[must_use]
pub fn is_first_delivery(receive_count: u32, was_dead_lettered: bool) -> bool {
    receive_count == 1 && !was_dead_lettered
}

/// Whether a worker may take a message that it has released before, given until when that release may arrive, if there
/// was one: only if the receive was sent after that. A release by an earlier receipt may show the message to others
/// although it was received since, and two workers would hold it.
pub fn may_take<T>(released_until: Option<T>, was_sent_after: impl FnOnce(T) -> bool) -> bool {
    released_until.is_none_or(was_sent_after)
}

/// What a message is to the worker that receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// Nobody had it before.
    First,
    /// It may have been stored: it is looked up in the ledger before its rows join an epoch. `is_seen` says that this
    /// worker had it before, so that its detectors have judged its ticks.
    Again {
        /// Whether this worker had it before.
        is_seen: bool,
    },
    /// This worker holds it. The copy is left alone: it comes back when its visibility times out, unless the message is
    /// deleted by then.
    Held,
}

impl Holdings {
    /// A worker that holds nothing, and will know the last `past_max` messages that it held.
    #[must_use]
    pub fn new(past_max: usize) -> Self {
        Self { known: FxHashMap::default(), order: VecDeque::new(), past_max, held: 0 }
    }

    /// The same with room for all of the past at once. A busy worker fills it within seconds, and it need not grow
    /// then.
    #[must_use]
    pub fn with_room(past_max: usize) -> Self {
        let mut holdings = Self::new(past_max);
        holdings.known.reserve(past_max + 1);
        holdings.order.reserve(past_max + 1);
        holdings
    }

    /// The worker receives the message `id`, and holds it from now on. `is_first` is what the queue says: that it has
    /// not delivered the message before. A queue may be wrong, so what the worker knows of the message counts more.
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

    /// The worker has deleted the message, or has given it up. Returns whether it was handed out once more while it was
    /// held. SQS may then ignore a delete by the earlier receipt, and answer that it succeeded: the API reference of
    /// `DeleteMessage` asks for the most recent receipt.
    ///
    /// Both are one step: a copy that arrives later is looked up in the ledger.
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

    /// The message leaves the past. If it is held, it goes on to be.
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

    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }
}

// Sets have no order to hash in: a model needs one.
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
