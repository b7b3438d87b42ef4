//! The memory in which a FIFO queue or topic finds repeated messages: the ids of the last five minutes.
//!
//! This file does *not* own the order of messages.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::clock::Millis;

/// How long a FIFO queue or topic remembers a deduplication id.
const DEDUPLICATION_SECONDS: u64 = 300;

/// The ids of the last five minutes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Deduplication {
    seen: HashMap<Box<str>, (Uuid, u64)>,
    order: VecDeque<(Millis, Box<str>)>,
}

impl Deduplication {
    /// Forgets ids older than five minutes.
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

    /// The accepted message with this deduplication id.
    pub(crate) fn repeated(&self, id: &str) -> Option<(Uuid, u64)> {
        self.seen.get(id).copied()
    }

    /// Remembers an accepted message and its deduplication id.
    pub(crate) fn remember(&mut self, id: &str, message: Uuid, sequence: u64, now: Millis) {
        self.seen.insert(id.into(), (message, sequence));
        self.order.push_back((now, id.into()));
    }

    /// All remembered ids: id, message, sequence number, and time of sending.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (&str, Uuid, u64, Millis)> {
        self.order.iter().filter_map(|(at, id)| {
            let (message, sequence) = *self.seen.get(id)?;
            Some((&**id, message, sequence, *at))
        })
    }
}
