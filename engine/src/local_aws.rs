//! `ticklake local-aws`: SQS, S3 and SNS on loopback, until a signal.
//!
//! This file owns what is printed about the endpoint. It does *not* own the endpoint, which is the crate `localaws`.

use std::io::{self, Write};

use anyhow::Context;
use localaws::{LocalAws, Options};

use crate::cli::{LocalAwsArgs, signals};

/// Serves until SIGTERM or SIGINT; `true` when it ended as asked.
pub async fn run(args: LocalAwsArgs) -> anyhow::Result<bool> {
    let shutdown = signals::shutdown().context("failed to listen for signals")?;
    let LocalAwsArgs { listen, data, region } = args;
    let options = Options { listen, data_dir: data.clone(), region: region.clone() };
    let local = LocalAws::start(options).await.with_context(|| format!("failed to serve on {listen}"))?;
    let url = local.url();
    let introduction = format!(
        "\
# SQS, S3 and SNS at {url}, objects below {}; Ctrl-C ends it. In another shell:
export AWS_ENDPOINT_URL={url}
export AWS_REGION={region}
export AWS_ACCESS_KEY_ID=local
export AWS_SECRET_ACCESS_KEY=local
",
        data.display()
    );
    io::stdout().write_all(introduction.as_bytes()).context("failed to print the endpoint")?;
    shutdown.await;
    local.shutdown().await;
    Ok(true)
}
