//! Claims decide which epoch stores the row of an alert. [`ticklake_core::commit`] owns the steps.

use std::time::Duration;

use bytes::Bytes;
use ticklake_core::commit::{Claim, ClaimStep, Claimant, Fate, Look, read_claim};
use ticklake_core::lake::claim_key;
use ticklake_schemas::Table;
use tokio::time::Instant;

use super::Ledger;
use crate::ports::{NewObject, ObjectKind, PutOutcome};
use crate::put::{Tries, contradicted};
use crate::retry::{GaveUp, retry};

/// How long to wait for the file of an epoch that has claimed an alert, before a void takes its place, and how often to
/// look.
const CLAIMANT_WAIT: Duration = Duration::from_secs(5);
const CLAIMANT_LOOK: Duration = Duration::from_millis(250);

impl Ledger {
    /// Whether the row of the alert `id` belongs into `epoch`'s file `key`. The caller asks before it puts the file.
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

    /// Decides the fate of `key`, the file of alerts of another epoch. Mostly its worker is about to put it, so this
    /// waits: a void would also keep out the other alerts of that file.
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ledger::tests::ledger;
    use crate::memory::MemoryStore;
    use crate::ports::ObjectStore as _;

    fn file(epoch: &str) -> String {
        format!("lake/alerts/dt=2026-11-26/{epoch}.parquet")
    }

    async fn put_file(store: &MemoryStore, epoch: &str, kind: ObjectKind) {
        let (key, body) = (file(epoch), Bytes::from_static(b"rows"));
        store.put_new(NewObject { key: &key, body, epoch, kind }).await.unwrap();
    }

    /// `ticklake_core::commit` tests the rest, for every interleaving.
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
}
