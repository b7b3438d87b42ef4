//! Entries of the ledger: puts the entry of an epoch before its files, and finds the entries that name a message.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashSet;
use ticklake_core::commit::{Entry, MessageId};

use super::Ledger;
use crate::ports::{NewObject, ObjectKind, PortError};
use crate::put::put_own;
use crate::retry::{GaveUp, bounded, retry};

/// Entries that are read at a time.
const GETS: usize = 16;

/// A message as an entry names it.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) entry: Arc<Entry>,
    /// Its position in the entry.
    pub(crate) at: u32,
}

/// An entry, and the positions of its messages in the order of their ids: 24 bytes per message in all.
pub(super) struct Read {
    entry: Arc<Entry>,
    by_id: Vec<u32>,
}

impl Ledger {
    /// Puts the entry of an epoch. An entry that is there already must be from an earlier attempt of ours: no other
    /// epoch has this name.
    pub(crate) async fn announce(&self, entry: &Entry) -> Result<(), GaveUp> {
        self.is_proven.get_or_try_init(|| self.prove()).await?;
        let (key, body) = (self.key(&entry.epoch), Bytes::from(entry.encode()));
        let object = NewObject { key: &key, body, epoch: &entry.epoch, kind: ObjectKind::Entry };
        put_own(&*self.store, object, &self.stop).await.map(drop)
    }

    /// Finds the entries that name each of `messages`. It sees the store as it is now or later.
    pub(crate) async fn naming(&self, messages: &[MessageId]) -> Result<Vec<Vec<Named>>, GaveUp> {
        let mut known = self.known.lock().await;
        let folder = self.key("");
        let keys = retry(self.stop.commit_by(), || self.store.list(&folder)).await?;
        let listed: FxHashSet<&str> = keys.iter().map(String::as_str).collect();
        known.entries.retain(|key, _| listed.contains(key.as_str()));
        let new: Vec<String> =
            keys.iter().filter(|key| !is_hidden(key) && !known.entries.contains_key(*key)).cloned().collect();
        let gets = new.into_iter().map(|key| async move {
            let bytes = retry(self.stop.commit_by(), || self.store.get(&key)).await;
            (key, bytes)
        });
        for (key, bytes) in bounded(gets, GETS).await {
            // If an entry is gone by now, its owner has removed it: its messages will not be delivered again.
            if let Some(bytes) = bytes? {
                let entry = Entry::decode(&bytes).map_err(|error| {
                    let text = format!("{key}: {error}; rows of its messages may be in the lake, so no redelivered message can be stored");
                    GaveUp::Stop(PortError::stop("read the ledger", text))
                })?;
                known.entries.insert(key, Read::new(entry.as_split_by(self.splitting)));
            }
        }
        Ok(messages.iter().map(|&id| known.entries.values().flat_map(|read| read.naming(id)).collect()).collect())
    }
}

/// Whether the object is no entry: its name begins with a dot, or is empty, as some tools mark a folder.
fn is_hidden(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(|name| name.is_empty() || name.starts_with('.'))
}

impl Read {
    fn new(entry: Entry) -> Self {
        let mut by_id: Vec<u32> = (0..entry.messages.len() as u32).collect();
        by_id.sort_unstable_by_key(|&at| entry.messages[at as usize].0);
        Self { entry: Arc::new(entry), by_id }
    }

    /// Where the entry names a message, which may be more than once.
    fn naming(&self, id: MessageId) -> impl Iterator<Item = Named> {
        let id_at = |at: u32| self.entry.messages[at as usize].0;
        let first = self.by_id.partition_point(|&at| id_at(at) < id);
        let named = self.by_id[first..].iter().take_while(move |at| id_at(**at) == id);
        named.map(|&at| Named { entry: self.entry.clone(), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::ledger;
    use crate::memory::MemoryStore;
    use crate::ports::ObjectStore as _;
    use crate::put::tests::assert_ends;

    #[tokio::test]
    async fn entry_of_the_same_name_and_another_content_is_no_earlier_attempt() {
        let store = Arc::new(MemoryStore::default());
        let ledger = ledger(&store);
        let entry = Entry { epoch: "w-1".to_owned(), ..Entry::default() };
        ledger.announce(&entry).await.unwrap();
        ledger.announce(&entry).await.expect("the answer to an earlier attempt may have been lost");
        store.delete("lake/ledger/w-1").await.unwrap();
        let body = Bytes::from_static(b"what else");
        let foreign = NewObject { key: "lake/ledger/w-1", body, epoch: "someone", kind: ObjectKind::Entry };
        store.put_new(foreign).await.unwrap();
        assert_ends("lake/ledger/w-1", ledger.announce(&entry)).await;
    }
}
