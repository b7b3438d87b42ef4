//! Guests: names that a full table has no room for. A guest has an id as long as somebody holds it.
//!
//! This file owns the ids of guests, and decides when an id is free for another name. It does *not* own the lock around
//! them, or the names that a table keeps for good.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{NameId, Names};

/// Roughly the bytes of a guest besides its text: its entries in the table, in a [`Hold`] and in the encoder's tables.
const GUEST_BYTES: usize = 192;

/// Roughly the bytes of a hold besides its guests.
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
    /// How many holds have this guest. A caller of [`Guests::enter`] counts as one until it makes a hold.
    holders: usize,
}

impl Guests {
    /// Adds a holder of `name`, and returns the slot of the guest.
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

    /// Removes a holder of the guest in `slot`. If nobody holds the guest any more, its slot is free for another name.
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
            // When the last guest leaves, this frees the memory that a flood of names took.
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

/// Keeps the guests of one table that some ticks refer to. Each id stands for its name until the hold is dropped.
pub struct Hold {
    table: Arc<Names>,
    guests: Vec<(NameId, Arc<str>)>,
}

impl Hold {
    /// Takes over guests. The caller was counted as a holder of each of them.
    pub(super) fn new(table: Arc<Names>, guests: Vec<(NameId, Arc<str>)>) -> Self {
        Self { table, guests }
    }

    /// The guests of this hold if they belong to `table`, otherwise none.
    pub fn guests_of(&self, table: &Names) -> &[(NameId, Arc<str>)] {
        if std::ptr::eq(Arc::as_ptr(&self.table), table) { &self.guests } else { &[] }
    }

    /// Roughly the bytes of memory of the guests. A guest that others hold, too, counts in full.
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
