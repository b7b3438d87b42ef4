//! The usual: the mean and the deviation of numbers over minutes. Later numbers count more.
//!
//! This file owns the average and how it forgets. It does *not* own the numbers that it averages.

/// An exponentially weighted mean and variance (T. Finch, "Incremental calculation of weighted mean and variance",
/// 2009). The weights are summed, so the first numbers are averaged like any others, and no start value is needed.
///
/// The squares only ever shrink by a factor, or grow by a number that is not negative. So the variance is never
/// negative, whatever came before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Baseline {
    weight: f32,
    mean: f32,
    /// The weighted squares of the distances from the mean.
    squares: f32,
}

impl Baseline {
    /// The mean so far, 0 before the first number.
    pub(super) fn mean(&self) -> f64 {
        f64::from(self.mean)
    }

    /// The sum of the weights of all numbers so far.
    pub(super) fn weight(&self) -> f64 {
        f64::from(self.weight)
    }

    /// The variance. A variance of `prior` is assumed, as if numbers of the weight `prior_weight` had shown it.
    pub(super) fn variance(&self, prior: f64, prior_weight: f64) -> f64 {
        (f64::from(self.squares) + prior * prior_weight) / (self.weight() + prior_weight)
    }

    /// Multiplies the weights of all numbers so far by `left`, from 0 to 1.
    pub(super) fn fade(&mut self, left: f64) {
        self.weight *= left as f32;
        self.squares *= left as f32;
    }

    /// Adds `weight` numbers whose mean is `mean` and whose squared distances from it add up to `squares`.
    pub(super) fn add(&mut self, weight: f64, mean: f64, squares: f64) {
        if weight <= 0.0 {
            return;
        }
        let before = self.weight();
        let all = before + weight;
        let distance = mean - self.mean();
        self.mean = (self.mean() + distance * weight / all) as f32;
        self.squares += (squares.max(0.0) + distance * distance * before * weight / all) as f32;
        self.weight = all as f32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The twin keeps every number with its weight.
        #[test]
        fn mean_and_variance_are_those_of_all_numbers_with_their_weights(
            groups in vec((vec(-50.0..50.0_f64, 1..5), 0.5..1.0_f64), 1..40),
        ) {
            let (mut baseline, mut all) = (Baseline::default(), Vec::<(f64, f64)>::new());
            for (numbers, left) in &groups {
                baseline.fade(*left);
                for (_, weight) in &mut all {
                    *weight *= left;
                }
                let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
                let squares = numbers.iter().map(|number| (number - mean).powi(2)).sum();
                baseline.add(numbers.len() as f64, mean, squares);
                all.extend(numbers.iter().map(|number| (*number, 1.0)));
            }
            let weight: f64 = all.iter().map(|(_, weight)| weight).sum();
            let mean = all.iter().map(|(number, weight)| number * weight).sum::<f64>() / weight;
            let squares: f64 = all.iter().map(|(number, weight)| (number - mean).powi(2) * weight).sum();
            prop_assert!((baseline.weight() - weight).abs() < 1e-3 * weight);
            prop_assert!((baseline.mean() - mean).abs() < 1e-3);
            prop_assert!((baseline.variance(0.0, 0.0) - squares / weight).abs() < 1e-3 * (1.0 + squares / weight));
        }
    }

    #[test]
    fn variance_is_never_negative_after_large_numbers_are_forgotten() {
        let mut baseline = Baseline::default();
        baseline.add(3.0, 1e9, 1e18);
        for _ in 0..2_000 {
            baseline.fade(0.9);
            baseline.add(1.0, 0.25, 0.0);
            assert!(baseline.variance(0.0, 0.0) >= 0.0);
        }
        assert!((baseline.mean() - 0.25).abs() < 1e-3 && baseline.variance(0.0, 0.0) < 1e-3, "{baseline:?}");
    }
}
