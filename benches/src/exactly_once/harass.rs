//! Plays many rounds, several at a time. If a scenario fails, it looks for the smallest one that still fails.
//!
//! This file owns the figures of all rounds. It does *not* own a round.

use std::io::{self, Write as _};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::findings::{Fault, Findings, Happened};
use super::round::{Options, Outcome, play};
use super::scenario::Scenario;
use crate::figure::Figure;

/// Rounds at a time. Most of a round passes while messages of killed workers come back.
const TOGETHER: usize = 4;

/// Scenarios that the search for the smallest failing one tries.
const TRIES: usize = 32;

/// Which rounds to play.
#[derive(Debug, Clone)]
pub enum Rounds {
    /// Many rounds, from the first one of a seed.
    Many {
        /// How many.
        rounds: u64,
        /// The seed of the rounds. Without one, the system gives a seed.
        seed: Option<u64>,
    },
    /// One round of a seed.
    One {
        /// The seed of the round.
        seed: u64,
        /// Its number.
        round: u64,
    },
    /// A scenario in its printed form.
    Scenario(String),
}

/// The total of all rounds.
#[derive(Default)]
struct Total {
    rounds: u64,
    findings: Findings,
    happened: Happened,
    /// The first scenario that failed.
    failed: Option<Scenario>,
}

/// Plays rounds and reports their findings. If the caller wants it, makes a failing scenario smaller.
pub fn figures(
    rounds: &Rounds,
    options: &Options,
    shrinks: bool,
    report: &mut impl FnMut(Figure) -> io::Result<()>,
) -> anyhow::Result<()> {
    let seed = match rounds {
        Rounds::Many { seed, .. } => seed.unwrap_or_else(|| fastrand::u64(..1 << 32)),
        Rounds::One { seed, .. } => *seed,
        Rounds::Scenario(line) => line.parse::<Scenario>()?.seed,
    };
    let scenarios: Vec<Scenario> = match rounds {
        Rounds::Many { rounds, .. } => (0..*rounds).map(|round| Scenario::draw(seed, round)).collect(),
        Rounds::One { round, .. } => vec![Scenario::draw(seed, *round)],
        Rounds::Scenario(line) => vec![line.parse()?],
    };
    let scenarios = scenarios.into_iter().filter_map(|scenario| options.playable(scenario)).collect();
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime of the clients")?;
    let total = runtime.block_on(play_all(scenarios, options))?;
    if let Some(failed) = total.failed.clone().filter(|_| shrinks) {
        runtime.block_on(shrink(failed, options))?;
    }
    tell_figures(&total, seed, report).context("failed to report")
}

fn tell_figures(total: &Total, seed: u64, report: &mut impl FnMut(Figure) -> io::Result<()>) -> io::Result<()> {
    let Total { rounds, findings, happened, .. } = total;
    for fault in Fault::ALL {
        let besides = match fault {
            Fault::TickLost => format!(" in {rounds} rounds of seed {seed}: {happened}"),
            Fault::TickDoubled => {
                format!(", of {} copies handed out and {} dead letters", happened.copies, happened.dead_letters)
            }
            Fault::RejectLost => format!(" of {}", happened.rejects),
            Fault::AlertUnstored => format!(", of {}", happened.alerts),
            Fault::AlertOther => format!(", in {} rounds", happened.compared),
            _ => String::new(),
        };
        let name = format!("{}{besides}", fault.name());
        report(Figure { name: name.into(), measured: findings.of(fault) as f64, at_most: 0.0 })?;
    }
    Ok(())
}

async fn play_all(scenarios: Vec<Scenario>, options: &Options) -> anyhow::Result<Total> {
    let mut total = Total::default();
    let mut waiting = scenarios.into_iter();
    let mut playing = JoinSet::new();
    loop {
        while playing.len() < TOGETHER
            && let Some(scenario) = waiting.next()
        {
            let options = options.clone();
            playing.spawn(async move { (play(&scenario, &options).await, scenario) });
        }
        let Some(ended) = playing.join_next().await else { return Ok(total) };
        let (outcome, scenario) = ended.context("a round broke")?;
        let Outcome { findings, happened } = outcome.with_context(|| format!("failed to play {scenario}"))?;
        total.rounds += 1;
        total.findings += &findings;
        total.happened += happened;
        if !findings.is_clean() {
            let repeat = format!("harass --seed {} --round {}", scenario.seed, scenario.round);
            tell(&format!("{scenario}\nfails, {COMMAND} {repeat} repeats it:\n{findings}"));
            total.failed.get_or_insert(scenario);
        }
    }
}

/// The beginning of every command that repeats a round or a scenario.
const COMMAND: &str = "cargo run --release -p benches --";

/// Leaves out of a failing scenario what the failure does not need, and prints the rest.
async fn shrink(mut failing: Scenario, options: &Options) -> anyhow::Result<()> {
    let mut tries = TRIES;
    let mut last = None;
    loop {
        let candidates = failing.smaller();
        let mut smaller = None;
        for some in candidates.chunks(TOGETHER) {
            let some = &some[..some.len().min(tries)];
            tries -= some.len();
            smaller = first_failing(some, options).await?;
            if smaller.is_some() || tries == 0 {
                break;
            }
        }
        let Some((scenario, findings)) = smaller else { break };
        tell(&format!("a smaller scenario fails too, {tries} tries left: {scenario}"));
        (failing, last) = (scenario, Some(findings));
        if tries == 0 {
            break;
        }
    }
    let findings = last.map_or_else(|| "  nothing could be left out".to_owned(), |findings| findings.to_string());
    tell(&format!("the smallest scenario that fails; {COMMAND} harass --scenario '{failing}' repeats it:\n{findings}"));
    Ok(())
}

/// Plays all scenarios at a time, and returns the first that fails.
async fn first_failing(scenarios: &[Scenario], options: &Options) -> anyhow::Result<Option<(Scenario, Findings)>> {
    let mut playing = JoinSet::new();
    for (at, scenario) in scenarios.iter().cloned().enumerate() {
        let options = options.clone();
        playing.spawn(async move { (at, play(&scenario, &options).await, scenario) });
    }
    let mut ended = playing.join_all().await;
    ended.sort_by_key(|(at, ..)| *at);
    for (_, outcome, scenario) in ended {
        let findings = outcome?.findings;
        if !findings.is_clean() {
            return Ok(Some((scenario, findings)));
        }
    }
    Ok(None)
}

/// Prints findings for the person who looks for the cause.
fn tell(text: &str) {
    // If stderr is closed, nobody reads this. The figures still show the failure.
    let _ = writeln!(io::stderr(), "{text}\n");
}
