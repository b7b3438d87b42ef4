//! The memory by which a FIFO queue or topic knows a repeated message: its id within the last five minutes.
//!
//! It does *not* own the order of messages.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::clock::Millis;

/// How long a FIFO queue or topic remembers a deduplication id.
const DEDUPLICATION_SECONDS: u64 = 300;

/// The ids that were seen in the last five minutes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Deduplication {
    seen: HashMap<Box<str>, (Uuid, u64)>,
    order: VecDeque<(Millis, Box<str>)>,
}

impl Deduplication {
    /// Forgets what is older than five minutes.
    pub(crate) fn expire(&mut self, now: Millis) {
        while let Some((seen, _)) = self.order.front() {
            if seen.plus_seconds(DEDUPLICATION_SECONDS) > now {
                break;
            }
            if let Some((_, id)) = self.order.pop_front() {
                self.seen.remove(&id);
            }
        }
    }

    /// The message that was accepted under this deduplication id.
    pub(crate) fn repeated(&self, id: &str) -> Option<(Uuid, u64)> {
        self.seen.get(id).copied()
    }

    /// Takes note of a message that was accepted, and of its deduplication id.
    pub(crate) fn remember(&mut self, id: &str, message: Uuid, sequence: u64, now: Millis) {
        self.seen.insert(id.into(), (message, sequence));
        self.order.push_back((now, id.into()));
    }

    /// What is remembered: id, message, sequence number, and when it was sent.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (&str, Uuid, u64, Millis)> {
        self.order.iter().filter_map(|(at, id)| {
            let (message, sequence) = *self.seen.get(id)?;
            Some((&**id, message, sequence, *at))
        })
    }
}
