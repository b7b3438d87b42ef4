//! `ticklake demo`: the whole path on one machine, with a verdict.
//!
//! It owns the order of events: start a local endpoint, send and drain at the same time, then read everything back. It
//! does *not* own the engine, the load generator and the endpoint: it uses their public interfaces.

mod progress;
mod subscriber;
mod verdict;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use loadgen::{Dialect, Layout, MarketConfig, Packing, Plan, Progress, Sent, Source};

use crate::adapters;
use crate::cli::{DemoArgs, signals};
use crate::clock::now_us;
use crate::config::{Config, Settings};
use crate::meter::Meters;
use crate::pipeline::{self, RunOptions};
use crate::sandbox::{BUCKET, Sandbox};

use progress::Bars;
use subscriber::Subscriber;
use verdict::Verdict;

/// The demo writes this file into its folder, so that it only removes folders that it made.
const MARKER: &str = ".ticklake-demo";

/// Event time that the demo's market spans. It ends within the last hour, because queries look there first.
const SPAN: Duration = Duration::from_hours(1);

/// With this many ticks per message or more, one sender, one poll and one decoder are fast enough, and keep the
/// messages in order. Several would shuffle the messages in flight. These have thousands of ticks of a busy symbol, and
/// the spike detector would see jumps.
const PACKED: u32 = 50;

/// How long the engine may receive nothing before the rest counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Runs the demo. Returns `true` if every tick is in the lake once and every planted spike has raised an alert.
pub async fn run(args: DemoArgs) -> anyhow::Result<bool> {
    let shutdown = signals::shutdown().context("failed to listen for signals")?;
    prepare(&args.dir)?;
    let sandbox = Sandbox::start(&args.dir).await?;
    let verdict = tokio::select! {
        verdict = drain_and_judge(&args, &sandbox) => verdict?,
        () = shutdown => bail!("interrupted; {} holds what was stored until then", args.dir.display()),
    };
    sandbox.aws.shutdown().await;
    write!(io::stdout(), "{verdict}").context("failed to print the summary")?;
    Ok(verdict.passed())
}

async fn drain_and_judge(args: &DemoArgs, sandbox: &Sandbox) -> anyhow::Result<Verdict> {
    let config = config(args, sandbox)?;
    let meters = Meters::new(&config);
    let progress = Arc::new(Progress::default());
    let subscriber = Subscriber::start(sandbox);
    let bars = Bars::start(args.ticks, progress.clone(), meters.stats.clone());

    let started = Instant::now();
    let ports = adapters::ports(&sandbox.clients, &config);
    let sending =
        loadgen::run(sandbox.clients.sqs.clone(), std::slice::from_ref(&sandbox.queue_url), plan(args)?, progress);
    let drained = async {
        let sent = sending.await.context("failed to send the ticks")?;
        everything_received(&meters, sent.messages).await;
        anyhow::Ok(sent)
    };
    let mut sent: Option<anyhow::Result<Sent>> = None;
    let shutdown = async { sent = Some(drained.await) };
    let outcome = pipeline::run(ports, &config, RunOptions::default(), meters.clone(), shutdown).await;
    let elapsed = started.elapsed();
    bars.finish().await;
    outcome.context("the engine failed")?;
    let sent = sent.context("the engine ended before everything was sent")??;

    let expected = meters.stats.alerts_published.get();
    let alerts = subscriber.finish(expected).await?;
    let lake = sandbox.lake.clone();
    let (report, sent) = tokio::task::spawn_blocking(move || (loadgen::audit(&lake, &sent), sent)).await?;
    let report = report.context("failed to read the lake back")?;
    Ok(Verdict::new(&sent, &report, &alerts, &meters.stats, elapsed, &sandbox.lake))
}

/// Waits until the engine has received `messages` messages. Then it may stop, because it commits what it holds. The
/// wait also ends if nothing comes any more; then the audit says what is missing.
async fn everything_received(meters: &Meters, messages: u64) {
    let (mut received, mut since) = (0, Instant::now());
    while received < messages && since.elapsed() < SILENCE_MAX {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = meters.stats.messages_received.get();
        if now > received {
            (received, since) = (now, Instant::now());
        }
    }
}

/// Makes an empty folder: a new one, or one that an earlier demo left.
fn prepare(dir: &Path) -> anyhow::Result<()> {
    let marker: PathBuf = dir.join(MARKER);
    let is_empty = dir.read_dir().map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !marker.exists() {
        bail!("{} is not empty, and not from an earlier demo; choose another folder with --dir", dir.display());
    }
    if !is_empty {
        std::fs::remove_dir_all(dir)
            .with_context(|| format!("failed to remove the earlier demo in {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
    std::fs::write(&marker, "The next `ticklake demo` removes this folder.\n")
        .with_context(|| format!("failed to write {}", marker.display()))
}

fn config(args: &DemoArgs, sandbox: &Sandbox) -> anyhow::Result<Config> {
    let mut settings = Settings::default();
    if args.per_message >= PACKED {
        (settings.queue.receivers_max, settings.threads.decode) = (1, 1);
    }
    // The verdict is about every planted spike, also one that soon follows a natural spike of the same symbol.
    settings.detect.cool_down = Duration::ZERO;
    (settings.alerts.per_minute_max, settings.alerts.market_symbols_min) = (0, 0);
    settings.queue.url.clone_from(&sandbox.queue_url);
    BUCKET.clone_into(&mut settings.lake.bucket);
    settings.alerts.topic_arn = Some(sandbox.topic_arn.clone());
    Ok(settings.validate()?)
}

fn plan(args: &DemoArgs) -> anyhow::Result<Plan> {
    let span_us = SPAN.as_micros() as i64;
    let hour_us = 3_600_000_000;
    let market = MarketConfig {
        seed: args.seed,
        symbols: args.symbols as usize,
        ticks: args.ticks,
        // The market starts at a full hour, so that one hour of it is one partition.
        start_us: (now_us() - span_us).div_euclid(hour_us) * hour_us,
        span: SPAN,
        ..MarketConfig::default()
    };
    let layout = if args.per_message == 1 { Layout::Object } else { Layout::Array };
    let packing = Packing::new(args.per_message as usize, layout, Dialect::Canonical)?;
    let all = Plan::new(Source::Market(market), packing);
    let senders = if args.per_message >= PACKED { 1 } else { all.senders };
    Ok(Plan { threads: args.threads as usize, senders, ..all })
}

/// Ids of alerts, and how often each arrived.
type Alerts = BTreeMap<String, usize>;
