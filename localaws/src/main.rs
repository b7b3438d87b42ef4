//! The program `localaws`: only the server of this crate.

use std::{error::Error as _, fmt::Write as _, process::ExitCode};

use clap::Parser;
use localaws::cli::{self, ServeArgs};
use tokio::signal::ctrl_c;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

/// SQS, S3 and SNS on loopback, for tests, demos and measurements
#[derive(Parser)]
#[command(version, long_about = cli::ABOUT, after_help = cli::FAULTS, max_term_width = 110)]
struct Program {
    #[command(flatten)]
    serve: ServeArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match cli::serve(Program::parse().serve, stop()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("error: {error}\n");
            let mut cause = error.source();
            while let Some(error) = cause {
                let _written = writeln!(text, "  because: {error}");
                cause = error.source();
            }
            // If stderr is closed, nobody reads this. The exit code still shows the failure.
            let _told = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Resolves when somebody asks the server to end, by Ctrl-C or, on systems that have it, SIGTERM.
async fn stop() {
    #[cfg(unix)]
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            // Without signals, the process can still be killed, and loses nothing.
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    let interrupted = async {
        if ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = terminated => {}
        () = interrupted => {}
    }
}
