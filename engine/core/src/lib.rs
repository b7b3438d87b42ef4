//! The pure core of ticklake: message bodies in, columns, alerts and Parquet bytes out.
//!
//! No clock, no I/O, no threads, no random numbers: time comes in as an argument, and the crate's manifest shows that
//! it could not do otherwise. The modules stand in the order in which the data flows through them.

// The fuzz target and the tests share a file, which calls the crate by its name.
#[cfg(test)]
extern crate self as ticklake_core;

pub mod names;
pub mod tick;

pub mod decode;

pub mod alert;
pub mod detect;
pub mod outbox;

pub mod batch;
pub mod encode;
pub mod epoch;
pub mod lake;

pub mod commit;
