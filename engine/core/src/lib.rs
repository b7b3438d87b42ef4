//! The pure core of ticklake: message bodies in, columns, alerts and Parquet bytes out.
//!
//! The crate has no clock, no I/O, no threads and no random numbers. Time is an argument, and the crate's manifest
//! proves the rest. The modules stand in the order in which the data flows through them.

// The fuzz target and the tests share a file. That file calls the crate by its name.
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
