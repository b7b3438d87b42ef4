//! The commands that need no AWS: the arguments of `demo`, and examples for `local-aws` (its crate has the arguments).

use std::path::PathBuf;

use clap::Args;

pub(super) const DEMO_ABOUT: &str = "\
Shows the whole path at work on this machine, without AWS and without credentials, and checks the outcome.

The demo starts SQS, S3 and SNS on loopback. It sends ticks with planted anomalies while the engine drains them. Then it reads \
everything back: every tick must be in the lake once, and every planted spike must have been alerted. The lake stays in --dir, as \
plain Parquet files. The demo reads no configuration file.

With 50 or more ticks per message, the demo sends and receives them in order, one call at a time. With fewer, it makes many calls in parallel.";

pub(super) const DEMO_EXAMPLES: &str = "\
Examples:
  ticklake demo
  ticklake demo --ticks 50000 --symbols 20     # a short one
  ticklake demo --per-message 1                # as a producer that does not pack its ticks
  ticklake demo --seed 2 --dir /tmp/lake       # other ticks, elsewhere";

pub(super) const LOCAL_AWS_EXAMPLES: &str = "\
Examples:
  ticklake local-aws
  ticklake local-aws --listen 127.0.0.1:4566 --data ./aws
  ticklake local-aws --fault 's3:PutObject=slow-down@10%' --fault 'sqs:*=delay:5ms..40ms'
  AWS_ENDPOINT_URL=http://127.0.0.1:4566 aws sqs create-queue --queue-name ticks";

/// `ticklake demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Ticks to send
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub ticks: u64,
    /// How many symbols the ticks have
    #[arg(long, default_value_t = 500, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub symbols: u32,
    /// The same seed gives the same prices and anomalies; event times end within the last hour
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,
    /// Ticks per message; nothing changes cost and speed more than packing
    #[arg(long, default_value_t = 500, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub per_message: u32,
    /// Threads that prepare messages
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Where the lake is left; the demo replaces a lake of an earlier demo there
    #[arg(long, default_value = "./ticklake-demo", value_name = "DIR")]
    pub dir: PathBuf,
}
