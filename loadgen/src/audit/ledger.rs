//! Which of the ticks that were sent have been seen: a bit for each, and a checksum for each symbol.

use std::collections::{BTreeMap, HashMap};

use super::report::Problem;
use ticklake_reader::lake::rows::Row;

use crate::{
    manifest::{Sent, SeqSet, Tally},
    tick::{SymbolHash, row_checksum},
};

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first one of a tick that was sent.
    Expected,
    /// A further one of the tick with that sequence number.
    Duplicate(i64),
    /// None that was sent: another symbol, another sequence number or none.
    Unknown,
}

/// All symbols that were sent.
pub(super) struct Ledger<'a> {
    by_name: HashMap<&'a str, usize>,
    pages: Vec<Page<'a>>,
    /// The page of the row before: files are sorted by symbol, so it is mostly the right one.
    current: usize,
}

/// One symbol.
struct Page<'a> {
    name: &'a str,
    hash: SymbolHash,
    sent: &'a Tally,
    /// Ticks, and second rows of those that were sent twice.
    once: Seen<'a>,
    twice: Seen<'a>,
    duplicates: u64,
    /// Over the rows that are expected.
    checksum: u64,
}

/// Which numbers of a set have been seen.
struct Seen<'a> {
    of: &'a SeqSet,
    /// For each run of numbers the bit of its first one.
    offsets: Vec<u64>,
    bits: Vec<u64>,
    count: u64,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(sent: &'a Sent) -> Self {
        let pages: Vec<Page<'_>> = sent.symbols.iter().map(|(name, tally)| Page::new(name, tally)).collect();
        let by_name = pages.iter().enumerate().map(|(at, page)| (page.name, at)).collect();
        Self { by_name, pages, current: 0 }
    }

    /// Marks the tick that `row` is.
    pub(super) fn take(&mut self, row: Row<'_>) -> Verdict {
        if self.pages.get(self.current).is_none_or(|page| page.name != row.symbol) {
            let Some(&at) = self.by_name.get(row.symbol) else { return Verdict::Unknown };
            self.current = at;
        }
        self.pages[self.current].take(row)
    }

    /// The symbols that are not as they were sent.
    pub(super) fn problems(&self) -> BTreeMap<String, Problem> {
        self.pages.iter().filter_map(|page| Some((page.name.to_owned(), page.problem()?))).collect()
    }
}

impl<'a> Page<'a> {
    fn new(name: &'a str, sent: &'a Tally) -> Self {
        let (once, twice) = (Seen::none_of(&sent.seqs), Seen::none_of(&sent.again));
        Self { name, hash: SymbolHash::of(name), sent, once, twice, duplicates: 0, checksum: 0 }
    }

    fn take(&mut self, row: Row<'_>) -> Verdict {
        let Some((seq, bit)) = row.seq.and_then(|seq| Some((seq, self.once.bit(seq)?))) else {
            return Verdict::Unknown;
        };
        let is_expected = self.once.see(bit) || self.twice.bit(seq).is_some_and(|bit| self.twice.see(bit));
        if !is_expected {
            self.duplicates += 1;
            return Verdict::Duplicate(seq);
        }
        self.checksum = self.checksum.wrapping_add(row_checksum(self.hash, row.ts_us, row.price, row.volume, seq));
        Verdict::Expected
    }

    fn problem(&self) -> Option<Problem> {
        let lost = self.sent.count() - self.once.count - self.twice.count;
        let problem = Problem {
            lost,
            first_lost: self.once.first_unseen().or_else(|| self.twice.first_unseen()),
            duplicate: self.duplicates,
            is_altered: lost == 0 && self.checksum != self.sent.checksum,
        };
        (problem != Problem::default()).then_some(problem)
    }
}

impl<'a> Seen<'a> {
    fn none_of(of: &'a SeqSet) -> Self {
        let mut bits = 0;
        let offset = |run: &crate::manifest::Run| {
            let first = bits;
            bits += run.count();
            first
        };
        let offsets = of.runs().iter().map(offset).collect();
        Self { of, offsets, bits: vec![0; bits.div_ceil(64) as usize], count: 0 }
    }

    /// The bit of a number of the set.
    fn bit(&self, seq: i64) -> Option<u64> {
        let runs = self.of.runs();
        let at = runs.partition_point(|run| run.first <= seq).checked_sub(1)?;
        (seq <= runs[at].last).then(|| self.offsets[at] + seq.abs_diff(runs[at].first))
    }

    /// Sees the number of that bit; `false` where it was seen before.
    fn see(&mut self, bit: u64) -> bool {
        let (word, mask) = (&mut self.bits[(bit / 64) as usize], 1 << (bit % 64));
        if *word & mask != 0 {
            return false;
        }
        *word |= mask;
        self.count += 1;
        true
    }

    fn first_unseen(&self) -> Option<i64> {
        if self.count == self.of.len() {
            return None;
        }
        let word = self.bits.iter().position(|&word| word != u64::MAX)?;
        let bit = word as u64 * 64 + u64::from(self.bits[word].trailing_ones());
        let at = self.offsets.partition_point(|&offset| offset <= bit).checked_sub(1)?;
        Some(self.of.runs()[at].first.wrapping_add((bit - self.offsets[at]) as i64))
    }
}
