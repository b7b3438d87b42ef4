//! Tests the runner and its queries on a small real lake, and the DDL against the keys of the writer.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be built or read fails its test")]

mod fixture;

mod bucket;
mod lakes;
mod naive;
mod portability;
mod projection;
mod pruning;
