//! The runner and its queries over a small real lake, and the DDL against the writer's keys.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be built or read fails its test")]

mod fixture;

mod bucket;
mod lakes;
mod naive;
mod portability;
mod projection;
mod pruning;
