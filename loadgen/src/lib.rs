//! A load generator for consumers of market ticks on Amazon SQS.
//!
//! [`run`] sends the ticks of a [`Source`], a seeded model market or a recorded file, to a queue and returns [`Sent`]:
//! what every symbol was sent, with a checksum, and the anomalies that were planted on the way. [`audit()`] compares
//! that with the Parquet files that the consumer wrote. The same seed gives the same messages, whatever the number of
//! threads.
//!
//! [`plant::plant`] alters recorded trades by known events, and [`score::score`] compares the consumer's alerts with
//! these.
//!
//! The crate knows the consumer by its contracts only: the JSON of a tick and the columns of the lake. It shares no
//! types with the engine that it puts to the test, except what reads files (`ticklake-reader`).
//!
//! The modules stand in the order in which the data flows through them.

pub mod random;

pub mod tick;

pub mod market;
pub mod replay;
pub mod truth;

pub mod plant;

pub mod disturb;

pub mod batch;
pub mod payload;

pub mod manifest;
pub mod produce;
pub mod send;

pub mod watch;

pub mod limit;
pub mod observe;
pub mod report;

pub mod audit;
pub mod score;

pub use audit::{Report, audit};
pub use disturb::{Delays, Disturbance};
pub use manifest::Sent;
pub use market::{Character, MarketConfig, SpikeConfig, Zipf};
pub use observe::{Observed, Observer};
pub use payload::{Dialect, Layout, Packing};
pub use produce::Speed;
pub use replay::{Mapping, Recording};
pub use send::{Error, Pace, Plan, Progress, Shape, ShapeError, Source, run};
pub use ticklake_reader::Lake;
pub use truth::Anomaly;
