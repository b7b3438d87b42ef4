//! Timers: when to look at a symbol again.
//!
//! This file owns the order in which they run out. It does *not* own what happens then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Timers of slots. At most one of each slot counts: the one whose time the slot's symbol remembers.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(i64, u32)>>);

impl Timers {
    /// Sets a timer.
    pub(super) fn set(&mut self, due_us: i64, slot: usize) {
        self.0.push(Reverse((due_us, slot as u32)));
    }

    /// Whether one has run out at `now_us`.
    pub(super) fn is_due(&self, now_us: i64) -> bool {
        self.0.peek().is_some_and(|Reverse((due_us, _))| *due_us <= now_us)
    }

    /// The next one that has run out at `now_us`, with its slot.
    pub(super) fn next(&mut self, now_us: i64) -> Option<(i64, usize)> {
        if !self.is_due(now_us) {
            return None;
        }
        self.0.pop().map(|Reverse((due_us, slot))| (due_us, slot as usize))
    }
}
