//! The elements of a message, by position: the ticks and bad ticks in its body, counted from 0.
//!
//! It owns the set of positions. It does *not* own what an element is and how elements are numbered: the decoder does.

use std::ops::Range;

/// A set of positions as ordered runs. Most sets are a single run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Elements(Vec<Range<u32>>);

impl Elements {
    /// The set of the positions in `runs`. The runs must be in order, must not be empty, and must not touch.
    #[must_use]
    pub fn of_runs(runs: Vec<Range<u32>>) -> Self {
        debug_assert!(
            runs.iter().all(|run| run.start < run.end) && runs.windows(2).all(|two| two[0].end < two[1].start)
        );
        Self(runs)
    }

    /// The first `count` positions.
    #[must_use]
    pub fn first(count: u32) -> Self {
        Self(std::iter::once(0..count).filter(|run| !run.is_empty()).collect())
    }

    /// The runs, in order.
    #[must_use]
    pub fn runs(&self) -> &[Range<u32>] {
        &self.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `position` is in the set.
    #[must_use]
    pub fn contains(&self, position: u32) -> bool {
        let after = self.0.partition_point(|run| run.end <= position);
        self.0.get(after).is_some_and(|run| run.start <= position)
    }

    /// Adds a position that is larger than all positions of the set.
    pub fn push(&mut self, position: u32) {
        match self.0.last_mut() {
            Some(last) if last.end == position => last.end = position.saturating_add(1),
            _ => self.0.push(position..position.saturating_add(1)),
        }
    }

    /// Adds the positions of `other`.
    pub fn add(&mut self, other: &Self) {
        let mut runs = [self.0.as_slice(), other.0.as_slice()].concat();
        runs.sort_unstable_by_key(|run| run.start);
        self.0.clear();
        for run in runs {
            match self.0.last_mut() {
                Some(last) if last.end >= run.start => last.end = last.end.max(run.end),
                _ => self.0.push(run),
            }
        }
    }
}

impl FromIterator<u32> for Elements {
    /// The positions must be in rising order.
    fn from_iter<T: IntoIterator<Item = u32>>(positions: T) -> Self {
        let mut elements = Self::default();
        positions.into_iter().for_each(|position| elements.push(position));
        elements
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn elements(positions: &BTreeSet<u32>) -> Elements {
        positions.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn runs_are_the_set_that_they_stand_for(
            one in prop::collection::btree_set(0..40_u32, 0..20),
            other in prop::collection::btree_set(0..40_u32, 0..20),
        ) {
            let mut both = elements(&one);
            both.add(&elements(&other));
            let union: BTreeSet<u32> = one.union(&other).copied().collect();
            prop_assert_eq!(&both, &elements(&union));
            prop_assert_eq!(&both, &Elements::of_runs(both.runs().to_vec()));
            for position in 0..42 {
                prop_assert_eq!(both.contains(position), union.contains(&position));
            }
        }
    }
}
