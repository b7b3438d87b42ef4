//! The ledger: what each epoch has announced, and what became of it.
//!
//! It executes on the store what [`ticklake_core::commit`] decides. This file finds out the fate of a file that an
//! entry names: it exists, or it never will. It keeps what it has read or decided, because that never changes.
//! [`entries`] puts and reads entries, [`retired`] removes them after their messages, and [`claims`] decides which
//! epoch stores an alert.

mod claims;
mod entries;
mod retired;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use ticklake_core::commit::{Decision, Fate, Look, Step};
use ticklake_core::decode::DecodeConfig;
use ticklake_core::lake::{Partition, entry_key};
use ticklake_schemas::Table;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use tracing::{info, warn};

pub(crate) use self::entries::Named;
use self::entries::Read;
use crate::ports::{NewObject, ObjectKind, ObjectStore, PutOutcome};
use crate::probe::probe;
use crate::put::{Tries, contradicted};
use crate::retry::{GaveUp, retry};
use crate::stop::Stop;

/// How long an entry stays after the last delete of its messages: `GRACE_MIN` or more, and `GRACE_MARGIN` longer than
/// the visibility timeout. A message whose delete SQS has ignored comes back after that timeout.
const GRACE_MIN: Duration = Duration::from_mins(5);
const GRACE_MARGIN: Duration = Duration::from_mins(1);

/// Fates that are kept. One that was forgotten is looked up again.
const FATES_MAX: usize = 100_000;

/// The ledger of one lake.
pub(crate) struct Ledger {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// For each table, a Parquet file without rows.
    voids: BTreeMap<Table, Bytes>,
    stop: Stop,
    grace: Duration,
    /// How this worker splits bodies into elements.
    splitting: u32,
    known: Mutex<Known>,
    /// Entries of epochs whose messages are all deleted, and when they may go.
    retired: std::sync::Mutex<VecDeque<(Instant, String)>>,
    is_proven: OnceCell<()>,
}

/// What was read and decided.
#[derive(Default)]
struct Known {
    entries: BTreeMap<String, Read>,
    fates: FxHashMap<String, Fate>,
}

impl Ledger {
    /// The ledger of the lake below `prefix`.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: String, voids: BTreeMap<Table, Bytes>, stop: Stop) -> Self {
        let (known, retired, is_proven) = Default::default();
        let splitting = DecodeConfig::default().splitting();
        Self { store, prefix, voids, stop, grace: GRACE_MIN, splitting, known, retired, is_proven }
    }

    /// The same for a worker that splits bodies into elements in this way.
    pub(crate) fn for_splitting(self, splitting: u32) -> Self {
        Self { splitting, ..self }
    }

    /// How this worker splits bodies into elements.
    pub(crate) fn splitting(&self) -> u32 {
        self.splitting
    }

    /// The same for messages that come back after `visibility_timeout`.
    pub(crate) fn outlasting(self, visibility_timeout: Duration) -> Self {
        Self { grace: GRACE_MIN.max(visibility_timeout.saturating_add(GRACE_MARGIN)), ..self }
    }

    /// Proves that the store keeps only one of several objects of one name. If it does not, two workers may store the
    /// same rows.
    async fn prove(&self) -> Result<(), GaveUp> {
        let name = self.key(&format!(".proof-{}", uuid::Uuid::now_v7().simple()));
        let probed = tokio::select! {
            probed = probe(&*self.store, &name, Duration::MAX) => probed,
            () = self.stop.commit_by() => return Err(GaveUp::TimeIsUp),
        };
        if let Some(error) = probed.left {
            warn!(name, %error, "could not remove the objects that probed the store");
        }
        probed.result.map_err(|error| GaveUp::Stop(error.into()))
    }

    /// What became of the file of `epoch` in `partition`. If there is none, this makes sure that there never will be.
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

    fn key(&self, epoch: &str) -> String {
        entry_key(&self.prefix, epoch)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ticklake_core::commit::Entry;

    use super::*;
    use crate::memory::MemoryStore;
    use crate::put::tests::{Refusing, assert_ends};

    pub(crate) fn ledger(store: &Arc<MemoryStore>) -> Ledger {
        Ledger::new(store.clone(), "lake".to_owned(), BTreeMap::new(), Stop::new(Duration::from_secs(1)))
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
}
