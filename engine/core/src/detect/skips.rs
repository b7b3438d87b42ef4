//! The sale conditions whose ticks are not judged: averages, late reports, and others away from the market's price.
//!
//! This file owns which conditions match the patterns. It does *not* own what the conditions mean.

use super::pattern::pattern_matches;
use crate::names::{NameId, Names};

/// Patterns of conditions, and the answers for the conditions seen so far.
#[derive(Debug)]
pub(super) struct Skips {
    patterns: Vec<String>,
    by_id: Vec<Option<bool>>,
}

impl Skips {
    pub(super) fn new(patterns: &[String]) -> Self {
        Self { patterns: patterns.to_vec(), by_id: Vec::new() }
    }

    /// Whether a tick with these conditions is left out.
    #[inline]
    pub(super) fn holds(&mut self, conditions: NameId, names: &Names) -> bool {
        !self.patterns.is_empty() && conditions != NameId::NONE && self.matches(conditions, names)
    }

    fn matches(&mut self, conditions: NameId, names: &Names) -> bool {
        if let Some(Some(known)) = self.by_id.get(conditions.index()) {
            return *known;
        }
        let Some(text) = names.get(conditions) else { return false };
        let matches = self.patterns.iter().any(|pattern| pattern_matches(pattern, &text));
        if names.is_guest(conditions) {
            // The id may stand for another name in the next batch, so the answer is not kept.
            return matches;
        }
        if self.by_id.len() <= conditions.index() {
            self.by_id.resize(conditions.index() + 1, None);
        }
        self.by_id[conditions.index()] = Some(matches);
        matches
    }
}
