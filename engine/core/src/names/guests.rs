//! Guests: names that a full table has no place for. A guest has an id as long as somebody holds it.
//!
//! This file owns the ids of guests, and when an id is free for another name. It does *not* own the lock around them,
//! nor the names that a table keeps for good.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{NameId, Names};

/// About what a guest takes besides its text: its places in the table, in a [`Hold`] and in the encoder's tables.
const GUEST_BYTES: usize = 192;

/// About what a hold takes besides its guests.
const HOLD_BYTES: usize = 96;

/// The guests of one table.
#[derive(Debug, Default)]
pub(super) struct Guests {
    slots: Vec<Option<Guest>>,
    free: Vec<u32>,
    by_name: FxHashMap<Arc<str>, u32>,
}

#[derive(Debug)]
struct Guest {
    name: Arc<str>,
    /// Holds with this guest; the caller of [`Guests::enter`] counts until it makes one.
    holders: usize,
}

impl Guests {
    /// Counts one more holder of `name`, and returns its slot.
    pub(super) fn enter(&mut self, name: &str) -> (u32, Arc<str>) {
        if let Some(&slot) = self.by_name.get(name)
            && let Some(Some(guest)) = self.slots.get_mut(slot as usize)
        {
            guest.holders += 1;
            return (slot, guest.name.clone());
        }
        let name: Arc<str> = Arc::from(name);
        let guest = Some(Guest { name: name.clone(), holders: 1 });
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = guest;
            slot
        } else {
            self.slots.push(guest);
            self.slots.len() as u32 - 1
        };
        self.by_name.insert(name.clone(), slot);
        (slot, name)
    }

    /// Counts one holder less of the guest in `slot`. The slot of a guest that nobody holds is free for another name.
    pub(super) fn leave(&mut self, slot: usize) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        let Some(guest) = place else { return };
        guest.holders -= 1;
        if guest.holders == 0 {
            self.by_name.remove(&guest.name);
            *place = None;
            self.free.push(slot as u32);
        }
        if self.by_name.is_empty() {
            // The memory of a flood goes with its last name.
            *self = Self::default();
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Arc<str>> {
        self.slots.get(slot)?.as_ref().map(|guest| &guest.name)
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// Keeps the guests of one table that some ticks refer to. Their ids stand for their names until the hold is dropped.
pub struct Hold {
    table: Arc<Names>,
    guests: Vec<(NameId, Arc<str>)>,
}

impl Hold {
    /// Takes over guests that were counted for the caller.
    pub(super) fn new(table: Arc<Names>, guests: Vec<(NameId, Arc<str>)>) -> Self {
        Self { table, guests }
    }

    /// The guests of `table`, if they are of that table.
    pub fn guests_of(&self, table: &Names) -> &[(NameId, Arc<str>)] {
        if std::ptr::eq(Arc::as_ptr(&self.table), table) { &self.guests } else { &[] }
    }

    /// About how many bytes of memory the guests take. Guests that others hold too count in full.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text: usize = self.guests.iter().map(|(_, name)| name.len()).sum();
        HOLD_BYTES + self.guests.len() * GUEST_BYTES + text
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.table.leave(&self.guests);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&self.guests).finish()
    }
}
