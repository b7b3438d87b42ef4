//! The path to the ticks of a message.
//!
//! This file owns the notation of the path. It does *not* own the walk along the path ([`super::walk`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest path. Deeper messages are garbage.
const HOPS_MAX: usize = 8;

/// The path from a message to its ticks: `data[]`, `events[].trades[]`, `params.data[]`, or `[1][]` in a message that
/// is an array. Empty if the message is the tick.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TicksPath(Vec<Hop>);

/// One step of the path.
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
                // A dot stands between two keys, and after brackets.
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
}
