//! Copies of messages, which a rude queue hands out in addition.
//!
//! A copy has the id, body and attributes of its message, but its own receipt and visibility. This file owns how copies
//! begin and end. It does *not* own how they are delivered, which is the same as for any message.

use std::collections::BTreeMap;

use super::{
    Millis, Queue, Received,
    held::{Kind, Message, Place},
};
use crate::faults::Manners;

/// Which messages have copies.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// The copies by message. A copy that is gone may still be in the list.
    of: BTreeMap<u64, Vec<u64>>,
    /// Messages that get a copy after they are deleted. A restart forgets these.
    owed: BTreeMap<u64, Owed>,
}

/// A copy that begins when its message is deleted.
#[derive(Debug)]
struct Owed {
    later_ms: u64,
    count: Option<u32>,
}

impl Copies {
    /// Adds a copy to its message.
    pub(super) fn add(&mut self, original: u64, copy: u64) {
        self.of.entry(original).or_default().push(copy);
    }

    /// Forgets a message that is gone.
    pub(super) fn forget(&mut self, sequence: u64) {
        self.of.remove(&sequence);
        self.owed.remove(&sequence);
    }
}

impl Queue {
    /// Puts some of the delivered messages into the queue once more, as if a second server had kept a copy.
    pub(super) fn duplicate(&mut self, received: &Received, manners: &mut Manners) {
        if manners.duplicate == 0.0 {
            return;
        }
        for delivery in &received.deliveries {
            let Some(message) = self.messages.get(&delivery.receipt.sequence) else { continue };
            if message.kind == Kind::Sent && manners.dice.f64() < manners.duplicate {
                let copy = Message::new(message.content.clone(), message.sent, message.source.clone());
                self.insert(Message { kind: Kind::Duplicate, ..copy });
            }
        }
    }

    /// Gives copies to some of the delivered messages. A copy comes later, or after the deletion.
    pub(super) fn repeat(&mut self, received: &mut Received, manners: &mut Manners, now: Millis) {
        let Manners { again, dice, .. } = manners;
        for delivery in &mut received.deliveries {
            let original = delivery.receipt.sequence;
            for again in &*again {
                let Some(message) = self.messages.get_mut(&original).filter(|message| message.kind == Kind::Sent)
                else {
                    break;
                };
                let Some(later_ms) = again.strikes(dice) else { continue };
                if again.after_deletion {
                    self.copies.owed.insert(original, Owed { later_ms, count: again.repeat.count });
                    continue;
                }
                // The message is delivered twice: once with its own count, once with the count of the fault. Either may
                // come first.
                let (own, other) = (delivery.count, again.repeat.count.unwrap_or(message.count() + 1));
                let (first, second) = if dice.bool() { (own, other) } else { (other, own) };
                delivery.count = first;
                message.before += 1;
                let copy = message.copy(Kind::Again { of: original }, second, now.plus_millis(later_ms));
                self.changes.message(original, message);
                self.insert(copy);
            }
        }
    }

    /// Deletes a message and its copies, by the sequence number of any of them.
    pub(super) fn delete_whole(&mut self, sequence: u64, now: Millis) {
        let original = match self.messages.get(&sequence).map(|message| message.kind) {
            Some(Kind::Again { of }) => of,
            _ => sequence,
        };
        let mut gone = self.copies.of.remove(&original).unwrap_or_else(|| vec![sequence]);
        let owed = self.copies.owed.remove(&original);
        gone.retain(|copy| *copy != original && self.remove(*copy).is_some());
        let message = self.remove(original);
        gone.extend(message.is_some().then_some(original));
        self.changes.gone(gone);
        if let Some((message, Owed { later_ms, count })) = message.zip(owed) {
            let count = count.unwrap_or(message.count() + 1);
            self.insert(message.copy(Kind::AgainDeleted, count, now.plus_millis(later_ms)));
        }
    }

    /// Drops the copies of a message that moves to another queue.
    pub(super) fn drop_copies(&mut self, original: u64) {
        let mut gone = self.copies.of.remove(&original).unwrap_or_default();
        gone.retain(|copy| self.remove(*copy).is_some());
        self.changes.gone(gone);
    }
}

impl Message {
    /// A copy of the message. It becomes visible at `until` and then shows `count`.
    fn copy(&self, kind: Kind, count: u32, until: Millis) -> Self {
        Self {
            kind,
            before: count.saturating_sub(1),
            first_received: self.first_received,
            place: Place::Delayed { until },
            ..Self::new(self.content.clone(), self.sent, self.source.clone())
        }
    }
}
