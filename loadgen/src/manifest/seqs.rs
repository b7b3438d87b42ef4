//! A set of sequence numbers as sorted runs: a few bytes where they are dense, as those of a feed are.

use serde::{Deserialize, Serialize};

/// Consecutive numbers; in JSON `[first, last]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(i64, i64)", from = "(i64, i64)")]
pub struct Run {
    /// The smallest.
    pub first: i64,
    /// The largest; the run holds it.
    pub last: i64,
}

impl From<(i64, i64)> for Run {
    fn from((first, last): (i64, i64)) -> Self {
        Self { first, last }
    }
}

impl From<Run> for (i64, i64) {
    fn from(run: Run) -> Self {
        (run.first, run.last)
    }
}

impl Run {
    /// How many numbers it holds.
    #[must_use]
    pub fn count(self) -> u64 {
        // As unsigned numbers the difference is right for any two, -2^63 and 2^63-1 included.
        (self.last as u64).wrapping_sub(self.first as u64).saturating_add(1)
    }
}

/// A set of sequence numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeqSet {
    /// Ascending; between two neighbours at least one number is missing.
    runs: Vec<Run>,
}

impl SeqSet {
    /// Adds a number; `false` where it was there. Constant time for the one that follows the largest.
    #[must_use]
    pub fn insert(&mut self, seq: i64) -> bool {
        if let Some(last) = self.runs.last_mut()
            && last.last.checked_add(1) == Some(seq)
        {
            last.last = seq;
            return true;
        }
        let at = self.runs.partition_point(|run| run.first <= seq);
        let before = at.checked_sub(1).map(|i| self.runs[i]);
        if before.is_some_and(|run| seq <= run.last) {
            return false;
        }
        let extends = before.is_some_and(|run| run.last.checked_add(1) == Some(seq));
        let precedes = self.runs.get(at).is_some_and(|run| seq.checked_add(1) == Some(run.first));
        match (extends, precedes) {
            (true, true) => {
                self.runs[at - 1].last = self.runs[at].last;
                self.runs.remove(at);
            }
            (true, false) => self.runs[at - 1].last = seq,
            (false, true) => self.runs[at].first = seq,
            (false, false) => self.runs.insert(at, Run { first: seq, last: seq }),
        }
        true
    }

    /// Adds all numbers of `other`, which must be new; else one that both hold comes back and nothing has changed.
    pub fn merge(&mut self, other: &SeqSet) -> Result<(), i64> {
        let mut all: Vec<Run> = self.runs.iter().chain(&other.runs).copied().collect();
        all.sort_by_key(|run| run.first);
        if let Some(pair) = all.windows(2).find(|pair| pair[1].first <= pair[0].last) {
            return Err(pair[1].first);
        }
        all.dedup_by(|next, run| {
            let touch = run.last.checked_add(1) == Some(next.first);
            if touch {
                run.last = next.last;
            }
            touch
        });
        self.runs = all;
        Ok(())
    }

    /// The runs, ascending.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.count()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn numbers(set: &SeqSet) -> Vec<i64> {
        set.runs().iter().flat_map(|run| run.first..=run.last).collect()
    }

    proptest! {
        #[test]
        fn set_agrees_with_a_naive_one(
            seqs in prop::collection::vec(
                prop_oneof![-20_i64..20, Just(i64::MAX), Just(i64::MAX - 1), Just(i64::MIN)], 0..60
            )
        ) {
            let (mut set, mut naive) = (SeqSet::default(), BTreeSet::new());
            for seq in seqs {
                prop_assert_eq!(set.insert(seq), naive.insert(seq));
            }
            prop_assert_eq!(set.len(), naive.len() as u64);
            prop_assert!(set.runs().windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
            prop_assert_eq!(numbers(&set), naive.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn merge_agrees_with_a_naive_union(
            mine in prop::collection::btree_set(0_i64..40, 0..20), other in prop::collection::btree_set(0_i64..40, 0..20)
        ) {
            let build = |seqs: &BTreeSet<i64>| {
                let mut set = SeqSet::default();
                for &seq in seqs {
                    assert!(set.insert(seq));
                }
                set
            };
            let mut set = build(&mine);
            match set.merge(&build(&other)) {
                Ok(()) => prop_assert_eq!(set, build(&(&mine | &other))),
                Err(seq) => prop_assert!(mine.contains(&seq) && other.contains(&seq)),
            }
        }
    }
}
