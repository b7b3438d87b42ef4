//! `ticklake local-aws`: SQS, S3 and SNS on loopback, until a signal.
//!
//! It owns nothing but the signal: the endpoint, its arguments and what it prints are the crate `localaws`.

use anyhow::Context;
use localaws::cli::ServeArgs;

use crate::cli::signals;

/// Serves until SIGTERM or SIGINT; `true` when it ended as asked.
pub async fn run(args: ServeArgs) -> anyhow::Result<bool> {
    let shutdown = signals::shutdown().context("failed to listen for signals")?;
    localaws::cli::serve(args, shutdown).await.context("failed to serve")?;
    Ok(true)
}
