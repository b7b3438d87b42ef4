//! Engines in processes of their own, with the endpoint in another process. `check sqs-edge` and `check exactly-once`
//! are built on it.

pub(crate) mod callgrind;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod scene;
pub(crate) mod topic;

use std::time::Duration;

use anyhow::Context as _;

/// A process that has not ended by then never will.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// The engine's process: `ticklake run`, with its configuration from the environment.
pub fn engine(args: &ticklake::cli::RunArgs) -> anyhow::Result<()> {
    let config = ticklake::cli::configure(&args.config)?;
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    let ended = runtime.block_on(ticklake::cli::run::run(args, config));
    runtime.shutdown_background();
    ended.map(drop)
}
