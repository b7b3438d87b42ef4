//! The shell of ticklake: everything that waits, talks to AWS, or runs a thread.
//!
//! [`pipeline::run`] is the engine. It takes [`ports::Ports`] (over the AWS SDK in [`adapters`], in memory in
//! [`memory`]), a validated [`config::Config`] and a future that ends it. Two engines can run in one process.
//! `ticklake_core` decides what happens to ticks. This crate decides when, and how they come and go.

pub mod aws;
pub mod check;
pub mod cli;
pub mod config;
pub mod redact;

pub mod adapters;
pub mod memory;
pub mod ports;

pub mod budget;
pub mod clock;
pub mod flush;
pub mod lease;
pub mod listeners;
pub mod message;
pub mod meter;
pub mod metrics;
mod pace;
pub mod quiet;
pub mod rejected;
pub mod retry;
pub mod stats;
pub mod stop;

mod hold;
mod receiver;

mod heartbeat;

mod decoders;

mod bounds;

mod detectors;

mod builder;

mod encoders;

mod probe;
mod put;

mod ledger;
mod notes;

mod resolver;

mod committer;

mod publisher;

mod drain;
pub mod pipeline;

pub mod cpu;

pub mod endpoint;
pub mod exporter;

pub mod offline;

#[cfg(feature = "local")]
pub mod demo;
#[cfg(feature = "local")]
pub mod local_aws;
#[cfg(feature = "local")]
pub mod sandbox;
