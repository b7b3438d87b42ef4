//! The questions to a queue and its answers. This file does *not* own how the answers are made.

use std::sync::Arc;

use uuid::Uuid;

use super::held::{Kind, Message};
use crate::{
    clock::Millis,
    faults::Manners,
    sqs::message::{Content, Delivery},
};

/// The answer to a send. For a duplicate, it describes the message that it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) id: Uuid,
    /// Only FIFO queues tell it to senders.
    pub(crate) sequence: Option<u64>,
}

/// What a receiver asks for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) max: usize,
    pub(crate) visibility_seconds: u64,
    /// Moves messages that were received this often, if there is a queue to move them to.
    pub(crate) move_after: Option<u32>,
    /// Whether the receiver does not wait.
    pub(crate) short_poll: bool,
}

/// What a receiver gets.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) deliveries: Vec<Delivery>,
    /// Messages for the dead-letter queue.
    pub(crate) moved: Vec<Moved>,
    /// Whether a standard queue delivered nothing because too many messages are in flight.
    pub(crate) over_limit: bool,
    pub(crate) copies: CopiesOut,
}

impl Received {
    /// Shows the count 1 for messages that were moved here, like servers that forget the count on the move.
    pub(super) fn forget_counts(&mut self, manners: &mut Manners) {
        let Manners { forget_count, dice, .. } = manners;
        if *forget_count == 0.0 {
            return;
        }
        for delivery in self.deliveries.iter_mut().filter(|delivery| delivery.source.is_some()) {
            if dice.f64() < *forget_count {
                delivery.count = 1;
            }
        }
    }
}

/// How many of the deliveries are first deliveries of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CopiesOut {
    pub(crate) again: u64,
    pub(crate) again_deleted: u64,
}

impl CopiesOut {
    /// Counts a message that is about to be delivered.
    pub(super) fn count(&mut self, message: &Message) {
        match message.kind {
            Kind::Again { .. } if message.receives == 0 => self.again += 1,
            Kind::AgainDeleted if message.receives == 0 => self.again_deleted += 1,
            _ => {}
        }
    }
}

/// A message that left for a dead-letter queue.
#[derive(Debug)]
pub(crate) struct Moved {
    /// The sequence number in the queue that it left.
    pub(crate) sequence: u64,
    pub(super) content: Arc<Content>,
    pub(super) sent: Millis,
    /// How often it was received so far.
    pub(super) count: u32,
    /// The queue that it was moved from before.
    pub(crate) source: Option<Arc<str>>,
}

/// `ApproximateNumberOfMessages` and its siblings, exact here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) visible: usize,
    pub(crate) in_flight: usize,
    pub(crate) delayed: usize,
}
