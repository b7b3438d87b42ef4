//! Tests the engine as its users meet it: pipelines in memory and over the local endpoint, configuration, `check`, and
//! real trades.
#![expect(clippy::disallowed_methods, reason = "tests start tasks and wait as they need")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod check;
mod config;
mod edge;
mod endpoint;
mod exactly_once;
mod faults;
mod lake;
mod local;
mod metrics;
mod offline;
mod pipeline;
mod process;
mod trades;
mod wire;
