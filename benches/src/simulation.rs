//! `simulate`: fleets of the protocol's own state machines over simulated time, network, SQS, S3 and topic.
//!
//! Workers decide by [`ticklake_core::commit`]. Between these decisions they do what the engine's shell does. Bodies
//! and Parquet are left out: a message is a number of elements. A seed determines a whole world. The audit of its end
//! is the audit of a lake. This file does *not* own the rules.

mod kernel;
mod plan;

mod load;
mod sqs;
mod store;

mod network;

mod lease;
mod worker;

mod claims;
mod committer;
mod publisher;
mod receiver;

mod faults;
mod verdict;

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::figure::Figure;

pub use plan::Broken;
pub use verdict::Verdict;

use faults::Drain;
use network::World;
use plan::Plan;

/// Small worlds that `check exactly-once` runs, and their first seed.
const CHECKED: u64 = 2_000;
const FIRST: u64 = 1;

/// Runs one world from its start to its end.
fn run(plan: Plan, is_traced: bool) -> Verdict {
    let world = World::new(plan, is_traced);
    let hosts = faults::begin(&world);
    let drain = Drain::new(&world, &hosts);
    world.kernel.run(|| drain.is_over());
    let verdict = Verdict::on(&world);
    // Tasks and the world hold each other.
    hosts.borrow_mut().clear();
    world.kernel.clear();
    verdict
}

/// Runs a small world.
#[must_use]
pub fn small(seed: u64, broken: Option<Broken>, is_traced: bool) -> Verdict {
    run(Plan::small(seed, broken), is_traced)
}

/// Runs a fleet of 200 workers, 50 queues and a million messages.
#[must_use]
pub fn fleet(seed: u64) -> Verdict {
    run(Plan::fleet(seed), false)
}

/// The result of many small worlds.
#[derive(Debug, Clone, Default)]
pub struct Worlds {
    /// The sum over all of them.
    pub total: Verdict,
    /// The first seed with a violation.
    pub first_failure: Option<u64>,
    /// How long they took.
    pub took: Duration,
}

/// Runs small worlds, one for each of `seeds` seeds from `first` on.
#[must_use]
pub fn many(first: u64, seeds: u64, broken: Option<Broken>, is_traced: bool) -> Worlds {
    let started = Instant::now();
    let mut worlds = Worlds::default();
    for seed in first..first.saturating_add(seeds) {
        let verdict = small(seed, broken, is_traced);
        if verdict.violations() > 0 {
            worlds.first_failure.get_or_insert(seed);
        }
        worlds.total.add(&verdict);
    }
    worlds.took = started.elapsed();
    worlds
}

impl Worlds {
    fn per_minute(&self, seeds: u64) -> f64 {
        seeds as f64 * 60.0 / self.took.as_secs_f64().max(1e-9)
    }
}

/// The arguments of `simulate`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many small worlds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The seed of the first one
    #[arg(long, default_value_t = FIRST)]
    seed: u64,
    /// One world of 200 workers, 50 queues and a million messages instead
    #[arg(long)]
    fleet: bool,
    /// Print what happens in each world
    #[arg(long)]
    trace: bool,
    /// Break a rule, to see that the checks find it
    #[arg(long, hide = true)]
    broken: Option<Broken>,
}

/// Runs the command `simulate`. Returns whether nothing was violated.
pub fn simulate(args: &Args) -> anyhow::Result<bool> {
    let mut out = io::stdout();
    if args.fleet {
        let started = Instant::now();
        let verdict = fleet(args.seed);
        writeln!(out, "{verdict}\n{:.1} s, seed {}", started.elapsed().as_secs_f64(), args.seed)?;
        return Ok(verdict.violations() == 0);
    }
    let worlds = many(args.seed, args.seeds, args.broken, args.trace);
    writeln!(out, "{}\n{:.0} seeds per minute", worlds.total, worlds.per_minute(args.seeds))?;
    if let Some(seed) = worlds.first_failure {
        writeln!(out, "the first seed that fails is {seed}: simulate --seed {seed} --seeds 1 --trace")?;
    }
    Ok(worlds.first_failure.is_none())
}

/// The figures of `check exactly-once`: small worlds and a fleet.
pub fn figures(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let worlds = many(FIRST, CHECKED, None, false);
    let per_minute = worlds.per_minute(CHECKED);
    let name = format!("violations in {CHECKED} small worlds ({per_minute:.0} seeds per minute)");
    report(figure(&name, &worlds.total)).context("failed to report")?;
    if let Some(seed) = worlds.first_failure {
        writeln!(io::stdout(), "the first seed that fails is {seed}: simulate --seed {seed} --seeds 1 --trace")?;
    }
    report(figure("violations in a fleet of 200 workers and 50 queues", &fleet(FIRST))).context("failed to report")
}

fn figure(what: &str, verdict: &Verdict) -> Figure {
    let (kills, freezes, stops) = verdict.faults();
    let name = format!(
        "simulation: {what}: {} messages, {kills} crashes, {freezes} freezes, {stops} stops, {} copies, \
         {} moved to dead letters",
        verdict.messages, verdict.copies, verdict.moves
    );
    Figure { name: name.into(), measured: verdict.violations() as f64, at_most: 0.0 }
}

#[cfg(test)]
mod tests;
