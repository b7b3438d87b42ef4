//! A message that a queue holds, and its place. This file does *not* own how it gets from one place to another.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{clock::Millis, sqs::message::Content};

#[derive(Debug)]
pub(super) struct Message {
    pub(super) content: Arc<Content>,
    pub(super) sent: Millis,
    pub(super) first_received: Millis,
    pub(super) received: Millis,
    /// Receives of this message in this queue. Receipts name the latest.
    pub(super) receives: u32,
    /// Other deliveries that count: those of copies, and those in queues that it was moved from.
    pub(super) before: u32,
    pub(super) place: Place,
    pub(super) source: Option<Arc<str>>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Visible,
    InFlight { until: Millis },
    Delayed { until: Millis },
}

/// How a message came into the queue. Copies get no copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    Sent,
    /// An independent copy.
    Duplicate,
    /// A copy that is deleted with its message.
    Again { of: u64 },
    /// A copy of a message that was deleted.
    AgainDeleted,
}

impl Message {
    /// A message without any receive.
    pub(super) fn new(content: Arc<Content>, sent: Millis, source: Option<Arc<str>>) -> Self {
        let (first_received, received, receives, before) = (Millis::default(), Millis::default(), 0, 0);
        let (place, kind) = (Place::Visible, Kind::Sent);
        Self { content, sent, first_received, received, receives, before, place, source, kind }
    }

    /// `ApproximateReceiveCount`.
    pub(super) fn count(&self) -> u32 {
        self.before.saturating_add(self.receives)
    }

    /// Notes a receive.
    pub(super) fn note_receive(&mut self, at: Millis) {
        if self.first_received == Millis::default() {
            self.first_received = at;
        }
        self.received = at;
        self.receives += 1;
    }
}
