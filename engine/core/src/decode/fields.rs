//! The fields of one JSON object that fill columns, and their values as text and numbers.
//!
//! This file owns the walk over simd-json's nodes. It does *not* judge the values.

use std::fmt::Write;

use simd_json::{Node, StaticNode};

use super::config::FieldNames;
use super::number::Number;
use super::only::{FIELDS_MAX, Only};
use super::reject::{Reason, Refusal};

/// The values of fields; null is the same as none.
type Values<'n, 't, const N: usize> = [Option<&'n [Node<'t>]>; N];

/// What is read of one object.
pub(super) struct Fields<'n, 't> {
    /// The value of each column of a tick, in the order of [`FieldNames::COLUMNS`].
    pub(super) columns: Values<'n, 't, 7>,
    /// The values that decide whether the object is a tick, in the order of [`Only`].
    pub(super) only: Values<'n, 't, FIELDS_MAX>,
}

/// Parts `nodes` behind the value at their beginning; `None` where there is no more value.
pub(super) fn split_value<'n, 't>(nodes: &'n [Node<'t>]) -> Option<(&'n [Node<'t>], &'n [Node<'t>])> {
    match nodes.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => nodes.split_at_checked(count + 1),
        Node::String(_) | Node::Static(_) => nodes.split_at_checked(1),
    }
}

/// Finds the fields of the object `nodes` whose keys are in `keys` or `only`.
///
/// A repeated key is refused: parsers disagree on which value counts, and a price is no place to guess.
pub(super) fn gather<'n, 't>(
    nodes: &'n [Node<'t>],
    keys: &[String; 7],
    only: &Only,
) -> Result<Fields<'n, 't>, Refusal> {
    let Some((Node::Object { .. }, mut rest)) = nodes.split_first() else {
        return Err(Refusal::new(Reason::NotATick, "value is not a JSON object"));
    };
    let (mut columns, mut decisive): (Values<'n, 't, 7>, Values<'n, 't, FIELDS_MAX>) = ([None; 7], [None; FIELDS_MAX]);
    while let Some((Node::String(key), tail)) = rest.split_first()
        && let Some((value, tail)) = split_value(tail)
    {
        rest = tail;
        if let Some(column) = keys.iter().position(|known| known == key)
            && columns[column].replace(value).is_some()
        {
            let detail = format!("key of {} occurs twice", FieldNames::COLUMNS[column]);
            return Err(Refusal::new(Reason::DuplicateField, detail));
        }
        if !only.is_empty()
            && let Some(field) = only.position(key)
            && decisive[field].replace(value).is_some()
        {
            let field = only.at(field).map_or("", |(field, _)| field);
            return Err(Refusal::new(Reason::DuplicateField, format!("key `{field}` occurs twice")));
        }
    }
    Ok(Fields { columns: columns.map(not_null), only: decisive.map(not_null) })
}

fn not_null<'n, 't>(value: Option<&'n [Node<'t>]>) -> Option<&'n [Node<'t>]> {
    value.filter(|nodes| !matches!(nodes, [Node::Static(StaticNode::Null)]))
}

/// The string that `value` is.
pub(super) fn text<'t>(value: &[Node<'t>]) -> Option<&'t str> {
    match value.first()? {
        Node::String(text) => Some(text),
        _ => None,
    }
}

/// The number that `value` is, or spells where strings may hold numbers.
pub(super) fn number(value: &[Node<'_>], strings: bool) -> Option<Number> {
    match value.first()? {
        Node::Static(node) => Number::of(*node),
        Node::String(text) if strings => Number::parse(text),
        _ => None,
    }
}

/// Why a value is no name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoName {
    /// It is of another kind, or too long.
    Other,
    /// It holds a control character, which would break the output of whoever prints it.
    Control,
}

/// The name that `value` is: text, an integer, or an array of these joined by blanks. It has at most `max` bytes and no
/// control characters. Feeds number their venues and list their conditions. The name lies in `buffer` where it is not
/// text as it stands.
pub(super) fn name<'a>(value: &[Node<'a>], max: usize, buffer: &'a mut String) -> Result<&'a str, NoName> {
    let name = match text(value) {
        Some(text) => Some(text).filter(|text| text.len() <= max),
        None => joined(value, max, buffer),
    };
    let name = name.ok_or(NoName::Other)?;
    if is_printable(name) { Ok(name) } else { Err(NoName::Control) }
}

/// Whether `name` holds no control character, neither of ASCII nor of Latin-1 (U+0080 to U+009F).
fn is_printable(name: &str) -> bool {
    // Names are short and mostly ASCII: a look at the bytes is enough for those.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    name.bytes().all(is_plain) || !name.chars().any(char::is_control)
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
    fn names_hold_no_control_characters() {
        for value in [r#""a\nb""#, r#""\u0000""#, r#""\u001b[1m""#, r#""\u007f""#, r#""\u0085""#, r#"["@","\t"]"#] {
            assert_eq!(named(value), Err(NoName::Control), "{value}");
        }
        assert_eq!(named(r#""\u00fc \u20ac""#).as_deref(), Ok("\u{fc} \u{20ac}"), "other characters stay");
    }
}
