//! The watch list: the symbols of which something is known, bounded in number, without those that fell silent.
//!
//! This file owns who is on the list, and the event-time clock that tells silence. It does *not* own what is known.

/// Per-symbol states of type `S`; generic so that membership can be tested without detectors.
#[derive(Debug)]
pub(super) struct WatchList<S> {
    /// By [`Shard::place`](super::shard::Shard::place); no longer than the shard's part of the table of names.
    entries: Vec<Option<Box<Entry<S>>>>,
    /// How many entries there are.
    len: usize,
    symbols_max: usize,
    idle_max_us: i64,
    /// The latest event time so far. Only ever rises.
    now_us: i64,
    /// The event time from which the silent are looked for again.
    sweep_us: i64,
}

#[derive(Debug)]
struct Entry<S> {
    /// The list's `now_us` when the symbol's last tick came: a late tick is a sign of life as any other.
    seen_us: i64,
    state: S,
}

impl<S> WatchList<S> {
    pub(super) fn new(symbols_max: usize, idle_max_us: u64) -> Self {
        let idle_max_us = i64::try_from(idle_max_us).unwrap_or(i64::MAX);
        Self { entries: Vec::new(), len: 0, symbols_max, idle_max_us, now_us: i64::MIN, sweep_us: i64::MIN }
    }

    /// How many symbols are on the list.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Moves the clock on to the event time of a tick seen at `detected_at_us`.
    ///
    /// An event time after its own detection is a producer's mistake, and counts as the latter: else one such tick
    /// would make every other symbol look silent.
    pub(super) fn advance(&mut self, ts_us: i64, detected_at_us: i64) {
        self.now_us = self.now_us.max(ts_us.min(detected_at_us));
        if self.now_us >= self.sweep_us {
            self.sweep();
        }
    }

    /// The state of the symbol at `place`, which is put on the list with the state that `new` gives if it is not there.
    /// `None` if the list is full or `new` gives none.
    pub(super) fn state(&mut self, place: usize, new: impl FnOnce() -> Option<S>) -> Option<&mut S> {
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, || None);
        }
        let entry = &mut self.entries[place];
        if entry.is_none() && self.len < self.symbols_max {
            *entry = new().map(|state| Box::new(Entry { seen_us: self.now_us, state }));
            self.len += usize::from(entry.is_some());
        }
        let entry = entry.as_deref_mut()?;
        entry.seen_us = self.now_us;
        Some(&mut entry.state)
    }

    /// Takes off the list who has been silent for `idle_max`.
    ///
    /// It happens four times in that span, so that it costs next to nothing per tick even when the list is full and
    /// new symbols keep coming; a silent symbol thus stays for up to a quarter longer.
    fn sweep(&mut self) {
        let silent_since_us = self.now_us.saturating_sub(self.idle_max_us);
        for entry in &mut self.entries {
            if entry.as_ref().is_some_and(|entry| entry.seen_us <= silent_since_us) {
                *entry = None;
                self.len -= 1;
            }
        }
        self.sweep_us = self.now_us.saturating_add((self.idle_max_us / 4).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of at most two symbols, who are silent after 100 us, and the places of three.
    fn list() -> (WatchList<u32>, [usize; 3]) {
        (WatchList::new(2, 100), [1, 2, 3])
    }

    fn see(list: &mut WatchList<u32>, symbol: usize, ts_us: i64) -> Option<u32> {
        list.advance(ts_us, 1_000_000);
        let seen = list.state(symbol, || Some(0))?;
        *seen += 1;
        Some(*seen)
    }

    #[test]
    fn full_list_takes_no_symbol_until_another_falls_silent() {
        let (mut list, [a, b, c]) = list();
        assert_eq!([see(&mut list, a, 0), see(&mut list, b, 0), see(&mut list, c, 50)], [Some(1), Some(1), None]);
        assert_eq!(see(&mut list, b, 90), Some(2));
        assert_eq!([see(&mut list, c, 125), list.len().try_into().ok()], [Some(1), Some(2)]);
        assert_eq!([see(&mut list, b, 126), see(&mut list, a, 126)], [Some(3), None]);
    }

    #[test]
    fn silent_symbol_is_forgotten_though_the_list_is_not_full() {
        let (mut list, [a, b, _]) = list();
        see(&mut list, a, 0);
        see(&mut list, b, 125);
        assert_eq!(list.len(), 1);
        assert_eq!(see(&mut list, a, 126), Some(1));
    }

    #[test]
    fn tick_from_the_future_makes_nobody_silent() {
        let (mut list, [a, b, _]) = list();
        let mut see = |symbol, ts_us| {
            list.advance(ts_us, 10);
            assert!(list.state(symbol, || Some(0)).is_some());
            list.len()
        };
        assert_eq!([see(a, 10), see(b, i64::MAX), see(a, 10)], [1, 2, 2]);
    }

    #[test]
    fn late_ticks_are_signs_of_life() {
        let (mut list, [a, b, _]) = list();
        see(&mut list, a, 0);
        see(&mut list, b, 90);
        see(&mut list, a, 5);
        see(&mut list, b, 130);
        assert_eq!(see(&mut list, a, 130), Some(3));
    }

    #[test]
    fn symbol_without_a_state_takes_no_place() {
        let (mut list, [a, ..]) = list();
        assert!(list.state(a, || None).is_none());
        assert_eq!(list.len(), 0);
    }
}
