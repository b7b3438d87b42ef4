//! The volatility detector: prices that jump further than usual, for most of a minute.
//!
//! This file owns the formula. It does *not* own the panes.

use super::baseline::Baseline;
use super::panes::{MINUTE, Pane, Panes};
use super::volume::Found;

/// Panes over which the usual fades, and over which the usual excess fades: half an hour and an hour.
pub(super) const FADES: f64 = 360.0;
const SPREAD_FADES: f64 = 720.0;

/// The least panes with changes before the window is judged, and the least weight before the baseline is known.
const PANES_MIN: u32 = 4;
const USUAL_MIN: f64 = 60.0;

/// The variance of the excess that is assumed, as if ten minutes had shown it.
const SPREAD: f64 = 0.08;
const SPREAD_WEIGHT: f64 = 120.0;

/// No pane counts for more than this above the usual, which is a factor of 12. One bad print is no burst.
const PANE_MAX: f64 = 2.5;

/// Compares how far prices go when they change, over the twelve panes of a minute, with the usual:
///
/// ```text
/// y = ln(way / changes) of a pane                        excess = mean y of the window - usual mean of y
/// score = excess / usual deviation of the excess                                         burst: score >= threshold
/// ```
///
/// Only ticks that change the price count. Most do not, and how many do shows how busy the market is, not how wild. It
/// uses logarithms of panes so that one sweep through the book is no burst: most of the panes must be unusual. Symbols
/// differ more in how much volatility changes than in volatility itself. So the excess is judged by its own deviation
/// over an hour. Of fivefold bursts planted into real trades of US equities, the way per tick would find half as many.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Volatility {
    usual: Baseline,
    /// The excess, as deviations from zero.
    excess: Baseline,
}

#[cfg(test)]
impl Volatility {
    pub(super) fn usual(&self) -> [&Baseline; 2] {
        [&self.usual, &self.excess]
    }
}

impl Volatility {
    /// A pane was closed: judges the window that ends with it. `rise` returns by how much more than the usual is
    /// expected at this time of day. It is called only if needed.
    pub(super) fn closed(&mut self, panes: &Panes, threshold: f64, rise: impl FnOnce() -> f64) -> Option<Found> {
        let y = |pane: &Pane| (pane.changes > 0).then(|| (f64::from(pane.way) / f64::from(pane.changes)).ln());
        self.usual.fade(1.0 - 1.0 / FADES);
        self.excess.fade(1.0 - 1.0 / SPREAD_FADES);
        let most = if self.usual.weight() >= USUAL_MIN { self.usual.mean() + PANE_MAX } else { f64::INFINITY };
        // The window is read only if enough of its panes have ticks.
        let from = if panes.ticked(MINUTE) >= PANES_MIN { 1 } else { MINUTE + 1 };
        let window = (from..=MINUTE).filter_map(|back| y(panes.back(back)).map(|y| y.min(most)));
        let (count, sum) = window.fold((0_u32, 0.0), |(count, sum), y| (count + 1, sum + y));
        let mut found = None;
        if count >= PANES_MIN && self.usual.weight() >= USUAL_MIN {
            let mean = sum / f64::from(count);
            let excess = mean - self.usual.mean();
            let scale = self.excess.variance(SPREAD, SPREAD_WEIGHT).sqrt();
            if excess >= threshold * scale {
                let expected = self.usual.mean() + rise();
                let score = (mean - expected) / scale;
                let (observed, expected) = (mean.exp(), expected.exp());
                found = (score >= threshold).then_some(Found { score, observed, expected, scale });
            }
            // A burst counts only as the largest excess that is no burst.
            let bounded = excess.min(threshold * scale);
            self.excess.add(1.0, 0.0, bounded * bounded);
        }
        if let Some(y) = y(panes.back(MINUTE + 1)) {
            self.usual.add(1.0, y.min(most), 0.0);
        }
        found
    }

    /// `panes` panes without a tick were closed, after a whole window of such panes.
    pub(super) fn skipped(&mut self, panes: u32) {
        self.usual.fade((1.0 - 1.0 / FADES).powi(panes as i32));
        self.excess.fade((1.0 - 1.0 / SPREAD_FADES).powi(panes as i32));
    }
}
