//! `ticklake local-aws`: SQS, S3 and SNS on loopback, until a signal.
//!
//! It owns only the signal. It does *not* own the endpoint, its arguments and its output: the crate `localaws` does.

use anyhow::Context;
use localaws::cli::ServeArgs;

use crate::cli::signals;

/// Serves until SIGTERM or SIGINT; `true` when it ended as asked.
pub async fn run(args: ServeArgs) -> anyhow::Result<bool> {
    let shutdown = signals::shutdown().context("failed to listen for signals")?;
    localaws::cli::serve(args, shutdown).await.context("failed to serve")?;
    Ok(true)
}
