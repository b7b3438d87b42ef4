//! One tick as it is sent: the fields of the canonical JSON form, borrowed from wherever they come from.
//!
//! This file owns the checksum of a tick. It does *not* own how a tick is written into a message.

pub use ticklake_reader::Number;

use crate::random::mix;

/// One trade or price update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick<'a> {
    /// The instrument.
    pub symbol: &'a str,
    /// Event time, microseconds since the Unix epoch, UTC.
    pub ts_us: i64,
    /// Price of one unit.
    pub price: Number<'a>,
    /// Units traded.
    pub volume: Number<'a>,
    /// The sequence number, unique within the symbol.
    pub seq: i64,
    /// Where the trade took place.
    pub venue: Option<&'a str>,
    /// Sale conditions.
    pub conditions: Option<&'a str>,
}

impl Tick<'_> {
    /// This tick's share of its symbol's checksum.
    #[must_use]
    pub fn checksum(&self, symbol: SymbolHash) -> u64 {
        row_checksum(symbol, self.ts_us, self.price.value(), self.volume.value(), self.seq)
    }
}

/// A tick that owns its texts.
#[derive(Debug, Clone)]
pub(crate) struct OwnedTick {
    symbol: Box<str>,
    ts_us: i64,
    price: OwnedNumber,
    volume: OwnedNumber,
    seq: i64,
    venue: Option<Box<str>>,
    conditions: Option<Box<str>>,
}

impl From<&Tick<'_>> for OwnedTick {
    fn from(tick: &Tick<'_>) -> Self {
        Self {
            symbol: tick.symbol.into(),
            ts_us: tick.ts_us,
            price: tick.price.into(),
            volume: tick.volume.into(),
            seq: tick.seq,
            venue: tick.venue.map(Into::into),
            conditions: tick.conditions.map(Into::into),
        }
    }
}

impl OwnedTick {
    /// The tick.
    pub(crate) fn tick(&self) -> Tick<'_> {
        Tick {
            symbol: &self.symbol,
            ts_us: self.ts_us,
            price: self.price.number(),
            volume: self.volume.number(),
            seq: self.seq,
            venue: self.venue.as_deref(),
            conditions: self.conditions.as_deref(),
        }
    }
}

/// A number that owns its text.
#[derive(Debug, Clone)]
struct OwnedNumber {
    /// The text of a number that is passed through. `number` is its value.
    text: Option<Box<str>>,
    number: Number<'static>,
}

impl From<Number<'_>> for OwnedNumber {
    fn from(number: Number<'_>) -> Self {
        let of = |number| Self { text: None, number };
        match number {
            Number::Cents(cents) => of(Number::Cents(cents)),
            Number::Whole(whole) => of(Number::Whole(whole)),
            Number::Float(value) => of(Number::Float(value)),
            Number::Text { text, value } => Self { text: Some(text.into()), number: Number::Float(value) },
        }
    }
}

impl OwnedNumber {
    fn number(&self) -> Number<'_> {
        match &self.text {
            Some(text) => Number::Text { text, value: self.number.value() },
            None => self.number,
        }
    }
}

/// The hash of a symbol's name, computed once per symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SymbolHash(u64);

impl SymbolHash {
    /// FNV-1a over the bytes of the name.
    #[must_use]
    pub fn of(symbol: &str) -> Self {
        Self(
            symbol
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }
}

/// The checksum of one row. The checksums of a symbol are added with wrap-around, so their order does not matter.
#[must_use]
pub fn row_checksum(symbol: SymbolHash, ts_us: i64, price: f64, volume: f64, seq: i64) -> u64 {
    [ts_us as u64, price.to_bits(), volume.to_bits(), seq as u64]
        .into_iter()
        .fold(mix(symbol.0), |hash, word| mix(hash.wrapping_add(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_that_is_kept_is_the_tick() {
        let text = Number::from_text("61837.63000000").unwrap();
        for (price, volume) in [(Number::Cents(7), Number::Whole(3)), (text, Number::Float(0.5))] {
            let tick = Tick { symbol: "AAPL", ts_us: 5, price, volume, seq: 9, venue: Some("XNAS"), conditions: None };
            assert_eq!(OwnedTick::from(&tick).tick(), tick);
        }
    }

    #[test]
    fn checksum_depends_on_every_field() {
        let hash = SymbolHash::of("AAPL");
        let sum = row_checksum(hash, 1, 2.0, 3.0, 4);
        assert_ne!(sum, row_checksum(SymbolHash::of("AAPM"), 1, 2.0, 3.0, 4));
        assert_ne!(sum, row_checksum(hash, 2, 2.0, 3.0, 4));
        assert_ne!(sum, row_checksum(hash, 1, 3.0, 2.0, 4));
        assert_ne!(sum, row_checksum(hash, 1, 2.0, 3.5, 4));
        assert_ne!(sum, row_checksum(hash, 1, 2.0, 3.0, 5));
    }
}
