//! One JSON object to one tick: the rules that a tick must meet.
//!
//! This file owns the judgement of symbol, price, volume, time and names, and interns what has passed. It does *not*
//! know how the object came in, nor what becomes of one that is refused.

use simd_json::Node;

use super::config::{DecodeConfig, TsUnit};
use super::fields::{Fields, NoName, gather, name, number, text};
use super::number::Number;
use super::only::{Filter, LeftOutId};
use super::reject::{Reason, Refusal};
use super::shape::Draft;
use super::ts;
use crate::names::{NameCache, NameId};
use crate::tick::{Dictionaries, Tick, TickBatch};

/// When a message was sent and received, microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageTimes {
    pub(super) sent_at_us: Option<i64>,
    pub(super) received_at_us: i64,
}

impl MessageTimes {
    /// When it was sent, or received, if that is not known: the same at every delivery, so that whoever decodes it
    /// again comes to the same rows in the same partitions. It also stands in for a missing event time.
    pub(super) fn message_us(self) -> i64 {
        self.sent_at_us.unwrap_or(self.received_at_us)
    }
}

/// What an object that is not refused is.
#[derive(Debug)]
pub(super) enum Read {
    Tick(Tick),
    /// An event that is not meant to be a tick.
    LeftOut(LeftOutId),
}

/// Makes ticks of JSON objects.
pub(super) struct TickReader {
    keys: [String; 7],
    filter: Filter,
    needs_ts: bool,
    ts_unit: TsUnit,
    numbers_as_strings: bool,
    symbol_max_bytes: usize,
    name_max_bytes: usize,
    ts_min_us: i64,
    ts_future_max_us: i64,
    symbols: NameCache,
    venues: NameCache,
    conditions: NameCache,
    /// For venues and conditions that are not text as they stand.
    venue_text: String,
    conditions_text: String,
}

impl TickReader {
    pub(super) fn new(config: &DecodeConfig, names: &Dictionaries) -> Self {
        Self {
            keys: config.fields.keys().map(String::from),
            filter: Filter::new(&config.only),
            needs_ts: config.needs_ts(),
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

    /// The tick that the value `nodes` is, if it is one of the events that are meant.
    pub(super) fn read(&mut self, nodes: &[Node<'_>], times: MessageTimes) -> Result<Read, Refusal> {
        let Fields { columns, only } = gather(nodes, &self.keys, self.filter.only())?;
        match self.filter.admit(&only) {
            Ok(()) => self.tick(columns, times).map(Read::Tick),
            Err(left_out) => Ok(Read::LeftOut(left_out)),
        }
    }

    fn tick(&mut self, columns: [Option<&[Node<'_>]>; 7], times: MessageTimes) -> Result<Tick, Refusal> {
        let [symbol, price, volume, ts, seq, venue, conditions] = columns;

        let symbol = symbol.ok_or_else(|| Refusal::new(Reason::MissingSymbol, "tick has no symbol"))?;
        let symbol = checked_symbol(text(symbol), self.symbol_max_bytes)?;
        let price = price.ok_or_else(|| Refusal::new(Reason::MissingPrice, "tick has no price"))?;
        let price = quantity(number(price, self.numbers_as_strings))
            .ok_or_else(|| Refusal::new(Reason::BadPrice, "price is not a finite number of at least 0"))?;
        let volume = volume.ok_or_else(|| Refusal::new(Reason::MissingVolume, "tick has no volume"))?;
        let volume = quantity(number(volume, self.numbers_as_strings))
            .ok_or_else(|| Refusal::new(Reason::BadVolume, "volume is not a finite number of at least 0"))?;
        let ts_us = self.event_time(ts, times)?;
        let seq = seq.map(|seq| self.sequence_number(seq)).transpose()?;
        let max = self.name_max_bytes;
        let venue = named(venue, max, &mut self.venue_text).map_err(|why| why.of("venue", Reason::BadVenue, max))?;
        let conditions = named(conditions, max, &mut self.conditions_text)
            .map_err(|why| why.of("each condition, or all of them,", Reason::BadConditions, max))?;

        // Last, so that a refused tick leaves no names behind.
        Ok(Tick {
            symbol: self.symbols.intern(symbol),
            ts_us,
            price,
            volume,
            seq,
            venue: intern(&mut self.venues, venue),
            conditions: intern(&mut self.conditions, conditions),
            received_at_us: times.received_at_us,
        })
    }

    /// What decides whether an object is a tick, and counts those that are none.
    pub(super) fn filter(&mut self) -> &mut Filter {
        &mut self.filter
    }

    /// Whether a name of `tick` is a guest, whose id is not to be remembered.
    pub(super) fn has_guest(&self, tick: &Tick) -> bool {
        self.symbols.is_guest(tick.symbol)
            || self.venues.is_guest(tick.venue)
            || self.conditions.is_guest(tick.conditions)
    }

    /// Lets `ticks` keep the guests of the ticks that were read since the last call.
    pub(super) fn hand_over_guests(&mut self, ticks: &mut TickBatch) {
        // Asked of every message, and hardly ever true.
        if self.symbols.has_guests() || self.venues.has_guests() || self.conditions.has_guests() {
            self.hand_over(ticks);
        }
    }

    #[cold]
    fn hand_over(&mut self, ticks: &mut TickBatch) {
        let caches = [&mut self.symbols, &mut self.venues, &mut self.conditions];
        ticks.guests.extend(caches.into_iter().filter_map(NameCache::take_hold));
    }

    /// Whether the event time of a tick that a shape has read is acceptable; all else about the tick is.
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
            // The producer's own mapping names a time. A message without it is another event, or has changed.
            (None, _) if self.needs_ts => {
                let detail = format!("tick has no event time: no key `{}`", self.keys[3]);
                return Err(Refusal::new(Reason::MissingTs, detail));
            }
            (None, _) => Some(times.message_us().into()),
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

    fn sequence_number(&self, seq: &[Node<'_>]) -> Result<i64, Refusal> {
        let seq = match number(seq, self.numbers_as_strings) {
            Some(Number::Integer(seq)) => i64::try_from(seq).ok(),
            Some(Number::Float(_)) | None => None,
        };
        seq.ok_or_else(|| Refusal::new(Reason::BadSeq, "sequence number is not an integer of 64 bits"))
    }
}

impl NoName {
    /// The refusal of a tick whose `what` is no name of at most `max` bytes.
    fn of(self, what: &str, reason: Reason, max: usize) -> Refusal {
        let detail = match self {
            NoName::Other => format!("{what} is not text or an integer of at most {max} bytes"),
            NoName::Control => format!("{what} holds a control character"),
        };
        Refusal::new(reason, detail)
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
    // Adding zero makes 0 of -0, which would else sort, group and print as a number of its own.
    (value.is_finite() && value >= 0.0).then_some(value + 0.0)
}

/// Symbols begin with a letter, a digit, `^` or `$` and go on with these and `. _ - / : = + * @ & # ~ |`: what
/// exchanges use for share classes, pairs, indices, futures and rates. They become part of no key in the lake, yet `..`
/// and control characters have no business in any of them.
fn checked_symbol(symbol: Option<&str>, max: usize) -> Result<&str, Refusal> {
    let symbol = symbol.ok_or_else(|| Refusal::new(Reason::BadSymbol, "symbol is not text"))?;
    let (first, rest) = match symbol.as_bytes() {
        [] => return Err(Refusal::new(Reason::BadSymbol, "symbol is empty")),
        bytes if bytes.len() > max => {
            let detail = format!("symbol has {} bytes, {max} are allowed", bytes.len());
            return Err(Refusal::new(Reason::BadSymbol, detail));
        }
        [first, rest @ ..] => (first, rest),
    };
    let starts = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'^' | b'$');
    let goes_on = |byte: &u8| starts(byte) || b"._-/:=+*@&#~|".contains(byte);
    if starts(first) && rest.iter().all(goes_on) {
        Ok(symbol)
    } else {
        Err(Refusal::new(Reason::BadSymbol, "symbol holds a character that is not allowed at its place"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_real_markets_pass() {
        for symbol in
            ["A", "aapl", "BTC/USDT", "BTC-USD", "BRK.B", "^GSPC", "EUR=X", "ES_F", "O:SPY251219C00650000", "$SPX"]
        {
            assert_eq!(checked_symbol(Some(symbol), 64), Ok(symbol));
        }
    }

    #[test]
    fn other_symbols_are_refused() {
        let long = "A".repeat(65);
        for symbol in
            ["", "../../x", ".A", "/A", "-A", "A B", "A\0", "A\n", "Ä", "A\u{202e}", "a\\b", "'", long.as_str()]
        {
            assert_eq!(checked_symbol(Some(symbol), 64).map_err(|refusal| refusal.reason), Err(Reason::BadSymbol));
        }
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
