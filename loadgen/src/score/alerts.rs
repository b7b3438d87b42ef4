//! Reads what a score needs of alerts: symbol, kind and time.

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
    /// It is not JSON, or one of the fields is missing.
    #[error("failed to read alert {number}")]
    Json {
        /// Its number, from 1.
        number: usize,
        /// What is wrong, with its line.
        source: serde_json::Error,
    },
    /// Its time cannot be read.
    #[error("failed to read alert {number}: ts {ts:?} is not in RFC 3339; write it as 2026-06-01T13:30:00Z")]
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
    /// The stage of life of an alert. An alert without one is raised only once.
    state: Option<String>,
}

/// Reads JSON objects, one after the other. Alerts that only update or close an earlier one are left out.
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
