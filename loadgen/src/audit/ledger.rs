//! Which of the ticks that were sent have been seen: a bit for each, and a checksum for each symbol.

use std::collections::{BTreeMap, HashMap};

use super::{report::Problem, rows::Row};
use crate::{
    manifest::{Sent, Tally},
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
    /// For each run of sequence numbers the bit of its first one.
    offsets: Vec<u64>,
    seen: Vec<u64>,
    seen_count: u64,
    duplicates: u64,
    /// Over the first row of each tick.
    checksum: u64,
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
        let mut bits = 0;
        let offset = |run: &crate::manifest::Run| {
            let first = bits;
            bits += run.count();
            first
        };
        let offsets = sent.seqs.runs().iter().map(offset).collect();
        let seen = vec![0; bits.div_ceil(64) as usize];
        Self { name, hash: SymbolHash::of(name), sent, offsets, seen, seen_count: 0, duplicates: 0, checksum: 0 }
    }

    /// The bit of a tick that was sent.
    fn bit(&self, seq: i64) -> Option<u64> {
        let runs = self.sent.seqs.runs();
        let at = runs.partition_point(|run| run.first <= seq).checked_sub(1)?;
        (seq <= runs[at].last).then(|| self.offsets[at] + seq.abs_diff(runs[at].first))
    }

    fn take(&mut self, row: Row<'_>) -> Verdict {
        let Some((seq, bit)) = row.seq.and_then(|seq| Some((seq, self.bit(seq)?))) else { return Verdict::Unknown };
        let (word, mask) = (&mut self.seen[(bit / 64) as usize], 1 << (bit % 64));
        if *word & mask != 0 {
            self.duplicates += 1;
            return Verdict::Duplicate(seq);
        }
        *word |= mask;
        self.seen_count += 1;
        self.checksum = self.checksum.wrapping_add(row_checksum(self.hash, row.ts_us, row.price, row.volume, seq));
        Verdict::Expected
    }

    fn problem(&self) -> Option<Problem> {
        let lost = self.sent.count() - self.seen_count;
        let problem = Problem {
            lost,
            first_lost: if lost > 0 { self.first_unseen() } else { None },
            duplicate: self.duplicates,
            is_altered: lost == 0 && self.checksum != self.sent.checksum,
        };
        (problem != Problem::default()).then_some(problem)
    }

    fn first_unseen(&self) -> Option<i64> {
        let word = self.seen.iter().position(|&word| word != u64::MAX)?;
        let bit = word as u64 * 64 + u64::from(self.seen[word].trailing_ones());
        let at = self.offsets.partition_point(|&offset| offset <= bit).checked_sub(1)?;
        Some(self.sent.seqs.runs()[at].first.wrapping_add((bit - self.offsets[at]) as i64))
    }
}
