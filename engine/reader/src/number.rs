//! Numbers that keep both their exact decimal text and their value.

/// A price or volume that keeps its decimal text and the `f64` that this text denotes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number<'a> {
    /// Hundredths: `18937` is written `189.37`.
    Cents(i64),
    /// A whole number.
    Whole(i64),
    /// Written as the shortest text that reads back as the same `f64`. Finite.
    Float(f64),
    /// A text that is a JSON number, with its value. It is passed on unchanged.
    Text {
        /// The digits.
        text: &'a str,
        /// The value of the digits, correctly rounded.
        value: f64,
    },
}

impl<'a> Number<'a> {
    /// A number from decimal text. A number in a form that JSON does not allow (`.5`, `+1`) is rewritten. `None` if the
    /// text is not a finite number.
    #[must_use]
    pub fn from_text(text: &'a str) -> Option<Self> {
        let value: f64 = text.parse().ok()?;
        if !value.is_finite() {
            return None;
        }
        if is_json_number(text.as_bytes()) { Some(Self::Text { text, value }) } else { Some(Self::Float(value)) }
    }

    /// The `f64` that a reader of the text gets.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            // Both operands are exact and division rounds correctly, so this is the double nearest to the decimal.
            Self::Cents(cents) => cents as f64 / 100.0,
            Self::Whole(whole) => whole as f64,
            Self::Float(value) | Self::Text { value, .. } => value,
        }
    }
}

/// Whether `text` matches the grammar of RFC 8259 section 6.
fn is_json_number(text: &[u8]) -> bool {
    let digits = |from: usize| from + text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let start = usize::from(text.first() == Some(&b'-'));
    let mut at = digits(start);
    if at == start || (text[start] == b'0' && at > start + 1) {
        return false;
    }
    if text.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return false;
        }
        at = end;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end == at + 1 + sign {
            return false;
        }
        at = end;
    }
    at == text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_numbers_pass_through_and_others_are_rewritten() {
        for text in ["0", "-0", "61837.63000000", "1e5", "1E-7", "12.5e+3"] {
            assert!(matches!(Number::from_text(text), Some(Number::Text { .. })), "{text}");
        }
        for text in [".5", "+1", "1.", "007", "-.5"] {
            assert!(matches!(Number::from_text(text), Some(Number::Float(_))), "{text}");
        }
        for text in ["", "-", "NaN", "inf", "1e999", "1,5", " 1", "0x10"] {
            assert_eq!(Number::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn cents_denote_the_double_nearest_to_their_text() {
        for cents in [1, 7, 10, 18_937, 99_999, 123_456_789] {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            assert_eq!(Number::Cents(cents).value().to_bits(), text.parse::<f64>().unwrap().to_bits());
        }
    }
}
