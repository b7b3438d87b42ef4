//! Interned names: each symbol, venue and sale condition becomes a small integer once, at decoding. The detector, the
//! sort and the Parquet dictionary use the same integers.
//!
//! All decoders of a process share a [`Names`] table. Up to its bound, the table keeps names for good. A name beyond
//! the bound is a *guest*: its id is valid as long as a [`Hold`] keeps it. Each decoder has its own [`NameCache`] in
//! front of the table, so a name that the decoder has seen before costs no lock. This file does *not* own the rules for
//! valid names.

mod guests;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustc_hash::FxHashMap;

use self::guests::Guests;

pub use self::guests::Hold;

/// The integer that stands for a name within one [`Names`] table. Ids are dense and start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NameId(u32);

impl NameId {
    /// No name: the tick does not have this field.
    pub const NONE: NameId = NameId(0);

    /// A dense index for tables that are parallel to the names. [`NameId::NONE`] has index 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The table already keeps as many names as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to intern a name: the table holds its maximum of {max} names")]
pub struct NamesFull {
    /// The bound of the table.
    pub max: usize,
}

/// The most names that a table keeps: half of all ids, so that ids are left for guests.
const KEPT_MAX: usize = 1 << 31;

/// A table of names that all decoders share. It keeps a bounded number of names for good, and each guest as long as
/// somebody holds it.
#[derive(Debug)]
pub struct Names {
    max: usize,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    ids: FxHashMap<Arc<str>, NameId>,
    /// At index [`NameId::index`] minus one.
    names: Vec<Arc<str>>,
    /// Ids of guests follow the ids of the `max` names that are kept.
    guests: Guests,
}

impl Table {
    /// The id of `name`. Adds the name if it is new and there is room.
    fn keep(&mut self, name: &str, max: usize) -> Option<(NameId, Arc<str>)> {
        if let Some((name, id)) = self.ids.get_key_value(name) {
            return Some((*id, name.clone()));
        }
        if self.names.len() >= max {
            return None;
        }
        let name: Arc<str> = Arc::from(name);
        self.names.push(name.clone());
        let id = NameId(self.names.len() as u32);
        self.ids.insert(name.clone(), id);
        Some((id, name))
    }
}

impl Names {
    /// An empty table that keeps at most `max` names.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: max.min(KEPT_MAX), table: RwLock::default() }
    }

    /// The name that `id` stands for. `None` for [`NameId::NONE`], for a guest that nobody holds, and for an id of
    /// another table.
    #[must_use]
    pub fn get(&self, id: NameId) -> Option<Arc<str>> {
        let table = self.read();
        let index = id.index().checked_sub(1)?;
        index.checked_sub(self.max).map_or_else(|| table.names.get(index), |slot| table.guests.get(slot)).cloned()
    }

    /// Whether `id` belongs to a guest. Such an id may stand for another name as soon as nobody holds the guest.
    #[must_use]
    pub fn is_guest(&self, id: NameId) -> bool {
        id.index() > self.max
    }

    /// All names that the table keeps at this moment, with their ids.
    pub fn numbered(&self) -> impl Iterator<Item = (NameId, Arc<str>)> + use<> {
        let names = self.read().names.clone();
        names.into_iter().zip(1..).map(|(name, id)| (NameId(id), name))
    }

    /// How many names the table keeps. Their ids run from 1 to this number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().names.len()
    }

    /// Whether the table keeps no name yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most names that the table keeps.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// How many guests are held by somebody.
    #[must_use]
    pub fn guests(&self) -> usize {
        self.read().guests.len()
    }

    /// The id of `name`. If the name is new, the table keeps it from now on. Only a [`NameCache`] adds guests.
    pub fn intern(&self, name: &str) -> Result<(NameId, Arc<str>), NamesFull> {
        self.write().keep(name, self.max).ok_or(NamesFull { max: self.max })
    }

    /// Like [`Names::intern`], but without room the name becomes a guest and gets one more holder.
    fn enter(&self, name: &str) -> (NameId, Arc<str>) {
        let mut table = self.write();
        table.keep(name, self.max).unwrap_or_else(|| {
            let (slot, name) = table.guests.enter(name);
            (NameId((self.max + 1) as u32 + slot), name)
        })
    }

    /// Removes one holder from each of `guests`.
    fn leave(&self, guests: &[(NameId, Arc<str>)]) {
        let mut table = self.write();
        for (id, _) in guests {
            table.guests.leave(id.index() - 1 - self.max);
        }
    }

    // The table is consistent even after a panic: a name is pushed before the map refers to it.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One decoder's view of a shared [`Names`] table.
#[derive(Debug)]
pub struct NameCache {
    shared: Arc<Names>,
    ids: FxHashMap<Arc<str>, NameId>,
    /// The guests that this cache holds, each once.
    guests: FxHashMap<Arc<str>, NameId>,
}

impl NameCache {
    /// A cache in front of the table `shared`.
    #[must_use]
    pub fn new(shared: Arc<Names>) -> Self {
        Self { shared, ids: FxHashMap::default(), guests: FxHashMap::default() }
    }

    /// The id of `name`, from the cache without a lock, otherwise from the shared table. The id of a guest is valid as
    /// long as the next [`hold`](NameCache::take_hold) is kept.
    pub fn intern(&mut self, name: &str) -> NameId {
        if let Some(id) = self.ids.get(name) { *id } else { self.intern_uncached(name) }
    }

    #[cold]
    fn intern_uncached(&mut self, name: &str) -> NameId {
        if let Some(id) = self.guests.get(name) {
            return *id;
        }
        let (id, name) = self.shared.enter(name);
        let ids = if self.shared.is_guest(id) { &mut self.guests } else { &mut self.ids };
        ids.insert(name, id);
        id
    }

    /// Whether `id` belongs to a guest.
    #[must_use]
    pub fn is_guest(&self, id: NameId) -> bool {
        self.shared.is_guest(id)
    }

    /// Whether the cache has interned guests since the last hold was taken.
    #[must_use]
    #[inline]
    pub fn has_guests(&self) -> bool {
        !self.guests.is_empty()
    }

    /// The hold of the guests that were interned since the last call, if there were any. The cache forgets them.
    pub fn take_hold(&mut self) -> Option<Arc<Hold>> {
        if self.guests.is_empty() {
            return None;
        }
        // Draining takes time in proportion to the map's capacity, and one message may have made it very large.
        let guests = std::mem::take(&mut self.guests).into_iter().map(|(name, id)| (id, name)).collect();
        Some(Arc::new(Hold::new(self.shared.clone(), guests)))
    }
}

impl Drop for NameCache {
    fn drop(&mut self) {
        drop(self.take_hold());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn caches_of_one_table_agree_on_ids() {
        let names = Arc::new(Names::new(8));
        let (mut a, mut b) = (NameCache::new(names.clone()), NameCache::new(names.clone()));
        let aapl = a.intern("AAPL");
        let msft = b.intern("MSFT");
        assert_eq!(b.intern("AAPL"), aapl);
        assert_eq!(a.intern("MSFT"), msft);
        assert_ne!(aapl, msft);
        assert_eq!(names.get(aapl).as_deref(), Some("AAPL"));
        assert_eq!(names.get(NameId::NONE), None);
    }

    #[test]
    fn full_table_takes_new_names_as_guests_and_keeps_old_ones() {
        let names = Arc::new(Names::new(1));
        let mut cache = NameCache::new(names.clone());
        let (aapl, msft) = (cache.intern("AAPL"), cache.intern("MSFT"));
        assert_eq!((cache.intern("AAPL"), cache.intern("MSFT")), (aapl, msft));
        assert!(names.is_guest(msft) && !names.is_guest(aapl) && !names.is_guest(NameId::NONE));
        assert_eq!(names.get(msft).as_deref(), Some("MSFT"));
        assert_eq!((names.len(), names.guests()), (1, 1));
        assert_eq!(names.intern("MSFT"), Err(NamesFull { max: 1 }), "a guest is not kept");
    }

    #[test]
    fn guest_leaves_with_its_last_holder() {
        let names = Arc::new(Names::new(0));
        let (mut a, mut b) = (NameCache::new(names.clone()), NameCache::new(names.clone()));
        let id = a.intern("AAPL");
        assert_eq!(b.intern("AAPL"), id, "one id for all who hold it");
        let (first, second) = (a.take_hold(), b.take_hold());
        drop(first);
        assert_eq!(names.get(id).as_deref(), Some("AAPL"));
        drop(second);
        assert_eq!((names.get(id), names.guests()), (None, 0));
        assert_eq!(a.intern("MSFT"), id, "the id is free for another name");
        drop(a);
        assert_eq!(names.guests(), 0, "a cache that is dropped holds nothing");
    }

    /// The naive twin of a batch: every name as it was put in.
    #[derive(Debug)]
    struct Batch {
        ids: Vec<NameId>,
        names: Vec<String>,
        _hold: Option<Arc<Hold>>,
    }

    proptest! {
        /// The twin keeps strings, and a map from every name that is alive to its id.
        #[test]
        fn every_batch_reads_back_the_names_that_were_put_in(
            max in 0..6_usize,
            steps in prop::collection::vec((0..3_usize, prop::collection::vec(0..30_u32, 0..12), any::<prop::sample::Index>()), 1..80),
        ) {
            let table = Arc::new(Names::new(max));
            let mut caches: Vec<NameCache> = (0..3).map(|_| NameCache::new(table.clone())).collect();
            let mut batches: Vec<Batch> = Vec::new();
            for (cache, numbers, dropped) in steps {
                let cache = &mut caches[cache];
                let names: Vec<String> = numbers.iter().map(|number| format!("N{number}")).collect();
                let ids = names.iter().map(|name| cache.intern(name)).collect();
                batches.push(Batch { ids, names, _hold: cache.take_hold() });
                if dropped.index(5) > 1 {
                    batches.swap_remove(dropped.index(batches.len()));
                }
                let mut alive = HashMap::<String, NameId>::new();
                for batch in &batches {
                    for (id, name) in batch.ids.iter().zip(&batch.names) {
                        let found = table.get(*id);
                        prop_assert_eq!(found.as_deref(), Some(name.as_str()));
                        prop_assert_eq!(*alive.entry(name.clone()).or_insert(*id), *id, "one id for each name");
                    }
                }
                let distinct: HashSet<NameId> = alive.values().copied().collect();
                prop_assert_eq!(distinct.len(), alive.len(), "one name for each id");
                let guests = alive.values().filter(|id| table.is_guest(**id)).count();
                prop_assert_eq!(table.guests(), guests, "only what is held is there");
                prop_assert!(table.len() <= max);
            }
            drop(batches);
            prop_assert_eq!(table.guests(), 0);
        }
    }
}
