//! Decoded ticks to measure the encoder with: epochs of the model market, and recorded trades.
//!
//! This file does *not* own what is measured.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use loadgen::market::MarketConfig;
use loadgen::replay::{Mapping, Recording};
use loadgen::{Dialect, Layout, Packing, produce};
use ticklake_core::batch::{Contents, Decoded};
use ticklake_core::decode::DecodeConfig;
use ticklake_core::tick::Dictionaries;

use crate::bodies_of;
use crate::stage::Decoding;

/// Ticks of a full epoch, by the engine's default limit.
pub const EPOCH_TICKS: u64 = 1_000_000;

/// Messages of one receive call, which share their time of receipt.
const MESSAGES_PER_RECEIVE: usize = 10;

/// How long after its last tick a message is received.
const LAG_US: i64 = 5_123;

const TICKS_PER_MESSAGE: usize = 500;

/// The ticks of one epoch.
pub struct Sample {
    /// Where the ticks come from.
    pub name: String,
    /// The ticks, in the order of arrival.
    pub contents: Contents<()>,
    /// Their names.
    pub names: Dictionaries,
}

/// A full epoch of the default market, with event times spread over `span`.
pub fn market(span: Duration) -> anyhow::Result<Sample> {
    let config = MarketConfig { ticks: EPOCH_TICKS, span, ..MarketConfig::default() };
    let sample = received(format!("market, {} s", span.as_secs()), &bodies_of(config, TICKS_PER_MESSAGE)?)?;
    let ticks = sample.contents.rows();
    anyhow::ensure!(ticks as u64 == EPOCH_TICKS, "{ticks} ticks were decoded");
    Ok(sample)
}

/// The trades of a Parquet file of the preset `us-equity-trades`.
pub fn trades(path: &Path) -> anyhow::Result<Sample> {
    let mapping = Mapping::preset("us-equity-trades").context("failed to find the preset of the trades")?;
    let recording = Recording { path: path.to_owned(), mapping, limit: None };
    let packing = Packing::new(TICKS_PER_MESSAGE, Layout::Array, Dialect::Canonical)?;
    let bodies = Mutex::new(Vec::new());
    produce::recording(&recording, &packing.into(), None, &|batch: loadgen::batch::Batch| {
        let mut bodies = bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.extend(batch.messages().iter().map(|message| message.body.clone()));
        true
    })?;
    received("trades".to_owned(), &bodies.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Decodes `bodies` as if calls had received them, ten messages each, shortly after their last ticks.
fn received(name: String, bodies: &[String]) -> anyhow::Result<Sample> {
    let mut decoding = Decoding::new(&DecodeConfig::default());
    let mut contents = Contents::default();
    for bodies in bodies.chunks(MESSAGES_PER_RECEIVE) {
        decoding.decode(bodies);
        let Decoded { ticks, rejects, .. } = &mut decoding.decoded;
        anyhow::ensure!(rejects.is_empty(), "{} ticks were rejected", rejects.len());
        let last_us = ticks.ts_us.iter().copied().max().unwrap_or_default();
        ticks.received_at_us.fill(last_us + LAG_US);
        contents.ticks.push(std::mem::take(ticks));
    }
    Ok(Sample { name, contents, names: decoding.names })
}
