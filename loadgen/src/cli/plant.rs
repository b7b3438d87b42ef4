//! `loadgen plant`: known events in recorded trades.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use jiff::{SignedDuration, civil::Time};
use loadgen::{
    Recording,
    plant::{DayHours, Event, EventKind, PlantConfig, PriceStep, Trades, plant},
    report::write_file,
    truth,
};

use super::mapping::MappingArgs;

/// Plant events in the trades of a recorded file, CSV (also .csv.gz) or Parquet, and write them to a Parquet file.
///
/// Prices, volumes or the presence of trades are altered where an event is planted, and nowhere else. `loadgen score`
/// then compares the alerts of a detector with the truth file. The same seed gives the same events.
#[derive(Debug, Args)]
#[command(after_long_help = "Kinds, with the alert that is expected of each:

  spike_20bp, spike_50bp, spike_100bp   spike: one trade is off by so many hundredths of a percent, up or down
  decimal_shift                         spike: the price of one trade is ten times or a tenth
  level_shift_50bp                      level_shift: prices are off for 120 s, then back at once
  drop_50bp_60s                         move: prices drift away within 60 s, stay for 60 s, come back within 300 s;
                                        half of them go up and are called rise_50bp_60s
  volatility_x5, volatility_x10         volatility: for 60 s the distance of prices from their mean is so many times
  volume_x20, volume_x50                volume: for 30 s volumes are so many times
  gap_30s, gap_60s                      gap: there are no trades

Presets:

  us-equity-trades  columns ts_ms, symbol, price, size, exchange, cond; event time in milliseconds
  binance-trades    columns trade_ms, symbol, trade_id, price, qty; event time in milliseconds, trade_id as seq
  ticklake          columns ts, symbol, price, volume, seq, venue, conditions; as this command writes them

Examples:

  All kinds:
    loadgen plant trades.parquet --preset us-equity-trades --out planted.parquet --truth truth.ndjson --seed 7

  Only spikes, close to each other, while the exchange is open:
    loadgen plant trades.parquet --preset us-equity-trades --out planted.parquet --truth truth.ndjson \\
      --kinds spike_20bp,spike_50bp,spike_100bp --quiet 60s --from 13:30 --to 20:00")]
pub(super) struct PlantArgs {
    /// The file.
    file: PathBuf,

    #[command(flatten)]
    mapping: MappingArgs,

    /// The trades with the events go here, as Parquet; read it with the preset `ticklake`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Write the planted events here, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,

    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// What to plant, separated by commas; by default every kind.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    kinds: Vec<EventKind>,

    /// Trades of a symbol between two of its events, on average.
    #[arg(long, value_name = "TICKS", default_value = "10000")]
    every: NonZeroU64,

    /// Event time that passes between two events of a symbol at least.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    quiet: SignedDuration,

    /// Plant only from this time of day on, HH:MM in UTC.
    #[arg(long, value_name = "HH:MM", requires = "to")]
    from: Option<Time>,

    /// Plant only before this time of day, HH:MM in UTC. It may be on the next day.
    #[arg(long, value_name = "HH:MM", requires = "from")]
    to: Option<Time>,

    /// Smallest difference between two prices, in the quote currency.
    #[arg(long, value_name = "PRICE", default_value_t = 0.01)]
    price_step: f64,

    /// How many rows to leave out at the beginning of the file.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip_rows: u64,
}

impl PlantArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.config()?;
        let recording = Recording { path: self.file.clone(), mapping: self.mapping.mapping()?, limit: None };
        let mut trades = Trades::read_after(&recording, self.skip_rows)?;
        let rows_read = trades.len();
        let events = plant(&mut trades, &config);
        trades.write(&self.out)?;
        write_file(&self.truth, |file| truth::write_ndjson(&events, file))?;
        let mut out = io::stdout().lock();
        writeln!(out, "read       {rows_read} trades of {} symbols", trades.symbols.len())?;
        writeln!(out, "written    {} trades", trades.len())?;
        write!(out, "planted    {} events", events.len())?;
        for ((_, label), count) in by_label(&events) {
            write!(out, "\n  {label:<20} {count:>8}")?;
        }
        writeln!(out)?;
        Ok(ExitCode::SUCCESS)
    }

    fn config(&self) -> anyhow::Result<PlantConfig> {
        let hours = match (self.from, self.to) {
            (Some(from), Some(to)) => {
                Some(DayHours::new(since_midnight(from), since_midnight(to)).context("--from and --to are the same")?)
            }
            (None, None) => None,
            _ => bail!("--from and --to belong together"),
        };
        Ok(PlantConfig {
            seed: self.seed,
            kinds: if self.kinds.is_empty() { EventKind::ALL.to_vec() } else { self.kinds.clone() },
            every: self.every,
            quiet: Duration::try_from(self.quiet).context("--quiet is negative")?,
            hours,
            price_step: PriceStep::new(self.price_step).context("--price-step is not above zero")?,
        })
    }
}

fn since_midnight(time: Time) -> Duration {
    time.duration_since(Time::midnight()).unsigned_abs()
}

/// Sorted by kind, then by label.
fn by_label(events: &[Event]) -> BTreeMap<(&str, &str), u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry((event.kind.as_str(), event.label.as_str())).or_default() += 1;
    }
    counts
}
