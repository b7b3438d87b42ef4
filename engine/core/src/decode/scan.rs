//! Reads values in place, one machine word at a time: digits, decimals, plain strings, the end of a token.
//!
//! These functions look only at bytes, and know only a few forms. They return `None` for all other forms, and leave
//! these to simd-json. Everything that they accept is JSON, and has the same value as in simd-json. This file does
//! *not* know what a value means.
#![expect(clippy::inline_always, reason = "each function is a few instructions; else its result goes over the stack")]

use super::number::number_len;

/// Padding that must follow a text, so that words can be read up to its last byte. It is blanks, which end every value.
pub(super) const PADDING: usize = 32;

/// A one in every byte of a word.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Integers of at most this many digits are exact as `f64`.
const EXACT_DIGITS_MAX: usize = 15;

/// This many digits always fit into 64 bits.
const DIGITS_MAX: usize = 19;

const POWERS_OF_TEN: [u64; DIGITS_MAX] = powers_of_ten();

/// The powers for as many digits as a word can hold beside a point.
const SMALL_POWERS_OF_TEN: [f64; 8] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];

const fn powers_of_ten() -> [u64; DIGITS_MAX] {
    let mut powers = [1; DIGITS_MAX];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
}

/// The eight bytes at `at`, the first one lowest.
#[inline(always)]
pub(super) fn word(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The sixteen bytes at `at`, as two words. A `u128` would be copied over the stack.
#[inline(always)]
pub(super) fn two_words(text: &[u8], at: usize) -> Option<[u64; 2]> {
    let bytes: &[u8; 16] = text.get(at..)?.first_chunk()?;
    Some(words(bytes))
}

/// The sixteen bytes as two words, the first byte lowest.
#[inline]
pub(super) fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let (low, high) = bytes.split_at(8);
    [low, high].map(|half| half.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

/// For each number of bytes, the mask of the lowest bytes of two words.
pub(super) const MASKS: [[u64; 2]; 17] = masks();

const fn masks() -> [[u64; 2]; 17] {
    let mut masks = [[u64::MAX; 2]; 17];
    let mut count = 0;
    while count < 8 {
        masks[count] = [(1 << (8 * count)) - 1, 0];
        masks[count + 8] = [u64::MAX, (1 << (8 * count)) - 1];
        count += 1;
    }
    masks
}

/// The position of the first `byte` in a word, or 8 if there is none.
#[inline(always)]
pub(super) fn position_in(word: u64, byte: u8) -> usize {
    let zeros = word ^ (ONES * u64::from(byte));
    // A borrow affects only bytes after the first zero byte ("Bit Twiddling Hacks", S. E. Anderson: "Determine if a
    // word has a zero byte").
    ((zeros.wrapping_sub(ONES) & !zeros & HIGH_BITS).trailing_zeros() / 8) as usize
}

/// For each byte, the value of its digit. The second word has the highest bit of every byte that is not a digit.
#[inline(always)]
fn digit_values(word: u64) -> (u64, u64) {
    let values = word ^ (ONES * u64::from(b'0'));
    // 10 and more carry into the highest bit. After a byte that is not ASCII, the bits have no meaning.
    (values, (values.wrapping_add(ONES * 0x76) | values) & HIGH_BITS)
}

/// With how many digits a word begins, and the value of each digit in its byte.
#[inline(always)]
fn leading_digits(word: u64) -> (usize, u64) {
    let (values, others) = digit_values(word);
    ((others.trailing_zeros() / 8) as usize, values)
}

/// The number that eight digits make. The first digit is the lowest byte and the most significant one (D. Lemire,
/// "Quickly parsing eight digits", 2018).
#[inline(always)]
fn eight_digits(values: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00FF_0000_00FF;
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let high = (pairs & PAIRS).wrapping_mul(0x000F_4240_0000_0064);
    let low = ((pairs >> 16) & PAIRS).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

/// The number that the first `count` digits make. `count` is at most seven.
#[inline(always)]
fn few_digits(count: usize, values: u64) -> u64 {
    // The shift puts zeros at the front of the number. It has two steps, because with no digits nothing may be left,
    // and a shift by 64 would not shift at all.
    eight_digits((values << 8) << (56 - 8 * count as u32))
}

/// A run of at most 19 digits at `at`: their count, which may be 0, and the number they make. `None` if there are more.
#[inline(always)]
fn digits(text: &[u8], at: usize) -> Option<(usize, u64)> {
    let (count, values) = leading_digits(word(text, at)?);
    if count < 8 {
        return Some((count, few_digits(count, values)));
    }
    let high = eight_digits(values);
    let (more, values) = leading_digits(word(text, at + 8)?);
    if more < 8 {
        return Some((8 + more, high * POWERS_OF_TEN[more] + few_digits(more, values)));
    }
    let high = high * POWERS_OF_TEN[8] + eight_digits(values);
    if !text.get(at + 16)?.is_ascii_digit() {
        return Some((16, high));
    }
    let (more, values) = leading_digits(word(text, at + 16)?);
    let count = 16 + more;
    (count <= DIGITS_MAX).then(|| (count, high * POWERS_OF_TEN[more] + few_digits(more, values)))
}

/// The integer of 1 to 19 digits at `at`, and where it ends. The caller must check that no fraction follows.
#[inline(always)]
pub(super) fn integer(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let (count, value) = digits(text, at)?;
    let is_json = count > 0 && (text[at] != b'0' || count == 1);
    is_json.then_some((value, at + count))
}

/// The number at `at` as the nearest `f64`, and where it ends. The number must not be negative.
///
/// Up to 15 digits and their power of ten are exact as `f64`. So their quotient is the nearest one to the decimal (W.
/// D. Clinger, "How to read floating point numbers accurately", 1990). Longer numbers go to the standard library.
#[inline(always)]
pub(super) fn decimal(text: &[u8], at: usize) -> Option<(f64, usize)> {
    // `or_else` would build the option in memory, because it may come from either function. Everything else waits for
    // `at`, so this would be slow.
    match short_decimal(text, at) {
        Some((value, end)) => Some((value, end)),
        None => long_decimal(text, at),
    }
}

#[inline(never)]
fn long_decimal(text: &[u8], at: usize) -> Option<(f64, usize)> {
    exact_decimal(text, at).or_else(|| any_decimal(text, at))
}

/// A decimal that ends within a word, like most prices and volumes. Removing the point brings its digits together, so
/// that they can be read at once.
#[inline(always)]
fn short_decimal(text: &[u8], at: usize) -> Option<(f64, usize)> {
    let word = word(text, at)?;
    let (values, others) = digit_values(word);
    let whole = (others.trailing_zeros() / 8) as usize;
    // What follows after the first byte that is not a digit.
    let rest = others & others.wrapping_sub(1);
    let byte = |at: usize| (word >> (8 * at)) as u8;
    if whole == 0 || rest == 0 || (byte(0) == b'0' && whole > 1) {
        return None;
    }
    if byte(whole) != b'.' {
        let is_end = !matches!(byte(whole), b'e' | b'E');
        return is_end.then(|| (exact(few_digits(whole, values)), at + whole));
    }
    let end = (rest.trailing_zeros() / 8) as usize;
    let places = end - whole - 1;
    if places == 0 || matches!(byte(end), b'e' | b'E') {
        return None;
    }
    let before = (1 << (8 * whole)) - 1;
    let closed = (values & before) | ((values >> 8) & !before);
    Some((exact(few_digits(end - 1, closed)) / SMALL_POWERS_OF_TEN[places & 7], at + end))
}

fn exact_decimal(text: &[u8], at: usize) -> Option<(f64, usize)> {
    let (count, whole) = digits(text, at)?;
    if count == 0 || (text[at] == b'0' && count > 1) {
        return None;
    }
    let end = at + count;
    match text.get(end)? {
        b'.' => {
            let (places, fraction) = digits(text, end + 1)?;
            let end = end + 1 + places;
            if places == 0 || count + places > EXACT_DIGITS_MAX || matches!(text.get(end)?, b'e' | b'E') {
                return None;
            }
            let power = POWERS_OF_TEN[places];
            Some((exact(whole * power + fraction) / exact(power), end))
        }
        b'e' | b'E' => None,
        _ => (count <= EXACT_DIGITS_MAX).then(|| (exact(whole), end)),
    }
}

/// An integer of few digits as `f64`. A signed integer is converted by a single instruction.
#[inline(always)]
fn exact(integer: u64) -> f64 {
    integer as i64 as f64
}

#[cold]
fn any_decimal(text: &[u8], at: usize) -> Option<(f64, usize)> {
    let number = text.get(at..).filter(|rest| rest.first() != Some(&b'-'))?;
    let len = number_len(number)?;
    let value: f64 = str::from_utf8(&number[..len]).ok()?.parse().ok()?;
    value.is_finite().then_some((value, at + len))
}

/// Where the plain string at `at` ends: at its closing quote. Plain means ASCII without escapes and control characters.
#[inline]
pub(super) fn plain_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let word = word(text, at)?;
        let quote = position_in(word, b'"');
        let below_blank = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let odd = (word | below_blank | (backslash.wrapping_sub(ONES) & !backslash)) & HIGH_BITS;
        let odd = (odd.trailing_zeros() / 8) as usize;
        // The first odd byte is exact, and so is the first quote. Bytes after a quote do not matter.
        if odd < quote {
            return None;
        }
        at += quote;
        if quote < 8 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn padded(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[b' '; PADDING]].concat()
    }

    fn decimal_of(text: &str) -> Option<(u64, usize)> {
        decimal(&padded(text), 0).map(|(value, end)| (value.to_bits(), end))
    }

    #[test]
    fn decimals_end_where_json_numbers_do() {
        for (text, expected) in [("1,", Some((1.0, 1))), ("0.5}", Some((0.5, 3))), ("12e1 ", Some((120.0, 4)))] {
            assert_eq!(decimal_of(text), expected.map(|(value, end): (f64, usize)| (value.to_bits(), end)), "{text}");
        }
        for text in ["", "-1", "-0", "+1", ".5", "1.", "1.x", "x", "1e", "1e999", "\"1\""] {
            assert_eq!(decimal_of(text), None, "{text}");
        }
        // A number ends after its leading zero. A shape does not expect what follows.
        assert_eq!(decimal_of("01"), Some((0, 1)));
    }

    #[test]
    fn integers_have_no_leading_zeros() {
        let integer = |text: &str| integer(&padded(text), 0);
        assert_eq!(integer("0,"), Some((0, 1)));
        assert_eq!(integer("1795442400000001}"), Some((1_795_442_400_000_001, 16)));
        assert_eq!(integer("1.5,"), Some((1, 1)));
        for text in ["", "00", "01", "-1", "x", "12345678901234567890"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn plain_strings_are_ascii_without_escapes() {
        let end = |text: &str| plain_string(&padded(text), 0);
        assert_eq!(end("\""), Some(0));
        assert_eq!(end("1234567\"\\"), Some(7));
        assert_eq!(end("a plain text ~\x7f of more than one word\"é"), Some(37));
        for text in ["never ends", "a\\\"\"", "é\"", "1234567\n\"", "\0\"", "\x1f\"", "12345678\\\""] {
            assert_eq!(end(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn decimals_are_those_of_the_standard_library(text in r"(0|[1-9][0-9]{0,22})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,2})?", end in "[,} \"]") {
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(decimal_of(&(text.clone() + &end)), Some((expected.to_bits(), text.len())));
        }

        #[test]
        fn integers_are_those_of_the_standard_library(value in any::<u64>(), digits in 1_u32..=19) {
            let value = value % 10_u64.pow(digits);
            prop_assert_eq!(integer(&padded(&value.to_string()), 0), Some((value, value.to_string().len())));
        }

        #[test]
        fn plain_string_agrees_with_looking_at_every_byte(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = [&bytes[..], &[b' '; PADDING]].concat();
            let plain = |byte: &u8| matches!(byte, b' '..=0x7f) && *byte != b'\\';
            let expected = text.iter().position(|byte| *byte == b'"').filter(|end| text[..*end].iter().all(plain));
            prop_assert_eq!(plain_string(&text, 0), expected);
        }

        #[test]
        fn position_is_that_of_the_first_byte(bytes in any::<[u8; 8]>(), byte in any::<u8>()) {
            let expected = bytes.iter().position(|other| *other == byte).unwrap_or(8);
            prop_assert_eq!(position_in(u64::from_le_bytes(bytes), byte), expected);
        }
    }
}
