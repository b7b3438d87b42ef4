//! From messages to the batches in which they are sent.

use std::time::Duration;

use crate::payload::{MESSAGE_BYTES_MAX, Message};

/// The most messages in a call of `SendMessageBatch`.
pub const BATCH_MESSAGES_MAX: usize = 10;

/// Messages for one call of `SendMessageBatch`: at most [`BATCH_MESSAGES_MAX`], of at most [`MESSAGE_BYTES_MAX`]
/// together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    queue: usize,
    messages: Vec<Message>,
    bytes: usize,
    ticks: u64,
    due: Option<Duration>,
}

impl Batch {
    /// The number of its queue.
    #[must_use]
    pub fn queue(&self) -> usize {
        self.queue
    }

    /// When it is due after the beginning: as the last of its messages that says so.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// How many ticks its messages hold.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// What its messages count against the limits of SQS.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages, in the order in which they were added.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The messages themselves.
    #[must_use]
    pub fn into_messages(self) -> Vec<Message> {
        self.messages
    }

    /// The same batch, due no earlier than that.
    #[must_use]
    pub fn due_from(self, earliest: Option<Duration>) -> Self {
        Self { due: self.due.max(earliest), ..self }
    }

    fn add(&mut self, message: Message) {
        self.bytes += message.size();
        self.ticks += message.ticks;
        self.due = self.due.max(message.due);
        self.messages.push(message);
    }
}

/// Groups messages into batches.
#[derive(Debug, Default)]
pub struct Batcher {
    batch: Batch,
}

impl Batcher {
    /// Groups those of that queue.
    #[must_use]
    pub fn for_queue(queue: usize) -> Self {
        Self { batch: Batch { queue, ..Batch::default() } }
    }

    /// Adds a message. A batch comes back when it is full with this message, or was full without it.
    pub fn push(&mut self, message: Message) -> Option<Batch> {
        let full = if self.batch.bytes + message.size() > MESSAGE_BYTES_MAX { self.finish() } else { None };
        self.batch.add(message);
        // One message alone is not ten, so that a batch cut off by size leaves no second one behind.
        if full.is_none() && self.batch.messages.len() == BATCH_MESSAGES_MAX { self.finish() } else { full }
    }

    /// The batch begun so far, if any.
    pub fn finish(&mut self) -> Option<Batch> {
        let next = Batch { queue: self.batch.queue, ..Batch::default() };
        if self.batch.messages.is_empty() { None } else { Some(std::mem::replace(&mut self.batch, next)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::payload::tests::message;

    proptest! {
        #[test]
        fn batches_respect_both_limits_and_keep_every_message_in_order(
            sizes in prop::collection::vec(prop_oneof![1_usize..200, 90_000_usize..120_000, Just(MESSAGE_BYTES_MAX)], 0..60)
        ) {
            let mut batcher = Batcher::default();
            let mut batches = Vec::new();
            for (i, &size) in sizes.iter().enumerate() {
                let message = message("a".repeat(size), i as u64);
                batches.extend(batcher.push(message));
            }
            batches.extend(batcher.finish());
            for batch in &batches {
                prop_assert!((1..=BATCH_MESSAGES_MAX).contains(&batch.messages().len()));
                prop_assert!(batch.bytes() <= MESSAGE_BYTES_MAX);
                prop_assert_eq!(batch.bytes(), batch.messages().iter().map(Message::size).sum::<usize>());
            }
            // No two neighbours would have fitted into one batch.
            for pair in batches.windows(2) {
                let next = &pair[1].messages()[0];
                prop_assert!(
                    pair[0].messages().len() == BATCH_MESSAGES_MAX || pair[0].bytes() + next.size() > MESSAGE_BYTES_MAX
                );
            }
            let order: Vec<u64> = batches.into_iter().flat_map(Batch::into_messages).map(|m| m.ticks).collect();
            prop_assert_eq!(order, (0..sizes.len() as u64).collect::<Vec<_>>());
        }
    }
}
