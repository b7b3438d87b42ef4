//! How many long polls wait at the same time.
//!
//! Polls that come back full say that there is more than they can carry, polls that come back empty that there are more
//! of them than messages. This file owns the number; it does *not* poll.

use std::ops::RangeInclusive;

use crate::ports::BATCH_MAX;

/// The number of polls, between bounds.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    bounds: RangeInclusive<usize>,
    polls: usize,
}

impl Pace {
    /// Begins with the fewest polls. `bounds` are not empty.
    pub(crate) fn new(bounds: RangeInclusive<usize>) -> Self {
        Self { polls: *bounds.start(), bounds }
    }

    /// How many polls are to wait now.
    pub(crate) fn polls(&self) -> usize {
        self.polls
    }

    /// A poll brought `messages`.
    ///
    /// One more after a full answer, one less after an empty one, and as many as before after any other: where the
    /// queue holds many messages the number doubles with every round trip, for each poll brings its own, and where it
    /// holds few it settles where some answers are neither.
    pub(crate) fn answered(&mut self, messages: usize) {
        match messages {
            0 => self.polls = self.polls.saturating_sub(1).max(*self.bounds.start()),
            BATCH_MAX.. => self.polls = (self.polls + 1).min(*self.bounds.end()),
            _ => {}
        }
    }

    /// A poll failed. A queue that throttles is left in peace by half of the polls, one that is away by nearly all: a
    /// few find out as well as many when it is back.
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
