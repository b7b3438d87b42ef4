//! How many long polls wait at the same time.
//!
//! If polls come back full, there is more than they can carry. If polls come back empty, there are more of them than
//! messages. This file owns the number of polls; it does *not* poll.

use std::ops::RangeInclusive;

use crate::ports::BATCH_MAX;

/// The number of polls, between bounds.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    bounds: RangeInclusive<usize>,
    polls: usize,
}

impl Pace {
    /// Begins with the fewest polls. `bounds` must not be empty.
    pub(crate) fn new(bounds: RangeInclusive<usize>) -> Self {
        Self { polls: *bounds.start(), bounds }
    }

    /// How many polls should wait now.
    pub(crate) fn polls(&self) -> usize {
        self.polls
    }

    /// A poll brought `messages`.
    ///
    /// A full answer adds a poll, an empty one removes a poll, and any other changes nothing. If the queue holds many
    /// messages, each poll adds one, so the number doubles with every round trip. If it holds few, the number settles
    /// where some answers are neither full nor empty.
    pub(crate) fn answered(&mut self, messages: usize) {
        match messages {
            0 => self.polls = self.polls.saturating_sub(1).max(*self.bounds.start()),
            BATCH_MAX.. => self.polls = (self.polls + 1).min(*self.bounds.end()),
            _ => {}
        }
    }

    /// A poll failed, so there are half as many from now on. This relieves a queue that throttles. If a queue is away,
    /// only a few are left in the end: they find out as well as many when it is back.
    pub(crate) fn failed(&mut self) {
        self.polls = (self.polls / 2).max(*self.bounds.start());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_answers_raise_the_number_to_its_bound_and_empty_ones_lower_it() {
        let mut pace = Pace::new(2..=9);
        assert_eq!(pace.polls(), 2);
        (0..3).for_each(|_| pace.answered(BATCH_MAX));
        assert_eq!(pace.polls(), 5);
        (0..20).for_each(|_| pace.answered(BATCH_MAX));
        assert_eq!(pace.polls(), 9);
        pace.answered(BATCH_MAX - 1);
        pace.answered(1);
        assert_eq!(pace.polls(), 9, "neither full nor empty");
        (0..20).for_each(|_| pace.answered(0));
        assert_eq!(pace.polls(), 2);
    }

    #[test]
    fn failures_halve_the_number_down_to_the_fewest() {
        let mut pace = Pace::new(1..=9);
        (0..20).for_each(|_| pace.answered(BATCH_MAX));
        let after = |_| {
            pace.failed();
            pace.polls()
        };
        assert_eq!([0; 5].map(after), [4, 2, 1, 1, 1]);
    }
}
