//! The planted anomalies that a consumer should find, and the file that lists them.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The kinds of planted anomalies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnomalyKind {
    /// One tick is far off, and the next one is back to normal.
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
pub fn write_ndjson<T: Serialize>(lines: &[T], mut to: impl io::Write) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut to, line)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads the JSON objects that [`write_ndjson`] wrote.
pub fn read_ndjson<T: DeserializeOwned>(from: impl io::Read) -> serde_json::Result<Vec<T>> {
    serde_json::Deserializer::from_reader(from).into_iter().collect()
}
