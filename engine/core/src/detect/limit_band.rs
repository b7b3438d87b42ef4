//! The limit band detector: prices that leave a band around their mean of five minutes.
//!
//! This file owns the reference price and the band. It does *not* own how long an event lasts.

use super::config::LimitBandConfig;

/// Panes of a block, and blocks of a mean: ten times half a minute.
const BLOCK_PANES: u8 = 6;
const BLOCKS: usize = 10;

/// A mean that is closer to the reference price than this fraction of it does not replace it.
const MOVED: f64 = 0.01;

/// With a mean above this, prices are not judged. No real one is as high, and single precision products are finite.
const PRICE_MAX: f64 = 1e15;

/// Judges prices as the plan against extraordinary volatility does ("limit up, limit down": National Market System Plan
/// to Address Extraordinary Market Volatility, SEC release 34-67091, section V(A) and appendix A):
///
/// ```text
/// |price / reference - 1| > percentage of the reference's tier
/// ```
///
/// The reference is the mean price of the trades of five minutes. Every half minute, a new mean replaces it if it is a
/// percent or more away. Unlike in the plan, a price beyond the band counts in the mean as the band's edge. So the band
/// follows a market that stays there, as it would after a pause. The judged price is the middle one of the last three,
/// for a bad print moves no market. The plan knows sessions and listings, this does not: the plan doubles the band at
/// the open and at the close, and has wider bands for shares outside the large indices.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LimitBand {
    /// 0 as long as no reference is known.
    reference: f32,
    /// The band's half width, as a fraction.
    width: f32,
    /// Of the open block: the sum of the distances of prices from the reference, as fractions of it, and their number.
    off: f32,
    ticks: u16,
    panes: u8,
}

/// The part of it that is seldom read: the closed blocks, each with its mean and the number of its prices.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Blocks {
    blocks: [(f32, u16); BLOCKS],
    at: u8,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    /// The edge that the price is beyond, and how far that edge lies from the reference.
    pub(super) edge: f64,
    pub(super) half_width: f64,
    /// In half widths.
    pub(super) score: f64,
}

impl LimitBand {
    /// A pane was closed, with `price` at its end.
    pub(super) fn closed(&mut self, price: f64, blocks: &mut Blocks, config: &LimitBandConfig) {
        self.panes += 1;
        if self.panes < BLOCK_PANES {
            return;
        }
        let reference = f64::from(self.reference);
        if self.ticks > 0 {
            let mean =
                if reference > 0.0 { reference * (1.0 + f64::from(self.off / f32::from(self.ticks))) } else { price };
            blocks.blocks[usize::from(blocks.at)] = (mean as f32, self.ticks);
        } else {
            blocks.blocks[usize::from(blocks.at)] = (0.0, 0);
        }
        blocks.at = (blocks.at + 1) % BLOCKS as u8;
        (self.off, self.ticks, self.panes) = (0.0, 0, 0);
        let (sum, ticks) = blocks.blocks.iter().fold((0.0, 0.0), |(sum, ticks), &(mean, count)| {
            (sum + f64::from(mean) * f64::from(count), ticks + f64::from(count))
        });
        let mean = if ticks > 0.0 { sum / ticks } else { reference };
        if (mean - reference).abs() >= MOVED * reference {
            // No real price is as high, so no reference is known.
            self.reference = if mean <= PRICE_MAX { mean as f32 } else { 0.0 };
            self.width = config.width_at(mean) as f32;
        }
    }

    /// `panes` panes without a tick were closed.
    pub(super) fn skipped(&mut self, panes: u32, price: f64, blocks: &mut Blocks, config: &LimitBandConfig) {
        if panes >= u32::from(BLOCK_PANES) * BLOCKS as u32 {
            // No block is left to take a mean of, so the reference stays.
            (*blocks, self.off, self.ticks, self.panes) = Default::default();
        } else {
            (0..panes).for_each(|_| self.closed(price, blocks, config));
        }
    }

    /// Judges the next price.
    pub(super) fn judge(&mut self, price: f64) -> Option<Found> {
        if self.reference <= 0.0 {
            self.ticks = self.ticks.saturating_add(1);
            return None;
        }
        let off = (price.min(f64::from(f32::MAX)) as f32 / self.reference - 1.0).min(f32::MAX);
        if self.ticks < u16::MAX {
            self.ticks += 1;
            self.off += off.clamp(-self.width, self.width);
        }
        if off.abs() <= self.width {
            return None;
        }
        let (reference, width) = (f64::from(self.reference), f64::from(self.width));
        let half_width = reference * width;
        Some(Found {
            edge: reference + half_width.copysign(f64::from(off)),
            half_width,
            score: f64::from(off).abs() / width,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn config() -> LimitBandConfig {
        LimitBandConfig::default()
    }

    /// What is found in these prices, ten in each pane.
    fn found(prices: impl IntoIterator<Item = f64>) -> Vec<(usize, Found)> {
        let (mut band, mut blocks) = (LimitBand::default(), Blocks::default());
        let mut all = Vec::new();
        for (at, price) in prices.into_iter().enumerate() {
            all.extend(band.judge(price).map(|found| (at, found)));
            if at % 10 == 9 {
                band.closed(price, &mut blocks, &config());
            }
        }
        all
    }

    #[test]
    fn price_beyond_the_band_is_found_once_there_is_a_reference() {
        assert_eq!(found([100.0, 200.0]), []);
        let all = found([100.0; 60].into_iter().chain([104.9, 105.1, 94.8]));
        let [(61, up), (62, down)] = all[..] else { panic!("{all:?}") };
        assert!((up.edge - 105.0).abs() < 1e-4 && (down.edge - 95.0).abs() < 1e-4 && up.score > 1.0, "{all:?}");
    }

    #[test]
    fn band_is_wider_for_cheap_prices_and_follows_slowly_a_market_that_stays_away() {
        assert_eq!(found([2.0; 60].into_iter().chain([2.39])), []);
        assert_eq!(found([2.0; 60].into_iter().chain([2.41])).len(), 1);
        let all = found([100.0; 600].into_iter().chain(std::iter::repeat_n(112.0, 3_000)));
        assert!((300..1_200).contains(&all.len()), "{}", all.len());
        assert_eq!(found((0..3_000).map(|at| 100.0 + f64::from(at) * 0.01)), [], "a market that walks");
    }

    proptest! {
        /// The twin keeps all prices of the last ten blocks.
        #[test]
        fn reference_is_the_mean_of_five_minutes_as_of_its_last_change(prices in vec(90.0..110.0_f64, 60..1_500)) {
            let (mut band, mut blocks) = (LimitBand::default(), Blocks::default());
            let (mut naive, mut reference, mut width) = (Vec::<f64>::new(), 0.0, 0.0);
            for (at, &price) in prices.iter().enumerate() {
                let found = band.judge(price).is_some();
                let off = (price / reference - 1.0).abs();
                prop_assert!(reference == 0.0 || (off - width).abs() < 1e-4 || found == (off > width), "{} {} {}", price, reference, off);
                naive.push(if reference == 0.0 { price } else { price.clamp(reference * (1.0 - width), reference * (1.0 + width)) });
                if at % 10 == 9 {
                    band.closed(price, &mut blocks, &config());
                }
                if at % 60 == 59 {
                    if reference == 0.0 {
                        naive.fill(price);
                    }
                    let last = &naive[naive.len().saturating_sub(600)..];
                    let mean = last.iter().sum::<f64>() / last.len() as f64;
                    let moved = (mean / reference - 1.0).abs();
                    prop_assume!((moved - 0.01).abs() > 1e-4);
                    if moved >= 0.01 {
                        (reference, width) = (mean, 0.05);
                    }
                    prop_assert!((f64::from(band.reference) / reference - 1.0).abs() < 1e-5, "{} {}", band.reference, reference);
                }
            }
        }
    }
}
