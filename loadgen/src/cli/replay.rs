//! `loadgen replay`: recorded trades.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use loadgen::{Recording, Source};

use super::{
    connect::Destination,
    deliver::{Delivery, PaceArgs, PackingArgs},
    mapping::MappingArgs,
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

    #[command(flatten)]
    packing: PackingArgs,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    to: Destination,
}

impl ReplayArgs {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let recording = Recording { path: self.file.clone(), mapping: self.mapping.mapping()?, limit: self.limit };
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
}
