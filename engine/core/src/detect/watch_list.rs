//! The watch list: the symbols of which something is known, bounded in number, without those that fell silent.
//!
//! This file owns who is on the list, and the event-time clock that tells silence. It does *not* own what is known.

/// The slot of a symbol that is not on the list.
const NO_SLOT: u32 = u32::MAX;

/// When the symbol of an entry was last seen that has none.
const FREE: i64 = i64::MIN;

/// Per-symbol states of type `S`; generic so that membership can be tested without detectors.
#[derive(Debug)]
pub(super) struct WatchList<S> {
    /// By [`Shard::place`](super::shard::Shard::place), the symbol's slot; no longer than the shard's part of the table of
    /// names.
    slots: Vec<u32>,
    /// By slot, dense: as many as there were symbols at once.
    entries: Vec<Entry<S>>,
    /// Slots whose symbols fell silent, and how many of them nobody was told of.
    free: Vec<u32>,
    untold: usize,
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
        Self {
            slots: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            untold: 0,
            symbols_max,
            idle_max_us,
            now_us: i64::MIN,
            sweep_us: i64::MIN,
        }
    }

    /// How many symbols are on the list.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The state of a symbol that was taken off the list since the last call; each is given once, before its slot is used again.
    pub(super) fn next_forgotten(&mut self) -> Option<&mut S> {
        self.untold = self.untold.checked_sub(1)?;
        let slot = self.free[self.free.len() - 1 - self.untold];
        Some(&mut self.entries[slot as usize].state)
    }

    /// Slots, those without a symbol included.
    pub(super) fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of a symbol on the list.
    pub(super) fn entry_bytes() -> usize {
        size_of::<u32>() + size_of::<Entry<S>>()
    }

    /// The latest event time so far.
    pub(super) fn now_us(&self) -> i64 {
        self.now_us
    }

    /// The clock after the event time of a tick seen at `detected_at_us`, if it stood at `now_us` before.
    ///
    /// An event time after its own detection is a producer's mistake, and counts as the latter: else one such tick
    /// would make every other symbol look silent.
    pub(super) fn moved_on(now_us: i64, ts_us: i64, detected_at_us: i64) -> i64 {
        now_us.max(ts_us.min(detected_at_us))
    }

    /// When the silent are looked for again.
    pub(super) fn sweep_us(&self) -> i64 {
        self.sweep_us
    }

    /// Moves the clock on to `now_us`, before which the silent need not be looked for.
    #[inline]
    pub(super) fn set_now(&mut self, now_us: i64) {
        self.now_us = self.now_us.max(now_us);
    }

    /// Moves the clock on to `now_us`.
    pub(super) fn advance(&mut self, now_us: i64) {
        self.set_now(now_us);
        if now_us >= self.sweep_us {
            self.sweep();
        }
    }

    /// The slot and the state of the symbol at `place`, which is put on the list with the state that `new` gives for its
    /// slot if it is not there. `None` if the list is full or `new` gives none.
    pub(super) fn state(&mut self, place: usize, new: impl FnOnce(usize) -> Option<S>) -> Option<(usize, &mut S)> {
        let mut slot = self.slots.get(place).copied().unwrap_or(NO_SLOT);
        if slot == NO_SLOT {
            slot = self.admit(place, new)?;
        }
        let entry = &mut self.entries[slot as usize];
        entry.seen_us = self.now_us;
        Some((slot as usize, &mut entry.state))
    }

    /// The state of the symbol in `slot`, unless it is off the list.
    pub(super) fn at(&mut self, slot: usize) -> Option<&mut S> {
        self.entries.get_mut(slot).filter(|entry| entry.seen_us != FREE).map(|entry| &mut entry.state)
    }

    #[cold]
    fn admit(&mut self, place: usize, new: impl FnOnce(usize) -> Option<S>) -> Option<u32> {
        if self.len() >= self.symbols_max {
            return None;
        }
        let slot = self.free.last().map_or(self.entries.len(), |&slot| slot as usize);
        let entry = Entry { seen_us: self.now_us, state: new(slot)? };
        if self.free.pop().is_some() {
            self.untold = self.untold.min(self.free.len());
            self.entries[slot] = entry;
        } else {
            self.entries.push(entry);
        }
        if self.slots.len() <= place {
            self.slots.resize(place + 1, NO_SLOT);
        }
        self.slots[place] = slot as u32;
        Some(slot as u32)
    }

    /// Takes off the list who has been silent for `idle_max`.
    ///
    /// It happens four times in that span, so that it costs next to nothing per tick even when the list is full and
    /// new symbols keep coming; a silent symbol thus stays for up to a quarter longer.
    fn sweep(&mut self) {
        let silent_since_us = self.now_us.saturating_sub(self.idle_max_us);
        for slot in &mut self.slots {
            if *slot != NO_SLOT && self.entries[*slot as usize].seen_us <= silent_since_us {
                let slot = std::mem::replace(slot, NO_SLOT);
                self.entries[slot as usize].seen_us = FREE;
                self.free.push(slot);
                self.untold += 1;
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
        list.advance(WatchList::<u32>::moved_on(list.now_us(), ts_us, 1_000_000));
        let (_, seen) = list.state(symbol, |_| Some(0))?;
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
            list.advance(WatchList::<u32>::moved_on(list.now_us(), ts_us, 10));
            assert!(list.state(symbol, |_| Some(0)).is_some());
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
    fn slot_of_a_silent_symbol_is_given_to_the_next_and_to_nobody_else() {
        let (mut list, [a, b, c]) = list();
        let slot = |list: &mut WatchList<u32>, symbol, ts_us| {
            list.advance(ts_us);
            list.state(symbol, |_| Some(0)).map(|(slot, _)| slot)
        };
        assert_eq!([slot(&mut list, a, 0), slot(&mut list, b, 90)], [Some(0), Some(1)]);
        assert_eq!(slot(&mut list, c, 125), Some(0), "of a, who is silent");
        assert_eq!([slot(&mut list, b, 125), slot(&mut list, a, 125)], [Some(1), None]);
        assert_eq!([slot(&mut list, c, 210), slot(&mut list, a, 300)], [Some(0), Some(1)], "of b, who is silent now");
    }

    #[test]
    fn symbol_without_a_state_takes_no_place() {
        let (mut list, [a, ..]) = list();
        assert!(list.state(a, |_| None).is_none());
        assert_eq!(list.len(), 0);
    }
}
