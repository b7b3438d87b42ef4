//! The alert: one anomaly, in the form in which it is published and stored.
//!
//! This file owns the alert's fields, its id and its JSON form, which is `schemas/alert.schema.json`. It does *not* own
//! what is an anomaly.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One anomaly. Field for field the row of the alerts table and the JSON object that a subscriber receives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Follows from what the alert is about, see [`Alert::id_of`].
    pub id: String,
    /// The detector that raised it.
    pub kind: Kind,
    /// How much attention it asks for.
    pub severity: Severity,
    /// The instrument.
    #[serde(serialize_with = "text", deserialize_with = "from_text")]
    pub symbol: Arc<str>,
    /// Whether `observed` lies above or below `expected`.
    pub direction: Direction,
    /// Event time of the tick that raised it, microseconds since the Unix epoch, UTC. RFC 3339 in JSON.
    #[serde(rename = "ts", serialize_with = "rfc3339", deserialize_with = "from_rfc3339")]
    pub ts_us: i64,
    /// When its tick was decoded and about to be judged, microseconds since the Unix epoch, UTC. RFC 3339 in JSON.
    #[serde(rename = "detected_at", serialize_with = "rfc3339", deserialize_with = "from_rfc3339")]
    pub detected_at_us: i64,
    /// What was found: a price; for volatility what it goes from tick to tick, for volume the geometric mean volume, for a gap the seconds
    /// of silence.
    pub observed: f64,
    /// What it was judged against: the median of the recent prices, the line, the price a minute ago, or what is usual.
    pub expected: f64,
    /// What counts as one usual step from it: a price; for volatility and volume of their logarithms, for a gap seconds.
    pub scale: f64,
    /// Distance of `observed` from `expected` in units of `scale`.
    pub score: f64,
    /// What the detector is configured to react to: a score; a price for a threshold.
    pub threshold: f64,
}

/// The detector that raised an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A price far from the recent ones.
    Spike,
    /// A price that crossed a configured line.
    Threshold,
    /// A price that went far within a minute.
    Move,
    /// Prices that jump about more than usual.
    Volatility,
    /// Trades that are larger than usual.
    Volume,
    /// A symbol, or the whole feed (`*`), that has fallen silent.
    Gap,
}

/// How much attention an alert asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The score is below twice the detector's threshold.
    Info,
    /// The score is at least twice and below ten times the threshold.
    Warning,
    /// The score is at least ten times the threshold.
    Critical,
}

/// The side of the expected price on which the observed one lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Above.
    Up,
    /// Below.
    Down,
}

impl Kind {
    /// The name in JSON, in the lake and in message attributes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Spike => "spike",
            Kind::Threshold => "threshold",
            Kind::Move => "move",
            Kind::Volatility => "volatility",
            Kind::Volume => "volume",
            Kind::Gap => "gap",
        }
    }
}

impl Severity {
    /// The name in JSON, in the lake and in message attributes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// The band of a `score` that has reached `threshold`, as the variants say.
    #[must_use]
    pub fn of_score(score: f64, threshold: f64) -> Self {
        match score / threshold {
            ratio if ratio >= 10.0 => Severity::Critical,
            ratio if ratio >= 2.0 => Severity::Warning,
            _ => Severity::Info,
        }
    }
}

impl Direction {
    /// The name in JSON, in the lake and in message attributes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

impl Alert {
    /// The longest id, in bytes: what SNS and SQS take as a deduplication id.
    pub const ID_BYTES_MAX: usize = 128;

    /// The id of the event that `detector` found in `symbol` at `opened_us` (event time, microseconds since the Unix
    /// epoch): `spike-AAPL-1795442400000001`. `detector` is the kind and, where several of a kind watch one symbol,
    /// what tells them apart.
    ///
    /// Nothing else enters, so that a replay of the same ticks raises the same ids. Of an id that would be longer than
    /// [`Alert::ID_BYTES_MAX`] because of its symbol, a hash is kept in place of detector and symbol.
    #[must_use]
    pub fn id_of(detector: &str, symbol: &str, opened_us: i64) -> String {
        let id = format!("{detector}-{symbol}-{opened_us}");
        if id.len() <= Self::ID_BYTES_MAX {
            return id;
        }
        format!("{:016x}-{opened_us}", fnv1a(id.as_bytes()))
    }

    /// The alert as one JSON object, per `schemas/alert.schema.json`.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "texts and numbers under fixed names: nothing in an alert can be refused"
    )]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an alert is always valid JSON")
    }

    /// The alert that [`Alert::to_json`] wrote, number for number; `None` if it is none.
    #[must_use]
    pub fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

/// FNV-1a with 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): ids must not change with the version of a hasher.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// Always six decimals, so that the texts of two times sort as the times do.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn rfc3339<S: Serializer>(us: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    // The decoder bounds event times far inside what a calendar can say.
    let time = Timestamp::from_microsecond(*us).unwrap_or(Timestamp::UNIX_EPOCH);
    serializer.collect_str(&format_args!("{time:.6}"))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    Ok(String::deserialize(deserializer)?.into())
}

fn from_rfc3339<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let time: Timestamp = String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)?;
    Ok(time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use serde_json::Value;
    use ticklake_schemas::{ALERT_JSON_SCHEMA, Table};

    use super::*;

    fn alert() -> Alert {
        Alert {
            id: Alert::id_of("spike", "AAPL", 1_795_442_400_000_001),
            kind: Kind::Spike,
            severity: Severity::of_score(57.76, 8.0),
            symbol: Arc::from("AAPL"),
            direction: Direction::Up,
            ts_us: 1_795_442_400_000_001,
            detected_at_us: 1_795_442_400_041_337,
            observed: 201.5,
            expected: 189.37,
            scale: 0.21,
            score: 57.76,
            threshold: 8.0,
        }
    }

    #[test]
    fn json_is_the_example_of_the_schema() {
        let schema: Value = serde_json::from_str(ALERT_JSON_SCHEMA).unwrap();
        let json: Value = serde_json::from_str(&alert().to_json()).unwrap();
        let mut example = schema["examples"][0].clone();
        // The schema writes the number as a person would.
        example["threshold"] = Value::from(8.0);
        assert_eq!(json, example);
    }

    #[test]
    fn json_has_the_columns_of_the_alerts_table_in_their_order() {
        let json = alert().to_json();
        let columns = Table::Alerts.schema();
        let position = |field: &Arc<Field>| {
            let quote = if *field.data_type() == DataType::Float64 { "" } else { "\"" };
            json.find(&format!("\"{}\":{quote}", field.name()))
        };
        let positions: Option<Vec<_>> = columns.fields().iter().map(position).collect();
        assert!(positions.is_some_and(|positions| positions.is_sorted()), "{json}");
    }

    #[test]
    fn whole_seconds_are_written_with_six_decimals() {
        let json = Alert { ts_us: 1_795_442_400_000_000, ..alert() }.to_json();
        assert!(json.contains(r#""ts":"2026-11-23T14:00:00.000000Z""#), "{json}");
    }

    #[test]
    fn names_are_the_same_in_json_and_everywhere_else() {
        for kind in [Kind::Spike, Kind::Threshold, Kind::Move, Kind::Volatility, Kind::Volume, Kind::Gap] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
        }
        for direction in [Direction::Up, Direction::Down] {
            assert_eq!(serde_json::to_value(direction).unwrap(), direction.as_str());
        }
    }

    #[test]
    fn severity_rises_with_the_score_in_units_of_the_threshold() {
        let band = |score| Severity::of_score(score, 8.0);
        assert_eq!(
            [band(8.0), band(15.9), band(16.0), band(79.9), band(80.0)].map(Severity::as_str),
            ["info", "info", "warning", "warning", "critical"]
        );
    }

    #[test]
    fn id_of_a_long_symbol_is_bounded_and_still_its_own() {
        let long = "X".repeat(200);
        let longer = "X".repeat(201);
        assert!(Alert::id_of("spike", &long, i64::MIN).len() <= Alert::ID_BYTES_MAX);
        assert_ne!(Alert::id_of("spike", &long, 1), Alert::id_of("spike", &longer, 1));
        assert_eq!(Alert::id_of("spike", "AAPL", 1), "spike-AAPL-1");
    }

    #[test]
    fn alert_is_read_back_as_it_was_written() {
        let alert = Alert { observed: 0.1 + 0.2, score: 1e-310, expected: 123_456_789.123_456_79, ..alert() };
        assert_eq!(Alert::from_json(&alert.to_json()), Some(alert));
        assert_eq!(Alert::from_json("{}"), None);
    }
}
