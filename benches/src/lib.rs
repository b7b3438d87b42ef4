//! What the benchmarks and the checks share: a market's message bodies, and the CPU stages that process them.
//!
//! The stages run in process and on one thread, so that a figure measures the stage and not the machine's I/O.

pub mod exactly_once;
pub mod figure;
pub mod fleet;

pub mod sample;
pub mod stage;

pub mod detection;
pub mod encodings;
pub mod generator;
pub mod hot_path;
pub mod lake;
pub mod localaws;
pub mod pipeline;
pub mod rivals;
pub mod simulation;
pub mod sqs_edge;
pub mod structure;

use std::sync::{Arc, Mutex, PoisonError};

use loadgen::market::{Market, MarketConfig};
use loadgen::{Dialect, Layout, Packing, produce};
use ticklake_core::batch::Contents;
use ticklake_core::encode::{DataFile, EncodeConfig, EncodeError, Encoder};
use ticklake_core::lake::EpochId;
use ticklake_core::tick::Dictionaries;

/// Bodies of the default market's first `ticks` ticks, in canonical form, with `per_message` ticks per body.
pub fn bodies(ticks: u64, per_message: usize) -> anyhow::Result<Vec<String>> {
    bodies_of(MarketConfig { ticks, ..MarketConfig::default() }, per_message)
}

/// Bodies of the ticks of a market, in canonical form, with `per_message` ticks per body.
pub fn bodies_of(market: MarketConfig, per_message: usize) -> anyhow::Result<Vec<String>> {
    let layout = if per_message == 1 { Layout::Object } else { Layout::Array };
    packed_bodies_of(market, Packing::new(per_message, layout, Dialect::Canonical)?)
}

/// Bodies of the ticks of a market, in any form.
pub fn packed_bodies_of(market: MarketConfig, packing: Packing) -> anyhow::Result<Vec<String>> {
    let market = Market::new(market)?;
    let bodies = Mutex::new(Vec::new());
    let keep = |batch: loadgen::batch::Batch| {
        let mut bodies = bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.extend(batch.messages().iter().map(|message| message.body.clone()));
        true
    };
    produce::market(&market, &packing.into(), 1, &keep)?;
    Ok(bodies.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Encodes an epoch with the default configuration.
pub fn encode(contents: &Contents<()>, names: &Dictionaries) -> Result<Vec<DataFile>, EncodeError> {
    Encoder::new(&EncodeConfig::default(), names.clone())?.encode(&EpochId::new(Arc::from("bench"), 0), contents)
}
