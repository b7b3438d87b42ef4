//! `check TOPIC`: measures every figure that is claimed about a topic, and prints it beside its bound.

use std::io::{self, Write as _};
use std::process::ExitCode;

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
}

#[derive(Clone, Copy, ValueEnum)]
enum Topic {
    /// The size of the Parquet files, and what pruning saves
    Lake,
}

fn main() -> anyhow::Result<ExitCode> {
    let Command::Check { topic: Topic::Lake } = Args::parse().command;
    let mut passed = true;
    let mut out = io::stdout().lock();
    for figure in benches::lake::figures()? {
        let holds = figure.measured <= figure.at_most;
        passed &= holds;
        let verdict = if holds { "ok  " } else { "FAIL" };
        writeln!(out, "{verdict} {}: {:.3} (at most {})", figure.name, figure.measured, figure.at_most)?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
