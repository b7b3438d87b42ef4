//! The spike detector: a price far from the median of the recent ones.
//!
//! This file owns the formula, the scale and the warm-up. It does *not* own how often an anomaly may become an alert.

use super::anomaly::{Anomaly, Detector, Window};
use super::config::SpikeConfig;
use super::deviation::{Decay, SlowDeviation};
use super::median::{MedianWindow, MedianWindows, Ring};
use super::tick_size::TickSize;
use crate::alert::{Direction, Severity};

/// Turns the MAD of normally distributed prices into their standard deviation: 1 / Φ⁻¹(3/4).
pub(super) const MAD_TO_DEVIATION: f64 = 1.4826;

/// Judges a price by its distance from the median of the previous prices, a variant of the Hampel identifier (F. R.
/// Hampel, "The influence curve and its role in robust estimation", 1974):
///
/// ```text
/// score = |price - median| / max(1.4826 MAD, slow average deviation, tick size)        far: score >= threshold
/// ```
///
/// The prices that follow decide whether a far price is a spike or a new level ([`Suspect`](super::suspect::Suspect)).
/// A price closer than `least`, a fraction of the median, is never far: six cents are much for a price that usually
/// moves by one, but nothing at 168 dollars.
///
/// Median and MAD are those of the last `window` prices *before* the judged one joins them, so an outlier does not hide
/// itself. Both withstand anything that less than half of the prices do, so a few bad prints in a row hide nothing that
/// follows. For prices that are rounded to a tick, the MAD is often zero. So the scale is at least the tick size and
/// the average deviation over minutes.
///
/// Afterwards, every price joins the window, also one that is late or an anomaly. So a price that stays where it jumped
/// to is the median after half a window. Nothing is judged before the window is full.
#[derive(Debug)]
pub(super) struct Spike {
    threshold: f64,
    least: f64,
    /// Without its floor, which is the tick size.
    decay: Decay,
    /// As configured. If it is `None`, it is learnt.
    tick_size: Option<f64>,
}

/// What the detector knows of one symbol, besides its window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SpikeState {
    slow: SlowDeviation,
    pub(super) ring: Ring,
    tick_size: TickSize,
}

/// How prices of one symbol are judged now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Band {
    /// The median of the last prices.
    pub(super) expected: f64,
    /// A price at least this far from the median is far.
    pub(super) reach: f64,
}

impl Spike {
    /// The detector of `config`, unless `config` switches it off.
    pub(super) fn new(config: &SpikeConfig) -> Option<Self> {
        let SpikeConfig { enabled, window, threshold, least, tick_size, slow } = *config;
        let decay = Decay { time_constant_us: slow.as_secs_f64() * 1e6, weight_min: window as f64, floor: 0.0 };
        enabled.then_some(Self { threshold, least, decay, tick_size })
    }

    /// Judges a tick of the symbol in `slot`, and then adds it to what is known.
    pub(super) fn observe(
        &self,
        windows: &mut MedianWindows,
        slot: usize,
        state: &mut SpikeState,
        (ts_us, price): (i64, f64),
    ) -> Option<Anomaly> {
        let SpikeState { slow, ring, tick_size } = state;
        let mut window = windows.get(slot, ring);
        let floor = self.tick_size.unwrap_or_else(|| tick_size.get());
        let mut anomaly = None;
        if let Some(median) = window.median() {
            if window.is_full() {
                anomaly = self.judge(&window, slow, floor, median, price);
            }
            slow.add(ts_us, (price - median).abs(), &Decay { floor, ..self.decay });
        }
        window.push(price);
        if window.is_at_start() && window.is_full() {
            tick_size.filled(window.prices());
        }
        anomaly
    }
    /// How a symbol's prices are judged, once its window is full.
    pub(super) fn band(&self, window: &MedianWindow<'_>, state: &SpikeState) -> Option<Band> {
        let expected = window.median().filter(|_| window.is_full())?;
        let floor = self.tick_size.unwrap_or_else(|| state.tick_size.get());
        let scale = state.slow.mean().max(floor).max(MAD_TO_DEVIATION * window.median_distance(expected)?);
        Some(Band { expected, reach: (self.threshold * scale).max(self.least * expected) })
    }

    /// Nearly every price is judged without the MAD, which costs the most: the scale is never less than the other two.
    fn judge(
        &self,
        window: &MedianWindow<'_>,
        slow: &SlowDeviation,
        tick_size: f64,
        median: f64,
        price: f64,
    ) -> Option<Anomaly> {
        let (threshold, least) = (self.threshold, self.least * median);
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
            window: Window::Ticks(window.prices().len()),
            detector: Detector::Spike,
        })
    }
}
