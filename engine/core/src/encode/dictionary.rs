//! Finds the distinct values of a column chunk, and for each row its position among them.
//!
//! Symbols, venues and conditions are already interned. A table by id replaces the hash of every value that a general
//! Parquet writer computes. Numbers are hashed by their bits. This file does *not* own how positions are stored.

use rustc_hash::FxHashMap;

use crate::names::NameId;

/// Indexes the names of one chunk after the other, and keeps its buffers.
#[derive(Debug, Default)]
pub struct NameIndex {
    /// At index [`NameId::index`], the position in `distinct`. [`UNSEEN`] for names that the chunk has not had so far.
    positions: Vec<u32>,
    /// The names of the chunk, in the order of their first rows.
    pub distinct: Vec<NameId>,
    /// For each row that has a name, its position in `distinct`.
    pub indices: Vec<u32>,
}

const UNSEEN: u32 = u32::MAX;

impl NameIndex {
    /// Forgets the last chunk and indexes the rows of the next one.
    pub fn index(&mut self, ids: &[NameId]) {
        for id in self.distinct.drain(..) {
            self.positions[id.index()] = UNSEEN;
        }
        self.indices.clear();
        for &id in ids {
            if id == NameId::NONE {
                continue;
            }
            if id.index() >= self.positions.len() {
                self.positions.resize(id.index() + 1, UNSEEN);
            }
            let position = &mut self.positions[id.index()];
            if *position == UNSEEN {
                *position = self.distinct.len() as u32;
                self.distinct.push(id);
            }
            self.indices.push(*position);
        }
    }
}

/// Indexes the numbers of one chunk after the other by their bits, and keeps its buffers.
#[derive(Debug)]
pub struct NumberIndex {
    /// For each hash, its last number and the position of that number. A symbol has few prices and they return soon.
    /// This table stays in the first-level cache, and the table of all numbers does not.
    recent: Box<[(u64, u32); 1 << RECENT_BITS]>,
    positions: FxHashMap<u64, u32>,
    /// The numbers of the chunk, in the order of their first rows.
    pub distinct: Vec<u64>,
    /// For each row, its position in `distinct`.
    pub indices: Vec<u32>,
}

const RECENT_BITS: u32 = 10;

impl Default for NumberIndex {
    fn default() -> Self {
        let recent = Box::new([(0, UNSEEN); 1 << RECENT_BITS]);
        Self { recent, positions: FxHashMap::default(), distinct: Vec::new(), indices: Vec::new() }
    }
}

impl NumberIndex {
    /// Forgets the last chunk and indexes the rows of the next one. If there are more than `distinct_max` different
    /// numbers, it stops after a part of the rows and returns false.
    pub fn index(&mut self, numbers: impl Iterator<Item = u64>, distinct_max: usize) -> bool {
        self.recent.fill((0, UNSEEN));
        self.positions.clear();
        self.distinct.clear();
        self.indices.clear();
        for number in numbers {
            let recent = &mut self.recent[hash(number)];
            if recent.0 != number || recent.1 == UNSEEN {
                let next = self.distinct.len() as u32;
                let position = *self.positions.entry(number).or_insert(next);
                if position == next {
                    if self.distinct.len() == distinct_max {
                        return false;
                    }
                    self.distinct.push(number);
                }
                *recent = (number, position);
            }
            self.indices.push(recent.1);
        }
        true
    }
}

/// The upper bits of a product with an odd constant near 2^64 divided by the golden ratio (Knuth, TAOCP 3, 6.4).
fn hash(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - RECENT_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::Names;

    proptest! {
        #[test]
        fn numbers_come_back_from_their_positions(chunks in prop::collection::vec(prop::collection::vec(0..50_u64, 0..200), 1..3)) {
            let mut index = NumberIndex::default();
            for numbers in chunks {
                let mut distinct = numbers.clone();
                distinct.sort_unstable();
                distinct.dedup();
                if !distinct.is_empty() {
                    prop_assert!(!index.index(numbers.iter().copied(), distinct.len() - 1));
                }
                prop_assert!(index.index(numbers.iter().copied(), distinct.len()));
                prop_assert_eq!(index.distinct.len(), distinct.len());
                let back: Vec<_> = index.indices.iter().map(|&at| index.distinct[at as usize]).collect();
                prop_assert_eq!(back, numbers);
            }
        }
    }

    #[test]
    fn each_chunk_numbers_its_names_anew() {
        let names = Names::new(9);
        let ids = ["A", "B", "C"].map(|name| names.intern(name).unwrap().0);
        let mut index = NameIndex::default();
        index.index(&[ids[2], NameId::NONE, ids[0], ids[2]]);
        assert_eq!((index.distinct.as_slice(), index.indices.as_slice()), (&[ids[2], ids[0]][..], &[0, 1, 0][..]));
        index.index(&[ids[1], ids[0]]);
        assert_eq!((index.distinct.as_slice(), index.indices.as_slice()), (&[ids[1], ids[0]][..], &[0, 1][..]));
    }
}
