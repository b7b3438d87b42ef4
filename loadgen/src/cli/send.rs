//! `loadgen send`: the model market.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use loadgen::{Character, MarketConfig, Source, SpikeConfig};

use super::{
    connect::Destination,
    deliver::{Delivery, PaceArgs},
    market::MarketArgs,
    observe::ObserveArgs,
    packing::{DisturbArgs, PackingArgs},
};

/// Send the ticks of a model market.
///
/// Symbols of unequal popularity trade at prices that wander in pennies. Now and then a single tick is far off: a
/// planted spike, which a detector should find. The same seed gives the same messages, today and tomorrow, with any
/// number of threads.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:

  A million ticks as fast as the queue takes them, with what is needed to check the consumer afterwards:
    loadgen send --queue-url http://127.0.0.1:4566/000000000000/ticks --sent sent.json --truth truth.ndjson

  One tick per message, as a plain producer sends them, 5,000 a second:
    loadgen send --queue-url http://127.0.0.1:4566/000000000000/ticks --pack 1 --rate 5000 --ticks 300000

  A real queue, which has to be named twice; packed and compressed, which makes it cheap:
    loadgen send --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/ticks \\
      --yes-send-to https://sqs.eu-west-1.amazonaws.com/123456789012/ticks --pack 1000 --zstd")]
pub(super) struct SendArgs {
    #[command(flatten)]
    traded: MarketArgs,

    /// How many ticks to send.
    #[arg(long, default_value_t = 1_000_000)]
    ticks: u64,

    /// Event time of the first tick.
    #[arg(long, value_name = "TIME", default_value = "2026-06-01T13:30:00Z")]
    start: Timestamp,

    /// Event time from the first tick to the last.
    #[arg(long, value_name = "DURATION", default_value = "6h30m")]
    span: SignedDuration,

    /// How the market behaves: even and calm, or as recorded trades are, in bursts, with clustered volatility and a
    /// busy open and close.
    #[arg(long, value_enum, default_value_t = Character::Calm)]
    market: Character,

    /// How many spikes to plant.
    #[arg(long, default_value_t = 20)]
    spikes: u32,

    /// Size of the smallest spike, as a fraction of the price.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.03)]
    spike_min: f64,

    /// Size of the largest spike, as a fraction of the price.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.05)]
    spike_max: f64,

    /// Event time that passes in a symbol before its first spike and between two.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    spike_quiet: SignedDuration,

    /// Write the planted anomalies here, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,

    #[command(flatten)]
    packing: PackingArgs,

    #[command(flatten)]
    disturb: DisturbArgs,

    #[command(flatten)]
    sending: PaceArgs,

    #[command(flatten)]
    observe: ObserveArgs,

    #[command(flatten)]
    to: Destination,
}

impl SendArgs {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let market = self.market()?;
        Delivery {
            ticks: Some(market.ticks),
            source: Source::Market(market),
            seed: self.traded.seed,
            pace: self.sending.pace(),
            packing: &self.packing,
            disturb: &self.disturb,
            sending: &self.sending,
            observe: &self.observe,
            to: &self.to,
            truth: self.truth.as_ref(),
        }
        .run()
        .await
    }

    fn market(&self) -> anyhow::Result<MarketConfig> {
        let positive = |duration, name| Duration::try_from(duration).with_context(|| format!("--{name} is negative"));
        let spikes = SpikeConfig {
            count: self.spikes,
            size_min: self.spike_min,
            size_max: self.spike_max,
            quiet: positive(self.spike_quiet, "spike-quiet")?,
            ..SpikeConfig::default()
        };
        Ok(MarketConfig {
            seed: self.traded.seed,
            symbols: self.traded.symbols,
            zipf: self.traded.zipf,
            ticks: self.ticks,
            first_seq: 0,
            start_us: self.start.as_microsecond(),
            span: positive(self.span, "span")?,
            character: self.market,
            spikes,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Outer {
        #[command(flatten)]
        send: SendArgs,
    }

    #[test]
    fn default_arguments_describe_the_default_market() {
        let outer = Outer::parse_from(["loadgen", "--queue-url", "http://127.0.0.1/q"]);
        assert_eq!(outer.send.market().unwrap(), MarketConfig::default());
    }
}
