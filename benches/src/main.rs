//! `check TOPIC`: measures every figure that is claimed about a topic, and prints it beside its bound.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use benches::figure::Figure;
use clap::{Parser, Subcommand, ValueEnum};

/// Measures what ticklake claims.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure each figure of a topic and compare it with its bound; exit status 1 where one falls short
    Check {
        /// What to measure
        topic: Topic,
        /// For the topics `detection`, `hot-path` and `lake`, a Parquet file of trades, preset `us-equity-trades`
        #[arg(long, value_name = "FILE")]
        trades: Option<PathBuf>,
        /// For `exactly-once`, how many rounds of killing and freezing workers
        #[arg(long, value_name = "ROUNDS", default_value_t = 100)]
        rounds: u64,
        /// For `exactly-once`, from what the moments of these follow; printed, so that a run can be repeated
        #[arg(long, value_name = "SEED")]
        seed: Option<u64>,
    },
    /// Print what each way to store each column of a tick costs, in bytes and in time
    Encodings {
        /// A Parquet file of trades to measure as well, preset `us-equity-trades`
        #[arg(long, value_name = "FILE")]
        trades: Option<PathBuf>,
    },
    /// Kill and freeze workers, and cut them off, for as many rounds as wanted; exit status 1 where anything is lost or doubled
    Harass {
        #[arg(long, default_value_t = 1_000)]
        rounds: u64,
        /// From what the moments follow; printed, so that a run can be repeated
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The process that `check localaws` measures
    #[command(hide = true)]
    ServeLocalAws { dir: PathBuf },
    /// `ticklake run`, in this program, which cannot be an older one than what measures it
    #[command(hide = true)]
    Engine(ticklake::cli::RunArgs),
    /// The plainest consumer of a queue, beside which `check sqs-edge` measures the engine
    #[command(hide = true)]
    PlainConsumer { endpoint: String, queue: String, messages: usize },
    /// The audit that `check loadgen` measures
    #[command(hide = true)]
    AuditLake { lake: PathBuf, sent: PathBuf },
}

#[derive(Clone, Copy, ValueEnum)]
enum Topic {
    /// What is found of events in recorded trades, and what is alerted where there is none
    Detection,
    /// What a tick costs in CPU, beside the parsers that others would begin with
    HotPath,
    /// How fast the load generator is, and whether it tells the truth
    Loadgen,
    /// The size of the Parquet files, and what pruning saves
    Lake,
    /// What the local endpoint costs in CPU time and memory
    Localaws,
    /// How much faster two cores are than one
    Pipeline,
    /// What is lost and doubled while workers are killed and frozen, and what it costs to lose and double nothing
    ExactlyOnce,
    /// What draining SQS costs, beside the plain SDK, and what the edge endures
    SqsEdge,
}

/// The environment variable that may say where the trades are, for machines that keep them.
const TRADES: &str = "TICKLAKE_TRADES";

fn trades_by_environment() -> Option<PathBuf> {
    std::env::var_os(TRADES).map(PathBuf::from)
}

fn main() -> anyhow::Result<ExitCode> {
    let (topic, trades, rounds, seed) = match Args::parse().command {
        Command::Check { topic, trades, rounds, seed } => {
            (Some(topic), trades.or_else(trades_by_environment), rounds, seed)
        }
        Command::Encodings { trades } => {
            let trades = trades.or_else(trades_by_environment);
            return benches::encodings::print(trades.as_deref(), &mut io::stdout()).map(|()| ExitCode::SUCCESS);
        }
        Command::ServeLocalAws { dir } => return benches::localaws::serve(&dir).map(|()| ExitCode::SUCCESS),
        Command::Harass { rounds, seed } => (None, None, rounds, seed),
        Command::Engine(args) => return benches::fleet::engine(&args).map(|()| ExitCode::SUCCESS),
        Command::PlainConsumer { endpoint, queue, messages } => {
            return benches::sqs_edge::plain::consume(&endpoint, &queue, messages).map(|()| ExitCode::SUCCESS);
        }
        Command::AuditLake { lake, sent } => {
            return benches::generator::audit_lake(&lake, &sent).map(|()| ExitCode::SUCCESS);
        }
    };
    let mut passed = true;
    let mut report = |figure: Figure| {
        passed &= figure.holds();
        writeln!(io::stdout(), "{figure}")
    };
    let trades = trades.filter(|trades| trades.exists());
    match topic {
        None => benches::exactly_once::harass_figures(rounds, seed, &mut report)?,
        Some(Topic::Detection) => benches::detection::figures(trades.as_deref(), &mut report)?,
        Some(Topic::HotPath) => benches::hot_path::figures(trades.as_deref(), &mut report)?,
        Some(Topic::Lake) => benches::lake::figures(trades.as_deref(), &mut report)?,
        Some(Topic::Pipeline) => benches::pipeline::figures(&mut report)?,
        Some(Topic::ExactlyOnce) => benches::exactly_once::figures(rounds, seed, &mut report)?,
        Some(Topic::SqsEdge) => benches::sqs_edge::figures(&mut report)?,
        Some(Topic::Loadgen) => benches::generator::figures(&mut report)?,
        Some(Topic::Localaws) => benches::localaws::figures(&mut report)?,
    }
    if matches!(topic, Some(Topic::Detection | Topic::HotPath | Topic::Lake)) && trades.is_none() {
        writeln!(io::stdout(), "skip what is about recorded trades: no file at --trades or {TRADES}")?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
