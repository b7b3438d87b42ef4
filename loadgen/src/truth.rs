//! What was planted: the anomalies that a consumer is expected to find, and the file that lists them.

use std::io;

use serde::{Deserialize, Serialize};

/// The kinds of planted anomalies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnomalyKind {
    /// One tick far off, the next one back to normal.
    Spike,
}

/// One planted anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What was planted.
    pub kind: AnomalyKind,
    /// The symbol.
    pub symbol: String,
    /// Sequence number of the tick.
    pub seq: i64,
    /// Event time of the tick as it was sent, microseconds since the Unix epoch, UTC.
    pub ts_us: i64,
    /// The price that was sent.
    pub price: f64,
    /// The price that the tick would have had.
    pub expected: f64,
}

impl Anomaly {
    /// Whether the price that was sent lies above the expected one.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.price > self.expected
    }
}

/// Writes one JSON object per line.
pub fn write_ndjson(anomalies: &[Anomaly], mut to: impl io::Write) -> io::Result<()> {
    for anomaly in anomalies {
        serde_json::to_writer(&mut to, anomaly)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}
