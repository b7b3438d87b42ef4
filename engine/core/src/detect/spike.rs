//! The spike detector: a price far from the median of the recent ones.
//!
//! This file owns the formula, the scale and the warm-up. It does *not* own how often an anomaly may become an alert.

use std::time::Duration;

use super::anomaly::{Anomaly, Detector};
use super::config::SpikeConfig;
use super::deviation::{Decay, SlowDeviation};
use super::median::{MedianWindow, MedianWindows, Ring};
use crate::alert::{Direction, Severity};

/// Makes the MAD of normally distributed prices their standard deviation: 1 / Φ⁻¹(3/4).
pub(super) const MAD_TO_DEVIATION: f64 = 1.4826;

/// Judges a price by its distance from the median of the previous prices, a variant of the Hampel identifier (F. R.
/// Hampel, "The influence curve and its role in robust estimation", 1974):
///
/// ```text
/// score = |price - median| / max(1.4826 MAD, slow average deviation, tick size)        spike: score >= threshold
/// ```
///
/// and no spike is a distance of less than `least`, a fraction of the median: six cents are much for a price that usually moves by one, but
/// nothing at 168 dollars.
///
/// Median and MAD are those of the last `window` prices *before* the judged one joins them: an outlier does not hide
/// itself, and as both withstand anything that less than half of the prices do, a few bad prints in a row hide nothing
/// that follows. The MAD alone fails on prices that are rounded to a tick, where it is often zero; the tick size and the
/// average deviation over minutes stand below it.
///
/// Every price joins the window afterwards, anomalous or not and late or not: a price that stays where it jumped to is
/// the median after half a window. Nothing is judged before the window is full.
#[derive(Debug)]
pub(super) struct Spike {
    threshold: f64,
    least: f64,
    decay: Decay,
    /// Of all symbols, by their slots.
    windows: MedianWindows,
}

/// What the detector knows of one symbol, beside its window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SpikeState {
    slow: SlowDeviation,
    ring: Ring,
}

impl Spike {
    /// The detector of `config`, unless that switches it off.
    pub(super) fn new(config: &SpikeConfig) -> Option<Self> {
        let decay = Decay {
            time_constant_us: config.slow.as_secs_f64() * Duration::from_secs(1).as_micros() as f64,
            weight_min: config.window as f64,
            floor: config.tick_size,
        };
        let windows = MedianWindows::new(config.window);
        config.enabled.then_some(Self { threshold: config.threshold, least: config.least, decay, windows })
    }

    /// Bytes of a symbol's window.
    pub(super) fn window_bytes(&self) -> usize {
        self.windows.window_bytes()
    }

    /// The state of a symbol of which nothing is known, and which has `slot` from now on.
    pub(super) fn watch(&mut self, slot: usize) -> SpikeState {
        self.windows.clear(slot);
        SpikeState::default()
    }

    /// Judges a tick of the symbol in `slot`, and then lets it join what is known.
    pub(super) fn observe(&mut self, slot: usize, state: &mut SpikeState, ts_us: i64, price: f64) -> Option<Anomaly> {
        let mut window = self.windows.get(slot, &mut state.ring);
        let mut anomaly = None;
        if let Some(median) = window.median() {
            if window.is_full() {
                let least = self.least * median;
                anomaly = judge(&window, &state.slow, (self.threshold, self.decay.floor, least), median, price);
            }
            state.slow.add(ts_us, (price - median).abs(), &self.decay);
        }
        window.push(price);
        anomaly
    }
}

/// The MAD, which costs most, is left out for nearly every price: the scale is never less than the other two.
fn judge(
    window: &MedianWindow<'_>,
    slow: &SlowDeviation,
    (threshold, tick_size, least): (f64, f64, f64),
    median: f64,
    price: f64,
) -> Option<Anomaly> {
    let distance = (price - median).abs();
    let at_least = slow.mean().max(tick_size);
    if distance < (threshold * at_least).max(least) {
        return None;
    }
    let scale = at_least.max(MAD_TO_DEVIATION * window.median_distance(median)?);
    if distance < threshold * scale {
        return None;
    }
    Some(Anomaly {
        severity: Severity::of_score(distance / scale, threshold),
        direction: if price > median { Direction::Up } else { Direction::Down },
        observed: price,
        expected: median,
        score: distance / scale,
        scale,
        threshold,
        detector: Detector::Spike,
    })
}
