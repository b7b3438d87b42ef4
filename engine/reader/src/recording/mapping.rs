//! Which columns of a recording hold what, and ready mappings for common shapes of files.

use std::str::FromStr;

/// The unit of event times that are plain integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TsUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds. Their last three digits are dropped.
    Ns,
}

impl FromStr for TsUnit {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        match text {
            "s" => Ok(Self::S),
            "ms" => Ok(Self::Ms),
            "us" => Ok(Self::Us),
            "ns" => Ok(Self::Ns),
            _ => Err(MappingError::Unit(text.to_owned())),
        }
    }
}

impl TsUnit {
    /// `ts` in microseconds. `None` if the result exceeds an `i64`.
    #[must_use]
    pub fn to_us(self, ts: i64) -> Option<i64> {
        match self {
            Self::S => ts.checked_mul(1_000_000),
            Self::Ms => ts.checked_mul(1_000),
            Self::Us => Some(ts),
            Self::Ns => Some(ts.div_euclid(1_000)),
        }
    }
}

/// The columns of a recording, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The column with the symbol.
    pub symbol: String,
    /// The column with the event time: an integer in `ts_unit`. In Parquet it may be a timestamp with its own unit.
    pub ts: String,
    /// The unit of `ts` if it is an integer.
    pub ts_unit: TsUnit,
    /// The column with the price.
    pub price: String,
    /// The column with the volume.
    pub volume: String,
    /// The column with the sequence number, unique within a symbol. `None` leaves the rows without a number.
    pub seq: Option<String>,
    /// The column with the venue.
    pub venue: Option<String>,
    /// The column with the sale conditions.
    pub conditions: Option<String>,
}

/// Why a text is not a [`Mapping`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The text is not a unit of event times.
    #[error("failed to read the unit of event times: {0:?} is not a unit; give s, ms, us or ns")]
    Unit(String),
    /// A part has no `=`, or nothing on one side of it.
    #[error("failed to read the mapping: {0:?} is not of the form FIELD=COLUMN")]
    Form(String),
    /// A tick does not have such a field.
    #[error(
        "failed to read the mapping: there is no field {0:?}, only symbol, ts, price, volume, seq, venue, conditions"
    )]
    Field(String),
    /// A field is mapped twice.
    #[error("failed to read the mapping: {0} is mapped twice")]
    Twice(&'static str),
    /// A field that every tick needs is not mapped.
    #[error("failed to read the mapping: {0} is not mapped; add {0}=COLUMN")]
    Missing(&'static str),
}

/// The fields in the order in which they are listed everywhere.
const FIELDS: [&str; 7] = ["symbol", "ts", "price", "volume", "seq", "venue", "conditions"];

impl FromStr for Mapping {
    type Err = MappingError;

    /// Reads `symbol=sym,ts=ts_ms,price=price,volume=size`; event times are in milliseconds.
    fn from_str(text: &str) -> Result<Self, MappingError> {
        let mut columns: [Option<String>; 7] = [const { None }; 7];
        for part in text.split(',') {
            let pair = part.split_once('=').map(|(field, column)| (field.trim(), column.trim()));
            let Some((field, column)) = pair.filter(|(field, column)| !field.is_empty() && !column.is_empty()) else {
                return Err(MappingError::Form(part.to_owned()));
            };
            let Some(at) = FIELDS.iter().position(|&known| known == field) else {
                return Err(MappingError::Field(field.to_owned()));
            };
            if columns[at].replace(column.to_owned()).is_some() {
                return Err(MappingError::Twice(FIELDS[at]));
            }
        }
        let [symbol, ts, price, volume, seq, venue, conditions] = columns;
        let needed = |column: Option<String>, field| column.ok_or(MappingError::Missing(field));
        Ok(Self {
            symbol: needed(symbol, "symbol")?,
            ts: needed(ts, "ts")?,
            ts_unit: TsUnit::Ms,
            price: needed(price, "price")?,
            volume: needed(volume, "volume")?,
            seq,
            venue,
            conditions,
        })
    }
}

/// A mapping that has a name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    /// The mapping as text.
    pub mapping: &'static str,
    /// The unit of its event times.
    pub ts_unit: TsUnit,
}

/// Shapes of files that are common enough to have a name.
pub const PRESETS: [Preset; 3] = [
    Preset {
        name: "us-equity-trades",
        mapping: "symbol=symbol,ts=ts_ms,price=price,volume=size,venue=exchange,conditions=cond",
        ts_unit: TsUnit::Ms,
    },
    Preset {
        name: "binance-trades",
        mapping: "symbol=symbol,ts=trade_ms,price=price,volume=qty,seq=trade_id",
        ts_unit: TsUnit::Ms,
    },
    // The columns have the names of a tick's fields, as in files that `plant` writes and in the files of a lake.
    Preset {
        name: "ticklake",
        mapping: "symbol=symbol,ts=ts,price=price,volume=volume,seq=seq,venue=venue,conditions=conditions",
        ts_unit: TsUnit::Us,
    },
];

impl Mapping {
    /// The mapping of that name among [`PRESETS`].
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        let preset = PRESETS.iter().find(|preset| preset.name == name)?;
        Some(Self { ts_unit: preset.ts_unit, ..preset.mapping.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_mapping() {
        for preset in PRESETS {
            assert!(Mapping::preset(preset.name).is_some(), "{}", preset.name);
        }
        assert_eq!(Mapping::preset("none"), None);
    }

    #[test]
    fn bad_mappings_name_what_is_wrong() {
        let error = |text: &str| text.parse::<Mapping>().unwrap_err();
        assert_eq!(error("symbol=a,ts=b,price=c"), MappingError::Missing("volume"));
        assert_eq!(error("symbol=a,size=b"), MappingError::Field("size".to_owned()));
        assert_eq!(error("symbol=a,symbol=b"), MappingError::Twice("symbol"));
        assert_eq!(error("symbol=a,ts"), MappingError::Form("ts".to_owned()));
        assert_eq!(error(""), MappingError::Form(String::new()));
    }

    #[test]
    fn units_convert_to_microseconds() {
        assert_eq!(["s", "ms", "us", "ns"].map(str::parse), [TsUnit::S, TsUnit::Ms, TsUnit::Us, TsUnit::Ns].map(Ok));
        assert_eq!("m".parse::<TsUnit>(), Err(MappingError::Unit("m".to_owned())));
        assert_eq!(TsUnit::S.to_us(-2), Some(-2_000_000));
        assert_eq!(TsUnit::Ms.to_us(i64::MAX), None);
        assert_eq!(TsUnit::Ns.to_us(1_999), Some(1));
    }
}
