//! `ticklake run`: the engine over AWS, with its metrics, until a signal or the end of a drain.

use anyhow::{Context as _, bail};
use tracing::{error, warn};

use super::{EXIT_REJECTED, RunArgs, signals};
use crate::adapters;
use crate::aws::{Clients, place};
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::exporter::Exporter;
use crate::meter::Meters;
use crate::pipeline::{self, RunOptions};

/// Runs one engine to its end; returns the exit status.
pub async fn run(args: &RunArgs, config: Config) -> anyhow::Result<u8> {
    let shutdown = signals::shutdown().context("failed to listen for signals")?;
    let clients = Clients::connect(&config).await;
    for url in config.queue_urls() {
        if let Some(trouble) = place::misplaced(url, clients.sqs.config().region().map(AsRef::as_ref)) {
            bail!("{url}: {trouble}");
        }
    }
    let ports = adapters::ports(&clients, &config);
    let (options, meters) = (RunOptions { drain: args.drain }, Meters::new(&config));
    let endpoint = endpoint(&config, &meters).await?;
    pipeline::run(ports, &config, options, meters.clone(), shutdown).await?;
    if let Some(endpoint) = endpoint {
        endpoint.abort();
    }
    let rejected = meters.stats.ticks_rejected.get();
    if !args.drain || rejected == 0 {
        return Ok(0);
    }
    match meters.rejects.halted() {
        Some(why) => {
            error!(rejected, why, "the queue is not drained: receiving was halted");
        }
        None => {
            warn!(rejected, "the queue is drained, and some of its ticks were rejected: see the table `quarantine`");
        }
    }
    Ok(EXIT_REJECTED)
}

/// Serves metrics and health, if that is configured. If the address is taken, for example by another worker on the same
/// machine, the engine still drains the queue.
#[expect(clippy::disallowed_methods, reason = "the endpoint outlives the stages")]
async fn endpoint(config: &Config, meters: &Meters) -> anyhow::Result<Option<tokio::task::JoinHandle<()>>> {
    let Some(listen) = &config.metrics.listen else { return Ok(None) };
    let exporter = Exporter::new(meters.clone()).context("failed to set up the metrics")?;
    match Endpoint::bind(listen.parse()?, exporter).await {
        Ok(endpoint) => Ok(Some(tokio::spawn(endpoint.serve()))),
        Err(error) => {
            warn!(listen, %error, "failed to listen, so there are no metrics; set metrics.listen to another address, or to an empty string");
            Ok(None)
        }
    }
}
