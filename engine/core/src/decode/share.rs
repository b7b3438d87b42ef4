//! The share of rejects in a window of events, and when it is too large.
//!
//! A wrong mapping rejects everything, and still drains the queue. This file owns the window and its bounds. It does
//! *not* own the reaction, or what a reject is.

use std::collections::VecDeque;

/// The window has this many blocks, and each block has this many ticks and rejects.
const BLOCKS: usize = 10;
const BLOCK: u64 = 1_000;

/// The fewest ticks and rejects for which a share says something: for a warning, and for a stop.
const WARN_MIN: u64 = 20;
const STOP_MIN: u64 = BLOCK;

/// After this many left-out events in a row, the choice of events looks like a mistake.
const LEFT_OUT_MIN: u64 = 10_000;

/// The result of the window for a feed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Few events are rejected.
    Fine,
    /// More events are rejected than the first bound allows.
    Many(Share),
    /// More events are rejected than the second bound allows. The engine should not receive more of them.
    TooMany(Share),
    /// This many events were left out in a row, while no event was a tick or was rejected.
    NoneChosen(u64),
}

/// The rejects of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Bad ticks and bodies.
    pub rejects: u64,
    /// Good ticks, bad ticks and bodies.
    pub of: u64,
}

impl Share {
    /// The share, from 0 to 1.
    #[must_use]
    pub fn value(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.rejects as f64 / self.of as f64 }
    }
}

/// The last ten thousand ticks and rejects, in blocks.
#[derive(Debug)]
pub struct RejectShare {
    warn: f64,
    stop: f64,
    blocks: VecDeque<Share>,
    left_out_in_a_row: u64,
}

impl RejectShare {
    /// An empty window. A share above `warn` is large, and a share above `stop` is too large. 1 allows everything.
    #[must_use]
    pub fn new(warn: f64, stop: f64) -> Self {
        Self { warn, stop, blocks: VecDeque::with_capacity(BLOCKS + 1), left_out_in_a_row: 0 }
    }

    /// Adds the results of some messages, and judges the window.
    pub fn note(&mut self, ticks: u64, rejects: u64, left_out: u64) -> Verdict {
        self.left_out_in_a_row = if ticks + rejects > 0 { 0 } else { self.left_out_in_a_row + left_out };
        self.add(Share { rejects, of: ticks + rejects });
        let share = self.window();
        if share.of >= STOP_MIN && share.value() > self.stop {
            Verdict::TooMany(share)
        } else if share.of >= WARN_MIN && share.value() > self.warn {
            Verdict::Many(share)
        } else if self.left_out_in_a_row >= LEFT_OUT_MIN {
            Verdict::NoneChosen(self.left_out_in_a_row)
        } else {
            Verdict::Fine
        }
    }

    fn add(&mut self, share: Share) {
        match self.blocks.back_mut() {
            Some(last) if last.of < BLOCK => {
                last.rejects += share.rejects;
                last.of += share.of;
            }
            _ => self.blocks.push_back(share),
        }
        if self.blocks.len() > BLOCKS {
            self.blocks.pop_front();
        }
    }

    fn window(&self) -> Share {
        let add = |sum: Share, block: &Share| Share { rejects: sum.rejects + block.rejects, of: sum.of + block.of };
        self.blocks.iter().fold(Share { rejects: 0, of: 0 }, add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> RejectShare {
        RejectShare::new(0.1, 0.99)
    }

    #[test]
    fn first_bad_messages_of_a_good_feed_are_no_alarm() {
        let mut share = share();
        for _ in 0..WARN_MIN - 1 {
            assert_eq!(share.note(0, 1, 0), Verdict::Fine);
        }
        assert!(matches!(share.note(0, 1, 0), Verdict::Many(_)));
        assert!(matches!(share.note(10_000, 0, 0), Verdict::Fine));
    }

    #[test]
    fn feed_that_is_all_bad_is_stopped_and_one_that_is_nearly_so_is_not() {
        let mut bad = share();
        assert!(matches!(bad.note(0, 999, 0), Verdict::Many(_)));
        assert_eq!(bad.note(0, 1, 0), Verdict::TooMany(Share { rejects: 1_000, of: 1_000 }));
        let mut nearly = share();
        for _ in 0..100 {
            assert!(matches!(nearly.note(1, 99, 0), Verdict::Many(_)));
        }
        let mut allowed = RejectShare::new(1.0, 1.0);
        assert_eq!(allowed.note(0, 100_000, 0), Verdict::Fine);
    }

    #[test]
    fn good_past_is_forgotten_after_ten_thousand_events() {
        let mut share = share();
        share.note(1_000_000, 0, 0);
        let stopped = (0..20).position(|_| matches!(share.note(0, BLOCK, 0), Verdict::TooMany(_)));
        assert_eq!(stopped, Some(BLOCKS - 1));
    }

    #[test]
    fn feed_of_which_nothing_is_chosen_is_told_of() {
        let mut share = share();
        assert_eq!(share.note(0, 0, LEFT_OUT_MIN - 1), Verdict::Fine);
        assert_eq!(share.note(0, 0, 1), Verdict::NoneChosen(LEFT_OUT_MIN));
        assert_eq!(share.note(1, 0, 5), Verdict::Fine, "one event was chosen");
        assert_eq!(share.note(0, 0, LEFT_OUT_MIN - 1), Verdict::Fine);
    }
}
