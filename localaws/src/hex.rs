//! Lower-case hexadecimal, for entity tags, digests and receipts. This file owns nothing else.

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// Two digits per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(hex(&[0, 9, 0xA0, 0xFF]), "0009a0ff");
    }
}
