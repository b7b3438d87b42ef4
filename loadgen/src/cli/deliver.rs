//! What `send` and `replay` have in common: packing, pace, progress, and the files they leave.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use loadgen::{Dialect, Layout, Packing, Plan, Progress, Sent, Shape, Source, report, run, truth};

use super::connect::Destination;

/// How often the progress line is renewed.
const REFRESH: Duration = Duration::from_millis(200);

/// How ticks become messages.
#[derive(Debug, Clone, Args)]
pub(super) struct PackingArgs {
    /// Ticks per message. Fewer are packed where they would exceed the 1 MiB that SQS takes.
    #[arg(long, value_name = "TICKS", default_value_t = 100)]
    pack: usize,

    /// How the ticks of a message are arranged. By default an array, and a plain object where there is one tick.
    #[arg(long, value_enum)]
    form: Option<Form>,

    /// Field names and types of a tick.
    #[arg(long, value_enum, default_value_t = Fields::Canonical)]
    fields: Fields,

    /// Compress bodies with zstd at this level and send them as base64, with the attribute content-encoding = zstd.
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "3", value_parser = clap::value_parser!(i32).range(1..=19))]
    zstd: Option<i32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// One JSON object; needs `--pack 1`.
    Object,
    /// A JSON array.
    Array,
    /// One JSON object per line.
    Lines,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fields {
    /// symbol, price, volume, ts (microseconds), seq, venue, conditions.
    Canonical,
    /// e, s, p, q, T (milliseconds), t: like the trades of Binance, prices as strings.
    Binance,
}

/// How messages are sent.
#[derive(Debug, Clone, Args)]
pub(super) struct PaceArgs {
    /// Ticks per second, on a schedule that a slow queue does not stretch (an open loop): latency counts from when a batch
    /// was due. Without it the queue sets the pace (a closed loop).
    #[arg(long, value_name = "TICKS")]
    rate: Option<NonZeroU64>,

    /// How the rate changes over time: constant, ramp:TO/OVER, steps:BY/EVERY, bursts:PEAK/LASTS/EVERY, sine:SWING/PERIOD, or day:LASTS, a
    /// trading day with an opening auction.
    #[arg(long, value_name = "SHAPE", default_value = "constant", requires = "rate")]
    shape: Shape,

    /// Threads that prepare messages. The messages are the same for any number.
    #[arg(long, default_value_t = 2)]
    threads: usize,

    /// Calls of `SendMessageBatch` in flight at a time.
    #[arg(long, default_value_t = 16)]
    senders: usize,

    /// Write what was sent here, as JSON, for `loadgen audit`.
    #[arg(long, value_name = "FILE")]
    sent: Option<PathBuf>,

    /// Write the figures of the run into this folder: report.json, and send.hgrm, the latencies for plotters of such histograms.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

impl PackingArgs {
    fn packing(&self) -> anyhow::Result<Packing> {
        let layout = match self.form {
            Some(Form::Object) => Layout::Object,
            Some(Form::Lines) => Layout::Lines,
            None if self.pack == 1 => Layout::Object,
            Some(Form::Array) | None => Layout::Array,
        };
        let dialect = match self.fields {
            Fields::Canonical => Dialect::Canonical,
            Fields::Binance => Dialect::Binance,
        };
        let packing = Packing::new(self.pack, layout, dialect)?;
        Ok(self.zstd.map_or(packing, |level| packing.compressed(level)))
    }
}

/// A source on its way to a queue.
pub(super) struct Delivery<'a> {
    pub(super) source: Source,
    /// How many ticks the source has, where that is known before.
    pub(super) ticks: Option<u64>,
    pub(super) packing: &'a PackingArgs,
    pub(super) pace: &'a PaceArgs,
    pub(super) to: &'a Destination,
    pub(super) truth: Option<&'a PathBuf>,
}

impl Delivery<'_> {
    /// Sends everything, prints a summary and writes the files that were asked for.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let PaceArgs { rate, shape, threads, senders, .. } = *self.pace;
        let plan = Plan { rate, shape, threads, senders, ..Plan::new(self.source, self.packing.packing()?) };
        let client = self.to.connect().await?;
        if let Some(ticks) = self.ticks {
            writeln!(io::stdout(), "{}", Cost::of(ticks, self.packing.pack as u64))?;
        }
        let progress = Arc::new(Progress::default());
        let bar = progress_bar(self.ticks)?;
        let sending = run(client, self.to.queue_url(), plan, progress.clone());
        let sent = watch(sending, &progress, &bar).await;
        bar.finish_and_clear();
        let sent = sent.with_context(|| {
            format!(
                "{} ticks in {} messages are in the queue",
                progress.ticks.load(Ordering::Relaxed),
                progress.messages.load(Ordering::Relaxed)
            )
        })?;
        if let Some(path) = &self.pace.sent {
            write_file(path, |file| Ok(serde_json::to_writer(file, &sent)?))?;
        }
        if let Some(dir) = &self.pace.report {
            std::fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
            write_file(&dir.join("report.json"), |file| {
                Ok(serde_json::to_writer_pretty(file, &report::Figures::of(&sent))?)
            })?;
            write_file(&dir.join("send.hgrm"), |file| report::write_hgrm(&sent.latency_us, file))?;
        }
        if let Some(path) = self.truth {
            write_file(path, |file| truth::write_ndjson(&sent.truth, file))?;
        }
        writeln!(io::stdout(), "{sent}")?;
        // Whatever a script makes of the figures, it should not take them for true.
        Ok(if sent.is_valid() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn watch(
    sending: impl Future<Output = Result<Sent, loadgen::Error>>,
    progress: &Progress,
    bar: &ProgressBar,
) -> Result<Sent, loadgen::Error> {
    let mut refresh = tokio::time::interval(REFRESH);
    let mut sending = std::pin::pin!(sending);
    loop {
        tokio::select! {
            sent = &mut sending => return sent,
            _ = refresh.tick() => bar.set_position(progress.ticks.load(Ordering::Relaxed)),
            Ok(()) = tokio::signal::ctrl_c() => {
                if progress.stop.swap(true, Ordering::Relaxed) {
                    bar.finish_and_clear();
                    // 128 and the number of the signal, as a shell has it. What was sent is known to nobody then.
                    std::process::exit(130);
                }
                bar.println("stopping: what is prepared is sent; once more ends at once");
            }
        }
    }
}

/// What a run takes of AWS: what is sent has to be received and deleted, too.
struct Cost {
    requests: u64,
}

/// US dollars for a million requests to a standard queue, in most regions (<https://aws.amazon.com/sqs/pricing>, 2026).
const DOLLARS_PER_MILLION: f64 = 0.4;

/// A request is counted as one for each 64 KiB that it carries.
const REQUEST_BYTES: u64 = 64 << 10;

/// About what a tick takes in JSON.
const TICK_BYTES: u64 = 95;

impl Cost {
    fn of(ticks: u64, per_message: u64) -> Self {
        let messages = ticks.div_ceil(per_message.max(1));
        let calls = messages.div_ceil(10).max((ticks * TICK_BYTES).div_ceil(1 << 20));
        let carried = calls.max((ticks * TICK_BYTES).div_ceil(REQUEST_BYTES));
        // Sent, received, and deleted, which carries nothing.
        Self { requests: 2 * carried + calls }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars = self.requests as f64 / 1e6 * DOLLARS_PER_MILLION;
        write!(f, "on AWS     about {dollars:.4} US dollars: {} requests to send, receive and delete", self.requests)
    }
}

/// It draws on stderr, and only where that is a terminal.
fn progress_bar(ticks: Option<u64>) -> anyhow::Result<ProgressBar> {
    Ok(match ticks {
        Some(ticks) => ProgressBar::new(ticks)
            .with_style(ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} ticks, {per_sec}, {eta} left")?),
        None => ProgressBar::new_spinner()
            .with_style(ProgressStyle::with_template("{spinner} {human_pos} ticks, {per_sec}")?),
    })
}

/// Creates the file and has `write` fill it.
pub(super) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> anyhow::Result<()> {
    let written = File::create(path).map(BufWriter::new).and_then(|mut file| {
        write(&mut file)?;
        file.flush()
    });
    written.with_context(|| format!("failed to write {}", path.display()))
}
