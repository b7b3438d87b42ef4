//! The watch list: a bounded number of symbols, each with its state, without those that fell silent.
//!
//! This file owns which symbols are listed, and the event-time clock that measures silence. It does *not* own the
//! states.

/// The slot of a symbol that is not on the list.
const NO_SLOT: u32 = u32::MAX;

/// A symbol may give way to another one after `idle_max` divided by this. After `idle_max` it is forgotten in any case.
const IDLE_SHARE: i64 = 16;

/// One symbol in this many of a full list gives way at once: the search costs as much as for one symbol.
const ROOM_SHARE: usize = 16;

/// The `seen_us` of an entry without a symbol.
const FREE: i64 = i64::MIN;

/// Per-symbol states of type `S`. It is generic so that membership can be tested without detectors.
#[derive(Debug)]
pub(super) struct WatchList<S> {
    /// The symbol's slot, by [`Shard::place`](super::shard::Shard::place). At most as long as the shard's part of the
    /// table of names.
    slots: Vec<u32>,
    /// By slot. There are as many as there were symbols at one time.
    entries: Vec<Entry<S>>,
    /// Slots whose symbols were taken off, and how many of them [`WatchList::next_forgotten`] has still to return.
    free: Vec<u32>,
    untold: usize,
    symbols_max: usize,
    /// Whether a symbol has found the list full since room was last made.
    is_wanted: bool,
    idle_max_us: i64,
    /// The latest event time so far. It never falls.
    now_us: i64,
    /// The event time from which silent symbols are looked for again.
    sweep_us: i64,
}

#[derive(Debug)]
struct Entry<S> {
    /// The list's `now_us` when the symbol's last tick came: a late tick is a sign of life like any other.
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
            is_wanted: false,
            idle_max_us,
            now_us: i64::MIN,
            sweep_us: i64::MIN,
        }
    }

    /// How many symbols are on the list.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The state of a symbol that was taken off the list. Each is returned at most once, and not after its slot is used
    /// again.
    pub(super) fn next_forgotten(&mut self) -> Option<&mut S> {
        self.untold = self.untold.checked_sub(1)?;
        let slot = self.free[self.free.len() - 1 - self.untold];
        Some(&mut self.entries[slot as usize].state)
    }

    /// The number of slots, including those without a symbol.
    pub(super) fn slots(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of a symbol on the list.
    pub(super) fn entry_bytes() -> usize {
        size_of::<u32>() + size_of::<Entry<S>>()
    }

    /// The latest event time so far.
    pub(super) fn now_us(&self) -> i64 {
        self.now_us
    }

    /// The clock after a tick with the event time `ts_us`, seen at `detected_at_us`. It stood at `now_us` before.
    ///
    /// An event time after its own detection is a producer's mistake, and counts as the time of detection. Otherwise
    /// one such tick would make every other symbol look silent.
    pub(super) fn moved_on(now_us: i64, ts_us: i64, detected_at_us: i64) -> i64 {
        now_us.max(ts_us.min(detected_at_us))
    }

    /// When silent symbols are looked for again.
    pub(super) fn sweep_us(&self) -> i64 {
        self.sweep_us
    }

    /// Moves the clock on to `now_us`, without a search for silent symbols.
    #[inline]
    pub(super) fn set_now(&mut self, now_us: i64) {
        self.now_us = self.now_us.max(now_us);
    }

    /// Moves the clock on to `now_us`. Removes silent symbols when due, and makes room for symbols that found none.
    pub(super) fn advance(&mut self, now_us: i64) {
        self.set_now(now_us);
        if now_us >= self.sweep_us {
            self.sweep();
        }
        if std::mem::take(&mut self.is_wanted) && self.len() >= self.symbols_max {
            self.make_room();
        }
    }

    /// Notes that a symbol found no place. The next [`WatchList::advance`] makes room.
    pub(super) fn want_room(&mut self) {
        self.is_wanted = true;
    }

    /// The slot and the state of the symbol at `place`. If the symbol is not on the list, it is added with the state
    /// that `new` returns for its slot. `None` if the list is full or `new` returns none.
    pub(super) fn state(&mut self, place: usize, new: impl FnOnce(usize) -> Option<S>) -> Option<(usize, &mut S)> {
        let mut slot = self.slots.get(place).copied().unwrap_or(NO_SLOT);
        if slot == NO_SLOT {
            slot = self.admit(place, new)?;
        }
        let entry = &mut self.entries[slot as usize];
        entry.seen_us = self.now_us;
        Some((slot as usize, &mut entry.state))
    }

    /// The state of the symbol in `slot`, if there is one.
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

    /// Takes symbols off the list that have been silent for `idle_max`.
    ///
    /// This happens four times in that span. So it costs next to nothing per tick, even when the list is full and new
    /// symbols keep coming. A silent symbol stays for up to a quarter longer.
    fn sweep(&mut self) {
        let silent_since_us = self.now_us.saturating_sub(self.idle_max_us);
        self.forget(|_, seen_us| seen_us <= silent_since_us);
        self.sweep_us = self.now_us.saturating_add((self.idle_max_us / 4).max(1));
    }

    /// Takes the symbols off the full list that were seen least recently, at most a sixteenth of the list.
    ///
    /// Only symbols that were silent for a sixteenth of `idle_max` go. Without that limit, a feed of a few more symbols
    /// than the bound would watch none of them for long, and a flood of new names would push out every slow symbol.
    /// Event time decides, then the slot. So the same ticks free the same places.
    fn make_room(&mut self) {
        let silent_since_us = self.now_us.saturating_sub(self.idle_max_us / IDLE_SHARE);
        let slots = self.entries.iter().zip(0_u32..).map(|(entry, slot)| (entry.seen_us, slot));
        let mut silent: Vec<_> = slots.filter(|(seen_us, _)| *seen_us != FREE && *seen_us <= silent_since_us).collect();
        let room = (self.symbols_max / ROOM_SHARE).max(1);
        let last =
            if silent.len() > room { Some(*silent.select_nth_unstable(room - 1).1) } else { silent.into_iter().max() };
        if let Some(last) = last {
            self.forget(|slot, seen_us| (seen_us, slot) <= last);
        }
    }

    /// Takes the symbols off the list for whose slot and time of the last tick `is_over` is true.
    fn forget(&mut self, is_over: impl Fn(u32, i64) -> bool) {
        for slot in &mut self.slots {
            if *slot != NO_SLOT && is_over(*slot, self.entries[*slot as usize].seen_us) {
                let slot = std::mem::replace(slot, NO_SLOT);
                self.entries[slot as usize].seen_us = FREE;
                self.free.push(slot);
                self.untold += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A list of at most two symbols, which are silent after 100 us, and the places of three.
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
        assert_eq!(slot(&mut list, c, 125), Some(0), "of a, which is silent");
        assert_eq!([slot(&mut list, b, 125), slot(&mut list, a, 125)], [Some(1), None]);
        assert_eq!([slot(&mut list, c, 210), slot(&mut list, a, 300)], [Some(0), Some(1)], "of b, which is silent now");
    }

    #[test]
    fn no_room_is_made_where_nobody_wants_it() {
        let (mut list, [a, b, c]) = list();
        assert_eq!([see(&mut list, a, 0), see(&mut list, b, 0)], [Some(1), Some(1)]);
        list.advance(90);
        assert_eq!((see(&mut list, c, 90), list.len()), (None, 2));
    }

    #[test]
    fn of_symbols_seen_at_once_the_first_gives_way() {
        let (mut list, [a, b, c]) = list();
        assert_eq!([see(&mut list, b, 0), see(&mut list, a, 0), see(&mut list, c, 0)], [Some(1), Some(1), None]);
        list.want_room();
        assert_eq!([see(&mut list, c, 7), see(&mut list, a, 7)], [Some(1), Some(2)]);
        assert!(list.next_forgotten().is_none(), "b's slot is c's by now");
    }

    /// The naive twin of a full list: symbols with the time of their last tick, in that order.
    #[derive(Default)]
    struct Twin(Vec<(usize, i64)>);

    impl Twin {
        const MAX: usize = 33;
        const SILENT_US: i64 = 100;

        fn make_room(&mut self, now_us: i64) {
            let silent = self.0.iter().filter(|(_, seen_us)| *seen_us <= now_us - Self::SILENT_US).count();
            self.0.drain(..silent.min(2));
        }

        /// Takes a tick of `symbol`. Returns whether the symbol is on the list.
        fn see(&mut self, symbol: usize, ts_us: i64) -> bool {
            let before = self.0.len();
            self.0.retain(|(other, _)| *other != symbol);
            let is_watched = self.0.len() < before.max(1) || before < Self::MAX;
            if is_watched {
                self.0.push((symbol, ts_us));
            }
            is_watched
        }
    }

    proptest! {
        #[test]
        fn those_seen_least_recently_give_way(ticks in prop::collection::vec((0..45_usize, 1..20_i64), 0..400)) {
            // Too little time passes for a symbol to be forgotten without need.
            let mut list = WatchList::<usize>::new(Twin::MAX, 100_000);
            list.idle_max_us = Twin::SILENT_US * IDLE_SHARE;
            list.sweep_us = i64::MAX;
            let (mut twin, mut now_us, mut is_wanted) = (Twin::default(), 0, false);
            for (symbol, step_us) in ticks {
                now_us += step_us;
                if is_wanted {
                    list.want_room();
                    twin.make_room(now_us);
                }
                list.advance(now_us);
                while list.next_forgotten().is_some() {}
                let is_watched = list.state(symbol, |_| Some(symbol)).is_some_and(|(_, known)| *known == symbol);
                prop_assert_eq!(is_watched, twin.see(symbol, now_us));
                prop_assert_eq!(list.len(), twin.0.len());
                is_wanted = !is_watched;
            }
        }
    }

    #[test]
    fn symbol_without_a_state_takes_no_place() {
        let (mut list, [a, ..]) = list();
        assert!(list.state(a, |_| None).is_none());
        assert_eq!(list.len(), 0);
    }
}
