//! The grid that planted prices lie on.

/// The smallest difference between two prices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriceStep {
    step: f64,
    /// Steps per unit, if that is a whole number. To divide by it gives the double nearest to the decimal. To multiply
    /// by 0.01 does not.
    per_unit: Option<f64>,
}

impl PriceStep {
    /// 0.01.
    pub const CENT: Self = Self { step: 0.01, per_unit: Some(100.0) };

    /// A step in the quote currency. `None` if it is not above zero or not finite.
    #[must_use]
    pub fn new(step: f64) -> Option<Self> {
        if !(step.is_finite() && step > 0.0) {
            return None;
        }
        let per_unit = (1.0 / step).round();
        let is_whole = per_unit >= 1.0 && (1.0 / step - per_unit).abs() < 1e-6 * per_unit;
        Some(Self { step, per_unit: is_whole.then_some(per_unit) })
    }

    /// The multiple of the step that is nearest to `price`.
    pub(super) fn round(self, price: f64) -> f64 {
        self.multiple((price / self.step).round())
    }

    /// Whether two prices are a step or more apart.
    pub(super) fn tells_apart(self, a: f64, b: f64) -> bool {
        // A little less than a step, because both prices are rounded to a double.
        (a - b).abs() >= self.step * (1.0 - 1e-6)
    }

    /// `price` times `factor`, on the grid. It is at least a step away from `price`, in the direction of the factor.
    /// `None` if that is not above zero.
    pub(super) fn scaled(self, price: f64, factor: f64) -> Option<f64> {
        let mut scaled = self.round(price * factor);
        if !self.tells_apart(price, scaled) {
            // Because of the small tolerance, a price on the grid moves by one step and not by two.
            let steps = price / self.step;
            scaled =
                self.multiple(if factor > 1.0 { (steps + 1.0 - 1e-6).ceil() } else { (steps - 1.0 + 1e-6).floor() });
        }
        (scaled > 0.0).then_some(scaled)
    }

    fn multiple(self, steps: f64) -> f64 {
        self.per_unit.map_or(steps * self.step, |per_unit| steps / per_unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_prices_are_the_doubles_nearest_to_their_decimals() {
        for cents in 1..20_000 {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            let exact: f64 = text.parse().unwrap();
            assert_eq!(PriceStep::CENT.round(exact + 0.003), exact, "{text}");
        }
        assert_eq!(PriceStep::new(0.01), Some(PriceStep::CENT));
        assert_eq!(PriceStep::new(0.25).unwrap().round(10.3), 10.25);
        assert_eq!(PriceStep::new(5.0).unwrap().round(13.0), 15.0);
    }

    #[test]
    fn scaled_prices_are_at_least_one_step_away_and_above_zero() {
        let scaled = |price, factor| PriceStep::CENT.scaled(price, factor);
        assert_eq!(scaled(100.0, 1.002), Some(100.2));
        assert_eq!(scaled(1.0, 1.002), Some(1.01));
        assert_eq!(scaled(1.0, 0.998), Some(0.99));
        // These prices are not on the grid, and neither is the price one step away.
        assert_eq!(scaled(1.005, 1.002), Some(1.02));
        assert_eq!(scaled(1.005, 0.998), Some(0.99));
        assert_eq!(scaled(0.01, 0.998), None);
        assert_eq!(scaled(0.04, 0.1), None);
    }

    #[test]
    fn steps_that_are_no_steps_are_refused() {
        for step in [0.0, -0.01, f64::NAN, f64::INFINITY] {
            assert_eq!(PriceStep::new(step), None);
        }
    }
}
