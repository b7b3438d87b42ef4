//! `loadgen find-limit`: the highest rate that a queue and its consumer sustain.
//!
//! This file owns the trials. It does *not* own which rate is tried next, or what makes one too high ([`limit`]).

use std::{
    io::{self, Write},
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use jiff::SignedDuration;
use loadgen::{
    MarketConfig, Pace, Plan, Progress, Source, SpikeConfig,
    limit::{self, Limits, Search, Trial, Verdict},
    observe::Depth,
    run,
};

use super::{
    connect::{Connection, Destination},
    deliver::{EffortArgs, print_cost},
    market::MarketArgs,
    observe::{Look, ObserveArgs},
    packing::PackingArgs,
    signals::Signals,
};

/// Sequence numbers that a trial has for each symbol.
const TRIAL_SEQS: i64 = 1 << 40;

/// How often it is looked whether the queues are empty.
const LOOK: Duration = Duration::from_millis(500);

/// Find the highest rate that a queue and its consumer sustain.
///
/// Sends the model market at one rate after the other, each for a while and from empty queues. A rate is sustained when
/// ticks are in the lake soon enough after they were due, at the 99th percentile, and the messages that wait do not
/// grow in number. Rates are doubled until one is too much, then tried in between. Prints each trial as it ends, and
/// the limit last; exits with status 1 where none was found.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:

  How much an engine sustains that is to have ticks in the lake within 5 s:
    loadgen find-limit --queue-url http://127.0.0.1:4566/000000000000/ticks --lake ./local-aws/lake --latency-max 5s

  The same for plain producers, closer, with the curve as a page:
    loadgen find-limit --queue-url http://127.0.0.1:4566/000000000000/ticks --lake ./local-aws/lake \\
      --pack 1 --precision 0.02 --report limit")]
pub(super) struct FindLimitArgs {
    /// How soon ticks are to be in the lake after they were due, at the 99th percentile.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    latency_max: SignedDuration,

    /// How long each rate is tried. A consumer that collects ticks before it stores them needs a few times as long as
    /// it does.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    trial: SignedDuration,

    /// Ticks per second to begin with.
    #[arg(long, value_name = "TICKS", default_value = "10000")]
    from: NonZeroU64,

    /// Not to try more ticks per second than that.
    #[arg(long, value_name = "TICKS", default_value = "10000000")]
    to: NonZeroU64,

    /// How close to the limit to come, as a share of it.
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    precision: f64,

    #[command(flatten)]
    traded: MarketArgs,

    /// Write the curve into this folder: limit.html, a page, and limit.json.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,

    #[command(flatten)]
    packing: PackingArgs,

    #[command(flatten)]
    effort: EffortArgs,

    #[command(flatten)]
    observe: ObserveArgs,

    #[command(flatten)]
    to_queues: Destination,
}

impl FindLimitArgs {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        ensure!(self.observe.has_lake(), "failed to look for a limit: --lake says where ticks are to appear");
        ensure!((1e-4..1.0).contains(&self.precision), "--precision is a share from 0.0001 to below 1");
        let latency_max = Duration::try_from(self.latency_max).context("--latency-max is negative")?;
        let span = Duration::try_from(self.trial).context("--trial is negative")?;
        ensure!(span >= Duration::from_secs(4), "--trial is at least 4s: a backlog has to have time to grow");
        let limits = Limits { from: self.from.get(), to: self.to.get(), precision: self.precision };
        let mut finding = Finding {
            connection: self.to_queues.connect(self.observe.alerts_queue_url()).await?,
            signals: Signals::listen()?,
            search: Search::new(limits),
            trials: Vec::new(),
            span,
            latency_max,
        };
        print_cost(None, &self.packing)?;
        let outcome = self.search(&mut finding).await;
        // What was found until then is worth something whatever has ended it.
        if let Some(dir) = self.report.as_ref().filter(|_| !finding.trials.is_empty()) {
            limit::write(dir, &self.to_queues.name(), &finding.trials, latency_max)?;
        }
        let found = finding.conclusion();
        print(&found)?;
        outcome?;
        Ok(if finding.best().is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Tries rates until the limit is found, or somebody stops it.
    async fn search(&self, finding: &mut Finding) -> anyhow::Result<()> {
        print(&format!(
            "{:>12} {:>12} {:>11} {:>9} {:>9} {:>9} {:>11}  verdict",
            "asked/s", "sent/s", "messages/s", "p50 s", "p99 s", "waiting", "growth/s"
        ))?;
        while let Some(rate) = finding.search.next_rate() {
            let trial = self.try_rate(rate, finding).await.with_context(|| format!("failed at {rate} ticks/s"))?;
            if finding.signals.any() {
                break;
            }
            print(&line(&trial))?;
            finding.search.tell(rate, trial.verdict == Verdict::Sustained);
            finding.trials.push(trial);
            if !self.wait_until_empty(finding).await? {
                break;
            }
        }
        Ok(())
    }

    /// What becomes of a rate.
    async fn try_rate(&self, rate: u64, finding: &mut Finding) -> anyhow::Result<Trial> {
        let market = self.market(rate, finding.trials.len(), finding.span);
        let ticks = Some(market.ticks);
        let pace = Pace::even(NonZeroU64::new(rate).context("a rate of nothing")?);
        let EffortArgs { threads, senders } = self.effort;
        let plan = Plan { pace, threads, senders, ..Plan::new(Source::Market(market), self.packing.packing()?) };
        let observer = self.observe.observer(&self.to_queues, &finding.connection).await?;
        let progress = Arc::new(Progress::watched(observer.watch()));
        let client = finding.connection.client.clone();
        let sending = run(client, self.to_queues.queue_urls(), plan, progress.clone());
        let (stop, latency_max) = (progress.clone(), finding.latency_max);
        let end_if_hopeless = |second: &_| {
            if Trial::is_hopeless(second, latency_max) {
                stop.stop.store(true, Ordering::Relaxed);
            }
        };
        let look = Look { progress: &progress, pace, ticks, signals: &mut finding.signals };
        let (sent, observed) = self.observe.observe(observer, sending, look, end_if_hopeless).await?;
        Ok(Trial::judge(rate, &sent?, &observed, latency_max))
    }

    /// A market as long as the trial and after those of the trials before it, so that none of its ticks is late, with
    /// sequence numbers of its own, so that none of theirs is taken for one of its ticks.
    fn market(&self, rate: u64, number: usize, span: Duration) -> MarketConfig {
        let default = MarketConfig::default();
        MarketConfig {
            seed: self.traded.seed.wrapping_add(number as u64),
            symbols: self.traded.symbols,
            zipf: self.traded.zipf,
            ticks: (rate as f64 * span.as_secs_f64()) as u64,
            first_seq: TRIAL_SEQS * number as i64,
            start_us: default.start_us + (span.as_micros() as i64).saturating_mul(number as i64),
            span,
            spikes: SpikeConfig { count: 0, ..default.spikes.clone() },
            ..default
        }
    }

    /// Waits until nobody has a message any more; `false` where somebody stops it.
    async fn wait_until_empty(&self, finding: &mut Finding) -> anyhow::Result<bool> {
        let (since, patience) = (Instant::now(), self.observe.patience()?);
        loop {
            // A queue that does not say what it holds is asked again.
            let depth = Depth::of(&finding.connection.client, self.to_queues.queue_urls()).await;
            if depth.as_ref().is_ok_and(|depth| *depth == Depth::default()) {
                return Ok(true);
            }
            if since.elapsed() >= patience {
                let depth = depth?;
                bail!(
                    "the queues still hold {} messages, {} of them in flight: is the consumer running? --patience waits for longer",
                    depth.waiting + depth.in_flight,
                    depth.in_flight
                );
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = finding.signals.next() => return Ok(false),
            }
        }
    }
}

/// A search that goes on.
struct Finding {
    connection: Connection,
    signals: Signals,
    search: Search,
    trials: Vec<Trial>,
    span: Duration,
    latency_max: Duration,
}

impl Finding {
    fn trial(&self, rate: Option<u64>) -> Option<&Trial> {
        self.trials.iter().find(|trial| Some(trial.asked_per_s) == rate)
    }

    /// The highest rate that was sustained.
    fn best(&self) -> Option<&Trial> {
        self.trial(self.search.found().0)
    }

    fn conclusion(&self) -> String {
        let (_, too_much) = self.search.found();
        match (self.best(), self.trial(too_much)) {
            (Some(best), Some(more)) if more.verdict == Verdict::Generator => format!(
                "limit        at least {} ticks/s, {:.0} messages/s; at {} the generator could not keep its own schedule:\n             \
                give it more --threads, larger messages, or a machine of its own",
                best.asked_per_s, best.messages_per_s, more.asked_per_s
            ),
            (Some(best), Some(more)) => {
                let help = if more.verdict == Verdict::NotTaken { ": are there enough --senders?" } else { "" };
                format!(
                    "limit        {} ticks/s, {:.0} messages/s; {} ticks/s were too much: {}{help}",
                    best.asked_per_s, best.messages_per_s, more.asked_per_s, more.verdict
                )
            }
            (Some(best), None) => format!("limit        above {} ticks/s, which are sustained", best.asked_per_s),
            (None, _) => "limit        not found: nothing that was tried is sustained".to_owned(),
        }
    }
}

fn line(trial: &Trial) -> String {
    format!(
        "{:>12} {:>12.0} {:>11.0} {:>9.3} {:>9.3} {:>9} {:>11.1}  {}",
        trial.asked_per_s,
        trial.sent_per_s,
        trial.messages_per_s,
        trial.p50_s,
        trial.p99_s,
        trial.waiting,
        trial.growth_per_s,
        trial.verdict
    )
}

fn print(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
