//! Messages that go from queue to queue. A message that was received too often goes to a dead-letter queue, and a task
//! takes it out again.
//!
//! This file owns what a message keeps on its way. It does *not* own which queue it goes to.

use std::sync::Arc;

use super::{
    Moved, Queue,
    held::{Kind, Message},
};
use crate::{clock::Millis, faults::Manners};

impl Queue {
    /// Adds a message that another queue has moved here. It keeps its id and, except in FIFO queues, its time of
    /// sending.
    pub(crate) fn take_moved(&mut self, moved: Moved, source: &Arc<str>, now: Millis) {
        let sent = if self.settings.fifo { now } else { moved.sent };
        self.insert(Message { before: moved.count, ..Message::new(moved.content, sent, Some(source.clone())) });
    }

    /// Takes back a message that this queue has moved away and no queue took.
    pub(crate) fn take_back(&mut self, moved: Moved) {
        self.insert(Message { before: moved.count, ..Message::new(moved.content, moved.sent, moved.source) });
    }

    /// Adds a message that was moved out of a dead-letter queue. It becomes a new message, with counts from 0.
    pub(crate) fn take_redriven(&mut self, moved: &Moved, now: Millis) {
        let content = moved.content.renewed();
        if let Some(id) = content.deduplication.as_deref().filter(|_| self.settings.fifo) {
            self.deduplication.remember(id, content.id, self.next_sequence, now);
        }
        self.insert(Message::new(Arc::new(content), now, None));
    }

    /// Takes visible messages out completely, because they go to another queue.
    pub(crate) fn take_out(&mut self, max: usize, now: Millis) -> Vec<Moved> {
        self.advance(now);
        let mut moved = Vec::new();
        while moved.len() < max {
            let taken = self.lanes.take(max - moved.len(), &mut Manners::default());
            if taken.is_empty() {
                break;
            }
            for sequence in taken {
                if self.fly(sequence, now).is_some() {
                    moved.extend(self.leave(sequence));
                }
            }
        }
        moved
    }

    /// Notes that moved messages are safe in the other queue. Until then the journal still holds them here.
    pub(crate) fn moved_away(&mut self, moved: Vec<u64>) {
        self.changes.gone(moved);
    }

    /// Removes a message that moves to another queue. Its copies are dropped.
    pub(super) fn leave(&mut self, sequence: u64) -> Option<Moved> {
        self.drop_copies(sequence);
        let message = self.remove(sequence)?;
        if let Kind::Again { .. } = message.kind {
            self.changes.gone(vec![sequence]);
            return None;
        }
        let count = message.count();
        Some(Moved { sequence, content: message.content, sent: message.sent, count, source: message.source })
    }
}
