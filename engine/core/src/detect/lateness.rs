//! How late ticks come. The clock of a feed is its latest tick. Ticks of other producers, or from a backlog, may be
//! behind it.
//!
//! This file owns how late is usual. It does *not* own the waiting for late ticks.

/// Bins of lateness: bin 0 for less than a second, otherwise the number of binary digits of the seconds.
const BINS: usize = 20;

/// The span over which ticks are counted, in event time. The last two spans are used.
const SPAN_US: i64 = 600_000_000;

/// One tick in this many may come later than the delay.
const PASSED_OVER: u64 = 1_000;

/// How many ticks came how late recently.
#[derive(Debug)]
pub(super) struct Lateness {
    /// The counts of this span and of the one before.
    spans: [[u32; BINS]; 2],
    ends_us: i64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { spans: [[0; BINS]; 2], ends_us: i64::MIN }
    }
}

impl Lateness {
    /// Counts a tick at `ts_us` while the clock stands at `now_us`.
    pub(super) fn note(&mut self, ts_us: i64, now_us: i64) {
        if now_us >= self.ends_us {
            self.spans = [[0; BINS], self.spans[0]];
            self.ends_us = now_us.saturating_add(SPAN_US);
        }
        let seconds = now_us.abs_diff(ts_us.min(now_us)) / 1_000_000;
        let bin = (u64::BITS - seconds.leading_zeros()) as usize;
        let count = &mut self.spans[0][bin.min(BINS - 1)];
        *count = count.saturating_add(1);
    }

    /// How long to wait until all but one tick in a thousand have come, in microseconds. 0 if they come within a
    /// second.
    pub(super) fn delay_us(&self) -> i64 {
        let count = |bin: usize| u64::from(self.spans[0][bin]) + u64::from(self.spans[1][bin]);
        let all: u64 = (0..BINS).map(count).sum();
        let mut later = 0;
        for bin in (1..BINS).rev() {
            later += count(bin);
            if later * PASSED_OVER > all {
                return (1_i64 << bin) * 1_000_000;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    /// The delay after `ticks` ticks on time, and one late tick for each number of seconds in `late`.
    fn delay_s(ticks: i64, late: &[i64]) -> i64 {
        let mut lateness = Lateness::default();
        (0..ticks).for_each(|_| lateness.note(1_000 * SECOND_US, 1_000 * SECOND_US));
        for late in late {
            lateness.note((1_000 - late) * SECOND_US, 1_000 * SECOND_US);
        }
        lateness.delay_us() / SECOND_US
    }

    #[test]
    fn delay_covers_what_comes_late_more_often_than_once_in_a_thousand() {
        assert_eq!(delay_s(100, &[]), 0);
        assert_eq!(delay_s(100, &[0, 0]), 0);
        assert_eq!(delay_s(998, &[30]), 32);
        assert_eq!(delay_s(998, &[30, 30, 4]), 32);
        assert_eq!(delay_s(10_000, &[500]), 0, "a straggler");
        assert_eq!(delay_s(10_000, &[500, 2, 2, 2, 3, 3, 2, 2, 2, 2, 3]), 4);
    }

    #[test]
    fn what_was_late_minutes_ago_is_forgotten() {
        let mut lateness = Lateness::default();
        lateness.note(0, 100 * SECOND_US);
        assert_eq!(lateness.delay_us(), 128 * SECOND_US);
        for second in 100..1_400 {
            lateness.note(second * SECOND_US, second * SECOND_US);
        }
        assert_eq!(lateness.delay_us(), 0);
    }

    #[test]
    fn ticks_from_the_future_are_not_late() {
        let mut lateness = Lateness::default();
        lateness.note(i64::MAX, 0);
        lateness.note(i64::MIN, i64::MAX);
        assert_eq!(lateness.delay_us(), (1 << 19) * SECOND_US);
    }
}
