//! The `ticklake` binary: reads the command line, loads the configuration, and hands both to the command.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use ticklake::aws::Clients;
use ticklake::check;
use ticklake::cli::{self, CheckArgs, Cli, Command, EXIT_FAILED, EXIT_USAGE};
use ticklake::config::sources::Loaded;
use ticklake::config::{Config, explain, print};
use ticklake::redact;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => cli::configure(&args.config).map(|config| execute(cli::run::run(&args, config))),
        Command::Check(args) if args.print => print_config(&args).map(|is_well| Ok(status(is_well))),
        Command::Check(CheckArgs { symbol: Some(symbol), config, .. }) => {
            print_rules(&symbol, &config).map(|is_well| Ok(status(is_well)))
        }
        Command::Check(args) => cli::configure(&args.config).map(|config| execute(check(config)).map(status)),
        Command::Decode(args) => Ok(cli::decode::run(&args).map(status)),
        Command::Detect(args) => Ok(cli::detect::run(&args).map(status)),
        Command::Completions { shell } => Ok(cli::manual::completions(shell).map(status)),
        Command::Man { dir } => Ok(cli::manual::man(dir.as_deref()).map(status)),
        #[cfg(feature = "local")]
        Command::LocalAws(args) => Ok(execute(ticklake::local_aws::run(args)).map(status)),
        #[cfg(feature = "local")]
        Command::Demo(args) => Ok(execute(ticklake::demo::run(args)).map(status)),
    };
    match outcome {
        Ok(Ok(status)) => ExitCode::from(status),
        Ok(Err(error)) => report(&error, EXIT_FAILED),
        Err(error) => report(&error, EXIT_USAGE),
    }
}

/// The exit status of a command that tells whether all went well.
fn status(is_well: bool) -> u8 {
    if is_well { 0 } else { EXIT_FAILED }
}

/// Runs a command to its end.
fn execute<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the I/O runtime")?;
    let outcome = runtime.block_on(command);
    // Otherwise a name that is still being resolved would hold up the exit, which has a deadline.
    runtime.shutdown_background();
    outcome
}

async fn check(config: Config) -> anyhow::Result<bool> {
    let clients = Clients::connect(&config).await;
    let report = check::check(&config, &clients).await;
    write!(io::stdout(), "{report}").context("failed to print the report")?;
    Ok(report.passed())
}

/// Prints the values even if they are invalid, and says what is wrong. So a configuration can be looked at before it is
/// complete.
fn print_config(args: &CheckArgs) -> anyhow::Result<bool> {
    let Loaded { settings, origins } = args.config.load(cli::variables())?;
    let text = print::toml(&settings, &origins).context("failed to print the configuration")?;
    io::stdout().write_all(text.as_bytes()).context("failed to print the configuration")?;
    if let Err(invalid) = settings.validate() {
        // The note goes to stderr, so that stdout is still a file to start from.
        writeln!(io::stderr(), "note: `ticklake run` would refuse this: {invalid}")
            .context("failed to print a note")?;
    }
    Ok(true)
}

fn print_rules(symbol: &str, config: &cli::ConfigArgs) -> anyhow::Result<bool> {
    let text = explain::rules(&config.load(cli::variables())?.settings.detect, symbol)?;
    io::stdout().write_all(text.as_bytes()).context("failed to print the rules")?;
    Ok(true)
}

/// The error and its causes, each on a line.
fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    let mut stderr = io::stderr().lock();
    // If stderr is gone, only the exit code tells of the error. An error may quote a file that does not parse, and that
    // file may hold a password.
    let _ = writeln!(stderr, "error: {}", redact::urls(&error.to_string()));
    for cause in error.chain().skip(1) {
        let _ = writeln!(stderr, "  because: {}", redact::urls(&cause.to_string()));
    }
    ExitCode::from(code)
}
