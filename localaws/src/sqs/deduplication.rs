//! The memory by which a FIFO queue knows a repeated message: its id within the last five minutes.
//!
//! It does *not* own the order of messages.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use super::message::Content;
use crate::clock::Millis;

/// How long a FIFO queue remembers a deduplication id.
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

    /// The message that this one repeats.
    pub(crate) fn repeated(&self, content: &Content) -> Option<(Uuid, u64)> {
        self.seen.get(content.deduplication.as_deref()?).copied()
    }

    /// Takes note of a message that was accepted.
    pub(crate) fn remember(&mut self, content: &Content, sequence: u64, now: Millis) {
        if let Some(id) = &content.deduplication {
            self.seen.insert(id.clone(), (content.id, sequence));
            self.order.push_back((now, id.clone()));
        }
    }
}
