//! Decides which events are ticks, and counts the events that are not.
//!
//! This file owns the comparison with the configured values, and the bound of the counted values. It does *not* own
//! where fields are found ([`super::fields`]).

use simd_json::{Node, StaticNode};

use super::fields::{number, text};
use super::mapping::{Layer, Target};
use super::number::Number;
use super::only::{FIELDS_MAX, Only, Wanted};

/// How many values are counted one by one. Further values are counted together, so that a feed cannot fill the memory.
const VALUES_MAX: usize = 64;

/// Longer values are cut in the count.
const VALUE_MAX_BYTES: usize = 64;

/// The value that stands for all values beyond [`VALUES_MAX`].
const OTHER: &str = "(other)";

/// The value for which an object was left out, as an index into the table of [`Filter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOutId(u32);

impl LeftOutId {
    /// The volume is 0.
    pub(super) const ZERO_VOLUME: Self = Self(u32::MAX);
}

/// Decides whether objects are ticks, and counts those that it leaves out.
#[derive(Debug, Default)]
pub(super) struct Filter {
    only: Only,
    /// For each left-out value: the position of its field, the value, and the number of objects since the last report.
    left_out: Vec<(usize, String, u64)>,
    zero_volumes: u64,
}

impl Filter {
    pub(super) fn new(only: &Only) -> Self {
        Self { only: only.clone(), left_out: Vec::new(), zero_volumes: 0 }
    }

    /// Checks the values of the fields of `layer`. The error is the value for which the object is left out.
    pub(super) fn admit(&mut self, layer: &Layer, values: &[Option<&[Node<'_>]>; FIELDS_MAX]) -> Result<(), LeftOutId> {
        for (_, target) in &layer.fields {
            if let Target::Decisive(field) = *target
                && let Some((_, wanted)) = self.only.at(field)
                && !wanted.iter().any(|one| is(one, values[field]))
            {
                return Err(self.note(field, values[field]));
            }
        }
        Ok(())
    }

    #[cold]
    fn note(&mut self, field: usize, value: Option<&[Node<'_>]>) -> LeftOutId {
        let value = shown(value);
        let known = |left_out: &[(usize, String, u64)], value: &str| {
            left_out.iter().position(|(of, known, _)| *of == field && known == value)
        };
        let position = known(&self.left_out, &value).or_else(|| {
            let is_full = self.left_out.len() >= VALUES_MAX;
            let value = if is_full { OTHER.to_owned() } else { value };
            known(&self.left_out, &value).or_else(|| {
                self.left_out.push((field, value, 0));
                Some(self.left_out.len() - 1)
            })
        });
        LeftOutId(position.unwrap_or_default() as u32)
    }

    /// Counts an object that was left out.
    pub(super) fn count(&mut self, id: LeftOutId) {
        if id == LeftOutId::ZERO_VOLUME {
            self.zero_volumes += 1;
        } else if let Some((.., count)) = self.left_out.get_mut(id.0 as usize) {
            *count += 1;
        }
    }

    /// Reports the counts since the last call: a field, its value, and their number.
    pub(super) fn take(&mut self, mut tell: impl FnMut(&str, &str, u64)) {
        for (field, value, count) in &mut self.left_out {
            if let (Some((field, _)), 1..) = (self.only.at(*field), *count) {
                tell(field, value, std::mem::take(count));
            }
        }
        if self.zero_volumes > 0 {
            tell("volume", "0", std::mem::take(&mut self.zero_volumes));
        }
    }
}

/// The value as the count shows it: on one line.
fn shown(value: Option<&[Node<'_>]>) -> String {
    match value {
        None => String::new(),
        Some([Node::Static(value)]) => value.to_string(),
        Some(value) => text(value).map_or_else(
            || "(no text)".to_owned(),
            |text| {
                let end = text.floor_char_boundary(VALUE_MAX_BYTES);
                text[..end].chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
            },
        ),
    }
}

/// Whether `value`, which is not null, is `wanted`.
fn is(wanted: &Wanted, value: Option<&[Node<'_>]>) -> bool {
    match (wanted, value) {
        (Wanted::Text(wanted), None) => wanted.is_empty(),
        (any, Some(_)) if any.is_any() => true,
        (any @ Wanted::Text(wanted), Some(value)) => text(value).is_some_and(|text| match any.prefix() {
            Some(prefix) => text.starts_with(prefix),
            None => text == wanted,
        }),
        (Wanted::Integer(wanted), Some(value)) => number(value, false) == Some(Number::Integer((*wanted).into())),
        (Wanted::Bool(wanted), Some([Node::Static(StaticNode::Bool(value))])) => wanted == value,
        (Wanted::Integer(_) | Wanted::Bool(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mapping::Key;

    fn first_field() -> Layer {
        Layer { fields: vec![(Key { name: "x".to_owned(), position: None, below: Vec::new() }, Target::Decisive(0))] }
    }

    fn admits(only: &Only, value: &str) -> bool {
        let mut value = value.as_bytes().to_vec();
        let tape = simd_json::to_tape(&mut value).unwrap();
        let value = Some(tape.0.as_slice()).filter(|nodes| *nodes != [Node::Static(StaticNode::Null)]);
        Filter::new(only).admit(&first_field(), &[value, None, None, None]).is_ok()
    }

    fn only(json: &str) -> Only {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn values_are_compared_as_what_they_are() {
        let one_of = only(r#"{"e":["trade","aggTrade"]}"#);
        assert!(admits(&one_of, r#""trade""#) && admits(&one_of, r#""agg\u0054rade""#));
        for value in [r#""24hrTicker""#, r#""Trade""#, r#""""#, "1", "true", "null", "{}", r#"["trade"]"#] {
            assert!(!admits(&one_of, value), "{value}");
        }
        let rtype = only(r#"{"rtype":[0]}"#);
        assert!(admits(&rtype, "0"));
        for value in [r#""0""#, "1", "0.5", "false"] {
            assert!(!admits(&rtype, value), "{value}");
        }
        let flag = only(r#"{"m":[true]}"#);
        assert!(admits(&flag, "true") && !admits(&flag, "false") && !admits(&flag, r#""true""#));
    }

    #[test]
    fn star_at_the_end_stands_for_any_text() {
        let topic = only(r#"{"topic":["publicTrade.*"]}"#);
        assert!(admits(&topic, r#""publicTrade.BTCUSDT""#) && admits(&topic, r#""publicTrade.""#));
        assert!(!admits(&topic, r#""publicTrade""#) && !admits(&topic, r#""kline.1.BTCUSDT""#));
    }

    #[test]
    fn star_alone_stands_for_any_value() {
        let there = only(r#"{"t":["*"]}"#);
        assert!(admits(&there, "7") && admits(&there, r#""x""#) && admits(&there, "{}"));
        assert!(!admits(&there, "null"));
    }

    #[test]
    fn empty_text_stands_for_no_such_field() {
        let absent = only(r#"{"event":[""]}"#);
        assert!(admits(&absent, "null") && admits(&absent, r#""""#) && !admits(&absent, r#""subscribe""#));
    }

    #[test]
    fn what_is_left_out_is_counted_by_value_within_a_bound() {
        let mut filter = Filter::new(&only(r#"{"e":["trade"]}"#));
        let leave_out = |filter: &mut Filter, value: &str| {
            let node = [Node::String(value)];
            let id = filter.admit(&first_field(), &[Some(&node), None, None, None]).unwrap_err();
            filter.count(id);
        };
        for number in 0..200 {
            leave_out(&mut filter, &format!("v{number}"));
        }
        leave_out(&mut filter, "v0");
        let mut told = Vec::new();
        filter.take(|field, value, count| told.push((field.to_owned(), value.to_owned(), count)));
        assert_eq!(told.len(), VALUES_MAX + 1);
        assert_eq!(told[0], ("e".to_owned(), "v0".to_owned(), 2));
        assert_eq!(told[VALUES_MAX], ("e".to_owned(), OTHER.to_owned(), 200 - VALUES_MAX as u64));
        filter.take(|_, _, _| panic!("they were reported already"));
    }

    #[test]
    fn shown_values_are_short_and_on_one_line() {
        let long = "ä".repeat(100);
        assert_eq!(shown(Some(&[Node::String(&long)])).len(), VALUE_MAX_BYTES);
        assert_eq!(shown(Some(&[Node::String("a\nb")])), "a b");
        assert_eq!(shown(Some(&[Node::Static(StaticNode::I64(7))])), "7");
        assert_eq!(shown(None), "");
    }
}
