//! Reads trades: a [`Recording`] is a file of CSV or Parquet with any columns, and a [`Lake`] holds the tables that the
//! engine writes.
//!
//! The engine and the load generator share this crate. It does *not* own what they do with the rows.

pub mod lake;
mod number;
mod recording;

pub use lake::{Lake, LakeError};
pub use number::Number;
pub use recording::{Mapping, MappingError, PRESETS, Preset, ReadError, Recording, Row, TsUnit};
