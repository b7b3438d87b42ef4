//! The shape of a producer's ticks: the bytes between the values, and what each value is.
//!
//! A [`Shape`] is learnt from one tick that simd-json has parsed and the rules have accepted. Reading another tick by it
//! compares the bytes between the values word by word, and reads the values in place. Whatever differs is a [`Miss`]; it
//! does *not* say that a tick is bad, and simd-json is to decide.

use super::config::TsUnit;
use super::number::Number;
use super::scan::{decimal, integer, mask_of, plain_string, two_words, words};
use super::split::{string_len, value_len};
use super::tokens::{Kind, Tokens};
use super::ts;
use crate::names::NameId;
use crate::tick::Tick;

/// Values of the longest tick that is worth it.
const STEPS_MAX: usize = 32;

/// Bytes that are compared at once.
const HEAD_BYTES: usize = 16;

/// What a shape makes of a tick's text; its event time has not been judged yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Draft {
    /// Symbol, venue and conditions.
    pub(super) names: [NameId; 3],
    pub(super) price: f64,
    pub(super) volume: f64,
    pub(super) ts_us: Option<i64>,
    pub(super) seq: Option<i64>,
}

/// Why a text was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// It has another shape, or a value of another kind.
    Shape,
    /// It has this shape, and a name that has not been spelled like this before.
    Token,
}

/// What the shape depends on besides the text.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The producer's keys, in the order of [`FieldNames::COLUMNS`](super::config::FieldNames::COLUMNS).
    pub(super) keys: [String; 7],
    pub(super) ts_unit: TsUnit,
}

/// The bytes between the values of a tick, and the kinds of the values.
#[derive(Debug, PartialEq)]
pub(super) struct Shape {
    steps: Vec<Step>,
    end: Literal,
    /// A line feed between two values: no tick of a body of lines has one.
    spans_lines: bool,
}

/// Literal bytes, and the value behind them.
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
    /// What is beyond the head.
    tail: Box<[u8]>,
}

/// What is read, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    /// An index into [`Draft::names`].
    Name(usize, Kind),
    Price,
    Volume,
    /// A number in a unit, or text.
    Ts(TsUnit),
    Seq,
    /// Values of keys that fill no column.
    SkippedText,
    SkippedNumber,
    SkippedWord,
}

/// A shape, and what the tick that it was learnt from calls things.
#[derive(Debug)]
pub(super) struct Lesson<'t> {
    pub(super) shape: Shape,
    spelled: [Option<(Kind, &'t [u8])>; 3],
}

impl Lesson<'_> {
    /// Remembers how the names of `tick`, which simd-json has made of the same text, are spelled.
    pub(super) fn teach(&self, tokens: &mut Tokens, tick: &Tick) {
        let ids = [tick.symbol, tick.venue, tick.conditions];
        for (spelled, id) in self.spelled.iter().zip(ids) {
            if let Some((kind, token)) = spelled {
                tokens.insert(*kind, token, id);
            }
        }
    }
}

impl Shape {
    /// Whether there is a line feed between two values.
    pub(super) fn spans_lines(&self) -> bool {
        self.spans_lines
    }

    /// Reads the tick that begins at `at` of the padded `text` into `draft`, and finds where it ends.
    #[inline]
    pub(super) fn read(&self, tokens: &Tokens, text: &[u8], mut at: usize, draft: &mut Draft) -> Result<usize, Miss> {
        *draft = Draft::default();
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

    /// The shape of `tick`, the text of a tick that was accepted. `None` where it is not one of those that can be learnt:
    /// with escapes in its keys, or with objects and arrays that fill no column.
    pub(super) fn learn<'t>(tick: &'t [u8], dialect: &Dialect) -> Option<Lesson<'t>> {
        let mut steps = Vec::new();
        let mut spelled = [None; 3];
        // The bytes from `from` on are in no value.
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
            // null is the same as missing, and so part of the shape.
            if &tick[start..end] != b"null" {
                let column = dialect.keys.iter().position(|known| known.as_bytes() == key);
                let (value, inner) = Value::learn(column, tick, start, end, dialect.ts_unit)?;
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

/// The position of the next byte that is no white space of JSON.
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
        Self { head: words(&head), mask: mask_of(first.len()), len: bytes.len(), tail: tail.into() }
    }

    /// Where it ends, if it stands at `at`.
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
    /// What the value at `start..end` is, and where the part of it lies that differs from tick to tick.
    fn learn(
        column: Option<usize>,
        tick: &[u8],
        start: usize,
        end: usize,
        unit: TsUnit,
    ) -> Option<(Self, std::ops::Range<usize>)> {
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
            (Some(3), _) => Self::Ts(unit),
            (Some(_), _) => Self::Seq,
            (None, b'"') => Self::SkippedText,
            (None, _) if is_number => Self::SkippedNumber,
            (None, _) => Self::SkippedWord,
        };
        Some((value, inner))
    }

    /// Reads a value that is no name; also, where it ends.
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
            Self::Ts(unit) => {
                let (ts_us, end) = event_time(text, at, unit)?;
                draft.ts_us = Some(ts_us);
                Some(end)
            }
            Self::Seq => {
                let (seq, end) = integer(text, at)?;
                draft.seq = Some(i64::try_from(seq).ok()?);
                Some(end)
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

/// Microseconds since the Unix epoch, and where the event time ends.
#[inline]
fn event_time(text: &[u8], at: usize, unit: TsUnit) -> Option<(i64, usize)> {
    let per_unit = match unit {
        TsUnit::S => 1_000_000,
        TsUnit::Ms => 1_000,
        TsUnit::Us => 1,
        TsUnit::Ns => 0,
        TsUnit::Rfc3339 => {
            let end = plain_string(text, at)?;
            let us = ts::from_rfc3339(str::from_utf8(&text[at..end]).ok()?)?;
            return Some((i64::try_from(us).ok()?, end));
        }
    };
    let Some((count, end)) = integer(text, at) else { return fractional_time(text, at, unit) };
    let count = i64::try_from(count).ok()?;
    let us = if unit == TsUnit::Ns { count / 1_000 } else { count.checked_mul(per_unit)? };
    Some((us, end))
}

#[cold]
fn fractional_time(text: &[u8], at: usize, unit: TsUnit) -> Option<(i64, usize)> {
    let (count, end) = decimal(text, at)?;
    // An integer too long for `integer` is still one for simd-json.
    if !text[at..end].iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return None;
    }
    let us = ts::from_number(Number::Float(count), unit)?;
    Some((i64::try_from(us).ok()?, end))
}
