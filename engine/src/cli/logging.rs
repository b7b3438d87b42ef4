//! Writes log lines to stderr, as text or JSON. The results of a command go to stdout.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Installs the log of the process. `RUST_LOG` or, if it is not set, `log.filter` says what is logged.
///
/// Does nothing if a log is installed already. Only the command line may call this: a process has one log, even if it
/// runs two engines.
pub fn install(log: &Log) {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    // Directives that do not parse are ignored. Those of `log.filter` were checked with the configuration.
    let filter = EnvFilter::builder().parse_lossy(from_environment.as_deref().unwrap_or(&log.filter));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = match log.format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    drop(installed);
}
