//! `loadgen replay`: recorded trades.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use loadgen::{
    Mapping, Recording, Source,
    replay::{PRESETS, TsUnit},
};

use super::{
    connect::Destination,
    deliver::{Delivery, PaceArgs, PackingArgs},
};

/// Send the trades of a recorded file, CSV (also .csv.gz) or Parquet.
///
/// Rows become ticks in the order of the file; batches that are sent at the same time may overtake each other, unless
/// --senders is 1. Prices and volumes arrive exactly as they stand there: decimal text digit by digit, floats to the
/// bit. Where no column is mapped to seq, the rows of each symbol are numbered from 0.
#[derive(Debug, Args)]
#[command(after_long_help = "Presets:

  us-equity-trades  columns ts_ms, symbol, price, size, exchange, cond; event time in milliseconds
  binance-trades    columns trade_ms, symbol, trade_id, price, qty; event time in milliseconds, trade_id as seq

Examples:

  A file whose columns have the names of a preset:
    loadgen replay trades.csv.gz --preset binance-trades --queue-url http://127.0.0.1:4566/000000000000/ticks

  Any other file: say which column holds what, and in which unit event times are:
    loadgen replay trades.parquet --map symbol=ticker,ts=sip_timestamp,price=price,volume=size,conditions=conditions \\
      --ts-unit ns --queue-url http://127.0.0.1:4566/000000000000/ticks --sent sent.json

  The first thousand rows, one tick per message:
    loadgen replay trades.parquet --preset us-equity-trades --limit 1000 --pack 1 \\
      --queue-url http://127.0.0.1:4566/000000000000/ticks")]
pub(super) struct ReplayArgs {
    /// The file.
    file: PathBuf,

    /// Which column holds what: FIELD=COLUMN,... with the fields symbol, ts, price, volume and, if there are such columns,
    /// seq, venue, conditions.
    #[arg(long, value_name = "MAPPING", required_unless_present = "preset")]
    map: Option<Mapping>,

    /// A mapping by name; see the list below.
    #[arg(long, conflicts_with = "map")]
    preset: Option<String>,

    /// Unit of event times that are plain integers. Timestamps in Parquet know theirs.
    #[arg(long, value_enum)]
    ts_unit: Option<Unit>,

    /// How many rows to send, from the beginning of the file.
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,

    #[command(flatten)]
    packing: PackingArgs,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    to: Destination,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl ReplayArgs {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let recording = Recording { path: self.file.clone(), mapping: self.mapping()?, limit: self.limit };
        Delivery {
            ticks: None,
            source: Source::Recording(recording),
            packing: &self.packing,
            pace: &self.pace,
            to: &self.to,
            truth: None,
        }
        .run()
        .await
    }

    fn mapping(&self) -> anyhow::Result<Mapping> {
        let mut mapping = match (&self.map, &self.preset) {
            (Some(mapping), _) => mapping.clone(),
            (None, Some(name)) => Mapping::preset(name).with_context(|| {
                format!("there is no preset {name:?}, only {}", PRESETS.map(|preset| preset.name).join(", "))
            })?,
            (None, None) => bail!("neither --map nor --preset is given"),
        };
        if let Some(unit) = self.ts_unit {
            mapping.ts_unit = match unit {
                Unit::S => TsUnit::S,
                Unit::Ms => TsUnit::Ms,
                Unit::Us => TsUnit::Us,
                Unit::Ns => TsUnit::Ns,
            };
        }
        Ok(mapping)
    }
}
