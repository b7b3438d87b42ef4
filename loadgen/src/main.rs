//! The command `loadgen`: sends model or recorded ticks to an SQS queue, audits what became of them, and scores alerts.
//!
//! This file owns the exit status; the commands are in `cli`.

mod cli;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    cli::Args::parse().run().await
}
