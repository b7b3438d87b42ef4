//! Where the ticks of a message stand, and where the fields are that fill their columns.
//!
//! This file owns the two notations of the configuration: the path to the ticks, and the key of a field. It does *not*
//! own the walk along them ([`super::walk`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::config::{DecodeConfig, DecodeConfigError};

/// The longest path: deeper messages are garbage.
const HOPS_MAX: usize = 8;

/// The path from a message to its ticks: `data[]`, `events[].trades[]`, `params.data[]`, or `[1][]` in a message that
/// is an array. Empty where the message is the tick.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TicksPath(Vec<Hop>);

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hop {
    /// To the value of a key.
    Key(String),
    /// To the element at a position, from 0.
    At(usize),
    /// To each element.
    Each,
}

/// A path that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read the path to the ticks `{0}`: write keys with dots between them, [] for every element and [1] for the second"
)]
pub struct PathError(String);

impl TicksPath {
    pub(super) fn hops(&self) -> &[Hop] {
        &self.0
    }
}

impl TryFrom<String> for TicksPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        let (mut hops, mut rest) = (Vec::new(), text.as_str());
        let wrong = || PathError(text.clone());
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('[') {
                let (inner, tail) = tail.split_once(']').ok_or_else(wrong)?;
                hops.push(if inner.is_empty() { Hop::Each } else { Hop::At(inner.parse().map_err(|_| wrong())?) });
                rest = tail;
                if !(rest.is_empty() || rest.starts_with(['.', '['])) {
                    return Err(wrong());
                }
            } else {
                // A dot stands between two keys, and behind brackets.
                let key = if hops.is_empty() { rest } else { rest.strip_prefix('.').ok_or_else(wrong)? };
                let len = key.find(['.', '[', ']']).unwrap_or(key.len());
                if len == 0 {
                    return Err(wrong());
                }
                hops.push(Hop::Key(key[..len].to_owned()));
                rest = &key[len..];
            }
        }
        if hops.len() > HOPS_MAX { Err(wrong()) } else { Ok(Self(hops)) }
    }
}

impl From<TicksPath> for String {
    fn from(path: TicksPath) -> String {
        path.to_string()
    }
}

impl fmt::Display for TicksPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, hop) in self.0.iter().enumerate() {
            match hop {
                Hop::Key(key) if at == 0 => write!(f, "{key}")?,
                Hop::Key(key) => write!(f, ".{key}")?,
                Hop::At(position) => write!(f, "[{position}]")?,
                Hop::Each => write!(f, "[]")?,
            }
        }
        Ok(())
    }
}

/// The name of a field in its object, or its position in its array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) position: Option<usize>,
    /// The way from there to the value, if that is an object with the value in it.
    pub(super) below: Vec<Hop>,
}

impl Key {
    fn of(name: &str, below: &[&str]) -> Self {
        let hop = |step: &&str| step.parse().map_or_else(|_| Hop::Key((*step).to_owned()), Hop::At);
        Self { name: name.to_owned(), position: name.parse().ok(), below: below.iter().map(hop).collect() }
    }
}

/// What the value of a field is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A column, by its position in [`FieldNames::COLUMNS`](super::config::FieldNames::COLUMNS).
    Column(usize),
    /// The decision whether there is a tick, by the position of the field in [`Only`](super::Only).
    Decisive(usize),
}

/// The fields that are read at one level of the way to the ticks.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) fields: Vec<(Key, Target)>,
}

impl Layer {
    /// Whether fields are told by their positions in an array.
    pub(super) fn has_positions(&self) -> bool {
        self.fields.iter().any(|(key, _)| key.position.is_some())
    }
}

/// All that is read of a message: the way, and the fields at each of its levels. The last level is the tick.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    pub(super) hops: Vec<Hop>,
    pub(super) layers: Vec<Layer>,
}

impl Default for Mapping {
    /// Each message is a tick without fields.
    fn default() -> Self {
        Self { hops: Vec::new(), layers: vec![Layer::default()] }
    }
}

impl Mapping {
    /// Whether a message that is an array is one message, and not several in a batch.
    pub(super) fn begins_in_array(&self) -> bool {
        matches!(self.hops.first(), Some(Hop::At(_) | Hop::Each))
    }

    /// Whether each message is a tick.
    pub(super) fn is_flat(&self) -> bool {
        self.hops.is_empty()
    }

    pub(super) fn new(config: &DecodeConfig) -> Result<Self, DecodeConfigError> {
        let hops = config.ticks.hops().to_vec();
        let mut layers = vec![Layer::default(); hops.len() + 1];
        let columns = config.fields.keys().into_iter().enumerate().map(|(at, key)| (key, Target::Column(at)));
        let decisive = config.only.iter().enumerate().map(|(at, (key, _))| (key, Target::Decisive(at)));
        for (key, target) in columns.chain(decisive) {
            let (level, key) = place(&hops, key)?;
            layers[level].fields.push((key, target));
        }
        Ok(Self { hops, layers })
    }
}

/// The level at which the field `key` stands, and its name there.
///
/// A key is one of the tick, unless it begins with a slash: `/events/type` is the field `type` of the element of
/// `events` that holds the tick. Behind the last step on the way to the ticks, further steps lead into objects:
/// `/arg/channel`.
fn place(hops: &[Hop], key: &str) -> Result<(usize, Key), DecodeConfigError> {
    let wrong = || DecodeConfigError::NotAround { key: key.to_owned() };
    let steps: Vec<&str> = key.strip_prefix('/').unwrap_or(key).split('/').collect();
    if steps.iter().any(|step| step.is_empty()) {
        return Err(wrong());
    }
    let (mut level, mut below) = (hops.len(), steps.as_slice());
    if key.starts_with('/') {
        level = 0;
        let each = |level: usize| level + usize::from(hops.get(level) == Some(&Hop::Each));
        while let [step, rest @ ..] = below
            && let is_on_the_way = match hops.get(each(level)) {
                Some(Hop::Key(key)) => key == step,
                Some(Hop::At(position)) => step.parse() == Ok(*position),
                Some(Hop::Each) | None => false,
            }
            && is_on_the_way
        {
            level = each(level) + 1;
            below = rest;
        }
        level = each(level);
        if level >= hops.len() {
            return Err(wrong());
        }
    }
    match below {
        [name, below @ ..] => Ok((level, Key::of(name, below))),
        [] => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TicksPath {
        TicksPath::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn paths_are_read_and_written_alike() {
        for text in ["", "data", "data[]", "events[].trades[]", "params.data[]", "[1][]", "[2]", "a.b[0].c"] {
            assert_eq!(path(text).to_string(), text);
        }
        for text in [".", "a.", ".a", "a..b", "a[", "a]", "a[x]", "[]a", "a[-1]", "[][][][][][][][][]"] {
            assert!(TicksPath::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn key_with_a_slash_is_a_field_around_the_ticks() {
        let of = |ticks: &str, key: &str| place(path(ticks).hops(), key);
        let at = |level, name, below: &[&str]| Ok((level, Key::of(name, below)));
        assert_eq!(of("events[].trades[]", "price"), at(4, "price", &[]));
        assert_eq!(of("events[].trades[]", "/channel"), at(0, "channel", &[]));
        assert_eq!(of("events[].trades[]", "/events/type"), at(2, "type", &[]));
        assert_eq!(of("params.data[]", "/params/channel"), at(1, "channel", &[]));
        assert_eq!(of("data[]", "/arg/channel"), at(0, "arg", &["channel"]));
        assert_eq!(of("[1][]", "/3"), at(0, "3", &[]));
        assert_eq!(of("", "hd/ts_event"), at(0, "hd", &["ts_event"]));
        for key in ["/", "/params/data/x", "/params/", "/params//x", "a/", ""] {
            assert!(of("params.data[]", key).is_err(), "{key}");
        }
        assert!(of("", "/e").is_err(), "the message is the tick, and nothing is around it");
    }
}
