//! The shape of a producer's ticks: the bytes between the values, and the kind of each value.
//!
//! A [`Shape`] is learnt from one tick that simd-json has parsed and the rules have accepted. To read another tick, it
//! compares the bytes between the values word by word, and reads the values in place. Any difference is a [`Miss`]. A
//! miss does *not* mean that a tick is bad: simd-json decides.

use std::ops::Range;

use super::config::TsUnit;
use super::number::Number;
use super::only::{Only, Wanted};
use super::scan::{MASKS, decimal, integer, plain_string, two_words, words};
use super::split::{string_len, value_len};
use super::tokens::{Kind, Tokens};
use super::ts;
use super::unreadable::Unreadable;
use crate::names::NameId;
use crate::tick::Tick;

/// The most values of a tick that can be learnt.
const STEPS_MAX: usize = 32;

/// How many bytes are compared at once.
const HEAD_BYTES: usize = 16;

/// A tick as a shape has read it. Its event time has not been judged yet.
///
/// It has flags beside numbers, not options: an option is written in halves and read as a whole, which takes long.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Draft {
    /// Symbol, venue and conditions.
    pub(super) names: [NameId; 3],
    has_ts: bool,
    has_seq: bool,
    has_unreadable_seq: bool,
    pub(super) price: f64,
    pub(super) volume: f64,
    /// The tick's event time. Once the tick was accepted, the message's time if the tick has none.
    pub(super) ts_us: i64,
    seq: i64,
}

impl Draft {
    /// Resets the fields that not every shape writes.
    #[inline]
    fn clear(&mut self) {
        self.names = [NameId::NONE; 3];
        (self.has_ts, self.has_seq, self.has_unreadable_seq) = (false, false, false);
    }

    /// The tick's own event time.
    #[inline]
    pub(super) fn own_ts_us(&self) -> Option<i64> {
        self.has_ts.then_some(self.ts_us)
    }

    #[inline]
    pub(super) fn seq(&self) -> Option<i64> {
        self.has_seq.then_some(self.seq)
    }

    /// Whether the tick has a sequence number that is not an integer.
    #[inline]
    pub(super) fn has_unreadable_seq(&self) -> bool {
        self.has_unreadable_seq
    }
}

/// Why a text could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// It has another shape, or a value of another kind.
    Shape,
    /// It has this shape, but a name with an unknown spelling.
    Token,
}

/// The settings that a shape depends on.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The producer's keys, in the order of [`FieldNames::COLUMNS`](super::config::FieldNames::COLUMNS).
    pub(super) keys: [String; 7],
    pub(super) ts_unit: TsUnit,
    /// The fields that decide whether an object is a tick.
    pub(super) only: Only,
}

impl Dialect {
    /// How many bytes of `value` have decided that the object with this `key` is a tick. `None` if the key decides
    /// nothing. `value` must come from a tick.
    fn decisive_len(&self, key: &[u8], value: &[u8]) -> Option<usize> {
        let (_, wanted) = self.only.iter().find(|(field, _)| field.as_bytes() == key)?;
        if wanted.iter().any(Wanted::is_any) {
            return None;
        }
        let begins = |prefix: &&str| value.strip_prefix(b"\"").is_some_and(|text| text.starts_with(prefix.as_bytes()));
        let prefix = wanted.iter().filter_map(Wanted::prefix).find(begins);
        Some(prefix.map_or(value.len(), |prefix| 1 + prefix.len()))
    }
}

/// The bytes between the values of a tick, and the kinds of the values.
#[derive(Debug, PartialEq)]
pub(super) struct Shape {
    steps: Vec<Step>,
    end: Literal,
    /// Whether a line feed is between two values. If ticks stand on lines, no tick has one.
    spans_lines: bool,
}

/// Literal bytes, and the value after them.
#[derive(Debug, PartialEq)]
struct Step {
    before: Literal,
    value: Value,
}

/// Bytes that every tick of a shape has.
#[derive(Debug, PartialEq)]
struct Literal {
    head: [u64; 2],
    mask: [u64; 2],
    len: usize,
    /// The bytes after the head.
    tail: Box<[u8]>,
}

/// What is read, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    /// An index into [`Draft::names`].
    Name(usize, Kind),
    Price,
    Volume,
    /// An integer. The number is its unit in microseconds.
    Ts(i64),
    /// An integer in nanoseconds.
    TsNs,
    /// A number with a fraction or an exponent, in this unit.
    TsFraction(TsUnit),
    /// Text as in RFC 3339.
    TsText,
    Seq,
    /// Text that is not a sequence number.
    NoSeq,
    /// Values of keys that fill no column.
    SkippedText,
    SkippedNumber,
    SkippedWord,
}

/// A shape, and how its first tick spells names.
#[derive(Debug)]
pub(super) struct Lesson<'t> {
    pub(super) shape: Shape,
    spelled: [Option<(Kind, &'t [u8])>; 3],
}

impl Lesson<'_> {
    /// Remembers how the names of `tick` are spelled. simd-json has made `tick` of the same text. Returns false if one
    /// of the names cannot be remembered.
    pub(super) fn teach(&self, tokens: &mut Tokens, tick: &Tick) -> bool {
        let ids = [tick.symbol, tick.venue, tick.conditions];
        let spelled = self.spelled.iter().zip(ids).filter_map(|(spelled, id)| Some((spelled.as_ref()?, id)));
        // It remembers all names, even if the first one fails.
        spelled.fold(true, |all, ((kind, token), id)| tokens.insert(*kind, token, id) && all)
    }
}

impl Shape {
    /// Whether a line feed is between two values.
    pub(super) fn spans_lines(&self) -> bool {
        self.spans_lines
    }

    /// Reads the tick at `at` of the padded `text` into `draft`. Returns where it ends.
    #[inline]
    pub(super) fn read(&self, tokens: &Tokens, text: &[u8], mut at: usize, draft: &mut Draft) -> Result<usize, Miss> {
        draft.clear();
        for Step { before, value } in &self.steps {
            at = before.skip(text, at).ok_or(Miss::Shape)?;
            at = match value {
                Value::Name(name, kind) => {
                    let (id, end) = tokens.find(*kind, text, at).ok_or(Miss::Token)?;
                    draft.names[*name] = id;
                    end
                }
                value => value.read(draft, text, at).ok_or(Miss::Shape)?,
            };
        }
        self.end.skip(text, at).ok_or(Miss::Shape)
    }

    /// The shape of `tick`, the text of an accepted tick. `None` if it cannot be learnt: it has escapes in its keys,
    /// objects or arrays that fill no column, or `unreadable` names.
    pub(super) fn learn<'t>(tick: &'t [u8], dialect: &Dialect, unreadable: Unreadable) -> Option<Lesson<'t>> {
        let has_seq = match unreadable {
            Unreadable::NONE => true,
            Unreadable::SEQ => false,
            _ => return None,
        };
        let mut steps = Vec::new();
        let mut spelled = [None; 3];
        // From `from` on, the bytes belong to no value.
        let (mut from, mut at) = (0, skip_blanks(tick, 1));
        loop {
            let key_len = string_len(tick.get(at..)?)?;
            let key = &tick[at + 1..at + key_len - 1];
            let colon = skip_blanks(tick, at + key_len);
            let start = skip_blanks(tick, colon + 1);
            let end = start + value_len(tick.get(start..)?)?;
            if key.contains(&b'\\') || steps.len() >= STEPS_MAX {
                return None;
            }
            let column = dialect.keys.iter().position(|known| known.as_bytes() == key);
            let decisive = dialect.decisive_len(key, &tick[start..end]);
            if decisive.is_some() && column.is_some() {
                return None;
            }
            // null is the same as missing, so it is part of the shape. So is a value that made the object a tick.
            if &tick[start..end] != b"null" && decisive != Some(end - start) {
                let (value, inner) = match decisive {
                    Some(len) => (Value::SkippedText, start + len..end - 1),
                    None => Value::learn(column, tick, start..end, dialect.ts_unit, has_seq)?,
                };
                if let Value::Name(name, kind) = value {
                    spelled[name] = Some((kind, &tick[inner.clone()]));
                }
                steps.push(Step { before: Literal::new(&tick[from..inner.start]), value });
                from = inner.end;
            }
            at = skip_blanks(tick, end);
            match tick.get(at)? {
                b',' => at = skip_blanks(tick, at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        let end = Literal::new(&tick[from..=at]);
        let spans_lines = tick.contains(&b'\n');
        (at + 1 == tick.len()).then_some(Lesson { shape: Self { steps, end, spans_lines }, spelled })
    }
}

/// The position of the next byte that is not JSON white space.
#[inline]
pub(super) fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

impl Literal {
    fn new(bytes: &[u8]) -> Self {
        let (first, tail) = bytes.split_at(bytes.len().min(HEAD_BYTES));
        let mut head = [0; HEAD_BYTES];
        head[..first.len()].copy_from_slice(first);
        Self { head: words(&head), mask: MASKS[first.len()], len: bytes.len(), tail: tail.into() }
    }

    /// Where it ends, if it is at `at`.
    #[inline]
    fn skip(&self, text: &[u8], at: usize) -> Option<usize> {
        let end = at + self.len;
        let [low, high] = two_words(text, at)?;
        let differs = (low ^ self.head[0]) & self.mask[0] | (high ^ self.head[1]) & self.mask[1];
        if differs != 0 || (!self.tail.is_empty() && text.get(at + HEAD_BYTES..end)? != &*self.tail) {
            return None;
        }
        Some(end)
    }
}

impl Value {
    /// The kind of the value at `start..end`, and the range of its bytes that differ from tick to tick.
    fn learn(
        column: Option<usize>,
        tick: &[u8],
        Range { start, end }: Range<usize>,
        unit: TsUnit,
        has_seq: bool,
    ) -> Option<(Self, Range<usize>)> {
        let first = *tick.get(start)?;
        let is_enclosed = matches!(first, b'"' | b'[');
        let inner = if is_enclosed { start + 1..end - 1 } else { start..end };
        let is_number = matches!(first, b'-' | b'0'..=b'9');
        let value = match (column, first) {
            (Some(0), _) => Self::Name(0, Kind::new(0, *tick.get(inner.end)?)),
            (Some(5), _) => Self::Name(1, Kind::new(1, *tick.get(inner.end)?)),
            (Some(6), _) => Self::Name(2, Kind::new(2, *tick.get(inner.end)?)),
            (_, b'[' | b'{') => return None,
            (Some(1), _) => Self::Price,
            (Some(2), _) => Self::Volume,
            (Some(3), _) => Self::learn_ts(&tick[inner.clone()], unit),
            (Some(_), b'"') if !has_seq => Self::NoSeq,
            (Some(_), _) if !has_seq => return None,
            (Some(_), _) => Self::Seq,
            (None, b'"') => Self::SkippedText,
            (None, _) if is_number => Self::SkippedNumber,
            (None, _) => Self::SkippedWord,
        };
        Some((value, inner))
    }

    fn learn_ts(text: &[u8], unit: TsUnit) -> Self {
        let is_fraction = is_fraction(text);
        match unit {
            TsUnit::Rfc3339 => Self::TsText,
            _ if is_fraction => Self::TsFraction(unit),
            TsUnit::S => Self::Ts(1_000_000),
            TsUnit::Ms => Self::Ts(1_000),
            TsUnit::Us => Self::Ts(1),
            TsUnit::Ns => Self::TsNs,
        }
    }

    /// Reads a value that is not a name. Returns where it ends.
    #[inline]
    fn read(self, draft: &mut Draft, text: &[u8], at: usize) -> Option<usize> {
        match self {
            Self::Name(..) => None,
            Self::Price => {
                let (price, end) = decimal(text, at)?;
                draft.price = price;
                Some(end)
            }
            Self::Volume => {
                let (volume, end) = decimal(text, at)?;
                draft.volume = volume;
                Some(end)
            }
            Self::Ts(per_unit) => {
                let (count, end) = integer(text, at)?;
                draft.ts_us = i64::try_from(count).ok()?.checked_mul(per_unit)?;
                draft.has_ts = true;
                Some(end)
            }
            Self::TsNs => {
                let (count, end) = integer(text, at)?;
                draft.ts_us = i64::try_from(count).ok()? / 1_000;
                draft.has_ts = true;
                Some(end)
            }
            Self::TsFraction(unit) => {
                let (count, end) = decimal(text, at).filter(|(_, end)| is_fraction(&text[at..*end]))?;
                draft.ts_us = ts::from_number(Number::Float(count), unit).and_then(|us| i64::try_from(us).ok())?;
                draft.has_ts = true;
                Some(end)
            }
            Self::TsText => {
                let end = plain_string(text, at)?;
                let us = ts::from_rfc3339(str::from_utf8(&text[at..end]).ok()?)?;
                draft.ts_us = i64::try_from(us).ok()?;
                draft.has_ts = true;
                Some(end)
            }
            Self::Seq => {
                let (seq, end) = integer(text, at)?;
                draft.seq = i64::try_from(seq).ok()?;
                draft.has_seq = true;
                Some(end)
            }
            Self::NoSeq => {
                let end = plain_string(text, at)?;
                // Digits may be a sequence number after all: simd-json decides.
                let may_be_one = matches!(text.get(at), Some(b'-' | b'0'..=b'9')) && is_integer(&text[at..end]);
                draft.has_unreadable_seq = true;
                (!may_be_one).then_some(end)
            }
            Self::SkippedText => plain_string(text, at),
            Self::SkippedNumber => {
                let at = at + usize::from(text.get(at) == Some(&b'-'));
                decimal(text, at).map(|(_, end)| end)
            }
            Self::SkippedWord => {
                let words: [&[u8]; 3] = [b"true", b"false", b"null"];
                let word = words.iter().find(|word| text.get(at..).is_some_and(|rest| rest.starts_with(word)))?;
                Some(at + word.len())
            }
        }
    }
}

/// Whether all of `text` is an optional minus and digits.
fn is_integer(text: &[u8]) -> bool {
    text.strip_prefix(b"-").unwrap_or(text).iter().all(u8::is_ascii_digit)
}

/// Whether a number is not written as an integer. simd-json keeps integers exact.
fn is_fraction(number: &[u8]) -> bool {
    number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}
