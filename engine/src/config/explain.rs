//! Shows what detection looks for in one symbol: the rules that hold for it, and the override that each is from.
//!
//! It does *not* own what the rules mean.

use std::fmt::Write;

use ticklake_core::detect::{DetectConfig, DetectConfigError};
use toml::Table;

use super::print::write_table;

/// Why the rules of a symbol cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The rules are not valid.
    #[error(transparent)]
    Config(#[from] DetectConfigError),
    /// The rules cannot be written as TOML.
    #[error("failed to write the rules of a symbol")]
    Toml(#[from] toml::ser::Error),
}

/// The rules of `symbol` as TOML. If an override has set one, a remark names that override.
pub fn rules(config: &DetectConfig, symbol: &str) -> Result<String, ExplainError> {
    config.validate()?;
    let overrides: Vec<usize> = config.overrides_of(symbol).collect();
    let effective = config.with_overrides(&overrides)?;
    let mut text = format!("# what holds for {symbol}\n");
    for &index in &overrides {
        let _ = writeln!(text, "# override[{index}], symbol = {:?}", config.r#override[index].symbol);
    }
    let mut table = Table::new();
    let mut detect = Table::try_from(DetectConfig { threshold: effective.thresholds_of(symbol), ..effective.clone() })?;
    // These keys are about all symbols, or were applied above.
    for key in ["symbols_max", "idle_max", "override"] {
        detect.remove(key);
    }
    table.insert("detect".to_owned(), toml::Value::Table(detect));
    let from = |path: &str| {
        let path = path.strip_prefix("detect.")?;
        let index = overrides.iter().rev().find(|index| config.r#override[**index].sets(path))?;
        Some(format!("override[{index}]"))
    };
    write_table("", &table, &from, &mut text);
    if effective.spike.tick_size.is_none() {
        let _ = writeln!(text, "\n# spike.tick_size is learnt from the decimals of the prices; it is 0.01 until then");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_with_the_override_that_set_them_and_the_lines_that_are_drawn() {
        let config: DetectConfig = toml::from_str(
            r#"
            [[threshold]]
            symbol = "BTC*"
            above = 100000
            [[threshold]]
            symbol = "AAPL"
            above = 250
            [[override]]
            symbol = "*USDT"
            spike.threshold = 8.0
            spike.tick_size = 0.1
            [[override]]
            symbol = "BTC*"
            spike.threshold = 9.0
            gap.enabled = false
            "#,
        )
        .unwrap();
        let text = rules(&config, "BTCUSDT").unwrap();
        for expected in [
            "# what holds for BTCUSDT\n# override[0], symbol = \"*USDT\"\n# override[1], symbol = \"BTC*\"\n",
            "[detect.spike]\n",
            "threshold = 9.0  # from override[1]\n",
            "tick_size = 0.1  # from override[0]\n",
            "enabled = false  # from override[1]\n",
            "above = 100000.0",
        ] {
            assert!(text.contains(expected), "{text}\ndoes not say {expected}");
        }
        assert!(!text.contains("250") && !text.contains("symbols_max"), "{text}");
        let usual = rules(&config, "MSFT").unwrap();
        assert!(usual.contains("threshold = 6.0\n") && usual.contains("is learnt"), "{usual}");
    }
}
