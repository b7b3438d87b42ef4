//! The move detector: a price that went far within a minute.
//!
//! This file owns the formula. It does *not* own the panes.

use super::baseline::Baseline;
use super::panes::{MINUTE, Panes};

/// Panes over which the usual fades: half an hour.
const FADES: f64 = 360.0;
const USUAL_MIN: f64 = 60.0;

/// A return counts as at most this multiple of the usual one, so that a jump hardly raises the usual.
const CAP: f64 = 3.0;

/// No return counts as more than this. Otherwise a wrong first price would set the usual for hours.
const RETURN_MAX: f64 = 0.1;

/// Compares the price with that of a minute ago, both at the end of a pane:
///
/// ```text
/// score = |price / price a minute ago - 1| / max(deviation of such returns, least / threshold)
/// move: score >= threshold
/// ```
///
/// The deviation is the root of the mean square of the returns over the minutes that ended with each pane, winsorised.
/// Prices that bounce between bid and ask go nowhere in a minute, however far they go in seconds. `least` is the
/// smallest return that is worth an alert, however little is usual.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Movement {
    /// The usual returns over a minute, as deviations from zero.
    usual: Baseline,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub(super) price: f64,
    pub(super) before: f64,
    /// In the units of the price.
    pub(super) scale: f64,
}

#[cfg(test)]
impl Movement {
    pub(super) fn usual(&self) -> &Baseline {
        &self.usual
    }
}

impl Movement {
    /// `panes` panes without a tick were closed, after a minute of such panes. So prices went nowhere.
    pub(super) fn skipped(&mut self, panes: u32, panes_have_a_price: bool) {
        let left = (1.0 - 1.0 / FADES).powi(panes as i32);
        self.usual.fade(left);
        if panes_have_a_price {
            self.usual.add((1.0 - left) * FADES, 0.0, 0.0);
        }
    }

    /// A pane was closed: judges the minute that ends with it.
    pub(super) fn closed(&mut self, panes: &Panes, least: f64, threshold: f64) -> Option<Found> {
        self.usual.fade(1.0 - 1.0 / FADES);
        let (price, before) = (panes.back(1).price, panes.back(MINUTE).price);
        if before <= 0.0 {
            return None;
        }
        let (gone, is_known) = ((price / before - 1.0).abs(), self.usual.weight() >= USUAL_MIN);
        let bounded = gone.min(RETURN_MAX);
        let least = least / threshold;
        let usual = self.usual.variance(0.0, 0.0).sqrt();
        let counts = if is_known { bounded.min(CAP * usual.max(least)) } else { bounded };
        self.usual.add(1.0, 0.0, counts * counts);
        let scale = usual.max(least);
        (is_known && gone >= threshold * scale).then_some(Found { price, before, scale: scale * before })
    }
}
