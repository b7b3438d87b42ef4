//! `loadgen replay`: recorded trades.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use jiff::SignedDuration;
use loadgen::{Pace, Recording, Source, Speed};

use super::{
    connect::Destination,
    deliver::{Delivery, PaceArgs},
    mapping::MappingArgs,
    observe::ObserveArgs,
    packing::{DisturbArgs, PackingArgs},
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
  ticklake          columns ts, symbol, price, volume, seq, venue, conditions; as `loadgen plant` writes them

Examples:

  A file whose columns have the names of a preset:
    loadgen replay trades.csv.gz --preset binance-trades --queue-url http://127.0.0.1:4566/000000000000/ticks

  Any other file: say which column holds what, and in which unit event times are:
    loadgen replay trades.parquet --map symbol=ticker,ts=sip_timestamp,price=price,volume=size,conditions=conditions \\
      --ts-unit ns --queue-url http://127.0.0.1:4566/000000000000/ticks --sent sent.json

  A day a hundred times as fast as it went, with some disorder:
    loadgen replay trades.parquet --preset us-equity-trades --speed 100x --late 0.001/30s --out-of-order 0.01/500ms \\
      --queue-url http://127.0.0.1:4566/000000000000/ticks

  The first thousand rows, one tick per message:
    loadgen replay trades.parquet --preset us-equity-trades --limit 1000 --pack 1 \\
      --queue-url http://127.0.0.1:4566/000000000000/ticks")]
pub(super) struct ReplayArgs {
    /// The file.
    file: PathBuf,

    #[command(flatten)]
    mapping: MappingArgs,

    /// How many rows to send, from the beginning of the file.
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,

    /// Replay by the clock of the recording, so many times as fast as it went, on a schedule that a slow queue does not
    /// stretch (an open loop): 1 to 10000.
    #[arg(long, value_name = "TIMES", conflicts_with = "rate", value_parser = speed)]
    speed: Option<f64>,

    /// How long a tick waits at most for others to fill its message and its batch, with --speed.
    #[arg(long, value_name = "DURATION", default_value = "100ms", requires = "speed")]
    linger: SignedDuration,

    /// What random disturbances follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    packing: PackingArgs,

    #[command(flatten)]
    disturb: DisturbArgs,

    #[command(flatten)]
    sending: PaceArgs,

    #[command(flatten)]
    observe: ObserveArgs,

    #[command(flatten)]
    to: Destination,
}

/// Reads a speed: `100`, or `100x`.
fn speed(text: &str) -> Result<f64, String> {
    let times = text.strip_suffix('x').unwrap_or(text).parse().ok().filter(|times| (1.0..=10_000.0).contains(times));
    times.ok_or_else(|| "a speed is a number from 1 to 10000".to_owned())
}

impl ReplayArgs {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let linger = Duration::try_from(self.linger).context("--linger is negative")?;
        let pace = match self.speed {
            Some(factor) => Pace::EventTime(Speed { factor, linger }),
            None => self.sending.pace(),
        };
        let recording = Recording { path: self.file.clone(), mapping: self.mapping.mapping()?, limit: self.limit };
        Delivery {
            ticks: None,
            source: Source::Recording(recording),
            seed: self.seed,
            pace,
            packing: &self.packing,
            disturb: &self.disturb,
            sending: &self.sending,
            observe: &self.observe,
            to: &self.to,
            truth: None,
        }
        .run()
        .await
    }
}
