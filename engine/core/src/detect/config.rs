//! The settings of the detectors: which of them run, how much is unusual, and how much they may remember.
//!
//! This file owns the settings and their validation. It does *not* own how they are used, or which of them hold for a
//! symbol (`overrides`).

mod limit_band;
mod overrides;

use std::time::Duration;

pub use limit_band::{LimitBandConfig, Tier};
pub use overrides::OverrideConfig;

use serde::{Deserialize, Serialize};

use super::median::WINDOW_MAX;

/// The most threshold rules. Each is compared with every new symbol, and every symbol may hold its lines.
const THRESHOLDS_MAX: usize = 1_000;

/// The most patterns of sale conditions, the most tiers, and the most overrides.
const PATTERNS_MAX: usize = 100;

/// The detectors and their bounds.
///
/// ```toml
/// [detect]
/// cool_down = "30s"
///
/// [detect.spike]
/// threshold = 6.0
///
/// [[detect.threshold]]
/// symbol = "AAPL"
/// above = 250.0
/// hysteresis = 0.5
///
/// [[detect.threshold]]
/// symbol = "BTC*"
/// below = 50000
///
/// [[detect.override]]
/// symbol = "*USDT"
/// spike.threshold = 8.0
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectConfig {
    /// An event is over when nothing was unusual for this long (event time). Until then, further anomalies belong to
    /// it. For a threshold, each line counts as a detector of its own.
    #[serde(with = "humantime_serde")]
    pub cool_down: Duration,
    /// The most symbols that are watched at a time. Beyond that, a new symbol is judged once another one gives way. A
    /// symbol may give way after a sixteenth of `idle_max` without a tick.
    pub symbols_max: usize,
    /// A symbol without a tick for this long (event time) is forgotten.
    #[serde(with = "humantime_serde")]
    pub idle_max: Duration,
    /// Patterns of sale conditions, in which `*` stands for any text. Ticks with such conditions are not judged, and
    /// the detectors learn nothing from them.
    pub skip_conditions: Vec<String>,
    /// Prices far from the recent ones.
    pub spike: SpikeConfig,
    /// Far prices that stay.
    pub level_shift: LevelShiftConfig,
    /// Prices that went far within a minute.
    pub r#move: MoveConfig,
    /// Prices that jump about more than usual.
    pub volatility: VolatilityConfig,
    /// Trades that are larger than usual.
    pub volume: VolumeConfig,
    /// Symbols that fall silent.
    pub gap: GapConfig,
    /// Prices beyond a band around their mean.
    pub limit_band: LimitBandConfig,
    /// Event times that cannot be right.
    pub clock: ClockConfig,
    /// Lines that prices cross.
    pub threshold: Vec<ThresholdConfig>,
    /// Other settings for some symbols. If several overrides match a symbol, all hold, and a later one wins over an
    /// earlier one.
    pub r#override: Vec<OverrideConfig>,
}

impl Default for DetectConfig {
    fn default() -> Self {
        Self {
            cool_down: Duration::from_secs(30),
            symbols_max: 16_384,
            // Symbols stay known over a long weekend.
            idle_max: Duration::from_hours(96),
            skip_conditions: Vec::new(),
            spike: SpikeConfig::default(),
            level_shift: LevelShiftConfig::default(),
            r#move: MoveConfig::default(),
            volatility: VolatilityConfig::default(),
            volume: VolumeConfig::default(),
            gap: GapConfig::default(),
            limit_band: LimitBandConfig::default(),
            clock: ClockConfig::default(),
            threshold: Vec::new(),
            r#override: Vec::new(),
        }
    }
}

/// The spike detector: a price is a spike if its distance from the median of the previous `window` prices is at least
/// `threshold` times the scale. The scale is the largest of their 1.4826 MAD, the slow average deviation, and the tick
/// size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpikeConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// How many previous prices a price is compared with. Nothing is judged before there are that many.
    pub window: usize,
    /// The score from which a price is a spike. With bad prints half a percent off, planted into real trades of US
    /// equities, 6 finds all of them and 8 finds four fifths. On the trades themselves, 8 avoids the alerts on some
    /// prices that lie 6 to 8 ticks away.
    pub threshold: f64,
    /// The smallest spike that is worth an alert, as a fraction of the price, however little is usual.
    pub least: f64,
    /// The smallest price step. The scale is never less. Prices rounded to it are often all equal, and then any other
    /// measure of their spread is zero. If it is not set, it is learnt from the prices' decimals: two at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tick_size: Option<f64>,
    /// The time constant (event time) of the slow average deviation.
    #[serde(with = "humantime_serde")]
    pub slow: Duration,
}

impl Default for SpikeConfig {
    fn default() -> Self {
        Self { enabled: true, window: 50, threshold: 6.0, least: 0.0006, tick_size: None, slow: Duration::from_mins(5) }
    }
}

/// The level shift detector: the prices after a far one decide whether it was a bad print or a new level. Without this
/// detector, every far price is a spike at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LevelShiftConfig {
    /// Whether it runs. It needs the spike detector.
    pub enabled: bool,
    /// The smallest shift that is worth an alert, as a fraction of the price.
    pub least: f64,
    /// How long (event time) to wait for the next prices.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// For how long (event time) after a shift a return to the old level belongs to it.
    #[serde(with = "humantime_serde")]
    pub returns: Duration,
}

impl Default for LevelShiftConfig {
    fn default() -> Self {
        Self { enabled: true, least: 0.0025, wait: Duration::from_secs(10), returns: Duration::from_mins(5) }
    }
}

/// The move detector: a price is a move if it lies at least `threshold` times the usual distance away from the price a
/// minute before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MoveConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// The score from which it is a move.
    pub threshold: f64,
    /// The smallest move that is worth an alert, as a fraction of the price, however little is usual.
    pub least: f64,
}

impl Default for MoveConfig {
    fn default() -> Self {
        Self { enabled: true, threshold: 4.0, least: 0.0025 }
    }
}

/// The volatility detector: it scores how far prices go when they change, over a minute. A burst has a score of at
/// least `threshold`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VolatilityConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// The score from which it is a burst.
    pub threshold: f64,
}

impl Default for VolatilityConfig {
    fn default() -> Self {
        Self { enabled: true, threshold: 3.6 }
    }
}

/// The volume detector: it scores the volumes of half a minute. A burst has a score of at least `threshold`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VolumeConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// The score from which it is a burst, in usual deviations of the logarithm.
    pub threshold: f64,
}

impl Default for VolumeConfig {
    fn default() -> Self {
        Self { enabled: true, threshold: 1.7 }
    }
}

/// The gap detector: a silence is a gap if one of that length is less likely than `probability`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GapConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// How unlikely a silence has to be.
    pub probability: f64,
    /// The shortest silence that may be a gap.
    #[serde(with = "humantime_serde")]
    pub least: Duration,
}

impl Default for GapConfig {
    fn default() -> Self {
        Self { enabled: true, probability: 0.0001, least: Duration::from_secs(5) }
    }
}

/// The clock detector: an event time is wrong if it lies in the future, or far behind the latest one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// How far an event time may lie ahead of the time at which its tick was decoded.
    #[serde(with = "humantime_serde")]
    pub future: Duration,
    /// How far an event time may lie behind the latest one of all symbols.
    #[serde(with = "humantime_serde")]
    pub past: Duration,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self { enabled: true, future: Duration::from_secs(5), past: Duration::from_hours(1) }
    }
}

/// One or two lines that the price of a symbol may cross.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdConfig {
    /// The symbol, or a pattern in which `*` stands for any text, the empty one included.
    pub symbol: String,
    /// A price above this line is an alert.
    #[serde(default)]
    pub above: Option<f64>,
    /// A price below this line is an alert.
    #[serde(default)]
    pub below: Option<f64>,
    /// How far the price must come back past the line, in the symbol's quote currency, before another crossing counts.
    #[serde(default)]
    pub hysteresis: f64,
}

/// Why a [`DetectConfig`] is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DetectConfigError {
    /// A setting outside its bounds.
    #[error("failed to set up detection: `{setting}` is {value}, but must be {bound}")]
    OutOfBounds {
        /// The setting, below `detect`.
        setting: String,
        /// What it was set to.
        value: String,
        /// What it must be.
        bound: String,
    },
    /// An override that is refused.
    #[error("failed to set up detection: `override[{index}]` (symbol {symbol:?}): {problem}")]
    Override {
        /// Its position, from 0.
        index: usize,
        /// Its symbol or pattern.
        symbol: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A rule that watches nothing.
    #[error("failed to set up detection: `threshold[{index}]` has neither `above` nor `below`; set at least one")]
    NoLine {
        /// The position of the rule, from 0.
        index: usize,
    },
}

impl DetectConfig {
    /// Whether every setting is within its bounds.
    pub fn validate(&self) -> Result<(), DetectConfigError> {
        let spike = &self.spike;
        within(self.symbols_max > 0, "symbols_max", &self.symbols_max, "at least 1")?;
        within(!self.idle_max.is_zero(), "idle_max", &"zero", "longer")?;
        let idle_max = humantime_serde::re::humantime::format_duration(self.idle_max);
        within(self.idle_max >= self.cool_down, "idle_max", &idle_max, "no less than `cool_down`")?;
        let conditions = self.skip_conditions.len();
        within(conditions <= PATTERNS_MAX, "skip_conditions", &conditions, &format!("at most {PATTERNS_MAX}"))?;
        let window = format!("from 5 to {WINDOW_MAX}");
        within((5..=WINDOW_MAX).contains(&spike.window), "spike.window", &spike.window, &window)?;
        within(is_positive(spike.threshold), "spike.threshold", &spike.threshold, POSITIVE)?;
        let bound = "a finite number, not negative";
        within(spike.least >= 0.0 && spike.least.is_finite(), "spike.least", &spike.least, bound)?;
        let tick_size = spike.tick_size.unwrap_or(1.0);
        within(is_positive(tick_size), "spike.tick_size", &tick_size, POSITIVE)?;
        within(!spike.slow.is_zero(), "spike.slow", &"zero", "longer")?;
        within(is_positive(self.r#move.threshold), "move.threshold", &self.r#move.threshold, POSITIVE)?;
        within(is_positive(self.r#move.least), "move.least", &self.r#move.least, POSITIVE)?;
        within(is_positive(self.volatility.threshold), "volatility.threshold", &self.volatility.threshold, POSITIVE)?;
        within(is_positive(self.volume.threshold), "volume.threshold", &self.volume.threshold, POSITIVE)?;
        let (probability, unlikely) = (self.gap.probability, "above 0 and below 1");
        within(probability > 0.0 && probability < 1.0, "gap.probability", &probability, unlikely)?;
        within(!self.gap.least.is_zero(), "gap.least", &"zero", "longer")?;
        let shift = &self.level_shift;
        within(shift.least >= 0.0 && shift.least.is_finite(), "level_shift.least", &shift.least, bound)?;
        within(!shift.wait.is_zero(), "level_shift.wait", &"zero", "longer")?;
        self.limit_band.validate()?;
        within(!self.clock.past.is_zero(), "clock.past", &"zero", "longer")?;
        let rules = self.threshold.len();
        within(rules <= THRESHOLDS_MAX, "threshold", &rules, &format!("at most {THRESHOLDS_MAX} rules"))?;
        self.threshold.iter().enumerate().try_for_each(|(index, rule)| rule.validate(index))?;
        self.validate_overrides()
    }
}

impl ThresholdConfig {
    fn validate(&self, index: usize) -> Result<(), DetectConfigError> {
        let setting = |name: &str| format!("threshold[{index}].{name}");
        within(!self.symbol.is_empty(), &setting("symbol"), &"empty", "a symbol or a pattern")?;
        for (name, line) in [("above", self.above), ("below", self.below)] {
            let line = line.unwrap_or_default();
            within(line >= 0.0 && line.is_finite(), &setting(name), &line, "a finite number, not negative")?;
        }
        let hysteresis = self.hysteresis;
        let bound = "a finite number, not negative";
        within(hysteresis >= 0.0 && hysteresis.is_finite(), &setting("hysteresis"), &hysteresis, bound)?;
        match (self.above, self.below) {
            (None, None) => Err(DetectConfigError::NoLine { index }),
            (Some(above), Some(below)) => within(below <= above, &setting("below"), &below, "at most `above`"),
            _ => Ok(()),
        }
    }
}

const POSITIVE: &str = "a finite number above zero";

fn is_positive(number: f64) -> bool {
    number > 0.0 && number.is_finite()
}

fn within(holds: bool, setting: &str, value: &dyn ToString, bound: &str) -> Result<(), DetectConfigError> {
    if holds {
        return Ok(());
    }
    Err(DetectConfigError::OutOfBounds {
        setting: setting.to_owned(),
        value: value.to_string(),
        bound: bound.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> DetectConfig {
        serde_json::from_str(&format!(r#"{{"threshold":[{{"symbol":"AAPL","above":2.0}},{json}]}}"#)).unwrap()
    }

    fn spike(change: impl FnOnce(&mut SpikeConfig)) -> DetectConfig {
        let mut config = DetectConfig::default();
        change(&mut config.spike);
        config
    }

    #[test]
    fn default_is_valid_and_survives_serialisation() {
        let config = DetectConfig::default();
        assert_eq!(config.validate(), Ok(()));
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""cool_down":"30s""#), "{text}");
        assert_eq!(serde_json::from_str::<DetectConfig>(&text).unwrap(), config);
    }

    #[test]
    fn unknown_setting_is_refused_by_name() {
        for (text, key) in [
            (r#"{"cooldown":"1s"}"#, "cooldown"),
            (r#"{"spike":{"limit":1}}"#, "limit"),
            (r#"{"threshold":[{"symbol":"A","over":1}]}"#, "over"),
        ] {
            let error = serde_json::from_str::<DetectConfig>(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn setting_out_of_bounds_is_named() {
        let zero = Duration::ZERO;
        let cases = [
            (DetectConfig { symbols_max: 0, ..DetectConfig::default() }, "`symbols_max` is 0"),
            (DetectConfig { idle_max: zero, ..DetectConfig::default() }, "`idle_max`"),
            (spike(|spike| spike.window = 4), "`spike.window` is 4"),
            (spike(|spike| spike.window = WINDOW_MAX + 1), "`spike.window`"),
            (spike(|spike| spike.threshold = f64::NAN), "`spike.threshold` is NaN"),
            (spike(|spike| spike.tick_size = Some(0.0)), "`spike.tick_size` is 0"),
            (spike(|spike| spike.slow = zero), "`spike.slow`"),
            (DetectConfig { idle_max: Duration::from_secs(29), ..DetectConfig::default() }, "`idle_max` is 29s"),
            (
                DetectConfig {
                    limit_band: LimitBandConfig { tiers: vec![Tier { from: 0.0, percent: 0.0 }], enabled: true },
                    ..DetectConfig::default()
                },
                "`limit_band.tiers[0].percent` is 0",
            ),
            (rule(r#"{"symbol":"","above":1}"#), "`threshold[1].symbol`"),
            (rule(r#"{"symbol":"A"}"#), "`threshold[1]` has neither"),
            (rule(r#"{"symbol":"A","above":-1}"#), "`threshold[1].above` is -1"),
            (rule(r#"{"symbol":"A","below":-1}"#), "`threshold[1].below` is -1"),
            (rule(r#"{"symbol":"A","below":2,"above":1}"#), "`threshold[1].below` is 2"),
            (rule(r#"{"symbol":"A","above":1,"hysteresis":-0.1}"#), "`threshold[1].hysteresis` is -0.1"),
        ];
        for (config, expected) in cases {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
        assert_eq!(rule(r#"{"symbol":"A","below":1,"above":2,"hysteresis":0.1}"#).validate(), Ok(()));
    }
}
