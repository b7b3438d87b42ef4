//! What the commands that read recorded files have in common: which column holds what.

use anyhow::{Context, bail};
use clap::Args;
use loadgen::{
    Mapping,
    replay::{PRESETS, TsUnit},
};

/// Which column holds what.
#[derive(Debug, Clone, Args)]
pub(super) struct MappingArgs {
    /// Which column holds what: FIELD=COLUMN,... with the fields symbol, ts, price, volume and, if there are such
    /// columns, seq, venue, conditions.
    #[arg(long, value_name = "MAPPING", required_unless_present = "preset")]
    map: Option<Mapping>,

    /// A mapping by name; see the list below.
    #[arg(long, conflicts_with = "map")]
    preset: Option<String>,

    /// Unit of event times that are plain integers: s, ms, us or ns. Timestamps in Parquet know theirs.
    #[arg(long, value_name = "UNIT")]
    ts_unit: Option<TsUnit>,
}

impl MappingArgs {
    pub(super) fn mapping(&self) -> anyhow::Result<Mapping> {
        let mut mapping = match (&self.map, &self.preset) {
            (Some(mapping), _) => mapping.clone(),
            (None, Some(name)) => preset(name)?,
            (None, None) => bail!("neither --map nor --preset is given"),
        };
        if let Some(unit) = self.ts_unit {
            mapping.ts_unit = unit;
        }
        Ok(mapping)
    }
}

/// The mapping of that name.
pub(super) fn preset(name: &str) -> anyhow::Result<Mapping> {
    Mapping::preset(name)
        .with_context(|| format!("there is no preset {name:?}, only {}", PRESETS.map(|preset| preset.name).join(", ")))
}
