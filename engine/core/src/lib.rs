//! The pure core of ticklake: message bodies in, columns, alerts and Parquet bytes out.
//!
//! No clock, no I/O, no threads, no random numbers: time comes in as an argument, and the crate's manifest shows that it
//! could not do otherwise. The modules stand in the order in which the data flows through them.

pub mod names;
pub mod tick;

pub mod decode;

pub mod alert;
pub mod detect;

pub mod encode;
pub mod epoch;
pub mod lake;
