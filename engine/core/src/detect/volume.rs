//! The volume detector: trades that are much larger than usual, for half a minute.
//!
//! This file owns the formula. It does *not* own the panes.

use super::baseline::Baseline;
use super::panes::{Pane, Panes};

/// Panes of the window, the open one included: half a minute.
pub(super) const WINDOW: usize = 6;

/// Panes over which the usual fades: half an hour.
pub(super) const FADES: f64 = 360.0;

/// The least ticks in the window, and the least weight of the baseline, before the window is judged.
const TICKS_MIN: u32 = 5;
const USUAL_MIN: f64 = 100.0;

/// The least variance of logarithms that is assumed. If all trades are of one lot, two lots are nothing unusual.
const VARIANCE_MIN: f64 = 0.1;

/// Compares the mean logarithm of the volumes of the last half minute with the usual mean and deviation:
///
/// ```text
/// score = (mean ln volume of the window - usual mean) / usual deviation                  burst: score >= threshold
/// ```
///
/// It uses logarithms so that one block trade among many small ones is no burst. The usual is an average over half an
/// hour ([`Baseline`]) of the panes that have left the window. So a burst does not raise its own baseline.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Volume {
    usual: Baseline,
    /// The sums of the window without its open pane.
    ticks: u32,
    log_volumes: f32,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub(super) score: f64,
    pub(super) observed: f64,
    pub(super) expected: f64,
    pub(super) scale: f64,
}

#[cfg(test)]
impl Volume {
    pub(super) fn usual(&self) -> &Baseline {
        &self.usual
    }
}

impl Volume {
    /// A pane was closed: the oldest of the window leaves it.
    pub(super) fn closed(&mut self, panes: &Panes) {
        self.usual.fade(1.0 - 1.0 / FADES);
        let Pane { volumes: ticks, log_volumes, log_volumes_squared, .. } = *panes.back(WINDOW);
        if ticks > 0 {
            let (count, sum) = (f64::from(ticks), f64::from(log_volumes));
            self.usual.add(count, sum / count, f64::from(log_volumes_squared) - sum * sum / count);
        }
        self.resum(panes);
    }

    /// `panes` panes without a tick were closed, after a whole window of such panes.
    pub(super) fn skipped(&mut self, panes: u32) {
        self.usual.fade((1.0 - 1.0 / FADES).powi(panes as i32));
    }

    /// Adds up the window again, after a pane was closed or a late tick has changed one.
    pub(super) fn resum(&mut self, panes: &Panes) {
        if panes.ticked(WINDOW - 1) == 0 {
            (self.ticks, self.log_volumes) = (0, 0.0);
            return;
        }
        let closed = (1..WINDOW).map(|back| panes.back(back));
        (self.ticks, self.log_volumes) =
            closed.fold((0, 0.0), |(ticks, sum), pane| (ticks + u32::from(pane.volumes), sum + pane.log_volumes));
    }

    /// Judges the window with its open pane. `rise` returns by how much more than the usual is expected at this time of
    /// day. It is called only if needed.
    pub(super) fn judge(&self, panes: &Panes, threshold: f64, rise: impl FnOnce() -> f64) -> Option<Found> {
        let open = panes.back(0);
        let ticks = self.ticks + u32::from(open.volumes);
        if ticks < TICKS_MIN || self.usual.weight() < USUAL_MIN {
            return None;
        }
        let mean = f64::from(self.log_volumes + open.log_volumes) / f64::from(ticks);
        let excess = mean - self.usual.mean();
        // Nearly every tick returns here, before the root is taken.
        let variance = self.usual.variance(0.0, 0.0).max(VARIANCE_MIN);
        if excess < 0.0 || excess * excess < threshold * threshold * variance {
            return None;
        }
        let (scale, expected) = (variance.sqrt(), self.usual.mean() + rise());
        let score = (mean - expected) / scale;
        (score >= threshold).then(|| Found { score, observed: mean.exp(), expected: expected.exp(), scale })
    }
}
