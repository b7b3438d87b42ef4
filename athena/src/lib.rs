//! Runs the lake's Athena queries locally: the same SQL files, over the same Parquet files, with DataFusion.
//!
//! This crate owns the DDL and the queries in its folders, and what is needed to run them: [`ddl`] reads the table
//! definitions, [`location`] says where a lake is, [`lake`] registers its tables and executes, [`report`] shows the
//! answer. It does *not* own the columns of the lake (the schemas crate does) or its files (the engine does). It shares
//! no Arrow types with either, so that it sees what Athena sees.

pub mod query;

pub mod ddl;
pub mod location;

pub mod lake;
mod padded;
mod today;

pub mod answer;
pub mod report;
