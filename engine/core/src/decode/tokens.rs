//! Known spellings of names: the bytes of a symbol, a venue or conditions, and the id of the name that simd-json read
//! from the same bytes.
//!
//! A spelling is known only if simd-json accepted it before, in the same column and form. Finding it here replaces
//! parsing, unescaping, checking and interning, and costs one hash. This file does *not* own the names.

use rustc_hash::FxHashMap;

use super::scan::{MASKS, position_in, two_words, words};
use crate::names::NameId;

/// The most spellings. A name may have several. Further ones are left to simd-json.
const SPELLINGS_MAX: usize = 1 << 19;

/// The longest token that is compared as two words.
const SHORT_MAX: usize = 15;

/// The longest token.
const LONG_MAX: usize = 256;

/// How many places are searched for a short token. This bounds the cost of a producer whose names collide.
const PROBES_MAX: usize = 64;

/// The number of places in the smallest table.
const PLACES_MIN: usize = 64;

/// The kind of a token. In another column or form, the same bytes mean another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// The column. The lowest byte is the byte after the token.
    tag: u32,
}

impl Kind {
    /// The kind of a token of name column `column` that ends before the byte `end`.
    pub(super) fn new(column: usize, end: u8) -> Self {
        Self { tag: (column as u32) << 8 | u32::from(end) }
    }

    /// The byte after the token.
    pub(super) fn end(self) -> u8 {
        self.tag as u8
    }
}

/// The spellings that one decoder knows.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// A table with open addressing. The number of places is a power of two.
    places: Vec<Place>,
    /// How far a hash is shifted to the right to get a place.
    shift: u32,
    short: usize,
    /// The longer tokens, by kind. There are only a few kinds.
    long: Vec<(Kind, LongTokens)>,
    longs: usize,
}

/// Tokens that are compared as slices.
type LongTokens = FxHashMap<Box<[u8]>, NameId>;

/// A place for a short token. A free place has [`NameId::NONE`] and no token. The empty token has a place, too.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    low: u64,
    high: u64,
    /// Kind and length. 0 if the place is free, because no token has the tag 0.
    tag: u32,
    id: NameId,
}

impl Tokens {
    /// The name that the token at `at` spells, and where it ends. `None` if the spelling is not known.
    #[inline]
    pub(super) fn find(&self, kind: Kind, text: &[u8], at: usize) -> Option<(NameId, usize)> {
        let [low, high] = two_words(text, at)?;
        let mut len = position_in(low, kind.end());
        if len == 8 {
            len += position_in(high, kind.end());
        }
        if len > SHORT_MAX {
            return self.find_long(kind, text, at);
        }
        let wanted = Place::of(kind, [low, high], len);
        let mask = self.places.len().wrapping_sub(1);
        let first = wanted.hash(self.shift);
        for probe in 0..PROBES_MAX {
            let place = self.places.get((first + probe) & mask)?;
            if place.is(&wanted) {
                return Some((place.id, at + len));
            }
            // A free place ends the search, because tokens are never removed.
            if place.tag == 0 {
                return None;
            }
        }
        None
    }

    fn find_long(&self, kind: Kind, text: &[u8], at: usize) -> Option<(NameId, usize)> {
        let rest = text.get(at..)?;
        let len = rest.iter().take(LONG_MAX + 1).position(|byte| *byte == kind.end())?;
        let (_, ids) = self.long.iter().find(|(of, _)| *of == kind)?;
        ids.get(&rest[..len]).map(|id| (*id, at + len))
    }

    /// Remembers that `token` spells the name `id`. Returns false if it cannot be remembered.
    ///
    /// A token with a line feed, as some lists of conditions have, cannot: ticks that stand on lines have none.
    pub(super) fn insert(&mut self, kind: Kind, token: &[u8], id: NameId) -> bool {
        let room = self.short + self.longs < SPELLINGS_MAX;
        if !room || token.len() > LONG_MAX || token.contains(&kind.end()) || token.contains(&b'\n') {
            return false;
        }
        if token.len() > SHORT_MAX {
            return self.insert_long(kind, token, id);
        }
        if 4 * (self.short + 1) > self.places.len() {
            self.grow();
        }
        let mut bytes = [0; 16];
        bytes[..token.len()].copy_from_slice(token);
        self.place(Place { id, ..Place::of(kind, words(&bytes), token.len()) })
    }

    fn place(&mut self, place: Place) -> bool {
        let mask = self.places.len() - 1;
        let first = place.hash(self.shift);
        for probe in 0..PROBES_MAX {
            let here = &mut self.places[(first + probe) & mask];
            if here.is(&place) {
                return true;
            }
            if here.tag == 0 {
                *here = place;
                self.short += 1;
                return true;
            }
        }
        false
    }

    fn grow(&mut self) {
        let places = vec![Place::default(); (2 * self.places.len()).max(PLACES_MIN)];
        self.shift = u64::BITS - places.len().ilog2();
        let old = std::mem::replace(&mut self.places, places);
        self.short = 0;
        for place in old.into_iter().filter(|place| place.tag != 0) {
            // Most places are free, so it finds one. Otherwise the spelling is learnt again.
            let _ = self.place(place);
        }
    }

    fn insert_long(&mut self, kind: Kind, token: &[u8], id: NameId) -> bool {
        let ids = match self.long.iter().position(|(of, _)| *of == kind) {
            Some(at) => &mut self.long[at].1,
            None => &mut self.long.push_mut((kind, LongTokens::default())).1,
        };
        self.longs += usize::from(ids.insert(token.into(), id).is_none());
        true
    }
}

impl Place {
    /// The place of a token: the first `len` bytes of two words. `len` is at most [`SHORT_MAX`].
    #[inline]
    fn of(kind: Kind, [low, high]: [u64; 2], len: usize) -> Self {
        let mask = MASKS[len];
        Self { low: low & mask[0], high: high & mask[1], tag: 1 << 31 | kind.tag << 8 | len as u32, id: NameId::NONE }
    }

    #[inline]
    fn is(&self, other: &Self) -> bool {
        self.low == other.low && self.high == other.high && self.tag == other.tag
    }

    /// Fibonacci hashing of all words. The highest bits depend on all other bits.
    #[inline]
    fn hash(&self, shift: u32) -> usize {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let hash =
            (self.low ^ u64::from(self.tag)).wrapping_mul(GOLDEN) ^ self.high.wrapping_mul(GOLDEN.rotate_left(32));
        (hash.wrapping_mul(GOLDEN) >> (shift & (u64::BITS - 1))) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::PADDING;
    use super::*;
    use crate::names::Names;

    fn find(tokens: &Tokens, kind: Kind, text: &str) -> Option<(NameId, usize)> {
        tokens.find(kind, &[text.as_bytes(), &[b' '; PADDING]].concat(), 0)
    }

    #[test]
    fn every_inserted_token_is_found_up_to_its_end_and_no_other_is() {
        let names = Names::new(10_000);
        let mut tokens = Tokens::default();
        let kind = Kind::new(0, b'"');
        let spelled = |n: usize| format!("{n}{}", "x".repeat(n % 40));
        assert_eq!(find(&tokens, kind, "A\""), None);
        let ids: Vec<_> = (0..5_000).map(|n| names.intern(&spelled(n)).unwrap().0).collect();
        assert!((0..5_000).all(|n| tokens.insert(kind, spelled(n).as_bytes(), ids[n])));
        for (n, id) in ids.iter().enumerate() {
            let text = spelled(n);
            let found = find(&tokens, kind, &format!("{text}\",\"price\":1"));
            assert_eq!(found, Some((*id, text.len())));
            assert_eq!(find(&tokens, kind, &format!("{text}y\"")), None);
            assert_eq!(find(&tokens, Kind::new(1, b'"'), &format!("{text}\"")), None);
            assert_eq!(find(&tokens, Kind::new(0, b']'), &format!("{text}]")), None);
        }
    }

    #[test]
    fn zero_bytes_are_no_padding() {
        let id = Names::new(1).intern("A").unwrap().0;
        let mut tokens = Tokens::default();
        let kind = Kind::new(0, b'"');
        assert!(tokens.insert(kind, b"A", id));
        assert_eq!(find(&tokens, kind, "A\0\""), None);
        assert_eq!(find(&tokens, kind, "A\""), Some((id, 1)));
    }

    #[test]
    fn token_with_its_end_or_a_line_feed_inside_is_not_remembered() {
        let mut tokens = Tokens::default();
        let kind = Kind::new(2, b']');
        for token in [r#""a]b""#, "1,\n2"] {
            assert!(!tokens.insert(kind, token.as_bytes(), NameId::NONE));
            assert_eq!(find(&tokens, kind, &format!("{token}]")), None);
        }
        assert!(tokens.insert(kind, b"", NameId::NONE));
        assert_eq!(find(&tokens, kind, "]"), Some((NameId::NONE, 0)));
    }
}
