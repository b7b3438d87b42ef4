//! Simulated S3 and the topic: the stored objects, PUTs that succeed only once, and the published alerts.
//!
//! Entries have an index by message, in place of a listing of all entries. This file does *not* own how long an answer
//! takes.

use std::collections::BTreeMap;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use ticklake_core::commit::{Entry, Fate, Look, MessageId, OwnLook};
use ticklake_core::lake::Partition;

/// An epoch: the number of its worker, and its own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Epoch {
    pub(super) worker: u64,
    pub(super) number: u64,
}

/// A data file's name.
pub(super) type Place = (Epoch, Partition);

/// A row of a data file.
#[derive(Debug, Clone)]
pub(super) enum Row {
    Tick { message: u32, seq: i64, price: f64 },
    Reject { message: u32, index: Option<u32>, is_in_doubt: bool },
    Alert(Rc<str>),
}

/// What is stored under the name of a data file.
#[derive(Debug, Clone)]
pub(super) enum Object {
    Data(Rc<Vec<Row>>),
    Void,
}

/// The store.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) files: FxHashMap<Place, Object>,
    entries: FxHashMap<Epoch, Rc<Entry>>,
    naming: FxHashMap<MessageId, Vec<(Epoch, u32)>>,
    pub(super) notes: BTreeMap<String, Rc<str>>,
    claims: FxHashMap<(Rc<str>, u32), Place>,
    turns: FxHashSet<(String, u32)>,
}

impl Store {
    /// Puts an object under the name of a data file, unless there is one. Returns whether it was created.
    pub(super) fn put_file(&mut self, place: Place, object: Object) -> bool {
        let is_new = !self.files.contains_key(&place);
        if is_new {
            self.files.insert(place, object);
        }
        is_new
    }

    /// What another worker finds under the name of a data file.
    pub(super) fn look(&self, place: Place) -> Look {
        match self.files.get(&place) {
            None => Look::Nothing,
            Some(Object::Void) => Look::Found(Fate::Voided),
            Some(Object::Data(_)) => Look::Found(Fate::Stored),
        }
    }

    /// What the owner finds there.
    pub(super) fn look_own(&self, place: Place) -> OwnLook {
        match self.files.get(&place) {
            None => OwnLook::Nothing,
            Some(Object::Void) => OwnLook::Void,
            Some(Object::Data(_)) => OwnLook::Ours,
        }
    }

    /// Puts an entry, unless there is one. Returns whether it was created.
    pub(super) fn put_entry(&mut self, epoch: Epoch, entry: &Rc<Entry>) -> bool {
        if self.entries.contains_key(&epoch) {
            return false;
        }
        for (at, (id, _)) in (0..).zip(&entry.messages) {
            self.naming.entry(*id).or_default().push((epoch, at));
        }
        self.entries.insert(epoch, entry.clone());
        true
    }

    pub(super) fn has_entry(&self, epoch: Epoch) -> OwnLook {
        if self.entries.contains_key(&epoch) { OwnLook::Ours } else { OwnLook::Nothing }
    }

    pub(super) fn remove_entry(&mut self, epoch: Epoch) {
        let Some(entry) = self.entries.remove(&epoch) else { return };
        for (id, _) in &entry.messages {
            if let Some(named) = self.naming.get_mut(id) {
                named.retain(|(of, _)| *of != epoch);
                if named.is_empty() {
                    self.naming.remove(id);
                }
            }
        }
    }

    /// The entries that name a message, each with the message's position.
    pub(super) fn naming(&self, id: MessageId) -> Vec<(Epoch, u32)> {
        self.naming.get(&id).cloned().unwrap_or_default()
    }

    /// The entry of an epoch, or `None` if it was removed.
    pub(super) fn entry(&self, epoch: Epoch) -> Option<Rc<Entry>> {
        self.entries.get(&epoch).cloned()
    }

    /// Puts the object of a claim's turn, unless there is one. Returns whether it was created.
    pub(super) fn put_claim(&mut self, alert: &Rc<str>, turn: u32, place: Place) -> bool {
        let key = (alert.clone(), turn);
        let is_new = !self.claims.contains_key(&key);
        if is_new {
            self.claims.insert(key, place);
        }
        is_new
    }

    /// Puts the object of a turn that adopts a note, unless there is one. Returns whether it was created.
    pub(super) fn put_turn(&mut self, note: String, turn: u32) -> bool {
        self.turns.insert((note, turn))
    }

    pub(super) fn claim(&self, alert: &Rc<str>, turn: u32) -> Option<Place> {
        self.claims.get(&(alert.clone(), turn)).copied()
    }
}

/// The topic: each published alert, and whether its worker waited in vain for a note each time.
#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) published: BTreeMap<Rc<str>, bool>,
}

impl Topic {
    pub(super) fn publish(&mut self, alerts: &[Rc<str>], without_note: bool) {
        for alert in alerts {
            let of = self.published.entry(alert.clone()).or_insert(true);
            *of &= without_note;
        }
    }
}
