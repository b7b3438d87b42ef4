//! Removes entries whose messages are all deleted. This file owns when an entry goes. It does *not* own whether it may.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use ticklake_core::commit::{left_body, left_due_ms, left_name, read_left};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::Ledger;
use crate::clock::now_us;
use crate::ports::{NewObject, ObjectKind, PortError};
use crate::retry::{bounded, retry};

/// How often a worker looks for retired entries that are due, and for entries that other workers have left.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const LOOK_FOR_LEFT: Duration = Duration::from_hours(1);

/// By how much the clocks of two workers may differ. SQS and S3 refuse the requests of a clock that is further off.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(15);

/// Removals under way at once.
const REMOVALS: usize = 8;

impl Ledger {
    /// Plans to remove the entry of an epoch later: SQS may deliver a message again that it has just deleted.
    pub(crate) fn retire(&self, epoch: String) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push_back((Instant::now() + self.grace, epoch));
    }

    /// Removes retired entries, and those that other workers have left, for as long as it is polled.
    pub(crate) async fn remove_entries(&self) {
        tokio::join!(self.remove_retired(), self.remove_left());
    }

    /// Removes retired entries when their time has come, for as long as it is polled.
    async fn remove_retired(&self) {
        loop {
            sleep(LOOK_AGAIN).await;
            self.remove_due().await;
        }
    }

    /// Removes the entries that other workers have left when their time has come, for as long as it is polled.
    async fn remove_left(&self) {
        loop {
            if let Err(error) = self.remove_left_until(now_us() / 1_000).await {
                debug!(%error, "failed to remove entries that other workers have left, trying again in an hour");
            }
            sleep(LOOK_FOR_LEFT).await;
        }
    }

    /// At the end of a run, leaves a list of the entries that are not due yet, as far as the time for a stop allows.
    pub(crate) async fn leave_retired(&self) {
        self.remove_due().await;
        let retired = std::mem::take(&mut *self.retired.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(due) = retired.iter().map(|&(due, _)| due).max() else { return };
        let due_in = due.saturating_duration_since(Instant::now()) + CLOCK_SKEW_MAX;
        let name = left_name(now_us() / 1_000 + due_in.as_millis() as i64, &uuid::Uuid::now_v7().simple().to_string());
        let epochs: Vec<String> = retired.into_iter().map(|(_, epoch)| epoch).collect();
        let (key, body) = (self.key(&name), Bytes::from(left_body(&epochs)));
        let put =
            || self.store.put_new(NewObject { key: &key, body: body.clone(), epoch: &name, kind: ObjectKind::Entry });
        if let Err(error) = retry(self.stop.release_by(), put).await {
            warn!(entries = epochs.len(), ?error, "entries of the ledger stay until a lifecycle rule removes them");
        }
    }

    async fn remove_due(&self) {
        let now = Instant::now();
        let due: Vec<String> = {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            let due = retired.iter().take_while(|(at, _)| *at <= now).count();
            retired.drain(..due).map(|(_, epoch)| epoch).collect()
        };
        let removals = due.into_iter().map(|epoch| async move {
            if let Err(error) = self.store.delete(&self.key(&epoch)).await {
                debug!(epoch, %error, "failed to remove a ledger entry, trying again");
                self.retire(epoch);
            }
        });
        bounded(removals, REMOVALS).await;
    }

    /// Removes what other workers have left, if it is due at `now_ms`: the entries first, then their list.
    async fn remove_left_until(&self, now_ms: i64) -> Result<(), PortError> {
        let folder = self.key("");
        for key in self.store.list(&folder).await? {
            let due_ms = key.strip_prefix(&folder).and_then(left_due_ms);
            if due_ms.is_none_or(|due_ms| due_ms > now_ms) {
                continue;
            }
            // If the list is gone, another worker was faster.
            let Some(list) = self.store.get(&key).await? else { continue };
            let list = String::from_utf8_lossy(&list);
            let keys: Vec<String> = read_left(&list).map(|epoch| self.key(epoch)).collect();
            let removals = keys.into_iter().map(|key| async move { self.store.delete(&key).await });
            let removed = bounded(removals, REMOVALS).await;
            let entries = removed.len();
            removed.into_iter().collect::<Result<(), _>>()?;
            self.store.delete(&key).await?;
            info!(entries, "removed entries of the ledger that another worker has left");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ticklake_core::commit::Entry;

    use super::*;
    use crate::ledger::tests::ledger;
    use crate::memory::MemoryStore;
    use crate::ports::ObjectStore as _;

    async fn announce(ledger: &Ledger, epoch: &str) {
        ledger.announce(&Entry { epoch: epoch.to_owned(), ..Entry::default() }).await.unwrap();
    }

    #[tokio::test]
    async fn entries_that_a_worker_leaves_are_removed_by_another_one_when_they_are_due() {
        let store = Arc::new(MemoryStore::default());
        let first = ledger(&store);
        for epoch in ["w-1", "w-2", "w-3"] {
            announce(&first, epoch).await;
        }
        first.retire("w-1".to_owned());
        first.retire("w-2".to_owned());
        first.leave_retired().await;

        let second = ledger(&store);
        let listed = async || store.list("lake/ledger/").await.unwrap();
        second.remove_left_until(now_us() / 1_000).await.unwrap();
        assert_eq!(listed().await.len(), 4, "not due yet");
        let due_us = now_us() + (first.grace + CLOCK_SKEW_MAX).as_micros() as i64;
        second.remove_left_until(due_us / 1_000 + 1).await.unwrap();
        assert_eq!(listed().await, ["lake/ledger/w-3"], "the message of another epoch is not deleted");
    }

    #[tokio::test(start_paused = true)]
    async fn retired_entry_goes_when_it_is_due_and_then_leaves_no_list() {
        let store = Arc::new(MemoryStore::default());
        let ledger = ledger(&store);
        announce(&ledger, "w-1").await;
        ledger.retire("w-1".to_owned());
        let removing = tokio::time::timeout(ledger.grace / 2, ledger.remove_retired());
        assert!(removing.await.is_err() && !store.list("lake/ledger/").await.unwrap().is_empty());
        let removing = tokio::time::timeout(ledger.grace, ledger.remove_retired());
        assert!(removing.await.is_err());
        ledger.leave_retired().await;
        assert!(store.list("lake/ledger/").await.unwrap().is_empty());
    }
}
