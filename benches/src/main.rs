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
    },
    /// The process that `check localaws` measures
    #[command(hide = true)]
    ServeLocalAws { dir: PathBuf },
}

#[derive(Clone, Copy, ValueEnum)]
enum Topic {
    /// What a tick costs in CPU, beside the parsers that others would begin with
    HotPath,
    /// The size of the Parquet files, and what pruning saves
    Lake,
    /// What the local endpoint costs in CPU time and memory
    Localaws,
}

fn main() -> anyhow::Result<ExitCode> {
    let topic = match Args::parse().command {
        Command::Check { topic } => topic,
        Command::ServeLocalAws { dir } => return benches::localaws::serve(&dir).map(|()| ExitCode::SUCCESS),
    };
    let mut passed = true;
    let mut report = |figure: Figure| {
        passed &= figure.holds();
        writeln!(io::stdout(), "{figure}")
    };
    match topic {
        Topic::HotPath => benches::hot_path::figures(&mut report)?,
        Topic::Lake => benches::lake::figures(&mut report)?,
        Topic::Localaws => benches::localaws::figures(&mut report)?,
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
