//! The committing stage: stores an epoch's files, then deletes its messages. The rule "delete only after the rows are
//! stored" lives here and nowhere else: [`delete`](Committer::delete) takes a [`StoredEpoch`], and only
//! [`store`](Committer::store) makes one.
//!
//! What could not be stored before a stop is given back to the queue instead.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use ticklake_core::encode::DataFile;
use ticklake_core::lake::EpochId;
use ticklake_schemas::Table;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::message::{AlertsDone, EncodedEpoch, HeldMessage};
use crate::ports::{ObjectStore, PutOutcome, Queue, Receipt};
use crate::retry::{GaveUp, Settled, bounded, retry, settle};
use crate::stats::{Stage, Stats};
use crate::stop::Stop;

/// PUTs under way at once.
const PUTS: usize = 8;
/// Delete or release batches under way at once.
const BATCHES: usize = 32;

/// The stage's neighbours.
pub(crate) struct Committer {
    pub(crate) queues: Vec<Arc<dyn Queue>>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: String,
    pub(crate) epochs: mpsc::Receiver<EncodedEpoch>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

/// An epoch whose files are all durable and whose alerts are out: its messages may be deleted.
struct StoredEpoch {
    messages: Vec<HeldMessage>,
}

impl Committer {
    /// Commits epochs, one after the other, until no more come.
    pub(crate) async fn run(mut self) {
        while let Some(epoch) = self.epochs.recv().await {
            let started = Instant::now();
            let (id, reason) = (epoch.id.clone(), epoch.reason);
            let (ticks, rejects) = (epoch.ticks, epoch.rejects);
            let (files, messages) = (epoch.files.len(), epoch.messages.len());
            match self.store(epoch).await {
                Ok(stored) => {
                    self.delete(stored).await;
                    self.stats.took(Stage::Commit, started.elapsed());
                    let ms = started.elapsed().as_millis() as u64;
                    info!(epoch = %id, ?reason, ticks, rejects, files, messages, ms, "epoch committed");
                }
                Err(messages) => {
                    warn!(epoch = %id, ticks, messages = messages.len(), "epoch not committed, giving its messages back");
                    self.release(messages).await;
                }
            }
        }
    }

    /// Waits for the alerts, then PUTs every file; gives the messages back if a stop or an error came first.
    ///
    /// Alerts first: published again, they carry the same ids, while rows that were stored would be stored twice.
    async fn store(&self, epoch: EncodedEpoch) -> Result<StoredEpoch, Vec<HeldMessage>> {
        let EncodedEpoch { id, files, messages, alerts, ticks, rejects, .. } = epoch;
        if !published(alerts).await {
            return Err(messages);
        }
        let puts = bounded(files.into_iter().map(|file| self.put(&id, file)), PUTS).await;
        match puts.into_iter().collect::<Result<(), GaveUp>>() {
            Ok(()) => {}
            Err(GaveUp::TimeIsUp) => return Err(messages),
            Err(GaveUp::Stop(error)) => {
                self.stop.fail(error);
                return Err(messages);
            }
        }
        self.stats.epochs_stored.add(1);
        self.stats.ticks_stored.add(ticks);
        self.stats.rejects_stored.add(rejects);
        Ok(StoredEpoch { messages })
    }

    async fn put(&self, epoch: &EpochId, file: DataFile) -> Result<(), GaveUp> {
        let key = file.partition.key(&self.prefix, epoch);
        let bytes = file.bytes.len();
        let body = bytes::Bytes::from(file.bytes);
        let outcome = retry(self.stop.commit_by(), || self.store.put_new(&key, body.clone())).await?;
        if outcome == PutOutcome::Exists {
            // No other epoch ever has this name: it is an earlier attempt of ours, whose answer was lost.
            info!(key, "object exists already, from an attempt without answer");
        }
        self.stats.files_stored.add(1);
        if file.partition.table() == Table::Ticks {
            self.stats.tick_bytes_stored.add(bytes);
        }
        Ok(())
    }

    async fn delete(&self, epoch: StoredEpoch) {
        let deletes = by_queue(&self.queues, epoch.messages).map(|(queue, messages)| {
            let delete = move |batch: &[HeldMessage]| {
                let receipts = receipts(batch);
                async move { queue.delete(&receipts).await }.boxed()
            };
            settle(messages, BATCHES, || self.stop.release_by().boxed(), delete)
        });
        for settled in join_all(deletes).await {
            self.stats.messages_deleted.add(settled.done);
            self.count_lapsed(settled, "delete");
        }
    }

    async fn release(&self, messages: Vec<HeldMessage>) {
        // An extension that overtakes the release would hide the message again.
        for message in &messages {
            message.lease.end();
        }
        self.stop.polls_closed().await;
        let releases = by_queue(&self.queues, messages).map(|(queue, messages)| {
            let release = move |batch: &[HeldMessage]| {
                let receipts = receipts(batch);
                async move { queue.release(&receipts).await }.boxed()
            };
            settle(messages, BATCHES, || self.stop.release_by().boxed(), release)
        });
        for settled in join_all(releases).await {
            self.stats.messages_released.add(settled.done);
            self.count_lapsed(settled, "release");
        }
    }

    /// What could be neither deleted nor released is delivered again when its visibility times out.
    fn count_lapsed(&self, settled: Settled<HeldMessage>, action: &'static str) {
        let (refused, undecided) = (settled.refused.len(), settled.undecided.len());
        if refused + undecided > 0 {
            let code = settled.refused.first().map(|(_, code)| code.as_str());
            warn!(action, refused, undecided, code, "messages will be delivered again");
        }
        self.stats.messages_lapsed.add(refused + undecided);
        if let Some(error) = settled.error {
            self.stop.fail(error);
        }
    }
}

/// The messages of each queue, in their order.
fn by_queue(
    queues: &[Arc<dyn Queue>],
    messages: Vec<HeldMessage>,
) -> impl Iterator<Item = (&Arc<dyn Queue>, Vec<HeldMessage>)> {
    let mut of_queue: Vec<Vec<HeldMessage>> = queues.iter().map(|_| Vec::new()).collect();
    for message in messages {
        of_queue[message.queue].push(message);
    }
    queues.iter().zip(of_queue)
}

/// Whether the publisher is done with all of an epoch's alerts.
async fn published(alerts: Vec<AlertsDone>) -> bool {
    for alerts in alerts {
        if !matches!(alerts.await, Ok(true)) {
            return false;
        }
    }
    true
}

fn receipts(batch: &[HeldMessage]) -> Vec<Receipt> {
    batch.iter().map(|message| message.lease.receipt().clone()).collect()
}
