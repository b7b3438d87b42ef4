//! Finds where one value of a body ends and the next one begins, only by brackets and quotes.
//!
//! This file decides the form of a body, and finds the bytes of its parts. It does *not* judge whether they are JSON.
//! For valid JSON its results are exact. For anything else they are bounded and harmless.

use std::iter;

/// The forms of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON array of ticks.
    Array,
    /// One JSON document. It is a tick if it is an object.
    Document,
    /// One JSON document per line.
    Lines,
}

impl Form {
    /// The form of `text`, which must be trimmed and not empty.
    ///
    /// A pretty-printed tick has several lines, and a line may be damaged. So several lines are [`Form::Lines`], with
    /// two exceptions: all of them are one value, or the first line ends where a pretty-printer breaks a line.
    ///
    /// An array is a batch of messages, unless `arrays_are_messages`.
    pub(super) fn of(text: &[u8], arrays_are_messages: bool) -> Self {
        if text[0] == b'[' && !arrays_are_messages {
            return Form::Array;
        }
        let Some(first_end) = line_feed(text) else { return Form::Document };
        match text[0] {
            b'{' | b'[' => {
                let first = text[..first_end].trim_ascii_end();
                let continues = matches!(first.last(), Some(b'{' | b'[' | b',' | b':'));
                if continues || value_len(text) == Some(text.len()) { Form::Document } else { Form::Lines }
            }
            // Such a line is garbage, but ticks may follow it.
            _ if lines(text).any(|line| line[0] == b'{' || arrays_are_messages && line[0] == b'[') => Form::Lines,
            _ => Form::Document,
        }
    }
}

fn line_feed(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| *byte == b'\n')
}

/// The byte before each text of a JSON text sequence (RFC 7464).
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// Whether `byte` may stand between two texts without a meaning.
pub(super) fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == RECORD_SEPARATOR
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    text
}

/// The lines of `text` that are not blank, trimmed.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(|line| trim_start(line).trim_ascii_end()).filter(|line| !line.is_empty())
}

/// The objects of `text` that follow each other directly or after blanks, if there are several. If brackets and quotes
/// do not match, all the rest is one part.
pub(super) fn joined(text: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let first = text.first().filter(|byte| **byte == b'{').and_then(|_| value_len(text))?;
    if trim_start(&text[first..]).first() != Some(&b'{') {
        return None;
    }
    let mut rest = text;
    Some(iter::from_fn(move || {
        rest = trim_start(rest);
        let len = if rest.is_empty() { return None } else { value_len(rest).unwrap_or(rest.len()) };
        let (part, tail) = rest.split_at(len);
        rest = tail;
        Some(part)
    }))
}

/// The elements of the valid JSON array at the beginning of `text`, each with its bytes as they were sent.
pub(super) fn elements(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text.strip_prefix(b"[").unwrap_or_default();
    iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let (element, tail) = rest.split_at(value_len(rest)?);
        rest = tail.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest);
        Some(element)
    })
}

/// The keys (with their escapes) and values of the valid JSON object at the beginning of `text`.
pub(super) fn fields(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text.strip_prefix(b"{").unwrap_or_default();
    iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let quoted = rest.first() == Some(&b'"');
        let (key, tail) = rest.split_at(if quoted { string_len(rest)? } else { return None });
        rest = tail.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, tail) = rest.split_at(value_len(rest)?);
        rest = tail.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest);
        Some((&key[1..key.len() - 1], value))
    })
}

/// Whether `text` is one array of at least one element and nothing else, judged by brackets, quotes and commas.
pub(super) fn is_array_of_parts(text: &[u8]) -> bool {
    let mut rest = text.strip_prefix(b"[").unwrap_or_default();
    loop {
        rest = rest.trim_ascii_start();
        let Some(len) = value_len(rest) else { return false };
        rest = rest[len..].trim_ascii_start();
        match rest.strip_prefix(b",") {
            Some(tail) => rest = tail,
            None => return rest == b"]",
        }
    }
}

/// The length of the value at the beginning of `text`. `None` if there is no value, or if it does not end.
pub(super) fn value_len(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'{' | b'[' => bracketed_len(text),
        b'"' => string_len(text),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
            let len = text.iter().position(ends).unwrap_or(text.len());
            (len > 0).then_some(len)
        }
    }
}

fn bracketed_len(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'"' => {
                at += string_len(&text[at..])?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The length of the string at the beginning of `text`, including its quotes.
pub(super) fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        Form::of(text.as_bytes(), false)
    }

    #[test]
    fn forms_are_told_apart() {
        assert_eq!(form("[{}]"), Form::Array);
        assert_eq!(form("[\n{},\n{}\n]"), Form::Array);
        assert_eq!(form("{}"), Form::Document);
        assert_eq!(form("{}\n{}"), Form::Lines);
        assert_eq!(form("{}\r\n\r\n{}"), Form::Lines);
    }

    #[test]
    fn one_value_over_several_lines_is_one_document() {
        assert_eq!(form("{\n  \"symbol\": \"A\"\n}"), Form::Document);
        assert_eq!(form("{\"a\":{}\n}"), Form::Document);
        // The document is cut off. Its inner object is not a tick of its own.
        assert_eq!(form("{\"data\":\n{\"symbol\":\"A\"}"), Form::Document);
    }

    #[test]
    fn damaged_line_does_not_hide_the_others() {
        assert_eq!(form("{\"symbol\":\"A\n{}"), Form::Lines);
        assert_eq!(form("{}\ngarbage"), Form::Lines);
        assert_eq!(form("garbage\n{}"), Form::Lines);
        assert_eq!(form("garbage\nmore"), Form::Document);
    }

    #[test]
    fn elements_are_the_bytes_that_were_sent() {
        let text = br#"[ {"a":"]}\"\\"} ,[1,[2]], -1.5e3,"x,\"]" , null ]"#;
        let parts: Vec<&[u8]> = elements(text).collect();
        let expected: [&[u8]; 5] = [br#"{"a":"]}\"\\"}"#, b"[1,[2]]", b"-1.5e3", br#""x,\"]""#, b"null"];
        assert_eq!(parts, expected);
        assert_eq!(elements(b"[]").count(), 0);
    }

    #[test]
    fn joined_objects_are_parted_by_their_brackets() {
        let parts = |text: &'static str| {
            joined(text.as_bytes()).map(|parts| parts.map(|part| str::from_utf8(part).unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(parts(r#"{"a":"}{"}{"b":1} {}"#), Some(vec![r#"{"a":"}{"}"#, r#"{"b":1}"#, "{}"]));
        assert_eq!(parts("{}\u{1e}{\n}"), Some(vec!["{}", "{\n}"]));
        assert_eq!(parts("{}{\"a"), Some(vec!["{}", "{\"a"]));
        for text in ["", "{}", "{} x", "{", "[]{}", "{},{}"] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn fields_are_the_bytes_that_were_sent() {
        let text = br#"{ "a" : [1,{"b":2}] ,"c\"d":"x\"}", "e":null}"#;
        let parts: Vec<(&[u8], &[u8])> = fields(text).collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"a", br#"[1,{"b":2}]"#), (br#"c\"d"#, br#""x\"}""#), (b"e", b"null")];
        assert_eq!(parts, expected);
        for text in ["", "{}", "[]", "{a:1}", "{\"a\"", "{\"a\" 1}", "{\"a\":"] {
            assert_eq!(fields(text.as_bytes()).count(), 0, "{text}");
        }
    }

    #[test]
    fn array_of_parts_needs_its_brackets_and_commas() {
        for text in ["[NaN]", "[1, {\"a\":NaN} ,\n[x]]", "[{\"a\":\"]\"}]"] {
            assert!(is_array_of_parts(text.as_bytes()), "{text}");
        }
        for text in ["", "[", "[]", "[1", "[1,", "[1,]", "[1 2]", "[1]x", "[{]}", "{}", "[{\"a]"] {
            assert!(!is_array_of_parts(text.as_bytes()), "{text}");
        }
    }
}
