//! Numbers as JSON writes them, found in bytes and read from text.
//!
//! This file owns the grammar (RFC 8259, section 6) and the rounding: the value of a number is that of
//! `str::parse::<f64>`. It does *not* know what a number means.

use simd_json::StaticNode;

/// A number as it was sent. Integers stay exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// The number in a parsed value, `None` for anything else.
    pub(super) fn of(node: StaticNode) -> Option<Self> {
        match node {
            StaticNode::I64(value) => Some(Number::Integer(value.into())),
            StaticNode::U64(value) => Some(Number::Integer(value.into())),
            StaticNode::F64(value) => Some(Number::Float(value)),
            StaticNode::Bool(_) | StaticNode::Null => None,
        }
    }

    /// The number in `text`. `None` if `text` has anything else, such as `NaN`, `.5`, `+1` or a blank.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if number_len(text.as_bytes()) != Some(text.len()) {
            return None;
        }
        match text.parse::<i64>() {
            // As an integer, a number can only lose the sign of zero.
            Ok(value) => Some(Number::Integer(value.into())),
            Err(_) => text.parse().ok().map(Number::Float),
        }
    }

    /// The nearest double, or infinity if the number is out of range.
    pub(super) fn as_f64(self) -> f64 {
        match self {
            // Exact integers have up to 64 bits. The conversion rounds to nearest, like parsing the digits. From 64
            // bits it is a single instruction, from 128 bits a function.
            Number::Integer(value) => i64::try_from(value).map_or(value as f64, |value| value as f64),
            Number::Float(value) => value,
        }
    }
}

/// The length of the JSON number at the beginning of `text`.
pub(super) fn number_len(text: &[u8]) -> Option<usize> {
    let digits = |at: usize| text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut len = usize::from(text.first() == Some(&b'-'));
    match digits(len) {
        0 => return None,
        // A number with leading zeros ends after the first zero. The rest is not JSON.
        _ if text[len] == b'0' => len += 1,
        count => len += count,
    }
    if text.get(len) == Some(&b'.') {
        match digits(len + 1) {
            0 => return None,
            count => len += 1 + count,
        }
    }
    if matches!(text.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        match digits(len + 1 + sign) {
            0 => return None,
            count => len += 1 + sign + count,
        }
    }
    Some(len)
}

/// Whether `number`, a JSON number, is beyond the range of `f64`.
pub(super) fn is_out_of_range(number: &[u8]) -> bool {
    let value = str::from_utf8(number).ok().and_then(|text| text.parse::<f64>().ok());
    value.is_some_and(f64::is_infinite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in ["0", "-0", "1", "-12", "0.5", "1e5", "1E+5", "1.25e-3", "18446744073709551616"] {
            assert!(Number::parse(text).is_some(), "{text}");
        }
        for text in ["", " 1", "1 ", "+1", ".5", "5.", "01", "1e", "1e+", "--1", "-", "NaN", "inf", "0x1", "1_0", "１"]
        {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_found() {
        for number in [b"1e999".as_slice(), b"-2e308", &[b'9'; 400]] {
            assert!(is_out_of_range(number));
        }
        for number in [b"1e308".as_slice(), b"1e-999", &[b'9'; 300], b"-"] {
            assert!(!is_out_of_range(number));
        }
    }

    proptest! {
        #[test]
        fn grammar_agrees_with_serde_json(text in r"-?(0|[0-9]{1,25})?(\.[0-9]{0,20})?([eE][+-]?[0-9]{0,2})?") {
            prop_assert_eq!(Number::parse(&text).is_some(), serde_json::from_str::<f64>(&text).is_ok());
        }

        #[test]
        fn parsed_value_is_that_of_the_standard_library(text in r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?") {
            let value = Number::parse(&text).map(Number::as_f64);
            // Adding zero removes the sign of a zero. Nothing else may differ.
            prop_assert_eq!(value.map(|value| (value + 0.0).to_bits()), text.parse::<f64>().ok().map(|value| (value + 0.0).to_bits()));
        }
    }
}
