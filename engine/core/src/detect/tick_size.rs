//! The tick size: the smallest step of a symbol's prices, learnt from them.
//!
//! It is a power of ten, as quotes are decimal. This file owns how it is learnt. It does *not* own what it is for.

use super::median::WINDOW_MAX;

/// The decimals that are assumed for a new symbol: hundredths.
const DECIMALS: u8 = 2;

/// The most decimals. No price needs more.
const DECIMALS_MAX: u8 = 8;

/// So many different prices must have fewer decimals before a larger step is assumed.
const DIFFERENT_MIN: usize = 10;

/// The first `FIRST` windows of prices are looked at, and after them one window in `EVERY`.
const FIRST: u8 = 4;
const EVERY: u8 = 16;

/// What is known of a symbol's tick size.
#[derive(Debug, Clone, Copy)]
pub(super) struct TickSize {
    decimals: u8,
    windows: u8,
}

impl Default for TickSize {
    fn default() -> Self {
        Self { decimals: DECIMALS, windows: 0 }
    }
}

impl TickSize {
    /// The smallest step.
    pub(super) fn get(self) -> f64 {
        const POWERS: [f64; DECIMALS_MAX as usize + 1] = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8];
        POWERS[usize::from(self.decimals)]
    }

    /// A window was filled with new prices.
    ///
    /// The step is smaller than assumed if more than half of them need more decimals. A few may need more, for some
    /// trades are printed at averages and between steps. It is larger if none of many different prices needs as many.
    pub(super) fn filled(&mut self, prices: &[f64]) {
        self.windows = if self.windows == FIRST + EVERY - 1 { FIRST } else { self.windows + 1 };
        if self.windows <= FIRST {
            self.learn(prices);
        }
    }

    #[cold]
    fn learn(&mut self, prices: &[f64]) {
        // How many prices need this many decimals, by decimals.
        let mut counts = [0; DECIMALS_MAX as usize + 1];
        for &price in prices {
            counts[usize::from(decimals(price))] += 1;
        }
        let at_most = |decimals: &u8| counts[..=usize::from(*decimals)].iter().sum::<usize>();
        let median = (0..DECIMALS_MAX).find(|decimals| at_most(decimals) * 2 > prices.len()).unwrap_or(DECIMALS_MAX);
        let most = (0..DECIMALS_MAX).find(|decimals| at_most(decimals) == prices.len()).unwrap_or(DECIMALS_MAX);
        if median > self.decimals {
            self.decimals = median;
        } else if most < self.decimals {
            let mut sorted = [0.0; WINDOW_MAX];
            let sorted = &mut sorted[..prices.len()];
            sorted.copy_from_slice(prices);
            sorted.sort_unstable_by(f64::total_cmp);
            if sorted.chunk_by(|a, b| a == b).count() >= DIFFERENT_MIN {
                self.decimals = most;
            }
        }
    }
}

/// How many decimals a price has, as it was written.
fn decimals(price: f64) -> u8 {
    let is_whole = |decimals: &u8| {
        let scaled = price * 10_f64.powi(i32::from(*decimals));
        // Reading and multiplying have each rounded it to a double.
        (scaled - scaled.round()).abs() <= scaled * 1e-15 + 1e-9
    };
    (0..DECIMALS_MAX).find(is_whole).unwrap_or(DECIMALS_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The twin counts the digits of the text.
        #[test]
        fn decimals_are_those_that_were_written(whole in 0_u32..200_000, digits in "[0-9]{0,8}") {
            let written = digits.trim_end_matches('0');
            let price: f64 = format!("{whole}.{digits}0").parse().unwrap();
            prop_assert_eq!(usize::from(decimals(price)), written.len());
        }
    }

    /// The tick size learnt from windows of 50 prices.
    fn learnt(windows: u32, price: impl Fn(u32) -> f64) -> f64 {
        let mut size = TickSize::default();
        for window in 0..windows {
            size.filled(&(0..50).map(|at| price(window * 50 + at)).collect::<Vec<_>>());
        }
        size.get()
    }

    #[test]
    fn step_is_that_of_most_prices() {
        let coin = |at| f64::from(8_000 + at * 7 % 13) / 1e5;
        assert_eq!(learnt(1, coin), 1e-5);
        let cents = |at| f64::from(10_000 + at * 7 % 13) / 100.0;
        assert_eq!(learnt(1, cents), 0.01);
        let averages = |at| if at % 3 == 0 { cents(at) + 0.001_7 } else { cents(at) };
        assert_eq!(learnt(20, averages), 0.01);
        assert_eq!(learnt(1, |at| f64::from(50_000_000 + at * 7 % 13 * 1_000)), 1.0);
    }

    #[test]
    fn flat_price_says_nothing_and_what_changes_later_is_noticed() {
        assert_eq!(learnt(100, |_| 100.0), 0.01);
        let later = |at| f64::from(10_000 + at * 7 % 13) / if at < 1_000 { 1.0 } else { 1e3 };
        assert_eq!(learnt(20, later), 1.0);
        assert_eq!(learnt(40, later), 1e-3);
    }
}
