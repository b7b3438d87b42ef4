//! The alert: a report about one event, in the form in which it is published and stored.
//!
//! This file owns the alert's fields, its id and its JSON form, which is `schemas/alert.schema.json`. It does *not* own
//! what an anomaly is, which anomalies belong to one event, or the words for people (`text`).

mod text;

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A report about an event that begins, gets worse or is over. Except for `ticks`, its fields are those of a row of the
/// alerts table. As JSON, it is the object that a subscriber receives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The alert's own id: the event's id, with a number behind it for an update, and with `close` for the closing.
    pub id: String,
    /// The id of the event, which is the same for all alerts about it. See [`Alert::id_of`].
    pub event: String,
    /// The detector that raised it.
    pub kind: Kind,
    /// What happened to the event.
    pub state: State,
    /// How much attention it asks for.
    pub severity: Severity,
    /// The instrument.
    #[serde(serialize_with = "text", deserialize_with = "from_text")]
    pub symbol: Arc<str>,
    /// Whether `observed` lies above or below `expected`.
    pub direction: Direction,
    /// Event time, in microseconds since the Unix epoch, UTC; RFC 3339 in JSON. It is that of the tick that raised the
    /// alert, or the time at which a silence had lasted too long. If the event is over, it is that of its last anomaly.
    #[serde(rename = "ts", serialize_with = "rfc3339", deserialize_with = "from_rfc3339")]
    pub ts_us: i64,
    /// When the engine decoded the tick that made it certain, microseconds since the Unix epoch, UTC. RFC 3339 in JSON.
    #[serde(rename = "detected_at", serialize_with = "rfc3339", deserialize_with = "from_rfc3339")]
    pub detected_at_us: i64,
    /// What was found, or the worst if the event is over: a price; for volatility how far it goes when it changes, for
    /// volume the geometric mean volume, for a gap the seconds of silence, for a clock its error in seconds.
    pub observed: f64,
    /// What `observed` was compared with: the median of the recent prices, the line or band, the price a minute ago, or
    /// the usual value.
    pub expected: f64,
    /// The size of one usual step away from `expected`: a price; for volatility and volume a step of the logarithm, for
    /// a gap seconds.
    pub scale: f64,
    /// The distance of `observed` from `expected`, in units of `scale`.
    pub score: f64,
    /// The configured limit of the detector: a score, or a price for a threshold.
    pub threshold: f64,
    /// The window that the detector looked at: `50 ticks`, `60 s`.
    pub window: Cow<'static, str>,
    /// How many anomalies of the event, since it began, were not reported by an alert.
    pub suppressed: u64,
    /// The last ticks of the symbol before the alert was certain, in order of arrival: at most [`ALERT_TICKS_MAX`].
    /// Empty if they are not known.
    pub ticks: Vec<AlertTick>,
}

/// The most ticks that an alert shows.
pub const ALERT_TICKS_MAX: usize = 5;

/// A tick that an alert shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlertTick {
    /// Event time to the millisecond, as microseconds since the Unix epoch, UTC. RFC 3339 in JSON.
    #[serde(rename = "ts", serialize_with = "rfc3339", deserialize_with = "from_rfc3339")]
    pub ts_us: i64,
    /// Price.
    pub price: f64,
    /// Volume, to seven digits.
    pub volume: f64,
}

/// What happened to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has begun.
    Open,
    /// It is twice as bad as its last alert said.
    Update,
    /// It is over.
    Close,
}

/// The detector that raised an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A price far from the recent ones, while the prices after it are not: a bad print.
    Spike,
    /// A price far from the recent ones, and the prices after it stay there.
    LevelShift,
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
    /// Prices beyond a band around their mean of five minutes.
    LimitBand,
    /// Event times from the future, or from long ago.
    Clock,
    /// More alerts in a minute than may be published one by one.
    Overflow,
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
    /// All of them.
    pub const ALL: [Kind; 10] = [
        Kind::Spike,
        Kind::LevelShift,
        Kind::Threshold,
        Kind::Move,
        Kind::Volatility,
        Kind::Volume,
        Kind::Gap,
        Kind::LimitBand,
        Kind::Clock,
        Kind::Overflow,
    ];

    /// The name in JSON, in the lake and in message attributes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Spike => "spike",
            Kind::LevelShift => "level_shift",
            Kind::Threshold => "threshold",
            Kind::Move => "move",
            Kind::Volatility => "volatility",
            Kind::Volume => "volume",
            Kind::Gap => "gap",
            Kind::LimitBand => "limit_band",
            Kind::Clock => "clock",
            Kind::Overflow => "overflow",
        }
    }
}

impl State {
    /// The name in JSON, in the lake and in message attributes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Update => "update",
            State::Close => "close",
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

    /// The severity of a `score` that has reached `threshold`, by the rules of the variants.
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
    /// The other side.
    #[must_use]
    pub(crate) fn opposite(self) -> Self {
        match self {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }

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
    /// The longest id, in bytes: the limit of SNS and SQS for a deduplication id.
    pub const ID_BYTES_MAX: usize = 128;

    /// The bytes of the longest ending of an id: a slash and a number of 32 bits.
    const STATE_BYTES_MAX: usize = 11;

    /// The id of an alert about `event`. Updates have their number behind it, counted from 1. The closing has the same
    /// id, no matter how many updates a worker has seen or which worker reports it.
    #[must_use]
    pub(crate) fn id_of_state(event: &str, state: State, number: u32) -> String {
        match state {
            State::Open => event.to_owned(),
            State::Update => format!("{event}/{number}"),
            State::Close => format!("{event}/close"),
        }
    }

    /// The id of the event that `detector` found in `symbol` at `opened_us` (event time, microseconds since the Unix
    /// epoch): `spike-up-AAPL-1795442400000001`. `detector` is the kind, and what distinguishes its events of one
    /// symbol: the direction, or the line.
    ///
    /// The id depends on nothing else, so a replay of the same ticks raises the same ids. A long symbol may make an id,
    /// with its ending, longer than [`Alert::ID_BYTES_MAX`]. An id may also have characters that a deduplication id
    /// must not have: a blank, or a letter that is not ASCII. In both cases a hash replaces detector and symbol.
    #[must_use]
    pub fn id_of(detector: &str, symbol: &str, opened_us: i64) -> String {
        let id = format!("{detector}-{symbol}-{opened_us}");
        if id.len() + Self::STATE_BYTES_MAX <= Self::ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return id;
        }
        format!("{:016x}-{opened_us}", fnv1a(id.as_bytes()))
    }

    /// The alert as one JSON object, per `schemas/alert.schema.json`.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "an alert has only texts and numbers under fixed names, so serialization cannot fail"
    )]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Json<'a> {
            #[serde(flatten)]
            alert: &'a Alert,
            query: String,
        }
        serde_json::to_string(&Json { alert: self, query: self.query() }).expect("an alert is always valid JSON")
    }

    /// Whether the alert is about the market: the same happened to many symbols at once. In the lake each of these
    /// symbols has its own alert.
    #[must_use]
    pub fn is_of_market(&self) -> bool {
        self.event.starts_with("market-")
    }

    /// The SQL query for the ticks of the symbol, or of the feed, from a minute before to a minute after. If the alert
    /// is about many symbols, the query is for their alerts.
    #[must_use]
    pub fn query(&self) -> String {
        const AROUND_US: i64 = 60_000_000;
        let time = |us| Timestamp::from_microsecond(us).unwrap_or_default();
        let from = time(self.ts_us.saturating_sub(AROUND_US));
        let to = time(self.ts_us.saturating_add(AROUND_US));
        if self.kind == Kind::Overflow || self.is_of_market() {
            // This query is about alerts, not about ticks.
            return format!(
                "SELECT kind, direction, symbol, ts, observed, expected FROM alerts WHERE dt BETWEEN '{}' AND '{}' AND ts BETWEEN timestamp \
                 '{}' AND timestamp '{}' ORDER BY ts",
                from.strftime("%F"),
                to.strftime("%F"),
                from.strftime("%F %T%.6f"),
                to.strftime("%F %T%.6f"),
            );
        }
        let hours = if from.strftime("%F").to_string() == to.strftime("%F").to_string() {
            format!(" AND hour BETWEEN {} AND {}", from.strftime("%-H"), to.strftime("%-H"))
        } else {
            String::new()
        };
        let symbol = match &*self.symbol {
            "*" => String::new(),
            symbol => format!("symbol = '{}' AND ", symbol.replace('\'', "''")),
        };
        format!(
            "SELECT ts, symbol, price, volume FROM ticks WHERE {symbol}dt BETWEEN '{}' AND '{}'{hours} AND ts BETWEEN timestamp '{}' AND timestamp \
             '{}' ORDER BY ts",
            from.strftime("%F"),
            to.strftime("%F"),
            from.strftime("%F %T%.6f"),
            to.strftime("%F %T%.6f"),
        )
    }

    /// The alert that [`Alert::to_json`] wrote, with exactly the same numbers. `None` if `json` is not an alert.
    #[must_use]
    pub fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

/// FNV-1a with 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>). Ids must stay the same if a library changes its
/// hash function.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// Writes always six decimals, so that the texts sort in the same order as the times.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn rfc3339<S: Serializer>(us: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    // The decoder accepts only event times far inside the range of a calendar.
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
pub(crate) mod tests {
    use arrow::datatypes::{DataType, Field};
    use serde_json::Value;
    use ticklake_schemas::{ALERT_JSON_SCHEMA, Table};

    use super::*;

    pub(crate) fn alert() -> Alert {
        Alert {
            id: Alert::id_of("spike-up", "AAPL", 1_795_442_400_000_001),
            event: Alert::id_of("spike-up", "AAPL", 1_795_442_400_000_001),
            kind: Kind::Spike,
            state: State::Open,
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
            window: "50 ticks".into(),
            suppressed: 0,
            ticks: vec![
                AlertTick { ts_us: 1_795_442_399_912_000, price: 189.37, volume: 100.0 },
                AlertTick { ts_us: 1_795_442_400_000_000, price: 201.5, volume: 300.0 },
                AlertTick { ts_us: 1_795_442_400_037_000, price: 189.36, volume: 100.0 },
            ],
        }
    }

    /// The same JSON, without a difference between 8 and 8.0.
    fn as_people_write(json: Value) -> Value {
        match json {
            Value::Number(number) => Value::from(number.as_f64()),
            Value::Array(values) => values.into_iter().map(as_people_write).collect(),
            Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, as_people_write(value))).collect(),
            other => other,
        }
    }

    #[test]
    fn json_is_the_example_of_the_schema() {
        let schema: Value = serde_json::from_str(ALERT_JSON_SCHEMA).unwrap();
        let json: Value = serde_json::from_str(&alert().to_json()).unwrap();
        assert_eq!(as_people_write(json), as_people_write(schema["examples"][0].clone()));
    }

    #[test]
    fn json_has_the_columns_of_the_alerts_table_in_their_order() {
        let json = alert().to_json();
        let columns = Table::Alerts.schema();
        let position = |field: &Arc<Field>| {
            let is_number = matches!(field.data_type(), DataType::Float64 | DataType::Int64);
            let quote = if is_number { "" } else { "\"" };
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
        let schema: Value = serde_json::from_str(ALERT_JSON_SCHEMA).unwrap();
        assert_eq!(schema["properties"]["kind"]["enum"], serde_json::json!(Kind::ALL.map(Kind::as_str)));
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for state in [State::Open, State::Update, State::Close] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
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
        let id = Alert::id_of("spike", &long, i64::MIN);
        assert!(Alert::id_of_state(&id, State::Update, u32::MAX).len() <= Alert::ID_BYTES_MAX);
        let fitting = "X".repeat(128 - "spike--1/4294967295".len());
        assert_eq!(
            Alert::id_of_state(&Alert::id_of("spike", &fitting, 1), State::Update, u32::MAX).len(),
            Alert::ID_BYTES_MAX
        );
        assert_ne!(Alert::id_of("spike", &long, 1), Alert::id_of("spike", &longer, 1));
        assert_eq!(Alert::id_of("spike", "AAPL", 1), "spike-AAPL-1");
        for symbol in ["BRK B", "Ä"] {
            let id = Alert::id_of("spike", symbol, 1);
            assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
        }
    }

    #[test]
    fn query_names_the_partitions_of_a_minute_around_and_quotes_the_symbol() {
        assert_eq!(
            alert().query(),
            "SELECT ts, symbol, price, volume FROM ticks WHERE symbol = 'AAPL' AND dt BETWEEN '2026-11-23' AND '2026-11-23' AND hour BETWEEN 13 \
             AND 14 AND ts BETWEEN timestamp '2026-11-23 13:59:00.000001' AND timestamp '2026-11-23 14:01:00.000001' ORDER BY ts"
        );
        let midnight = Alert { ts_us: 1_795_478_400_000_000, symbol: "O'X".into(), ..alert() }.query();
        assert!(midnight.contains("symbol = 'O''X' AND dt BETWEEN '2026-11-23' AND '2026-11-24' AND ts"), "{midnight}");
        let feed = Alert { symbol: "*".into(), kind: Kind::Gap, ..alert() }.query();
        assert!(feed.contains("FROM ticks WHERE dt"), "{feed}");
        let market = Alert { symbol: "*".into(), event: "market-spike-up-*-1".to_owned(), ..alert() }.query();
        assert!(market.contains("FROM alerts WHERE dt"), "{market}");
    }

    #[test]
    fn alert_is_read_back_as_it_was_written() {
        let alert = Alert { observed: 0.1 + 0.2, score: 1e-310, expected: 123_456_789.123_456_79, ..alert() };
        assert_eq!(Alert::from_json(&alert.to_json()), Some(alert));
        assert_eq!(Alert::from_json("{}"), None);
    }
}
