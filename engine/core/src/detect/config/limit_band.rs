//! The settings of the limit band detector.
//!
//! It does *not* own how the detector uses them.

use serde::{Deserialize, Serialize};

use super::{DetectConfigError, PATTERNS_MAX, POSITIVE, is_positive, within};

/// The limit band detector: a price is beyond the band if it lies further from the mean of five minutes than the tier
/// of that mean allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitBandConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// How far prices may go, for each range of prices.
    pub tiers: Vec<Tier>,
}

/// One tier of limit bands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The lowest price, in the symbol's quote currency.
    pub from: f64,
    /// How far prices may go, in percent, both ways.
    pub percent: f64,
}

impl Default for LimitBandConfig {
    /// The percentages of the "limit up, limit down" plan for its first tier of shares.
    fn default() -> Self {
        let tier = |(from, percent)| Tier { from, percent };
        Self { enabled: true, tiers: [(3.0, 5.0), (0.75, 20.0), (0.0, 75.0)].map(tier).to_vec() }
    }
}

impl LimitBandConfig {
    /// The half width at `price`, as a fraction of it.
    pub(in super::super) fn width_at(&self, price: f64) -> f64 {
        let tiers = self.tiers.iter().filter(|tier| tier.from <= price);
        tiers.max_by(|a, b| a.from.total_cmp(&b.from)).map_or(f64::INFINITY, |tier| tier.percent / 100.0)
    }

    pub(super) fn validate(&self) -> Result<(), DetectConfigError> {
        let tiers = self.tiers.len();
        within(
            (1..=PATTERNS_MAX).contains(&tiers),
            "limit_band.tiers",
            &tiers,
            &format!("from 1 to {PATTERNS_MAX} tiers"),
        )?;
        for (index, tier) in self.tiers.iter().enumerate() {
            let setting = |name: &str| format!("limit_band.tiers[{index}].{name}");
            let bound = "a finite number, not negative";
            within(tier.from >= 0.0 && tier.from.is_finite(), &setting("from"), &tier.from, bound)?;
            within(is_positive(tier.percent), &setting("percent"), &tier.percent, POSITIVE)?;
        }
        Ok(())
    }
}
