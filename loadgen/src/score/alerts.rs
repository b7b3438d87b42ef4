//! Alerts as a score needs them: of what, where and when.

use std::io;

use jiff::Timestamp;
use serde::Deserialize;

/// An alert that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The symbol.
    pub symbol: String,
    /// The detector that raised it.
    pub kind: String,
    /// Event time of the tick that raised it, microseconds since the Unix epoch, UTC.
    pub ts_us: i64,
}

/// Why alerts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// No JSON, or without one of the fields.
    #[error("failed to read alert {number}")]
    Json {
        /// Its number, from 1.
        number: usize,
        /// What is wrong, with its line.
        source: serde_json::Error,
    },
    /// The time is none.
    #[error("failed to read alert {number}: {ts:?} is no RFC 3339 time")]
    Time {
        /// Its number, from 1.
        number: usize,
        /// The text.
        ts: String,
        /// What is wrong with it.
        source: jiff::Error,
    },
}

/// The fields of `schemas/alert.schema.json` that count here.
#[derive(Deserialize)]
struct Line {
    symbol: String,
    kind: String,
    ts: String,
    /// The stage of life of an alert; those that know none are raised once.
    state: Option<String>,
}

/// Reads JSON objects, one after the other. What only updates or closes an alert is left out.
pub fn read_alerts(from: impl io::Read) -> Result<Vec<Alert>, AlertError> {
    let mut alerts = Vec::new();
    for (at, line) in serde_json::Deserializer::from_reader(from).into_iter::<Line>().enumerate() {
        let number = at + 1;
        let Line { symbol, kind, ts, state } = line.map_err(|source| AlertError::Json { number, source })?;
        if state.is_some_and(|state| state != "open") {
            continue;
        }
        let time: Timestamp = ts.parse().map_err(|source| AlertError::Time { number, ts, source })?;
        alerts.push(Alert { symbol, kind, ts_us: time.as_microsecond() });
    }
    Ok(alerts)
}
