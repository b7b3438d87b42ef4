//! The slow average deviation: how far prices usually lie from their recent median, over minutes.
//!
//! It works where the median absolute deviation fails. If prices are rounded to a tick, more than half of them are
//! often equal. Then the median deviation is zero, although the next tick moves the price. This file owns the average
//! and how it forgets. It does *not* own the median.

/// A deviation beyond this multiple of the average (or of the floor, if that is larger) counts as that multiple. So an
/// outlier hardly raises the average. A lasting rise still gets through: every tick raises the average, and the cap
/// with it.
const CAP: f64 = 4.0;

/// An exponentially weighted mean of deviations, winsorised, in event time.
///
/// Each deviation has weight 1 when it is added. Its weight then decays by `exp(-t / time constant)`. `weight` is the
/// sum of what is left, so the first deviations are averaged like any others, and no start value is needed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct SlowDeviation {
    mean: f64,
    weight: f64,
    ts_us: i64,
}

/// How a [`SlowDeviation`] forgets, the same for all symbols.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decay {
    pub(super) time_constant_us: f64,
    /// The least weight that is left after a pause. Without it, the first deviation of a morning would be the whole
    /// average.
    pub(super) weight_min: f64,
    /// For the cap, the average counts as at least this: one tick.
    pub(super) floor: f64,
}

impl SlowDeviation {
    /// The average so far, 0 before the first deviation.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// Adds a deviation seen at `ts_us`.
    ///
    /// Time passes from one tick to the next in order of arrival. For a late tick it stands still. So a tick from the
    /// future costs one jump, which `weight_min` makes harmless. The next tick goes on from its own time.
    pub(super) fn add(&mut self, ts_us: i64, deviation: f64, decay: &Decay) {
        let capped = deviation.min(CAP * self.mean.max(decay.floor));
        let elapsed_us = ts_us.saturating_sub(self.ts_us).max(0);
        let left = self.weight * exp_of_minus(elapsed_us as f64 / decay.time_constant_us);
        self.weight = left.max(self.weight.min(decay.weight_min)) + 1.0;
        self.mean += (capped - self.mean) / self.weight;
        self.ts_us = ts_us;
    }
}

/// `exp(-x)` for an `x` that is not negative, to eleven digits.
///
/// The ticks of a symbol are much closer together than the time constant. For them, five terms of the series suffice,
/// in a quarter of the time of the general function.
pub(super) fn exp_of_minus(x: f64) -> f64 {
    if x < 1.0 / 64.0 { 1.0 - x * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0))) } else { (-x).exp() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn short_series_is_the_exponential_function(x in 0.0..0.02) {
            prop_assert!((exp_of_minus(x) - (-x).exp()).abs() < 1e-11);
        }
    }

    const SECOND_US: i64 = 1_000_000;
    const DECAY: Decay = Decay { time_constant_us: 300e6, weight_min: 50.0, floor: 0.01 };

    /// The average after one deviation of 1.0 a second, for 10 time constants.
    fn settled() -> SlowDeviation {
        let mut slow = SlowDeviation::default();
        (0..3_000).for_each(|second| slow.add(second * SECOND_US, 1.0, &DECAY));
        slow
    }

    #[test]
    fn steady_deviation_is_the_average() {
        assert!((settled().mean() - 1.0).abs() < 1e-3, "{:?}", settled());
    }

    #[test]
    fn average_follows_within_the_time_constant() {
        let mut slow = settled();
        (3_000..3_300).for_each(|second| slow.add(second * SECOND_US, 0.0, &DECAY));
        assert!((slow.mean() - (-1.0_f64).exp()).abs() < 1e-2, "{slow:?}");
    }

    #[test]
    fn outlier_counts_as_a_small_multiple() {
        let mut slow = settled();
        slow.add(3_000 * SECOND_US, 1e9, &DECAY);
        assert!(slow.mean() < 1.02, "{slow:?}");
    }

    #[test]
    fn lasting_rise_gets_through_the_cap() {
        let mut slow = settled();
        (3_000..3_600).for_each(|second| slow.add(second * SECOND_US, 20.0, &DECAY));
        assert!(slow.mean() > 10.0, "{slow:?}");
    }

    #[test]
    fn pause_does_not_leave_one_deviation_alone() {
        let mut slow = settled();
        slow.add(100_000 * SECOND_US, 0.0, &DECAY);
        assert!(slow.mean() > 0.95, "{slow:?}");
    }

    #[test]
    fn time_stands_still_for_late_ticks_and_goes_on_after_one_from_the_future() {
        let mut late = settled();
        late.add(0, 1.0, &DECAY);
        assert!(late.weight > settled().weight, "{late:?}");
        let mut future = settled();
        future.add(i64::MAX, 1.0, &DECAY);
        (3_000..6_000).for_each(|second| future.add(second * SECOND_US, 0.0, &DECAY));
        assert!(future.mean() < 1e-3, "{future:?}");
    }
}
