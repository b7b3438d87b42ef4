//! `check TOPIC`: measures every figure that the project claims about a topic, and prints it beside its bound.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benches::exactly_once::harass::Rounds;
use benches::exactly_once::{Endpoints, Engine, Options};
use benches::figure::Figure;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures what ticklake claims.
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure each figure of a topic and compare it with its bound; exit status 1 if one exceeds it
    Check {
        /// What to measure
        topic: Topic,
        /// For the topics `detection`, `hot-path` and `lake`, a Parquet file of trades, preset `us-equity-trades`
        #[arg(long, value_name = "FILE")]
        trades: Option<PathBuf>,
        /// For `exactly-once`, how many rounds of killing and freezing workers
        #[arg(long, value_name = "ROUNDS", default_value_t = 100)]
        rounds: u64,
        /// For `exactly-once`, the seed of the rounds; it is printed, so that you can repeat a run
        #[arg(long, value_name = "SEED")]
        seed: Option<u64>,
        /// For `structure`, build two commits from nothing as well and compare the CPU time; takes half an hour
        #[arg(long)]
        build: bool,
    },
    /// Print what each way to store each column of a tick costs, in bytes and in time
    Encodings {
        /// A Parquet file of trades to measure as well, preset `us-equity-trades`
        #[arg(long, value_name = "FILE")]
        trades: Option<PathBuf>,
    },
    /// Play scenarios in which workers are killed, frozen, cut off and more; exit status 1 if anything is lost or
    /// doubled
    Harass(HarassArgs),
    /// Run the commit protocol's own code in simulated fleets, each from its seed; exit status 1 if anything is lost or
    /// doubled
    Simulate(benches::simulation::Args),
    /// The process that `check localaws` measures
    #[command(hide = true)]
    ServeLocalAws { dir: PathBuf },
    /// `ticklake run` in this program, so that the engine is never older than the check that measures it
    #[command(hide = true)]
    Engine(ticklake::cli::RunArgs),
    /// The plainest consumer of a queue; `check sqs-edge` compares the engine with it
    #[command(hide = true)]
    PlainConsumer { endpoint: String, queue: String, messages: usize },
    /// The audit that `check loadgen` measures
    #[command(hide = true)]
    AuditLake { lake: PathBuf, sent: PathBuf },
}

#[derive(Args)]
struct HarassArgs {
    /// How many scenarios to draw
    #[arg(long, default_value_t = 1_000)]
    rounds: u64,
    /// The seed of the scenarios; it is printed, so that you can repeat a run
    #[arg(long)]
    seed: Option<u64>,
    /// Play only this round of the seed
    #[arg(long, requires = "seed", conflicts_with = "rounds")]
    round: Option<u64>,
    /// Play only this scenario, in its printed form
    #[arg(long, value_name = "LINE", conflicts_with_all = ["rounds", "seed", "round"])]
    scenario: Option<String>,
    /// Do not look for a smaller scenario that fails
    #[arg(long)]
    no_shrink: bool,
    /// The `ticklake` program to test, in place of this program's engine
    #[arg(long, value_name = "PROGRAM")]
    engine: Option<PathBuf>,
    /// Leave logs and lakes of rounds that fail in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// A server that speaks like SQS; scenarios that need faults of the local endpoint are left out
    #[arg(long, value_name = "URL")]
    queue_endpoint: Option<String>,
    /// A server that speaks like S3
    #[arg(long, value_name = "URL")]
    store_endpoint: Option<String>,
}

impl HarassArgs {
    fn run(self, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
        let Self { rounds, seed, round, scenario, no_shrink, engine, keep, queue_endpoint, store_endpoint } = self;
        let rounds = match (scenario, seed, round) {
            (Some(line), ..) => Rounds::Scenario(line),
            (None, Some(seed), Some(round)) => Rounds::One { seed, round },
            (None, seed, _) => Rounds::Many { rounds, seed },
        };
        let endpoints = Endpoints { queue: queue_endpoint, store: store_endpoint };
        let options = Options { engine: Engine { program: engine }, endpoints, keep };
        benches::exactly_once::harass::figures(&rounds, &options, !no_shrink, report)
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Topic {
    /// Which events the detectors find in recorded trades, and how often they alert without an event
    Detection,
    /// What a tick costs in CPU, beside the parsers that others would begin with
    HotPath,
    /// How fast the load generator is, and whether its figures are right
    Loadgen,
    /// The size of the Parquet files, and what pruning saves
    Lake,
    /// What the local endpoint costs in CPU time and memory
    Localaws,
    /// How much faster two cores are than one
    Pipeline,
    /// What is lost and doubled while workers are killed and frozen, and what the guarantee of exactly once costs
    ExactlyOnce,
    /// What draining SQS costs beside the plain SDK, and which failures the SQS edge survives
    SqsEdge,
    /// Whether the sources keep the project's rules, and what a build costs
    Structure,
}

/// The environment variable with the path of the trades, for machines that keep them.
const TRADES: &str = "TICKLAKE_TRADES";

fn trades_by_environment() -> Option<PathBuf> {
    std::env::var_os(TRADES).map(PathBuf::from)
}

fn main() -> anyhow::Result<ExitCode> {
    let mut passed = true;
    let mut report = |figure: Figure| {
        passed &= figure.holds();
        writeln!(io::stdout(), "{figure}")
    };
    match CommandLine::parse().command {
        Command::Check { topic: Topic::Structure, build, .. } => {
            benches::structure::figures(build, &mut report, &mut |line| writeln!(io::stdout(), "     {line}"))?;
        }
        Command::Check { topic, trades, rounds, seed, .. } => {
            let trades = trades.or_else(trades_by_environment).filter(|trades| trades.exists());
            check(topic, trades.as_deref(), rounds, seed, &mut report)?;
        }
        Command::Encodings { trades } => {
            let trades = trades.or_else(trades_by_environment);
            benches::encodings::print(trades.as_deref(), &mut io::stdout())?;
        }
        Command::ServeLocalAws { dir } => benches::localaws::serve(&dir)?,
        Command::Harass(args) => args.run(&mut report)?,
        Command::Simulate(args) => {
            let passed = benches::simulation::simulate(&args)?;
            return Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Engine(args) => benches::fleet::engine(&args)?,
        Command::PlainConsumer { endpoint, queue, messages } => {
            benches::sqs_edge::plain::consume(&endpoint, &queue, messages)?;
        }
        Command::AuditLake { lake, sent } => benches::generator::audit_lake(&lake, &sent)?,
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(
    topic: Topic,
    trades: Option<&Path>,
    rounds: u64,
    seed: Option<u64>,
    report: &mut impl FnMut(Figure) -> io::Result<()>,
) -> anyhow::Result<()> {
    match topic {
        Topic::Detection => benches::detection::figures(trades, report)?,
        Topic::HotPath => benches::hot_path::figures(trades, report)?,
        Topic::Lake => benches::lake::figures(trades, report)?,
        Topic::Pipeline => benches::pipeline::figures(report)?,
        Topic::ExactlyOnce => benches::exactly_once::figures(rounds, seed, report)?,
        Topic::SqsEdge => benches::sqs_edge::figures(report)?,
        Topic::Loadgen => benches::generator::figures(report)?,
        Topic::Localaws => benches::localaws::figures(report)?,
        // The caller runs this topic, because it needs more arguments than the others.
        Topic::Structure => {}
    }
    if matches!(topic, Topic::Detection | Topic::HotPath | Topic::Lake) && trades.is_none() {
        writeln!(io::stdout(), "skipped the figures of recorded trades: give a file with --trades or {TRADES}")?;
    }
    Ok(())
}
