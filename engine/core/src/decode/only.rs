//! The choice of events: which values of which fields make a JSON object a tick.
//!
//! A public feed sends not only trades, but also tickers, quotes, corrections and heartbeats. Some of these have a
//! symbol, a price and a size, too. This file owns the setting. It does *not* own the comparison ([`super::filter`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most fields that may decide.
pub(super) const FIELDS_MAX: usize = 4;

/// For each field, the values that make a tick. An object is a tick if every field has one of its values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Only(BTreeMap<String, Vec<Wanted>>);

/// A value that makes a tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wanted {
    /// A JSON boolean.
    Bool(bool),
    /// A JSON integer.
    Integer(i64),
    /// JSON text. With `*` at its end, any text with this beginning. `*` alone means any value. An empty text means
    /// that the field is missing, null, or empty.
    Text(String),
}

impl Only {
    /// The fields and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Wanted])> {
        self.0.iter().map(|(field, wanted)| (field.as_str(), wanted.as_slice()))
    }

    /// How many fields decide.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether every object is meant to be a tick.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The field at `position` and its values.
    pub(super) fn at(&self, position: usize) -> Option<(&str, &[Wanted])> {
        self.iter().nth(position)
    }
}

impl<const N: usize> From<[(&str, Vec<Wanted>); N]> for Only {
    fn from(fields: [(&str, Vec<Wanted>); N]) -> Self {
        Self(fields.into_iter().map(|(field, wanted)| (field.to_owned(), wanted)).collect())
    }
}

impl From<&str> for Wanted {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Wanted {
    /// The required beginning of the text, if this value requires nothing else.
    pub(super) fn prefix(&self) -> Option<&str> {
        match self {
            Wanted::Text(text) => text.strip_suffix('*'),
            Wanted::Bool(_) | Wanted::Integer(_) => None,
        }
    }

    /// Whether every value fits, if there is one.
    pub(super) fn is_any(&self) -> bool {
        matches!(self, Wanted::Text(text) if text == "*")
    }
}
