//! What `send` and `replay` have in common: pace, progress, and the files they leave.

use std::{
    fmt,
    io::{self, Write},
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use loadgen::{
    Pace, Plan, Progress, Shape, Source,
    report::{self, write_file},
    run, truth,
};

use super::{
    connect::Destination,
    observe::{Look, ObserveArgs},
    packing::{DisturbArgs, PackingArgs, TICK_BYTES},
    signals::Signals,
};

/// How messages are sent.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sending")]
pub(super) struct PaceArgs {
    /// Ticks per second, on a schedule that a slow queue does not stretch (an open loop): latency counts from when a
    /// batch was due. Without it the queue sets the pace (a closed loop).
    #[arg(long, value_name = "TICKS")]
    rate: Option<NonZeroU64>,

    /// How the rate changes over time: constant, ramp:TO/OVER, steps:BY/EVERY, bursts:PEAK/LASTS/EVERY,
    /// sine:SWING/PERIOD, or day:LASTS, a trading day with an opening auction.
    #[arg(long, value_name = "SHAPE", default_value = "constant", requires = "rate")]
    shape: Shape,

    #[command(flatten)]
    pub(super) effort: EffortArgs,

    /// Write what was sent here, as JSON, for `loadgen audit`.
    #[arg(long, value_name = "FILE")]
    sent: Option<PathBuf>,

    /// Write a report of the run into this folder: report.html, a page with plots; report.json, its figures; and
    /// latencies as .hgrm, for plotters of such histograms.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

/// What a run takes of this machine.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Sending")]
pub(super) struct EffortArgs {
    /// Threads that prepare messages. The messages are the same for any number.
    #[arg(long, default_value_t = 2)]
    pub(super) threads: usize,

    /// Calls of `SendMessageBatch` in flight at a time.
    #[arg(long, default_value_t = 16)]
    pub(super) senders: usize,
}

impl PaceArgs {
    pub(super) fn pace(&self) -> Pace {
        self.rate.map_or(Pace::AsTaken, |ticks_per_s| Pace::Rate { ticks_per_s, shape: self.shape })
    }
}

/// A source on its way to a queue.
pub(super) struct Delivery<'a> {
    pub(super) source: Source,
    /// How many ticks the source has, where that is known before.
    pub(super) ticks: Option<u64>,
    /// What random disturbances follow from.
    pub(super) seed: u64,
    pub(super) pace: Pace,
    pub(super) packing: &'a PackingArgs,
    pub(super) disturb: &'a DisturbArgs,
    pub(super) sending: &'a PaceArgs,
    pub(super) observe: &'a ObserveArgs,
    pub(super) to: &'a Destination,
    pub(super) truth: Option<&'a PathBuf>,
}

impl Delivery<'_> {
    /// Sends everything, prints a summary and writes the files that were asked for.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let EffortArgs { threads, senders } = self.sending.effort;
        let (pace, disturbance) = (self.pace, self.disturb.disturbance(self.seed));
        let plan = Plan { pace, disturbance, threads, senders, ..Plan::new(self.source, self.packing.packing()?) };
        let mut signals = Signals::listen()?;
        let connection = self.to.connect(self.observe.alerts_queue_url()).await?;
        print_cost(self.ticks, self.packing)?;
        let observer = self.observe.observer(self.to, &connection).await?;
        let progress = Arc::new(Progress::watched(observer.watch()));
        let sending = run(connection.client, self.to.queue_urls(), plan, progress.clone());
        let look = Look { progress: &progress, pace, ticks: self.ticks, signals: &mut signals };
        let (sent, observed) = self.observe.observe(observer, sending, look, |_| {}).await?;
        let sent = sent.with_context(|| {
            format!(
                "{} ticks in {} messages are in the queue",
                progress.ticks.load(Ordering::Relaxed),
                progress.messages.load(Ordering::Relaxed)
            )
        })?;
        if let Some(path) = &self.sending.sent {
            write_file(path, |file| Ok(serde_json::to_writer(file, &sent)?))?;
        }
        if let Some(dir) = &self.sending.report {
            report::write(dir, &self.to.name(), Timestamp::now(), &sent, &observed)?;
        }
        if let Some(path) = self.truth {
            write_file(path, |file| truth::write_ndjson(&sent.truth, file))?;
        }
        writeln!(io::stdout(), "{sent}{observed}")?;
        // Whatever a script makes of the figures, it should not take them for true.
        Ok(if sent.is_valid() && observed.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Says what so many ticks cost on AWS, or a million where it is not known how many there are.
pub(super) fn print_cost(ticks: Option<u64>, packing: &PackingArgs) -> io::Result<()> {
    let cost = Cost::of(ticks.unwrap_or(1_000_000), packing.ticks_per_message());
    writeln!(io::stdout(), "on AWS     {cost}{}", if ticks.is_none() { ", for each million ticks" } else { "" })
}

/// What a run takes of AWS: what is sent has to be received and deleted, too.
struct Cost {
    requests: u64,
}

/// US dollars for a million requests to a standard queue, in most regions (<https://aws.amazon.com/sqs/pricing>, 2026).
const DOLLARS_PER_MILLION: f64 = 0.4;

/// A request is counted as one for each 64 KiB that it carries.
const REQUEST_BYTES: u64 = 64 << 10;

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
        write!(f, "about {dollars:.4} US dollars: {} requests to send, receive and delete", self.requests)
    }
}
