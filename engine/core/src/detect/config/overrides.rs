//! Overrides: other settings for some symbols, laid over the settings for all.
//!
//! This file owns which overrides match a symbol, and which settings result. It does *not* own the settings.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::pattern::pattern_matches;
use super::{DetectConfig, DetectConfigError, PATTERNS_MAX, ThresholdConfig, within};

/// The settings that may differ by symbol. `spike.window` may not: the windows of all symbols have the same length.
const SETTINGS: [&str; 9] =
    ["cool_down", "spike", "level_shift", "move", "volatility", "volume", "gap", "limit_band", "clock"];

/// Settings for the symbols of a pattern: any settings of `[detect]` that may differ by symbol. Only those that do
/// differ need to be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverrideConfig {
    /// The symbol, or a pattern in which `*` stands for any text, the empty one included.
    pub symbol: String,
    /// The settings, by their names.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl OverrideConfig {
    /// Whether it sets the setting at `path`, for example `spike.threshold`.
    #[must_use]
    pub fn sets(&self, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        match (self.settings.get(first), rest) {
            (Some(value), Some(rest)) => value.pointer(&format!("/{}", rest.replace('.', "/"))).is_some(),
            (value, None) => value.is_some(),
            (None, Some(_)) => false,
        }
    }
}

impl DetectConfig {
    /// The threshold rules that match `symbol`.
    #[must_use]
    pub fn thresholds_of(&self, symbol: &str) -> Vec<ThresholdConfig> {
        self.threshold.iter().filter(|rule| pattern_matches(&rule.symbol, symbol)).cloned().collect()
    }

    /// The positions of the overrides that match `symbol`.
    pub fn overrides_of(&self, symbol: &str) -> impl Iterator<Item = usize> {
        let matches =
            move |(index, rule): (usize, &OverrideConfig)| pattern_matches(&rule.symbol, symbol).then_some(index);
        self.r#override.iter().enumerate().filter_map(matches)
    }

    /// The settings with these overrides laid over them. The result has no overrides of its own.
    pub fn with_overrides(&self, overrides: &[usize]) -> Result<DetectConfig, DetectConfigError> {
        let mut config = DetectConfig { r#override: Vec::new(), ..self.clone() };
        for &index in overrides {
            let Some(rule) = self.r#override.get(index) else { continue };
            let failed = |problem| DetectConfigError::Override { index, symbol: rule.symbol.clone(), problem };
            let mut value = serde_json::to_value(&config).map_err(|error| failed(error.to_string()))?;
            lay_over(&mut value, &Value::Object(rule.settings.clone()));
            config = serde_json::from_value(value).map_err(|error| failed(error.to_string()))?;
        }
        Ok(config)
    }

    pub(super) fn validate_overrides(&self) -> Result<(), DetectConfigError> {
        let count = self.r#override.len();
        within(count <= PATTERNS_MAX, "override", &count, &format!("at most {PATTERNS_MAX}"))?;
        for (index, rule) in self.r#override.iter().enumerate() {
            let failed = |problem| Err(DetectConfigError::Override { index, symbol: rule.symbol.clone(), problem });
            if rule.symbol.is_empty() {
                return failed("`symbol` must be a symbol or a pattern".to_owned());
            }
            if let Some(unknown) = rule.settings.keys().find(|key| !SETTINGS.contains(&key.as_str())) {
                return failed(format!("`{unknown}` cannot differ by symbol, only {} can", SETTINGS.join(", ")));
            }
            let config = self.with_overrides(&[index])?;
            if config.spike.window != self.spike.window {
                return failed("`spike.window` must be the same for all symbols".to_owned());
            }
            config.validate().or_else(|error| failed(error.to_string()))?;
        }
        Ok(())
    }
}

/// Lays the fields of `over` over those of `value`, at every depth.
fn lay_over(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(value), Value::Object(over)) => {
            for (name, over) in over {
                lay_over(value.entry(name).or_insert(Value::Null), over);
            }
        }
        (value, over) => *value = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(overrides: &str) -> DetectConfig {
        serde_json::from_str(&format!(r#"{{"override":[{overrides}]}}"#)).unwrap()
    }

    #[test]
    fn later_override_holds_over_an_earlier_one_and_says_nothing_of_the_rest() {
        let config = config(
            r#"{"symbol":"BTC*","spike":{"threshold":8,"tick_size":0.1},"cool_down":"1m"},
               {"symbol":"*USDT","spike":{"threshold":9},"gap":{"enabled":false}}"#,
        );
        assert_eq!(config.validate(), Ok(()));
        let of = |symbol| {
            let config = config.with_overrides(&config.overrides_of(symbol).collect::<Vec<_>>()).unwrap();
            (config.spike.threshold, config.spike.tick_size, config.cool_down.as_secs(), config.gap.enabled)
        };
        assert_eq!(of("BTCUSDT"), (9.0, Some(0.1), 60, false));
        assert_eq!(of("BTCEUR"), (8.0, Some(0.1), 60, true));
        assert_eq!(of("ETHUSDT"), (9.0, None, 30, false));
        assert_eq!(of("AAPL"), (6.0, None, 30, true));
        assert_eq!(config.spike.slow, Duration::from_mins(5));
    }

    #[test]
    fn override_that_makes_no_sense_is_named() {
        for (text, expected) in [
            (r#"{"symbol":"A","symbols_max":1}"#, r#"`override[0]` (symbol "A"): `symbols_max` cannot differ"#),
            (r#"{"symbol":"A","spike":{"limit":1}}"#, "unknown field `limit`"),
            (r#"{"symbol":"A","spike":{"threshold":"x"}}"#, "invalid type"),
            (r#"{"symbol":"A","spike":{"threshold":-1}}"#, "`spike.threshold` is -1"),
            (r#"{"symbol":"A","spike":{"window":60}}"#, "the same for all"),
            (r#"{"symbol":""}"#, "must be a symbol"),
        ] {
            let error = config(text).validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
    }
}
