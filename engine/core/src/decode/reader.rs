//! Makes one tick of one JSON object: the rules that a tick must meet.
//!
//! This file judges symbol, price, volume, time and names, and interns accepted names. It does *not* know how the
//! object came in, or what happens to an object that is refused.

use std::sync::Arc;

use simd_json::Node;

use super::config::{DecodeConfig, TsUnit};
use super::fields::{Fields, NoName, gather, name, number, refused_character, text};
use super::filter::{Filter, LeftOutId};
use super::mapping::Mapping;
use super::number::Number;
use super::reject::{Reason, Refusal};
use super::shape::Draft;
use super::ts;
use super::unreadable::Unreadable;
use super::walk::{Met, walk};
use super::wrap::hint;
use crate::names::{NameCache, NameId};
use crate::tick::{Dictionaries, Tick, TickBatch};

/// When a message was sent and received, microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageTimes {
    pub(super) sent_at_us: Option<i64>,
    pub(super) received_at_us: i64,
}

impl MessageTimes {
    /// When the message was sent, or received if that is not known. It is the same at every delivery, so every decoder
    /// makes the same rows in the same partitions. It also replaces a missing event time.
    pub(super) fn message_us(self) -> i64 {
        self.sent_at_us.unwrap_or(self.received_at_us)
    }
}

/// The result of reading an object that is not refused.
#[derive(Debug)]
pub(super) enum Read {
    Tick(Tick, Unreadable),
    /// An event that is not meant to be a tick, or one without ticks.
    LeftOut(Option<LeftOutId>),
}

/// Makes ticks of JSON objects.
pub(super) struct TickReader {
    mapping: Arc<Mapping>,
    filter: Filter,
    /// The key of the event time, if a tick must have one.
    ts_key: Option<String>,
    symbol_prefix: String,
    price_digits: u32,
    skip_zero_volume: bool,
    ts_unit: TsUnit,
    numbers_as_strings: bool,
    symbol_max_bytes: usize,
    name_max_bytes: usize,
    ts_min_us: i64,
    ts_future_max_us: i64,
    symbols: NameCache,
    venues: NameCache,
    conditions: NameCache,
    /// Buffers for venues and conditions that are not plain text.
    venue_text: String,
    conditions_text: String,
}

impl TickReader {
    pub(super) fn new(config: &DecodeConfig, mapping: Arc<Mapping>, names: &Dictionaries) -> Self {
        Self {
            filter: Filter::new(&config.only),
            ts_key: config.needs_ts().then(|| config.fields.ts.clone()),
            mapping,
            symbol_prefix: config.symbol_prefix.clone(),
            price_digits: config.price_digits,
            skip_zero_volume: config.skip_zero_volume,
            ts_unit: config.ts_unit,
            numbers_as_strings: config.numbers_as_strings,
            symbol_max_bytes: config.symbol_max_bytes,
            name_max_bytes: config.name_max_bytes,
            ts_min_us: config.ts_min.as_us(),
            ts_future_max_us: i64::try_from(config.ts_future_max.as_micros()).unwrap_or(i64::MAX),
            symbols: NameCache::new(names.symbols.clone()),
            venues: NameCache::new(names.venues.clone()),
            conditions: NameCache::new(names.conditions.clone()),
            venue_text: String::new(),
            conditions_text: String::new(),
        }
    }

    /// Reads the message `nodes`, which has nothing around its tick.
    pub(super) fn read(&mut self, nodes: &[Node<'_>], times: MessageTimes) -> Result<Read, Refusal> {
        let (layer, mut fields) = (&self.mapping.layers[0], Fields::default());
        gather(nodes, layer, true, &mut fields)?;
        match self.filter.admit(layer, &fields.only) {
            Ok(()) => self.tick(fields.columns, times).map_err(|refusal| match (refusal.reason, hint(nodes)) {
                (Reason::MissingSymbol, Some(hint)) => Refusal::new(Reason::Envelope, hint),
                _ => refusal,
            }),
            // The message may be in an envelope. Then the field is somewhere else.
            Err(_) if let Some(hint) = hint(nodes) => Err(Refusal::new(Reason::Envelope, hint)),
            Err(left_out) => Ok(Read::LeftOut(Some(left_out))),
        }
    }

    /// Calls `take` for each element of the message `nodes`, in their order. There is at least one element.
    pub(super) fn read_all(
        &mut self,
        nodes: &[Node<'_>],
        times: MessageTimes,
        take: &mut dyn FnMut(Result<Read, Refusal>),
    ) {
        if self.mapping.is_flat() {
            return take(self.read(nodes, times));
        }
        let (mapping, mut filter) = (self.mapping.clone(), std::mem::take(&mut self.filter));
        walk(&mapping, &mut filter, nodes, &mut |met| {
            take(match met {
                Met::Tick(fields) => self.tick(fields.columns, times),
                Met::LeftOut(left_out) => Ok(Read::LeftOut(left_out)),
                Met::Refused(refusal) => Err(refusal),
            });
        });
        self.filter = filter;
    }

    fn tick(&mut self, columns: [Option<&[Node<'_>]>; 7], times: MessageTimes) -> Result<Read, Refusal> {
        let [symbol, price, volume, ts, seq, venue, conditions] = columns;

        let symbol = symbol.ok_or_else(|| Refusal::new(Reason::MissingSymbol, "tick has no symbol"))?;
        let symbol = text(symbol).map(|symbol| symbol.strip_prefix(&*self.symbol_prefix).unwrap_or(symbol));
        let symbol = checked_symbol(symbol, self.symbol_max_bytes)?;
        let price = price.ok_or_else(|| Refusal::new(Reason::MissingPrice, "tick has no price"))?;
        let price = quantity(self.price(price))
            .ok_or_else(|| Refusal::new(Reason::BadPrice, "price is not a finite number of at least 0"))?;
        let volume = volume.ok_or_else(|| Refusal::new(Reason::MissingVolume, "tick has no volume"))?;
        let volume = quantity(number(volume, self.numbers_as_strings))
            .ok_or_else(|| Refusal::new(Reason::BadVolume, "volume is not a finite number of at least 0"))?;
        if self.skip_zero_volume && volume == 0.0 {
            return Ok(Read::LeftOut(Some(LeftOutId::ZERO_VOLUME)));
        }
        let ts_us = self.event_time(ts, times)?;
        // A tick without an optional field is better than no tick.
        let (mut unreadable, max) = (Unreadable::NONE, self.name_max_bytes);
        let own_seq = seq.and_then(|seq| self.sequence_number(seq));
        if seq.is_some() && own_seq.is_none() {
            unreadable.set(Unreadable::SEQ);
        }
        let venue = named(venue, max, &mut self.venue_text).unwrap_or_else(|_: NoName| {
            unreadable.set(Unreadable::VENUE);
            ""
        });
        let conditions = named(conditions, max, &mut self.conditions_text).unwrap_or_else(|_: NoName| {
            unreadable.set(Unreadable::CONDITIONS);
            ""
        });

        // Names are interned last, so that a refused tick leaves none behind.
        let tick = Tick {
            symbol: self.symbols.intern(symbol),
            ts_us,
            price,
            volume,
            seq: own_seq,
            venue: intern(&mut self.venues, venue),
            conditions: intern(&mut self.conditions, conditions),
            received_at_us: times.received_at_us,
        };
        Ok(Read::Tick(tick, unreadable))
    }

    /// The filter, which decides whether an object is a tick, and counts objects that are not.
    pub(super) fn filter(&mut self) -> &mut Filter {
        &mut self.filter
    }

    /// Whether `tick` has a guest among its names. The id of a guest must not be remembered.
    pub(super) fn has_guest(&self, tick: &Tick) -> bool {
        self.symbols.is_guest(tick.symbol)
            || self.venues.is_guest(tick.venue)
            || self.conditions.is_guest(tick.conditions)
    }

    /// Gives `ticks` the guests of the ticks that were read since the last call, so that it keeps them.
    pub(super) fn hand_over_guests(&mut self, ticks: &mut TickBatch) {
        // This is checked for every message, and hardly ever true.
        if self.symbols.has_guests() || self.venues.has_guests() || self.conditions.has_guests() {
            self.hand_over(ticks);
        }
    }

    #[cold]
    fn hand_over(&mut self, ticks: &mut TickBatch) {
        let caches = [&mut self.symbols, &mut self.venues, &mut self.conditions];
        ticks.guests.extend(caches.into_iter().filter_map(NameCache::take_hold));
    }

    /// Whether the event time of a tick that was read by its shape is acceptable. Everything else about such a tick is.
    #[inline]
    pub(super) fn accepts(&self, draft: &mut Draft, times: MessageTimes) -> bool {
        draft.ts_us = draft.own_ts_us().unwrap_or_else(|| times.message_us());
        (self.ts_min_us..=self.latest_us(times)).contains(&draft.ts_us)
    }

    fn latest_us(&self, times: MessageTimes) -> i64 {
        times.message_us().saturating_add(self.ts_future_max_us)
    }

    fn event_time(&self, ts: Option<&[Node<'_>]>, times: MessageTimes) -> Result<i64, Refusal> {
        let us = match (ts, self.ts_unit) {
            // The mapping names a key for the time. A message without it is another event, or its form has changed.
            (None, _) => match &self.ts_key {
                Some(key) => {
                    return Err(Refusal::new(Reason::MissingTs, format!("tick has no event time: no key `{key}`")));
                }
                None => Some(times.message_us().into()),
            },
            (Some(ts), TsUnit::Rfc3339) => text(ts).and_then(ts::from_rfc3339),
            (Some(ts), unit) => number(ts, self.numbers_as_strings).and_then(|number| ts::from_number(number, unit)),
        };
        let us = us.ok_or_else(|| Refusal::new(Reason::BadTs, "event time is not of the configured unit"))?;
        let latest = self.latest_us(times);
        match i64::try_from(us) {
            Ok(us) if (self.ts_min_us..=latest).contains(&us) => Ok(us),
            Ok(us) if us < self.ts_min_us => Err(Refusal::new(Reason::TsOutOfRange, "event time is too long ago")),
            _ => Err(Refusal::new(Reason::TsOutOfRange, "event time is too far in the future")),
        }
    }

    /// The price, if it is a number.
    fn price(&self, price: &[Node<'_>]) -> Option<Number> {
        let price = number(price, self.numbers_as_strings)?;
        match price {
            _ if self.price_digits == 0 => Some(price),
            // The largest integer means an undefined price: https://databento.com/docs/standards-and-conventions
            Number::Integer(units) if units != i64::MAX.into() => {
                // The text is rounded once. A division of doubles would round twice.
                format!("{units}e-{}", self.price_digits).parse().ok().map(Number::Float)
            }
            Number::Integer(_) | Number::Float(_) => None,
        }
    }

    /// The sequence number, if it is an integer of 64 bits.
    fn sequence_number(&self, seq: &[Node<'_>]) -> Option<i64> {
        match number(seq, self.numbers_as_strings) {
            Some(Number::Integer(seq)) => i64::try_from(seq).ok(),
            Some(Number::Float(_)) | None => None,
        }
    }
}

fn named<'a>(value: Option<&[Node<'a>]>, max: usize, buffer: &'a mut String) -> Result<&'a str, NoName> {
    value.map_or(Ok(""), |value| name(value, max, buffer))
}

fn intern(names: &mut NameCache, name: &str) -> NameId {
    if name.is_empty() { NameId::NONE } else { names.intern(name) }
}

fn quantity(number: Option<Number>) -> Option<f64> {
    let value = number?.as_f64();
    // Adding zero turns -0 into 0. Otherwise -0 would be sorted, grouped and printed as a different number.
    (value.is_finite() && value >= 0.0).then_some(value + 0.0)
}

/// Feeds write symbols with blanks, punctuation and letters of any script. A symbol is data, and is never part of a key
/// in the lake. Two things are refused: characters that break the output of a program that prints them, and `*`, which
/// stands for the whole feed.
fn checked_symbol(symbol: Option<&str>, max: usize) -> Result<&str, Refusal> {
    let refuse = |detail: String| Err(Refusal::new(Reason::BadSymbol, detail));
    let Some(symbol) = symbol else { return refuse("symbol is not text".to_owned()) };
    if symbol.len() > max {
        return refuse(format!("symbol has {} bytes, {max} are allowed", symbol.len()));
    }
    if symbol.trim().is_empty() {
        return refuse("symbol is empty or blank".to_owned());
    }
    if symbol == "*" {
        return refuse("symbol is `*`, which stands for the whole feed".to_owned());
    }
    match refused_character(symbol) {
        Some((at, character)) => {
            let code = u32::from(character);
            refuse(format!("symbol holds the control character U+{code:04X} at byte {at}"))
        }
        None => Ok(symbol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_real_markets_pass() {
        let symbols = [
            "A",
            "aapl",
            "BTC/USDT",
            "BTC-USD",
            "BRK.B",
            "BRK B",
            "^GSPC",
            "EUR=X",
            "ES_F",
            "O:SPY251219C00650000",
            "$SPX",
            "SPY   261218P00540000",
            "CL:C1 02-04",
            "-A",
            ".A",
            "../../x",
            "'",
            "a\\b",
            "Ä",
            "삼성전자",
            "\u{5f0}",
        ];
        for symbol in symbols {
            assert_eq!(checked_symbol(Some(symbol), 64), Ok(symbol));
        }
    }

    #[test]
    fn other_symbols_are_refused_with_the_character_and_its_place() {
        let long = "A".repeat(65);
        for symbol in ["", " ", "\u{a0}", "*", "A\0", "A\n", "A\u{202e}", "\u{85}", long.as_str()] {
            assert_eq!(checked_symbol(Some(symbol), 64).map_err(|refusal| refusal.reason), Err(Reason::BadSymbol));
        }
        let detail = checked_symbol(Some("Ä\tB"), 64).unwrap_err().detail;
        assert_eq!(detail, "symbol holds the control character U+0009 at byte 2");
        assert!(checked_symbol(Some(&long[1..]), 64).is_ok());
    }

    #[test]
    fn quantities_are_finite_and_not_negative() {
        let of = |value: f64| quantity(Some(Number::Float(value))).map(f64::to_bits);
        assert_eq!(of(-0.0), Some(0));
        assert_eq!(of(f64::MAX), Some(f64::MAX.to_bits()));
        for value in [-f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(of(value), None);
        }
    }
}
