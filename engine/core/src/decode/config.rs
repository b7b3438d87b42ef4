//! The settings of the decoder for a feed: the producer's keys, the unit of time, and the bounds of accepted values.
//!
//! This file owns the settings and their validation. It does *not* own what the decoder does with them.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use super::mapping::{Mapping, NotAround};
use super::only::{FIELDS_MAX, Only};
use super::path::TicksPath;
use super::preset::Preset;

/// The way in which bodies are split into elements if ticks stand alone. Positions of different ways cannot be
/// compared, so a decoder that numbers elements differently must increase this number.
const SPLITTING: u32 = 1;

/// The most decimal digits that always fit into an integer of 64 bits.
const PRICE_DIGITS_MAX: u32 = 18;

/// How message bodies become ticks. The default reads the canonical form of `tick.schema.json`. That includes the form
/// with three fields, `{"symbol","price","volume"}`.
///
/// Public feeds need no translation layer, only their keys (a key that is not named keeps its canonical name):
///
/// ```toml
/// # Binance, streams `<symbol>@trade` and `<symbol>@aggTrade`
/// only = { e = ["trade", "aggTrade"] }
/// numbers_as_strings = true
/// ts_unit = "ms"
/// fields = { symbol = "s", price = "p", volume = "q", ts = "T", seq = "t" }
///
/// # Coinbase Exchange, channel `matches`. `last_match` repeats a trade from before the subscription.
/// only = { type = ["match"] }
/// numbers_as_strings = true
/// ts_unit = "rfc3339"
/// fields = { symbol = "product_id", volume = "size", ts = "time", seq = "trade_id" }
///
/// # Polygon, stocks cluster, `T.*`
/// only = { ev = ["T"] }
/// ts_unit = "ms"
/// fields = { symbol = "sym", price = "p", volume = "s", ts = "t", seq = "q", venue = "x", conditions = "c" }
///
/// # Alpaca, stock trades. `T` is `c` for a correction, and `x` for a cancelled trade.
/// only = { T = ["t"] }
/// ts_unit = "rfc3339"
/// fields = { symbol = "S", price = "p", volume = "s", ts = "t", seq = "i", venue = "x", conditions = "c" }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecodeConfig {
    /// The name of a public feed. Its settings are the defaults of all other settings here. The code that loads the
    /// configuration applies it ([`Preset`]).
    pub preset: String,
    /// The envelope that AWS has put around the producer's message: `sns`, `eventbridge` or `kinesis`, or `none`.
    pub envelope: Wrap,
    /// The path to the ticks of a message, such as `data[]`. Empty if the message is the tick.
    pub ticks: TicksPath,
    /// The producer's key for each column. A key with a slash before it names a field around the ticks: `/channel` of
    /// the message, `/events/type` of the element of `events` that holds the tick. If a tick is an array, keys are
    /// positions: `"0"`. If a key is named for `ts`, a tick without it is rejected. If no key is named, a tick without
    /// `ts` gets the time at which its message was sent.
    pub fields: FieldNames,
    /// Which events are ticks: for each of at most four fields, the values that make an event a tick. All other events
    /// are counted by value, and are not stored. Without this setting every event must be a tick.
    pub only: Only,
    /// Text at the beginning of a symbol that does not belong to it, such as the name of a channel: `live_trades_`.
    pub symbol_prefix: String,
    /// How many decimal digits a price has if it is sent as an integer: with 9, `1500000000` is 1.5. 0 if prices are
    /// sent as they are.
    pub price_digits: u32,
    /// Whether an event with a volume of 0 is left out. Some feeds send changes of the price as such trades.
    pub skip_zero_volume: bool,
    /// The unit of the event time.
    pub ts_unit: TsUnit,
    /// Whether a tick without an event time is rejected even if `fields` names no key for it.
    pub ts_required: bool,
    /// Whether price, volume, seq and a numeric event time may also be strings that hold a JSON number. JSON numbers
    /// are always accepted.
    pub numbers_as_strings: bool,
    /// The longest symbol, in bytes.
    pub symbol_max_bytes: usize,
    /// The longest venue, and the longest list of conditions, in bytes.
    pub name_max_bytes: usize,
    /// How many different symbols one process keeps in memory, and as many venues and conditions. Ticks with a name
    /// beyond this number are stored like all others. No detector watches a symbol beyond it.
    pub names_max: usize,
    /// The earliest event time.
    pub ts_min: TsMin,
    /// How far an event time may lie after the time at which its message was sent.
    #[serde(with = "humantime_serde")]
    pub ts_future_max: Duration,
    /// How many different hours the ticks of one message may have. Each hour is a file of its own, so ticks in further
    /// hours go to the quarantine: one message of scattered times must not become thousands of files.
    pub partitions_per_message_max: usize,
    /// The largest body after decompression, in bytes. A larger body goes to the quarantine. The decoder allocates no
    /// more than this for its text.
    pub decompressed_max_bytes: usize,
    /// The share of the last 10,000 ticks that may be rejected, 0 to 1. Above it, the log warns once a minute.
    pub rejects_share_max: f64,
    /// If the share of rejected ticks is larger than this, 0 to 1, the engine stops receiving. At least 1,000 ticks
    /// must have been seen. With 1 it never stops. A wrong mapping would drain the whole queue into the quarantine.
    pub rejects_share_stop: f64,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self {
            preset: String::new(),
            envelope: Wrap::None,
            ticks: TicksPath::default(),
            fields: FieldNames::default(),
            only: Only::default(),
            symbol_prefix: String::new(),
            price_digits: 0,
            skip_zero_volume: false,
            ts_unit: TsUnit::Us,
            ts_required: false,
            numbers_as_strings: false,
            symbol_max_bytes: 64,
            name_max_bytes: 64,
            names_max: 200_000,
            ts_min: TsMin::default(),
            ts_future_max: Duration::from_hours(24),
            partitions_per_message_max: 64,
            decompressed_max_bytes: 16 << 20,
            rejects_share_max: 0.1,
            rejects_share_stop: 0.99,
        }
    }
}

/// The producer's key for each column of a tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each field is named after the column that it fills")]
pub struct FieldNames {
    pub symbol: String,
    pub price: String,
    pub volume: String,
    pub ts: String,
    pub seq: String,
    pub venue: String,
    pub conditions: String,
}

impl Default for FieldNames {
    fn default() -> Self {
        let [symbol, price, volume, ts, seq, venue, conditions] = Self::COLUMNS.map(String::from);
        Self { symbol, price, volume, ts, seq, venue, conditions }
    }
}

impl FieldNames {
    /// The canonical names, in the order of [`FieldNames::keys`].
    pub(super) const COLUMNS: [&'static str; 7] = ["symbol", "price", "volume", "ts", "seq", "venue", "conditions"];

    /// The producer's keys, in the order of [`FieldNames::COLUMNS`].
    pub(super) fn keys(&self) -> [&str; 7] {
        [&self.symbol, &self.price, &self.volume, &self.ts, &self.seq, &self.venue, &self.conditions]
    }
}

/// The envelope around a producer's message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrap {
    /// No envelope.
    #[default]
    None,
    /// A notification of an SNS topic without raw delivery. The message is the text in `Message`
    /// (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>).
    Sns,
    /// An event of an EventBridge rule. The message is `detail`
    /// (<https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>).
    EventBridge,
    /// Records that an EventBridge pipe took from a Kinesis stream, as one record or an array of records. The message
    /// is the base64 in `data` of each record
    /// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-kinesis.html>).
    Kinesis,
}

/// The unit of an event time, counted since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TsUnit {
    /// Seconds; a fraction is rounded to microseconds.
    S,
    /// Milliseconds; a fraction is rounded to microseconds.
    Ms,
    /// Microseconds.
    #[default]
    Us,
    /// Nanoseconds, truncated to microseconds.
    Ns,
    /// Text as RFC 3339 defines it, truncated to microseconds.
    Rfc3339,
}

/// The earliest event time that is accepted. It is written as a date (its first instant in UTC) or in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TsMin(Timestamp);

impl TsMin {
    /// Microseconds since the Unix epoch, UTC.
    #[must_use]
    pub fn as_us(self) -> i64 {
        self.0.as_microsecond()
    }
}

impl Default for TsMin {
    /// The year 2000. This is late enough to reject seconds that are read as microseconds.
    fn default() -> Self {
        Self(Timestamp::constant(946_684_800, 0))
    }
}

impl TryFrom<String> for TsMin {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, jiff::Error> {
        if let Ok(timestamp) = text.parse() {
            return Ok(Self(timestamp));
        }
        let date: Date = text.parse()?;
        Ok(Self(Offset::UTC.to_timestamp(date.at(0, 0, 0, 0))?))
    }
}

impl From<TsMin> for String {
    fn from(ts_min: TsMin) -> String {
        ts_min.to_string()
    }
}

impl fmt::Display for TsMin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a [`DecodeConfig`] is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeConfigError {
    /// No producer can send an empty key on purpose.
    #[error("failed to map column `{column}`: its key is empty")]
    EmptyKey {
        /// The column.
        column: &'static str,
    },
    /// One value cannot fill two columns.
    #[error("failed to map column `{column}`: column `{other}` has the same key `{key}`")]
    SharedKey {
        /// The later column.
        column: &'static str,
        /// The earlier column.
        other: &'static str,
        /// Their key.
        key: String,
    },
    /// The path to the ticks does not lead past this field.
    #[error("failed to find `{key}`: `ticks` does not lead past it; a key with a slash is a field around the ticks")]
    NotAround {
        /// The key.
        key: String,
    },
    /// No feed has this name.
    #[error("failed to find the preset `{preset}`: choose one of {}", Preset::names())]
    NoPreset {
        /// The name.
        preset: String,
    },
    /// There are more digits than a 64-bit integer has.
    #[error("failed to read prices: `price_digits` is {digits}, but must be at most {PRICE_DIGITS_MAX}")]
    Digits {
        /// How many.
        digits: u32,
    },
    /// Without a value, no event could be a tick.
    #[error("failed to choose events: `only.{field}` lists no value; list at least one")]
    NoValue {
        /// The field.
        field: String,
    },
    /// A decision by many fields is usually a mistake.
    #[error("failed to choose events: `only` names {fields} fields, but may name at most {FIELDS_MAX}")]
    ManyFields {
        /// How many.
        fields: usize,
    },
    /// A share must be between 0 and 1.
    #[error("failed to bound rejects: `{setting}` is {value}, but must be between 0 and 1")]
    Share {
        /// The setting.
        setting: &'static str,
        /// The value as text, because two errors must be comparable.
        value: String,
    },
    /// With this setting, nothing could be accepted.
    #[error("failed to bound ticks: `{setting}` is zero, but must be at least 1")]
    Zero {
        /// The setting.
        setting: &'static str,
    },
}

impl DecodeConfig {
    /// The configuration of a public feed.
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test reads every preset")]
    pub fn of_preset(preset: &Preset) -> Self {
        serde_json::from_value(preset.settings()).expect("every preset is a configuration")
    }

    /// Which fields are read, and where they are.
    pub(super) fn mapping(&self) -> Result<Mapping, NotAround> {
        Mapping::new(&self.ticks, self.fields.keys(), &self.only)
    }

    /// The way in which bodies are split into elements. If two workers split differently, they cannot compare the
    /// positions of elements. They treat a redelivered message as decoded differently.
    #[must_use]
    pub fn splitting(&self) -> u32 {
        if self.ticks == TicksPath::default() && self.envelope == Wrap::None {
            return SPLITTING;
        }
        // The highest bit distinguishes it from the number of a version.
        crc32fast::hash(format!("{SPLITTING} {:?} {}", self.envelope, self.ticks).as_bytes()) | 1 << 31
    }

    /// Whether a tick must have its own event time: the settings require it, or name a key for it.
    pub(super) fn needs_ts(&self) -> bool {
        self.ts_required || self.fields.ts != FieldNames::default().ts
    }

    /// Checks that the settings make sense, and that some tick can meet them.
    pub fn validate(&self) -> Result<(), DecodeConfigError> {
        let keys = self.fields.keys();
        for (at, (&key, column)) in keys.iter().zip(FieldNames::COLUMNS).enumerate() {
            if key.is_empty() {
                return Err(DecodeConfigError::EmptyKey { column });
            }
            if let Some(earlier) = keys[..at].iter().position(|other| *other == key) {
                let other = FieldNames::COLUMNS[earlier];
                return Err(DecodeConfigError::SharedKey { column, other, key: key.to_owned() });
            }
        }
        if self.only.len() > FIELDS_MAX {
            return Err(DecodeConfigError::ManyFields { fields: self.only.len() });
        }
        if let Some((field, _)) = self.only.iter().find(|(_, wanted)| wanted.is_empty()) {
            return Err(DecodeConfigError::NoValue { field: field.to_owned() });
        }
        if self.price_digits > PRICE_DIGITS_MAX {
            return Err(DecodeConfigError::Digits { digits: self.price_digits });
        }
        if !self.preset.is_empty() && Preset::named(&self.preset).is_none() {
            return Err(DecodeConfigError::NoPreset { preset: self.preset.clone() });
        }
        self.mapping().map_err(|NotAround { key }| DecodeConfigError::NotAround { key })?;
        let shares = [("rejects_share_max", self.rejects_share_max), ("rejects_share_stop", self.rejects_share_stop)];
        if let Some((setting, share)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(DecodeConfigError::Share { setting, value: share.to_string() });
        }
        let bounds = [
            ("symbol_max_bytes", self.symbol_max_bytes),
            ("name_max_bytes", self.name_max_bytes),
            ("names_max", self.names_max),
            ("partitions_per_message_max", self.partitions_per_message_max),
            ("decompressed_max_bytes", self.decompressed_max_bytes),
        ];
        match bounds.into_iter().find(|(_, bound)| *bound == 0) {
            Some((setting, _)) => Err(DecodeConfigError::Zero { setting }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_valid_and_survives_serialisation() {
        let config = DecodeConfig::default();
        assert_eq!(config.validate(), Ok(()));
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""ts_min":"2000-01-01T00:00:00Z""#) && text.contains(r#""ts_unit":"us""#), "{text}");
        assert_eq!(serde_json::from_str::<DecodeConfig>(&text).unwrap(), config);
    }

    #[test]
    fn unknown_setting_is_refused() {
        let error = serde_json::from_str::<DecodeConfig>(r#"{"ts_units":"us"}"#).unwrap_err();
        assert!(error.to_string().contains("ts_units"), "{error}");
        assert!(serde_json::from_str::<DecodeConfig>(r#"{"fields":{"symbl":"s"}}"#).is_err());
    }

    #[test]
    fn ts_min_is_a_date_or_a_timestamp() {
        let us = |text: &str| TsMin::try_from(text.to_owned()).map(TsMin::as_us).ok();
        assert_eq!(us("2000-01-01"), Some(946_684_800_000_000));
        assert_eq!(us("2000-01-01T01:00:00+01:00"), Some(946_684_800_000_000));
        assert_eq!(us("the dawn of time"), None);
    }

    #[test]
    fn two_columns_of_one_key_are_refused() {
        let mut config = DecodeConfig::default();
        config.fields.volume = "price".to_owned();
        let error = config.validate().unwrap_err();
        assert_eq!(error.to_string(), "failed to map column `volume`: column `price` has the same key `price`");
    }

    #[test]
    fn other_way_to_the_ticks_splits_bodies_differently() {
        let of = |json: &str| serde_json::from_str::<DecodeConfig>(json).unwrap().splitting();
        let ways = [
            "{}",
            r#"{"ticks":"data[]"}"#,
            r#"{"ticks":"data"}"#,
            r#"{"envelope":"sns"}"#,
            r#"{"envelope":"sns","ticks":"data"}"#,
        ];
        let numbers: std::collections::BTreeSet<u32> = ways.map(of).into();
        assert_eq!(numbers.len(), ways.len());
        assert_eq!(of(r#"{"fields":{"symbol":"s"},"only":{"e":["t"]},"preset":"binance"}"#), of("{}"));
    }

    #[test]
    fn empty_keys_and_zero_bounds_are_refused() {
        let mut config = DecodeConfig::default();
        config.fields.venue.clear();
        assert_eq!(config.validate(), Err(DecodeConfigError::EmptyKey { column: "venue" }));
        let config = DecodeConfig { symbol_max_bytes: 0, ..DecodeConfig::default() };
        assert_eq!(config.validate(), Err(DecodeConfigError::Zero { setting: "symbol_max_bytes" }));
    }
}
