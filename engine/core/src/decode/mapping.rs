//! Which fields of a message are read, and at which level of the path to its ticks they are.
//!
//! This file owns the notation of a key. It does *not* own the walk ([`super::walk`]), or what the values mean.

use super::only::Only;
use super::path::{Hop, TicksPath};

/// A key with a slash, but the path to the ticks does not lead past its field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotAround {
    pub(super) key: String,
}

/// The name of a field in its object, or its position in its array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) position: Option<usize>,
    /// The path from there to the value, if the value is inside an object.
    pub(super) below: Vec<Hop>,
}

impl Key {
    fn of(name: &str, below: &[&str]) -> Self {
        let hop = |step: &&str| step.parse().map_or_else(|_| Hop::Key((*step).to_owned()), Hop::At);
        Self { name: name.to_owned(), position: name.parse().ok(), below: below.iter().map(hop).collect() }
    }
}

/// The purpose of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// It fills a column, given by its position in [`FieldNames::COLUMNS`](super::FieldNames).
    Column(usize),
    /// It decides whether there is a tick. The field is given by its position in [`Only`].
    Decisive(usize),
}

/// The fields that are read at one level of the path to the ticks.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) fields: Vec<(Key, Target)>,
}

impl Layer {
    /// Whether fields are given by their positions in an array.
    pub(super) fn has_positions(&self) -> bool {
        self.fields.iter().any(|(key, _)| key.position.is_some())
    }
}

/// Everything that is read of a message: the path, and the fields at each of its levels. The last level is the tick.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    pub(super) hops: Vec<Hop>,
    pub(super) layers: Vec<Layer>,
}

impl Default for Mapping {
    /// Each message is a tick, and no fields are read.
    fn default() -> Self {
        Self { hops: Vec::new(), layers: vec![Layer::default()] }
    }
}

impl Mapping {
    /// Whether an array is one message, and not a batch of messages.
    pub(super) fn begins_in_array(&self) -> bool {
        matches!(self.hops.first(), Some(Hop::At(_) | Hop::Each))
    }

    /// Whether each message is a tick.
    pub(super) fn is_flat(&self) -> bool {
        self.hops.is_empty()
    }

    /// The mapping for `path`. `columns` has the key of each column, in their order. `only` has the fields that decide
    /// whether there is a tick.
    pub(super) fn new(path: &TicksPath, columns: [&str; 7], only: &Only) -> Result<Self, NotAround> {
        let hops = path.hops().to_vec();
        let mut layers = vec![Layer::default(); hops.len() + 1];
        let columns = columns.into_iter().enumerate().map(|(at, key)| (key, Target::Column(at)));
        let decisive = only.iter().enumerate().map(|(at, (key, _))| (key, Target::Decisive(at)));
        for (key, target) in columns.chain(decisive) {
            let (level, key) = place(&hops, key)?;
            layers[level].fields.push((key, target));
        }
        Ok(Self { hops, layers })
    }
}

/// The level at which the field `key` is, and its name there.
///
/// A key belongs to the tick unless it begins with a slash: `/events/type` is the field `type` of the element of
/// `events` that holds the tick. Steps that leave the path to the ticks lead into objects: `/arg/channel`.
fn place(hops: &[Hop], key: &str) -> Result<(usize, Key), NotAround> {
    let wrong = || NotAround { key: key.to_owned() };
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
