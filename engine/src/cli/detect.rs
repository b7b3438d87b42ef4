//! `ticklake detect`: runs the detectors over a file. The detection itself is in [`crate::offline`].

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use ticklake_reader::{Mapping, PRESETS, Recording, TsUnit};

use super::{ConfigArgs, parse_set, variables};
use crate::config::sources::Assignment;
use crate::offline::picture::Picture;
use crate::offline::{Input, Summary, detect, plot};

pub(super) const DETECT_ABOUT: &str = "\
Runs the detectors over a file, in the order of its rows, at full speed.

The detectors, the configuration and the alerts are those of `ticklake run`. Only [detect] and [decode] matter here. An alert counts as \
detected at the event time with which it was certain. Use this command to tune thresholds, or to see what would have been alerted.";

pub(super) const DETECT_EXAMPLES: &str = "\
Examples:
  ticklake detect --input trades.parquet --preset us-equity-trades --alerts alerts.ndjson
  ticklake detect --input trades.csv.gz --map symbol=ticker,ts=time,price=price,volume=size --ts-unit ns
  ticklake detect --input ticks.ndjson --set detect.spike.threshold=8
  ticklake detect --input trades.parquet --preset us-equity-trades --explain IBM   # draws IBM.svg

A file of columns is .parquet, .csv or .csv.gz. Without --preset and --map, its columns must have the names of a tick's fields. A file of \
lines is .ndjson or .jsonl, with one message body per line.";

/// `ticklake detect`.
#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "clap shows these comments as they are, where backticks are noise")]
pub struct DetectArgs {
    /// The file
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// The format of the file; without this flag its name tells
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Which column holds which field, as field=column: symbol, ts, price, volume and, if there are such columns, seq,
    /// venue, conditions
    #[arg(long, value_name = "MAPPING")]
    pub map: Option<Mapping>,
    /// A mapping by name: us-equity-trades, binance-trades, ticklake
    #[arg(long, conflicts_with = "map", value_name = "NAME")]
    pub preset: Option<String>,
    /// The unit of event times that are plain integers: s, ms, us or ns
    #[arg(long, value_name = "UNIT")]
    pub ts_unit: Option<TsUnit>,
    /// How many rows to judge, from the beginning of the file
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u64>,
    /// Write the alerts into this file, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub alerts: Option<PathBuf>,
    /// Draw a symbol's price, the band that it is judged by, and its alerts
    #[arg(long, value_name = "SYMBOL")]
    pub explain: Option<String>,
    /// Where the plot of --explain goes; without this flag ./SYMBOL.svg, with _ for all but letters and digits
    #[arg(long, value_name = "FILE.svg", requires = "explain")]
    pub plot: Option<PathBuf>,
    /// The TOML file; without this flag ./ticklake.toml is read if it exists
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set any key, as in --set detect.cool_down=1m; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    pub set: Vec<Assignment>,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns
    Parquet,
    /// Columns, with a line of headings
    Csv,
    /// A message body per line
    Ndjson,
}

/// Runs the command.
pub fn run(args: &DetectArgs) -> anyhow::Result<bool> {
    let sources = ConfigArgs { config: args.config.clone(), set: args.set.clone(), ..ConfigArgs::default() };
    let settings = sources.load(variables())?.settings;
    settings.detect.validate()?;
    settings.decode.validate()?;
    let input = args.input()?;
    let mut out = args.alerts.as_ref().map(create).transpose()?;
    let started = Instant::now();
    let mut picture = args.explain.as_deref().map(Picture::new);
    let summary = detect(&input, &settings.detect, &settings.decode, picture.as_mut(), &mut |alert| match &mut out {
        Some(out) => writeln!(out, "{}", alert.to_json()),
        None => Ok(()),
    })?;
    let elapsed = started.elapsed();
    if let Some(out) = &mut out {
        out.flush().context("failed to write the alerts")?;
    }
    let rate = summary.ticks as f64 / elapsed.as_secs_f64() / 1e6;
    print(&summary, rate).context("failed to print the summary")?;
    if let Some(picture) = picture {
        let path = args.plot.clone().unwrap_or_else(|| plot_name(&picture.symbol));
        plot::draw(&picture, &path)?;
        writeln!(io::stdout(), "plot       {}", path.display()).context("failed to print the summary")?;
    }
    Ok(true)
}

fn plot_name(symbol: &str) -> PathBuf {
    let plain: String = symbol.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{plain}.svg").into()
}

fn create(path: &PathBuf) -> anyhow::Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(path).with_context(|| format!("failed to create {}", path.display()))?))
}

impl DetectArgs {
    fn input(&self) -> anyhow::Result<Input> {
        let extension = self.input.extension().unwrap_or_default().to_ascii_lowercase();
        let is_lines = extension == "ndjson" || extension == "jsonl";
        if self.format == Some(Format::Ndjson) || self.format.is_none() && is_lines {
            if self.map.is_some() || self.preset.is_some() || self.ts_unit.is_some() || self.limit.is_some() {
                bail!(
                    "--map, --preset, --ts-unit and --limit are for files of columns; [decode] says how to read lines"
                );
            }
            return Ok(Input::Lines(self.input.clone()));
        }
        Ok(Input::Columns(Recording { path: self.input.clone(), mapping: self.mapping()?, limit: self.limit }))
    }

    fn mapping(&self) -> anyhow::Result<Mapping> {
        let mut mapping = match (&self.map, &self.preset) {
            (Some(mapping), _) => mapping.clone(),
            (None, name) => {
                let name = name.as_deref().unwrap_or("ticklake");
                let Some(mapping) = Mapping::preset(name) else {
                    bail!("there is no preset {name:?}, only {}", PRESETS.map(|preset| preset.name).join(", "));
                };
                mapping
            }
        };
        if let Some(unit) = self.ts_unit {
            mapping.ts_unit = unit;
        }
        Ok(mapping)
    }
}

fn print(summary: &Summary, rate: f64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let time = |us| Timestamp::from_microsecond(us).unwrap_or_default();
    write!(out, "ticks      {} of {} symbols", summary.ticks, summary.symbols)?;
    if let Some((first, last)) = summary.times_us {
        write!(out, ", {:.0} to {:.0}", time(first), time(last))?;
    }
    writeln!(out, "\nspeed      {rate:.1} million per second")?;
    if summary.left_out > 0 {
        writeln!(out, "left out   {}, events that decode.only does not choose", summary.left_out)?;
    }
    if summary.rejects > 0 {
        let first = summary.first_reject.as_deref().unwrap_or_default();
        writeln!(out, "rejects    {}, the first: {first}", summary.rejects)?;
    }
    let kinds: Vec<String> = summary.events.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    writeln!(out, "events     {}", if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") })?;
    writeln!(out, "alerts     {}, {} events are open still", summary.alerts, summary.open)?;
    writeln!(out, "held back  {}", summary.suppressed)?;
    if summary.skipped > 0 {
        writeln!(out, "skipped    {}, because of their sale conditions", summary.skipped)?;
    }
    if summary.unwatched > 0 {
        writeln!(
            out,
            "not judged {}, because there was no room: raise detect.symbols_max or decode.names_max",
            summary.unwatched
        )?;
    }
    out.flush()
}
