//! Warnings about bounds that a producer of ever new names can exhaust: one at 80 % of a bound, and one at the bound.
//!
//! This file owns which warnings are given, and that each is given once. It does *not* own the bounds, nor what happens
//! beyond them.

use std::sync::atomic::{AtomicIsize, AtomicU8, Ordering};

use ticklake_core::tick::Dictionaries;
use tracing::warn;

/// How much of a bound is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Less than 80 %.
    Low,
    Near,
    Full,
}

/// One bound, and which warnings were given.
#[derive(Debug)]
struct Bound {
    what: &'static str,
    setting: &'static str,
    beyond: &'static str,
    /// A [`Level`].
    told: AtomicU8,
}

impl Bound {
    const fn new(what: &'static str, setting: &'static str, beyond: &'static str) -> Self {
        Self { what, setting, beyond, told: AtomicU8::new(Level::Low as u8) }
    }

    /// Warns if a mark is passed for the first time, or again after less than 70 % was used. So there is one warning
    /// while the use stays near a mark.
    fn note(&self, used: usize, max: usize) {
        let Self { what, setting, beyond, .. } = self;
        match self.passed(used, max) {
            None | Some(Level::Low) => {}
            Some(Level::Near) => warn!(what, used, max, setting, beyond, "80 % of a bound are used"),
            Some(Level::Full) => warn!(what, used, max, setting, beyond, "a bound is reached"),
        }
    }

    /// The highest mark that is passed, if no warning was given for it yet. Several threads may ask; only one gets it.
    fn passed(&self, used: usize, max: usize) -> Option<Level> {
        let (used, max) = (used as u64, max as u64);
        let level = match used {
            _ if used >= max => Level::Full,
            _ if used.saturating_mul(10) >= max.saturating_mul(8) => Level::Near,
            _ if used.saturating_mul(10) >= max.saturating_mul(7) => return None,
            _ => Level::Low,
        };
        if level == Level::Low {
            self.told.store(Level::Low as u8, Ordering::Relaxed);
            return None;
        }
        (self.told.fetch_max(level as u8, Ordering::Relaxed) < level as u8).then_some(level)
    }
}

/// All bounds.
#[derive(Debug)]
pub(crate) struct Bounds {
    symbols: Bound,
    venues: Bound,
    conditions: Bound,
    watched: Bound,
    watched_max: usize,
    /// Symbols that all detectors watch now, together.
    watched_now: AtomicIsize,
}

impl Bounds {
    /// Detectors watch at most `watched_max` symbols.
    pub(crate) const fn new(watched_max: usize) -> Self {
        const NAMES_MAX: &str = "decode.names_max";
        const STORED: &str = "further ones are stored as well, and take more time to decode";
        Self {
            symbols: Bound::new("symbols", NAMES_MAX, "further ones are stored, but not watched until a restart"),
            venues: Bound::new("venues", NAMES_MAX, STORED),
            conditions: Bound::new("conditions", NAMES_MAX, STORED),
            watched: Bound::new(
                "watched symbols",
                "detect.symbols_max",
                "further ones are stored, but not watched until others are silent",
            ),
            watched_max,
            watched_now: AtomicIsize::new(0),
        }
    }

    /// Takes note of how many names are known.
    pub(crate) fn note_names(&self, names: &Dictionaries) {
        for (bound, names) in
            [(&self.symbols, &names.symbols), (&self.venues, &names.venues), (&self.conditions, &names.conditions)]
        {
            bound.note(names.len(), names.max());
        }
    }

    /// One detector now watches `after` symbols; it watched `before` symbols until now.
    pub(crate) fn note_watched(&self, before: usize, after: usize) {
        if before != after {
            let change = after as isize - before as isize;
            let now = self.watched_now.fetch_add(change, Ordering::Relaxed) + change;
            self.watched.note(now.max(0) as usize, self.watched_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_told_once_and_again_only_after_it_was_left_far_behind() {
        let bound = Bound::new("names", "decode.names_max", "");
        let told = |used| bound.passed(used, 10);
        assert_eq!([told(0), told(7), told(8), told(9)], [None, None, Some(Level::Near), None]);
        assert_eq!([told(10), told(10), told(11)], [Some(Level::Full), None, None]);
        assert_eq!([told(7), told(8), told(10)], [None, None, None]);
        assert_eq!([told(6), told(8), told(10)], [None, Some(Level::Near), Some(Level::Full)]);
    }

    #[test]
    fn bound_that_is_reached_at_once_is_told_once() {
        let bound = Bound::new("names", "decode.names_max", "");
        assert_eq!([bound.passed(1, 1), bound.passed(1, 1)], [Some(Level::Full), None]);
    }

    #[test]
    fn watched_symbols_of_all_detectors_count_together() {
        let bounds = Bounds::new(10);
        bounds.note_watched(0, 5);
        assert_eq!(bounds.watched.told.load(Ordering::Relaxed), Level::Low as u8);
        bounds.note_watched(0, 5);
        assert_eq!(bounds.watched.told.load(Ordering::Relaxed), Level::Full as u8);
        bounds.note_watched(5, 1);
        assert_eq!(bounds.watched.told.load(Ordering::Relaxed), Level::Low as u8);
    }
}
