//! Conditional writes in progress. Each can find out what happened to its key in the meantime.
//!
//! "You can also receive a 409 Conflict response in the case of concurrent requests if a delete request to an object
//! succeeds before a conditional write operation on that object completes" (S3 user guide, "How to prevent object
//! overwrites with conditional writes"). This file does *not* own the conditions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The conditional writes in progress in a bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intents(Arc<Mutex<HashMap<String, Watched>>>);

#[derive(Debug, Default)]
struct Watched {
    writers: usize,
    deletes: u64,
}

/// One conditional write in progress. It ends when the value is dropped.
#[derive(Debug)]
pub(crate) struct Intent {
    intents: Intents,
    key: String,
    deletes: u64,
}

impl Intents {
    /// Begins a write of `key`.
    pub(crate) fn begin(&self, key: &str) -> Intent {
        let mut watched = self.lock();
        let entry = watched.entry(key.to_owned()).or_default();
        entry.writers += 1;
        Intent { intents: self.clone(), key: key.to_owned(), deletes: entry.deletes }
    }

    /// Notes that the object of `key` was deleted.
    pub(crate) fn deleted(&self, key: &str) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.deletes += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        // Each change is one number, so a panic leaves nothing half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intent {
    /// Whether an object of this key was deleted since the write began.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.intents.lock().get(&self.key).is_some_and(|entry| entry.deletes > self.deletes)
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        let mut watched = self.intents.lock();
        if let Some(entry) = watched.get_mut(&self.key) {
            entry.writers -= 1;
            if entry.writers == 0 {
                watched.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deletes_of_the_key_while_the_write_lasts_overtake_it() {
        let intents = Intents::default();
        intents.deleted("a");
        let (a, b) = (intents.begin("a"), intents.begin("b"));
        assert!(!a.is_overtaken());
        intents.deleted("a");
        assert!(a.is_overtaken() && !b.is_overtaken());
        assert!(!intents.begin("a").is_overtaken(), "it began after the delete");
        drop((a, b));
        assert!(intents.lock().is_empty());
    }
}
