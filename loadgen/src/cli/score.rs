//! `loadgen score`: how well alerts match the events that were planted.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use jiff::SignedDuration;
use loadgen::{
    Recording,
    plant::{Event, Trades},
    score::{Ticks, read_alerts, score},
    truth,
};

use super::mapping::preset;

/// Compare alerts with the events that `loadgen plant` has planted.
///
/// The first alert of an event's kind and symbol between its start and its end, or shortly after, finds it. Each
/// further one is a duplicate, which counts as false, as does an alert of no event. An alert of another kind inside an
/// event is a side effect, which counts as neither.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:

  With delays in seconds and in ticks:
    loadgen score --truth truth.ndjson --alerts alerts.ndjson --input planted.parquet

  Without the trades, as JSON:
    loadgen score --truth truth.ndjson --alerts alerts.ndjson --ticks 5000000 --json")]
pub(super) struct ScoreArgs {
    /// The planted events.
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,

    /// The alerts, one JSON object per line. Those with a `state` other than `open` are left out.
    #[arg(long, value_name = "FILE")]
    alerts: PathBuf,

    /// How many ticks the alerts were raised on.
    #[arg(long, required_unless_present = "input", conflicts_with = "input")]
    ticks: Option<u64>,

    /// The trades that the alerts were raised on.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Which column of the trades holds what, by name.
    #[arg(long, default_value = "ticklake")]
    preset: String,

    /// How long after the end of an event an alert still belongs to it, in event time.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    grace: SignedDuration,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ScoreArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let grace = Duration::try_from(self.grace).context("--grace is negative")?;
        let unread = |path: &Path| format!("failed to read {}", path.display());
        let events: Vec<Event> = truth::read_ndjson(open(&self.truth)?).with_context(|| unread(&self.truth))?;
        let alerts = read_alerts(open(&self.alerts)?).with_context(|| unread(&self.alerts))?;
        let ticks = match (&self.input, self.ticks) {
            (Some(path), _) => {
                let recording = Recording { path: path.clone(), mapping: preset(&self.preset)?, limit: None };
                Ticks::of(&Trades::read(&recording)?)
            }
            (None, count) => Ticks::counted(count.context("neither --ticks nor --input is given")?),
        };
        let score = score(&events, &alerts, &ticks, grace);
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &score)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{score}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    File::open(path).map(BufReader::new).with_context(|| format!("failed to open {}", path.display()))
}
