//! The ledger: who has announced what, and what became of it.
//!
//! It executes on the store what [`ticklake_core::commit`] decides: entries are put before their files and removed
//! after their messages, of a file that an entry names it is found out, once and for all, whether it exists or never
//! will, and of an alert which epoch stores it. What was read or decided is kept, for it never changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use ticklake_core::commit::{Claim, ClaimStep, Claimant, Decision, Entry, Fate, Look, MessageId, Step, read_claim};
use ticklake_core::lake::{Partition, claim_key, entry_key};
use ticklake_schemas::Table;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::ports::{NewObject, ObjectKind, ObjectStore, PortError, PutOutcome};
use crate::probe::probe;
use crate::put::{Tries, contradicted, put_own};
use crate::retry::{GaveUp, bounded, retry};
use crate::stop::Stop;

/// How long an entry stays at least after the last delete of its messages, and longer than the visibility timeout by
/// how much: a message whose delete SQS has ignored comes back after that.
const GRACE_MIN: Duration = Duration::from_mins(5);
const GRACE_MARGIN: Duration = Duration::from_mins(1);

/// How often retired entries are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Entries that are read at a time.
const GETS: usize = 16;

/// Removals under way at once.
const REMOVALS: usize = 8;

/// How long the file of an epoch that has claimed an alert is waited for before it becomes a void, and how often to
/// look.
const CLAIMANT_WAIT: Duration = Duration::from_secs(5);
const CLAIMANT_LOOK: Duration = Duration::from_millis(250);

/// Fates that are kept. One that was forgotten is looked up again.
const FATES_MAX: usize = 100_000;

/// The ledger of one lake.
pub(crate) struct Ledger {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// A Parquet file without rows of each table.
    voids: BTreeMap<Table, Bytes>,
    stop: Stop,
    grace: Duration,
    known: Mutex<Known>,
    /// Entries of epochs whose messages are all deleted, and when they may go.
    retired: std::sync::Mutex<VecDeque<(Instant, String)>>,
    is_proven: OnceCell<()>,
}

/// A message as an entry names it.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) entry: Arc<Entry>,
    /// Its position in the entry.
    pub(crate) at: u32,
}

/// What was read and decided.
#[derive(Default)]
struct Known {
    entries: BTreeMap<String, Read>,
    fates: FxHashMap<String, Fate>,
}

/// An entry, and the positions of its messages in the order of their ids: 24 bytes per message in all.
struct Read {
    entry: Arc<Entry>,
    by_id: Vec<u32>,
}

impl Ledger {
    /// The ledger of the lake below `prefix`.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: String, voids: BTreeMap<Table, Bytes>, stop: Stop) -> Self {
        let (known, retired, is_proven) = Default::default();
        Self { store, prefix, voids, stop, grace: GRACE_MIN, known, retired, is_proven }
    }

    /// The same for messages that come back after `visibility_timeout`.
    pub(crate) fn outlasting(self, visibility_timeout: Duration) -> Self {
        Self { grace: GRACE_MIN.max(visibility_timeout.saturating_add(GRACE_MARGIN)), ..self }
    }

    /// Puts the entry of an epoch. One that is there already has to be an earlier attempt of ours: no other epoch has
    /// this name.
    pub(crate) async fn announce(&self, entry: &Entry) -> Result<(), GaveUp> {
        self.is_proven.get_or_try_init(|| self.prove()).await?;
        let (key, body) = (self.key(&entry.epoch), Bytes::from(entry.encode()));
        let object = NewObject { key: &key, body, epoch: &entry.epoch, kind: ObjectKind::Entry };
        put_own(&*self.store, object, &self.stop).await.map(drop)
    }

    /// Has the entry of an epoch removed after a while: SQS may deliver a message again that it has just deleted.
    pub(crate) fn retire(&self, epoch: String) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push_back((Instant::now() + self.grace, epoch));
    }

    /// Removes retired entries when their time has come, for as long as it is polled.
    pub(crate) async fn remove_retired(&self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let now = Instant::now();
            self.remove_until(|due| due <= now).await;
        }
    }

    /// Removes all retired entries, as far as the time for a stop allows.
    pub(crate) async fn remove_all_retired(&self) {
        let removing = self.remove_until(|_| true);
        tokio::select! {
            () = removing => {}
            () = self.stop.release_by() => {}
        }
    }

    async fn remove_until(&self, is_due: impl Fn(Instant) -> bool) {
        let due: Vec<String> = {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            let due = retired.iter().take_while(|(at, _)| is_due(*at)).count();
            retired.drain(..due).map(|(_, epoch)| epoch).collect()
        };
        bounded(due.into_iter().map(|epoch| self.remove(epoch)), REMOVALS).await;
    }

    async fn remove(&self, epoch: String) {
        if let Err(error) = self.store.delete(&self.key(&epoch)).await {
            debug!(epoch, %error, "failed to remove a ledger entry, trying again");
            self.retire(epoch);
        }
    }

    /// Proves, once, that the store keeps one of several objects of one name: without that two workers may store the
    /// same rows.
    async fn prove(&self) -> Result<(), GaveUp> {
        let name = self.key(&format!(".proof-{}", uuid::Uuid::now_v7().simple()));
        let probed = tokio::select! {
            probed = probe(&*self.store, &name, Duration::MAX) => probed,
            () = self.stop.commit_by() => return Err(GaveUp::TimeIsUp),
        };
        if let Some(error) = probed.left {
            warn!(name, %error, "objects by which the store was probed stay");
        }
        probed.result.map_err(|error| GaveUp::Stop(error.into()))
    }

    /// The entries that name each of `messages`, as of now or later.
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
            // One that is gone by now was removed by its owner: nobody will be given its messages again.
            if let Some(bytes) = bytes? {
                let entry = Entry::decode(&bytes).map_err(|error| {
                    let text = format!("{key}: {error}; what it names may be in the lake, so nothing that was delivered before is stored");
                    GaveUp::Stop(PortError::Stop { action: "read the ledger", text })
                })?;
                known.entries.insert(key, Read::new(entry));
            }
        }
        Ok(messages.iter().map(|&id| known.entries.values().flat_map(|read| read.naming(id)).collect()).collect())
    }

    /// What became of the file of `epoch` in `partition`: if there is none, there never will be.
    pub(crate) async fn fate(&self, epoch: &str, partition: Partition) -> Result<Fate, GaveUp> {
        self.fate_at(partition.key(&self.prefix, &epoch), epoch, partition.table()).await
    }

    async fn fate_at(&self, key: String, epoch: &str, table: Table) -> Result<Fate, GaveUp> {
        self.is_proven.get_or_try_init(|| self.prove()).await?;
        if let Some(&fate) = self.known.lock().await.fates.get(&key) {
            return Ok(fate);
        }
        let void = self.voids.get(&table).cloned().unwrap_or_default();
        let mut decision = Decision::default();
        let mut tries = Tries::new(&self.stop);
        let fate = loop {
            match decision.step() {
                Step::Look => decision.looked(self.look(&key).await?),
                Step::PutVoid => {
                    tries.wait().await?;
                    let put = || {
                        let object = NewObject { key: &key, body: void.clone(), epoch, kind: ObjectKind::Void };
                        self.store.put_new(object)
                    };
                    let outcome = retry(self.stop.commit_by(), put).await?;
                    decision.void_put(outcome == PutOutcome::Created);
                }
                Step::Done(fate) => break fate,
                Step::Contradicted => return Err(contradicted(&key)),
            }
        };
        if fate == Fate::Voided {
            info!(key, "a file that was announced is not there, and never will be");
        }
        let mut known = self.known.lock().await;
        if known.fates.len() >= FATES_MAX {
            known.fates.clear();
        }
        known.fates.insert(key, fate);
        Ok(fate)
    }

    /// What is at the place of a data file.
    async fn look(&self, key: &str) -> Result<Look, GaveUp> {
        let found = retry(self.stop.commit_by(), || self.store.head(key)).await?;
        Ok(match found {
            None => Look::Nothing,
            Some(found) if found.is_void => Look::Found(Fate::Voided),
            Some(_) => Look::Found(Fate::Stored),
        })
    }

    /// Whether the row of the alert `id` belongs into the file `key`, which is `epoch`'s. Asked before the file is put.
    pub(crate) async fn claim(&self, id: &str, epoch: &str, key: &str) -> Result<bool, GaveUp> {
        self.is_proven.get_or_try_init(|| self.prove()).await?;
        let body = Bytes::from(key.to_owned());
        let mut claim = Claim::default();
        let mut other = String::new();
        let mut tries = Tries::new(&self.stop);
        loop {
            match claim.step() {
                ClaimStep::Put(turn) => {
                    tries.wait().await?;
                    let place = claim_key(&self.prefix, id, turn);
                    let put = || {
                        let object = NewObject { key: &place, body: body.clone(), epoch, kind: ObjectKind::Claim };
                        self.store.put_new(object)
                    };
                    claim.put(retry(self.stop.commit_by(), put).await? == PutOutcome::Created);
                }
                ClaimStep::Read(turn) => {
                    let place = claim_key(&self.prefix, id, turn);
                    let found = retry(self.stop.commit_by(), || self.store.get(&place)).await?;
                    let found = found.as_deref().map(String::from_utf8_lossy);
                    found.as_deref().map(read_claim).unwrap_or_default().clone_into(&mut other);
                    claim.read(match other.as_str() {
                        "" => Claimant::Nobody,
                        file if file == key => Claimant::Us,
                        _ => Claimant::Other,
                    });
                }
                ClaimStep::Decide(_) => claim.decided(self.fate_of_claimant(&other).await?),
                ClaimStep::Done(ours) => return Ok(ours),
                ClaimStep::Contradicted(turn) => return Err(contradicted(&claim_key(&self.prefix, id, turn))),
            }
        }
    }

    /// What becomes of the file of alerts `key` of another epoch. Its worker mostly is about to put it: a void would
    /// keep the other alerts in it away as well.
    async fn fate_of_claimant(&self, key: &str) -> Result<Fate, GaveUp> {
        let until = Instant::now() + CLAIMANT_WAIT;
        while self.look(key).await? == Look::Nothing && Instant::now() < until {
            tokio::select! {
                () = tokio::time::sleep(CLAIMANT_LOOK) => {}
                () = self.stop.commit_by() => return Err(GaveUp::TimeIsUp),
            }
        }
        let epoch = key.rsplit('/').next().and_then(|name| name.strip_suffix(".parquet")).unwrap_or_default();
        self.fate_at(key.to_owned(), epoch, Table::Alerts).await
    }

    fn key(&self, epoch: &str) -> String {
        entry_key(&self.prefix, epoch)
    }
}

/// The name of what is no entry begins with a dot, or is empty: some tools leave an object in the place of a folder.
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
    use crate::memory::MemoryStore;
    use crate::put::tests::{Refusing, assert_ends};

    fn ledger(store: &Arc<MemoryStore>) -> Ledger {
        Ledger::new(store.clone(), "lake".to_owned(), BTreeMap::new(), Stop::new(Duration::from_secs(1)))
    }

    fn file(epoch: &str) -> String {
        format!("lake/alerts/dt=2026-11-26/{epoch}.parquet")
    }

    async fn put_file(store: &MemoryStore, epoch: &str, kind: ObjectKind) {
        let (key, body) = (file(epoch), Bytes::from_static(b"rows"));
        store.put_new(NewObject { key: &key, body, epoch, kind }).await.unwrap();
    }

    /// The rest is in `ticklake_core::commit`, for every interleaving.
    #[tokio::test(start_paused = true)]
    async fn alert_is_claimed_by_the_first_epoch_and_by_the_next_if_its_file_is_a_void() {
        let store = Arc::new(MemoryStore::default());
        let ledger = ledger(&store);
        let claim = async |id: &str, epoch: &str| ledger.claim(id, epoch, &file(epoch)).await.unwrap();
        assert!(claim("spike-up-A-1", "w-1").await);
        assert!(claim("spike-up-A-1", "w-1").await, "the answer to an earlier attempt may have been lost");
        put_file(&store, "w-1", ObjectKind::Data).await;
        assert!(!claim("spike-up-A-1", "w-2").await);

        assert!(claim("spike-up-B-1", "w-3").await);
        put_file(&store, "w-3", ObjectKind::Void).await;
        assert!(claim("spike-up-B-1", "w-2").await);
        put_file(&store, "w-2", ObjectKind::Data).await;
        assert!(!claim("spike-up-B-1", "w-4").await);
        assert!(claim("spike-up-C-1", "w-4").await, "another one");
        let listed = store.list("lake/ledger/").await.unwrap();
        assert!(listed.is_empty(), "claims are no entries: {listed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn file_of_a_claimant_is_waited_for_and_then_a_void() {
        let store = Arc::new(MemoryStore::default());
        let ledger = ledger(&store);
        let claim = async |id: &str, epoch: &str| ledger.claim(id, epoch, &file(epoch)).await.unwrap();
        assert!(claim("spike-up-A-1", "w-1").await);
        assert!(claim("spike-up-A-1", "w-2").await, "its worker has died");
        let void = store.head(&file("w-1")).await.unwrap().unwrap();
        assert!(void.is_void && void.epoch.as_deref() == Some("w-1"));

        assert!(claim("spike-up-B-1", "w-3").await);
        let put = async {
            tokio::time::sleep(CLAIMANT_WAIT / 2).await;
            put_file(&store, "w-3", ObjectKind::Data).await;
        };
        let (is_ours, ()) = tokio::join!(claim("spike-up-B-1", "w-4"), put);
        assert!(!is_ours, "its worker was only late");
    }

    #[tokio::test]
    async fn claim_that_is_gone_is_claimed_again() {
        let store = Arc::new(MemoryStore::default());
        let ledger = ledger(&store);
        let claim = async |epoch: &str| ledger.claim("spike-up-A-1", epoch, &file(epoch)).await;
        assert!(claim("w-1").await.unwrap());
        store.delete(&claim_key("lake", "spike-up-A-1", 0)).await.unwrap();
        assert!(claim("w-2").await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn entry_void_or_claim_that_is_refused_over_nothing_ends_the_run() {
        for answer in [PutOutcome::Exists, PutOutcome::Conflict] {
            let store = Arc::new(Refusing::new(answer, usize::MAX));
            let ledger = Ledger::new(store, "lake".to_owned(), BTreeMap::new(), Stop::new(Duration::from_secs(1)));
            let entry = Entry { epoch: "w-1".to_owned(), ..Entry::default() };
            assert_ends("lake/ledger/w-1", ledger.announce(&entry)).await;
            let partition = Partition::at(Table::Ticks, 7);
            assert_ends(&partition.key("lake", &"w-1"), ledger.fate("w-1", partition)).await;
            assert_ends("lake/ledger-alerts/", ledger.claim("spike-up-A-1", "w-1", "alerts/w-1.parquet")).await;
        }
    }

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
