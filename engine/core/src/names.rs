//! Interned names: symbols, venues and sale conditions become small integers once, at decoding, and the same integers
//! reach the detector, the sort and the Parquet dictionary.
//!
//! A [`Names`] table is shared by all decoders of a process and only ever grows, up to its bound; each decoder asks it
//! through a [`NameCache`] of its own, so that a name that the decoder has seen before costs no lock. It does *not* own
//! what a valid name is.

use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::FxHashMap;

/// The integer that stands for a name within one [`Names`] table; dense, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NameId(u32);

impl NameId {
    /// No name: the tick had no such field.
    pub const NONE: NameId = NameId(0);

    /// A dense index, for tables beside the names; [`NameId::NONE`] has index 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The table holds as many names as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to intern a name: the table holds its maximum of {max} names")]
pub struct NamesFull {
    /// The bound of the table.
    pub max: usize,
}

/// A bounded table of names, shared by all decoders.
#[derive(Debug)]
pub struct Names {
    max: usize,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    ids: FxHashMap<Arc<str>, NameId>,
    /// By [`NameId::index`] minus one.
    names: Vec<Arc<str>>,
}

impl Names {
    /// An empty table that takes at most `max` names.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, table: RwLock::default() }
    }

    /// The name that `id` stands for; `None` for [`NameId::NONE`] and for an id of another table.
    #[must_use]
    pub fn get(&self, id: NameId) -> Option<Arc<str>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.names.get(id.index().checked_sub(1)?).cloned()
    }

    /// All names with their ids, as of now.
    pub fn numbered(&self) -> impl Iterator<Item = (NameId, Arc<str>)> + use<> {
        let names = self.table.read().unwrap_or_else(PoisonError::into_inner).names.clone();
        names.into_iter().zip(1..).map(|(name, id)| (NameId(id), name))
    }

    /// How many names there are; ids run from 1 to this number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).names.len()
    }

    /// Whether no name was interned yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of `name`, which is added if it is new.
    pub fn intern(&self, name: &str) -> Result<(NameId, Arc<str>), NamesFull> {
        // A panic cannot leave the table half-written: the name is pushed before the map refers to it.
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, id)) = table.ids.get_key_value(name) {
            return Ok((*id, name.clone()));
        }
        if table.names.len() >= self.max {
            return Err(NamesFull { max: self.max });
        }
        let name: Arc<str> = Arc::from(name);
        table.names.push(name.clone());
        let id = NameId(table.names.len() as u32);
        table.ids.insert(name.clone(), id);
        Ok((id, name))
    }
}

/// One decoder's view of a shared [`Names`] table.
#[derive(Debug, Clone)]
pub struct NameCache {
    shared: Arc<Names>,
    ids: FxHashMap<Arc<str>, NameId>,
}

impl NameCache {
    /// A cache in front of `shared`.
    #[must_use]
    pub fn new(shared: Arc<Names>) -> Self {
        Self { shared, ids: FxHashMap::default() }
    }

    /// The id of `name`: from the cache without a lock, else from the shared table.
    pub fn intern(&mut self, name: &str) -> Result<NameId, NamesFull> {
        if let Some(id) = self.ids.get(name) {
            return Ok(*id);
        }
        let (id, name) = self.shared.intern(name)?;
        self.ids.insert(name, id);
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_of_one_table_agree_on_ids() {
        let names = Arc::new(Names::new(8));
        let (mut a, mut b) = (NameCache::new(names.clone()), NameCache::new(names.clone()));
        let aapl = a.intern("AAPL").unwrap();
        let msft = b.intern("MSFT").unwrap();
        assert_eq!(b.intern("AAPL"), Ok(aapl));
        assert_eq!(a.intern("MSFT"), Ok(msft));
        assert_ne!(aapl, msft);
        assert_eq!(names.get(aapl).as_deref(), Some("AAPL"));
        assert_eq!(names.get(NameId::NONE), None);
    }

    #[test]
    fn full_table_refuses_new_names_and_keeps_old_ones() {
        let names = Arc::new(Names::new(1));
        let mut cache = NameCache::new(names.clone());
        let id = cache.intern("AAPL").unwrap();
        assert_eq!(cache.intern("MSFT"), Err(NamesFull { max: 1 }));
        assert_eq!(cache.intern("AAPL"), Ok(id));
        assert_eq!(names.len(), 1);
    }
}
