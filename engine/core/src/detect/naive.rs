//! The naive twins: the same results in the plainest way. Property tests compare the detectors with them.

use super::config::SpikeConfig;
use super::deviation::exp_of_minus;
use super::spike::MAD_TO_DEVIATION;

/// The middle of the sorted numbers. For an even number, half-way between the inner two.
pub(super) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// The median distance from the median.
pub(super) fn mad(numbers: &[f64]) -> f64 {
    let center = median(numbers);
    median(&numbers.iter().map(|number| (number - center).abs()).collect::<Vec<_>>())
}

/// The spike detector for a known tick size. It keeps all prices, and computes all three scales for each of them.
pub(super) struct NaiveSpike {
    config: SpikeConfig,
    prices: Vec<f64>,
    slow: f64,
    weight: f64,
    last_us: i64,
}

impl NaiveSpike {
    pub(super) fn new(config: &SpikeConfig) -> Self {
        Self { config: config.clone(), prices: Vec::new(), slow: 0.0, weight: 0.0, last_us: 0 }
    }

    /// Median, scale and whether it is a spike, for one tick. `None` while the window is not full.
    pub(super) fn observe(&mut self, ts_us: i64, price: f64) -> Option<(f64, f64, bool)> {
        let config = &self.config;
        let tick_size = config.tick_size.unwrap();
        let window = &self.prices[self.prices.len().saturating_sub(config.window)..];
        let mut judged = None;
        if !window.is_empty() {
            let center = median(window);
            let deviation = (price - center).abs();
            if window.len() == config.window {
                let scale = (MAD_TO_DEVIATION * mad(window)).max(self.slow).max(tick_size);
                judged = Some((center, scale, deviation >= (config.threshold * scale).max(config.least * center)));
            }
            let elapsed_us = if ts_us > self.last_us { (ts_us - self.last_us) as f64 } else { 0.0 };
            let kept = self.weight * exp_of_minus(elapsed_us / (config.slow.as_secs_f64() * 1e6));
            let least = self.weight.min(config.window as f64);
            self.weight = if kept < least { least } else { kept } + 1.0;
            let most = 4.0 * if self.slow > tick_size { self.slow } else { tick_size };
            self.slow += (if deviation > most { most } else { deviation } - self.slow) / self.weight;
            self.last_us = ts_us;
        }
        self.prices.push(price);
        judged
    }
}

/// Whether the pattern matches. It tries every start of the text for a star.
pub(super) fn pattern_matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(rest) => (0..=text.len()).any(|skipped| pattern_matches(rest, &text[skipped..])),
        None => match (pattern.chars().next(), text.chars().next()) {
            (None, None) => true,
            (Some(a), Some(b)) => a == b && pattern_matches(&pattern[1..], &text[1..]),
            _ => false,
        },
    }
}
