//! The shard: which symbols belong to which of several [`Detectors`](super::Detectors) that share the work.
//!
//! Symbols are dealt out by their id, one to each shard in turn. This file does *not* own what a shard knows of its
//! symbols.

use crate::names::NameId;

/// One of several equal shares of all symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// All symbols.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// All `count` shards: each symbol belongs to one of them.
    pub fn all(count: u32) -> impl Iterator<Item = Shard> {
        (0..count).map(move |index| Shard { index, count })
    }

    /// Whether it is the first of all.
    pub(super) fn is_first(self) -> bool {
        self.index == 0
    }

    /// The position of `symbol` among those of this shard, dense from 0, and whether it is one of them.
    // It returns no `Option`: a tick's shard is random, and a branch on it would be guessed wrong half of the time.
    pub(super) fn place(self, symbol: NameId) -> (u32, bool) {
        // Ids have 32 bits, and a longer division takes twice the time.
        let index = symbol.index() as u32;
        (index / self.count, index % self.count == self.index)
    }

    /// This shard's part of a bound on the number of symbols. It is the number of its symbols among the first `max`, so
    /// that these find room with any number of shards.
    pub(super) fn share(self, max: usize) -> usize {
        // Ids begin at 1, so the shard with index 0 has its first symbol last.
        let first = if self.index == 0 { self.count } else { self.index };
        max.saturating_add((self.count - first) as usize) / self.count as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;

    #[test]
    fn every_symbol_has_one_place_in_one_shard_and_no_place_is_wasted() {
        let names = Names::new(100);
        let symbols: Vec<NameId> = (0..100).map(|name| names.intern(&format!("S{name}")).unwrap().0).collect();
        for count in [1, 2, 3, 7, 64, 200] {
            let shards: Vec<Shard> = Shard::all(count).collect();
            for (symbol, max) in symbols.iter().zip(1..) {
                let owners: Vec<_> = shards.iter().filter(|shard| shard.place(*symbol).1).collect();
                let [shard] = owners[..] else { panic!("{symbol:?} of {count}: {owners:?}") };
                let (place, _) = shard.place(*symbol);
                // Place 0 of the first shard belongs to the id that no symbol has.
                assert!((place as usize) < shard.share(max) + 1, "{symbol:?} of {count}");
                let shares: usize = shards.iter().map(|shard| shard.share(max)).sum();
                assert_eq!(shares, max, "{count} shards");
            }
        }
    }
}
