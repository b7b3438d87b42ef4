//! The suspect: a price far from the recent ones. The next prices decide whether it was a bad print or a new level.
//!
//! This file owns how they decide. It does *not* own what is far.

use super::anomaly::Anomaly;

/// After this many prices that stayed, it is a new level, unless too many came back.
const STAYS: u8 = 8;

/// After this many prices it is decided in any case.
const TICKS_MAX: u8 = 20;

/// A far price that is not decided yet.
///
/// Each price that follows either stays or is back. It stays if it lies on the same side of the expected price, from
/// half as far to twice as far away. The far price itself is the first that stayed. It was a
///
/// ```text
/// spike         as soon as backs >= stays: one bad print with the next price, five in a row with the fifth back
/// level shift   as soon as stays >= 8 and stays > 2 backs, or after 20 prices, since more of them stayed
/// ```
///
/// A market that has moved does not come back between its trades. But trades that are printed late mix old prices with
/// new ones for a while. So a single price that is back does not undo several that stayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Suspect {
    /// The far price, and its event time.
    pub(super) anomaly: Anomaly,
    pub(super) ts_us: i64,
    /// The time on the clock at which it is decided, however few prices have come.
    pub(super) until_us: i64,
    stays: u8,
    backs: u8,
}

/// What it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Spike,
    LevelShift,
}

/// What the next price means for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Open,
    Decided(Verdict),
    /// The price is far as well, but somewhere else. It is another suspect, and this one was a spike.
    Another,
}

impl Suspect {
    pub(super) fn new(anomaly: Anomaly, ts_us: i64, until_us: i64) -> Self {
        Self { anomaly, ts_us, until_us, stays: 1, backs: 0 }
    }

    /// How many prices came since, itself included.
    pub(super) fn ticks(&self) -> usize {
        usize::from(self.stays + self.backs)
    }

    /// Judges it by the next price of its symbol. `is_far` says whether that price is an anomaly itself.
    pub(super) fn next(&mut self, price: f64, is_far: bool) -> Next {
        let Anomaly { observed, expected, .. } = self.anomaly;
        let part = (price - expected) / (observed - expected);
        match part {
            0.5..=2.0 => self.stays += 1,
            _ if is_far => return Next::Another,
            _ => self.backs += 1,
        }
        if self.backs >= self.stays {
            Next::Decided(Verdict::Spike)
        } else if self.stays >= STAYS && self.stays > 2 * self.backs {
            Next::Decided(Verdict::LevelShift)
        } else if self.stays + self.backs >= TICKS_MAX {
            Next::Decided(self.verdict())
        } else {
            Next::Open
        }
    }

    /// What it was, if no more prices come. A level needs at least four that stayed, and fewer that came back.
    pub(super) fn verdict(&self) -> Verdict {
        if self.stays >= STAYS / 2 && self.stays > self.backs { Verdict::LevelShift } else { Verdict::Spike }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::anomaly::{Detector, Window};
    use super::*;
    use crate::alert::{Direction, Severity};

    fn suspect() -> Suspect {
        let anomaly = Anomaly {
            severity: Severity::Info,
            direction: Direction::Up,
            observed: 101.0,
            expected: 100.0,
            scale: 0.1,
            score: 10.0,
            threshold: 6.0,
            window: Window::Ticks(50),
            detector: Detector::Spike,
        };
        Suspect::new(anomaly, 0, 0)
    }

    /// The verdict, and after how many prices, the far one included.
    fn decided(prices: impl IntoIterator<Item = f64>) -> Option<(Verdict, usize)> {
        let mut suspect = suspect();
        prices.into_iter().find_map(|price| match suspect.next(price, (price - 100.0).abs() >= 0.6) {
            Next::Open => None,
            Next::Decided(verdict) => Some((verdict, suspect.ticks())),
            Next::Another => Some((Verdict::Spike, suspect.ticks())),
        })
    }

    #[test]
    fn bad_print_is_one_with_the_next_price() {
        assert_eq!(decided([100.0]), Some((Verdict::Spike, 2)));
        assert_eq!(decided([99.9]), Some((Verdict::Spike, 2)));
    }

    #[test]
    fn five_bad_prints_in_a_row_are_spikes() {
        let prices = [101.0, 101.1, 100.9, 101.0].into_iter().chain([100.0; 9]);
        assert_eq!(decided(prices), Some((Verdict::Spike, 10)));
    }

    #[test]
    fn price_that_stays_is_a_new_level_though_late_prints_mix_in() {
        assert_eq!(decided([101.0; 20]), Some((Verdict::LevelShift, 8)));
        let mixed = [101.0, 100.0, 101.0, 101.0, 100.0, 101.0, 101.0, 101.0, 100.0, 101.0, 101.0];
        assert_eq!(decided(mixed).unwrap().0, Verdict::LevelShift);
    }

    #[test]
    fn far_price_elsewhere_is_another_suspect() {
        for price in [110.0, 99.0] {
            assert_eq!(suspect().next(price, true), Next::Another);
        }
        assert_eq!(suspect().next(100.7, true), Next::Open, "far, but not elsewhere");
    }

    proptest! {
        /// The twin looks at all prices again each time.
        #[test]
        fn verdict_is_that_of_counting_anew(stays in vec(any::<bool>(), 0..40)) {
            let prices = stays.iter().map(|stays| if *stays { 101.0 } else { 100.0 });
            let naive = (1..=stays.len()).find_map(|count| {
                let stayed = 1 + stays[..count].iter().filter(|stays| **stays).count();
                let back = 1 + count - stayed;
                match () {
                    () if back >= stayed => Some((Verdict::Spike, count + 1)),
                    () if stayed >= 8 && stayed > 2 * back || count == 19 => Some((Verdict::LevelShift, count + 1)),
                    () => None,
                }
            });
            prop_assert_eq!(decided(prices), naive);
        }
    }
}
