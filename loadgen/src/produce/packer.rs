//! Packs the ticks of one feed into messages, with a writer for each queue. Ticks that are held back wait here.
//!
//! It does *not* own which ticks are held back, or the batches.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

use crate::{
    disturb::Fate,
    payload::{Message, MessageWriter, Packing, PayloadError},
    tick::{OwnedTick, Tick},
};

/// The most ticks that are held back at a time. If there are more, the one that is due next is sent early.
pub const HELD_MAX: usize = 100_000;

/// Packs the ticks of one feed.
pub(super) struct Packer {
    /// By queue.
    writers: Vec<MessageWriter>,
    /// The ticks that are held back. The next one to release is on top.
    held: BinaryHeap<Reverse<Held>>,
    held_so_far: u64,
    /// The event time at which the top one is released, or [`i64::MAX`] if none is held.
    release_us: i64,
}

/// A tick that is held back.
struct Held {
    release_us: i64,
    /// How many ticks were held before it.
    number: u64,
    queue: usize,
    tick: OwnedTick,
    /// Whether this is the second copy of a tick.
    is_again: bool,
}

impl Ord for Held {
    /// In the order of release. Of ticks that are released at the same time, the one held first comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.release_us, self.number).cmp(&(other.release_us, other.number))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

impl Packer {
    pub(super) fn new(packing: Packing, queues: usize, marks: bool) -> Result<Self, PayloadError> {
        let writer = |queue| {
            let writer = MessageWriter::new(packing)?.for_queue(queue);
            Ok(if marks { writer.marking() } else { writer })
        };
        Ok(Self {
            writers: (0..queues).map(writer).collect::<Result<_, PayloadError>>()?,
            held: BinaryHeap::new(),
            held_so_far: 0,
            release_us: i64::MAX,
        })
    }

    /// Takes a tick for that queue, after it has released the ticks that were held back until its time. Full messages
    /// go to the end of `full`.
    pub(super) fn take(
        &mut self,
        tick: &Tick<'_>,
        queue: usize,
        fate: Fate,
        full: &mut VecDeque<Message>,
    ) -> Result<(), PayloadError> {
        if tick.ts_us >= self.release_us {
            self.release(tick.ts_us, full)?;
        }
        if let Some(how) = fate.malformed {
            self.writers[queue].push_malformed(how, tick, full)?;
        }
        let sent_us = tick.ts_us.saturating_add(fate.hold_us);
        if let Some(again_us) = fate.again_us {
            self.hold(tick, queue, sent_us.saturating_add(again_us), true, full)?;
        }
        if fate.hold_us > 0 {
            return self.hold(tick, queue, sent_us, false, full);
        }
        self.writers[queue].push(tick, full)
    }

    /// Makes messages of all ticks that have been written.
    pub(super) fn cut(&mut self, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        self.writers.iter_mut().try_for_each(|writer| writer.finish(full))
    }

    /// Releases everything and makes messages of it.
    pub(super) fn finish(&mut self, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        self.release(i64::MAX, full)?;
        self.cut(full)
    }

    fn hold(
        &mut self,
        tick: &Tick<'_>,
        queue: usize,
        release_us: i64,
        is_again: bool,
        full: &mut VecDeque<Message>,
    ) -> Result<(), PayloadError> {
        if self.held.len() == HELD_MAX {
            self.release(self.release_us, full)?;
        }
        let (number, tick) = (self.held_so_far, OwnedTick::from(tick));
        self.held_so_far += 1;
        self.held.push(Reverse(Held { release_us, number, queue, tick, is_again }));
        self.release_us = self.release_us.min(release_us);
        Ok(())
    }

    fn release(&mut self, until_us: i64, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        while self.held.peek().is_some_and(|Reverse(held)| held.release_us <= until_us) {
            let Some(Reverse(Held { queue, tick, is_again, .. })) = self.held.pop() else { break };
            let writer = &mut self.writers[queue];
            if is_again { writer.push_again(&tick.tick(), full)? } else { writer.push(&tick.tick(), full)? }
        }
        self.release_us = self.held.peek().map_or(i64::MAX, |Reverse(held)| held.release_us);
        Ok(())
    }
}
