//! The commands and what they print: results on stdout, progress on stderr.

mod audit;
mod connect;
mod deliver;
mod fetch;
mod find_limit;
mod mapping;
mod market;
mod observe;
mod packing;
mod plant;
mod replay;
mod score;
mod send;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Puts a consumer of market ticks on Amazon SQS to the test: sends it ticks, then checks what it made of them.
///
/// The usual round is three steps:
///
///   1. `loadgen send` fills a queue and writes down what it sent (`--sent`) and which anomalies it planted
///      (`--truth`).
///   2. The consumer drains the queue into Parquet files.
///   3. `loadgen audit` compares the two: every tick there, once, unaltered.
///
/// How much it sustains is found by `loadgen find-limit`, while it runs.
///
/// How good its alerts are is measured on recorded trades:
///
///   1. `loadgen plant` alters a recording by known events and lists them (`--truth`).
///   2. The consumer is sent the result by `loadgen replay --preset ticklake`, or reads it.
///   3. `loadgen score` compares its alerts with that list.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Send(Box<send::SendArgs>),
    Replay(Box<replay::ReplayArgs>),
    FindLimit(Box<find_limit::FindLimitArgs>),
    Audit(audit::AuditArgs),
    Plant(Box<plant::PlantArgs>),
    Score(score::ScoreArgs),
}

impl Args {
    /// Runs the command; the exit status is 1 where an audit is not clean, a run is worth nothing, or no limit was
    /// found.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Send(args) => args.run().await,
            Command::Replay(args) => args.run().await,
            Command::FindLimit(args) => args.run().await,
            Command::Audit(args) => args.run().await,
            Command::Plant(args) => args.run(),
            Command::Score(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
    }

    /// Every line of a help text that begins with the command's name is one that a reader may paste.
    #[test]
    fn every_example_in_the_help_parses() {
        let mut examples = 0;
        for command in Args::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            let joined = help.replace("\\\n", " ");
            for line in joined.lines().map(str::trim).filter(|line| line.starts_with("loadgen ")) {
                examples += 1;
                assert!(Args::try_parse_from(line.split_whitespace()).is_ok(), "{line}");
            }
        }
        assert!(examples >= 10, "{examples}");
    }
}
