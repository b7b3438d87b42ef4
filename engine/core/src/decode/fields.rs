//! The fields of one JSON object that fill columns, with their values as text and numbers.
//!
//! This file owns the walk over simd-json's nodes. It does *not* judge the values.

use std::fmt::Write;

use simd_json::{Node, StaticNode};

use super::config::FieldNames;
use super::mapping::{Layer, Target};
use super::nodes::{child, split_value};
use super::number::Number;
use super::only::FIELDS_MAX;
use super::path::Hop;
use super::reject::{Reason, Refusal};

/// The values of fields. Null is the same as no value.
type Values<'n, 't, const N: usize> = [Option<&'n [Node<'t>]>; N];

/// The fields that are read of a tick and around it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields<'n, 't> {
    /// The value of each column of a tick, in the order of [`FieldNames::COLUMNS`].
    pub(super) columns: Values<'n, 't, 7>,
    /// The values that decide whether there is a tick, in the order of [`Only`](super::Only).
    pub(super) only: Values<'n, 't, FIELDS_MAX>,
}

impl<'n, 't> Fields<'n, 't> {
    fn set(&mut self, target: Target, value: &'n [Node<'t>]) {
        let value = Some(value).filter(|nodes| !matches!(nodes, [Node::Static(StaticNode::Null)]));
        match target {
            Target::Column(column) => self.columns[column] = value,
            Target::Decisive(field) => self.only[field] = value,
        }
    }
}

/// Adds the fields of `layer` that `nodes` (an object or an array) has to `found`. A tick must be one of these.
///
/// A repeated key is refused. Parsers disagree on which value counts, and a price must not be a guess.
pub(super) fn gather<'n, 't>(
    nodes: &'n [Node<'t>],
    layer: &Layer,
    is_tick: bool,
    found: &mut Fields<'n, 't>,
) -> Result<(), Refusal> {
    match nodes.first() {
        Some(Node::Object { .. }) => gather_named(&nodes[1..], layer, found),
        Some(Node::Array { .. }) if layer.has_positions() => {
            gather_placed(&nodes[1..], layer, found);
            Ok(())
        }
        _ if is_tick => Err(Refusal::new(Reason::NotATick, "value is not a JSON object")),
        _ => Ok(()),
    }
}

fn gather_named<'n, 't>(mut rest: &'n [Node<'t>], layer: &Layer, found: &mut Fields<'n, 't>) -> Result<(), Refusal> {
    let mut seen = 0_u16;
    while let Some((Node::String(key), tail)) = rest.split_first()
        && let Some((value, tail)) = split_value(tail)
    {
        rest = tail;
        for (bit, (known, target)) in layer.fields.iter().enumerate() {
            if known.name != *key {
                continue;
            }
            if seen & 1 << bit != 0 {
                return Err(repeated(&known.name, *target));
            }
            seen |= 1 << bit;
            if let Some(value) = inside(value, &known.below) {
                found.set(*target, value);
            }
        }
    }
    Ok(())
}

fn gather_placed<'n, 't>(mut rest: &'n [Node<'t>], layer: &Layer, found: &mut Fields<'n, 't>) {
    let mut position = 0;
    while let Some((value, tail)) = split_value(rest) {
        for (key, target) in layer.fields.iter().filter(|(key, _)| key.position == Some(position)) {
            if let Some(value) = inside(value, &key.below) {
                found.set(*target, value);
            }
        }
        rest = tail;
        position += 1;
    }
}

/// The value at the end of the path `hops`, which begins at `value`.
fn inside<'n, 't>(value: &'n [Node<'t>], hops: &[Hop]) -> Option<&'n [Node<'t>]> {
    hops.iter().try_fold(value, child)
}

fn repeated(key: &str, target: Target) -> Refusal {
    let detail = match target {
        Target::Column(column) => format!("key of {} occurs twice", FieldNames::COLUMNS[column]),
        Target::Decisive(_) => format!("key `{key}` occurs twice"),
    };
    Refusal::new(Reason::DuplicateField, detail)
}

/// The text of `value`, if it is a string.
pub(super) fn text<'t>(value: &[Node<'t>]) -> Option<&'t str> {
    match value.first()? {
        Node::String(text) => Some(text),
        _ => None,
    }
}

/// The number of `value`. If `strings`, a string may also hold it.
pub(super) fn number(value: &[Node<'_>], strings: bool) -> Option<Number> {
    match value.first()? {
        Node::Static(node) => Number::of(*node),
        Node::String(text) if strings => Number::parse(text),
        _ => None,
    }
}

/// Why a value is not a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoName {
    /// It has another type, or is too long.
    Other,
    /// It has this character at this byte. The character would break the output of a program that prints the name.
    Character(char, usize),
}

/// The name in `value`: text, an integer, or an array of these joined by blanks. Feeds number their venues and list
/// their conditions. It has at most `max` bytes, and no refused characters ([`refused_character`]). If the value is not
/// plain text, the name is written to `buffer`.
pub(super) fn name<'a>(value: &[Node<'a>], max: usize, buffer: &'a mut String) -> Result<&'a str, NoName> {
    let name = match text(value) {
        Some(text) => Some(text).filter(|text| text.len() <= max),
        None => joined(value, max, buffer),
    };
    let name = name.ok_or(NoName::Other)?;
    refused_character(name).map_or(Ok(name), |(at, character)| Err(NoName::Character(character, at)))
}

/// The first character of `name` that no name may have, and its byte. Refused are control characters of ASCII and
/// Latin-1, line and paragraph separators, and characters that change the direction of the text around them (Unicode
/// Standard Annex 9, explicit formatting).
pub(super) fn refused_character(name: &str) -> Option<(usize, char)> {
    // Names are short and mostly ASCII, and for these a look at the bytes is enough.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    if name.bytes().all(is_plain) {
        return None;
    }
    let is_refused = |character: char| {
        character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    name.char_indices().find(|(_, character)| is_refused(*character))
}

/// An integer, or the text and integers of an array, joined by blanks.
fn joined<'a>(value: &[Node<'_>], max: usize, buffer: &'a mut String) -> Option<&'a str> {
    let parts = match value.split_first()? {
        (Node::Array { .. }, parts) => parts,
        _ => value,
    };
    buffer.clear();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            buffer.push(' ');
        }
        match (part, number(std::slice::from_ref(part), false)) {
            (Node::String(text), _) if text.len() <= max => buffer.push_str(text),
            (_, Some(Number::Integer(integer))) => write!(buffer, "{integer}").ok()?,
            _ => return None,
        }
        if buffer.len() > max {
            return None;
        }
    }
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(value: &str) -> Result<String, NoName> {
        let mut value = value.as_bytes().to_vec();
        let tape = simd_json::to_tape(&mut value).unwrap();
        name(&tape.0, 8, &mut String::new()).map(str::to_owned)
    }

    #[test]
    fn names_are_text_integers_or_lists_of_them() {
        assert_eq!(named(r#""XNAS""#).as_deref(), Ok("XNAS"));
        assert_eq!(named("4").as_deref(), Ok("4"));
        assert_eq!(named(r#"["@","I"]"#).as_deref(), Ok("@ I"));
        assert_eq!(named("[14,-41]").as_deref(), Ok("14 -41"));
        assert_eq!(named("[]").as_deref(), Ok(""));
    }

    #[test]
    fn other_kinds_and_long_names_are_no_names() {
        for value in ["1.5", "true", "{}", "[[1]]", r#"[{"a":1}]"#, r#""123456789""#, "[1234,5678]", r#"["123456789"]"#]
        {
            assert_eq!(named(value), Err(NoName::Other), "{value}");
        }
        assert!(named(r#""12345678""#).is_ok());
    }

    #[test]
    fn names_hold_no_character_that_breaks_output() {
        let values = [
            r#""a\nb""#,
            r#""\u0000""#,
            r#""\u001b[1m""#,
            r#""\u007f""#,
            r#""\u0085""#,
            r#""\u202e""#,
            r#"["@","\t"]"#,
        ];
        for value in values {
            assert!(matches!(named(value), Err(NoName::Character(..))), "{value}");
        }
        assert_eq!(named(r#""\u00fc \u20ac""#).as_deref(), Ok("\u{fc} \u{20ac}"), "other characters stay");
    }
}
