//! The committing stage: takes an epoch through the commit protocol of [`ticklake_core::commit`], which decides what may be stored
//! and what may be deleted. This file does it: entry, claims, files, alerts, deletes, and what has to be given back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use ticklake_core::alert::Alert;
use ticklake_core::commit::{Commit, Entry, Fate, MessageId, Phase};
use ticklake_core::encode::{DataFile, Encoder};
use ticklake_core::lake::{EpochId, Partition};
use ticklake_schemas::Table;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::clock::Moment;
use crate::config::Delivery;
use crate::ledger::Ledger;
use crate::message::{AlertsDone, EncodedEpoch, HeldMessage};
use crate::ports::{EntryFailure, NewObject, ObjectKind, ObjectStore, PortError, PutOutcome, Queue, Receipt};
use crate::retry::{GaveUp, Settled, bounded, retry, settle};
use crate::stats::{Stage, Stats};
use crate::stop::Stop;

/// PUTs under way at once.
const PUTS: usize = 8;
/// Claims of one file's alerts under way at once.
const CLAIMS: usize = 32;
/// Delete or release batches under way at once.
const BATCHES: usize = 32;

/// The stage's neighbours.
pub(crate) struct Committer {
    pub(crate) queues: Vec<Arc<dyn Queue>>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) ledger: Arc<Ledger>,
    /// Encodes alerts once more where another epoch has claimed some.
    pub(crate) encoder: Encoder,
    pub(crate) delivery: Delivery,
    /// How long a request may take, with all its attempts. A release that SQS takes in only after the message was given to somebody
    /// else would rob them of it: what is ours for no longer than this is not released.
    pub(crate) release_margin: Duration,
    pub(crate) prefix: String,
    pub(crate) epochs: mpsc::Receiver<EncodedEpoch>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

/// The alerts of an epoch, and the ids of those that belong to one of its messages.
struct Raised<'a> {
    alerts: &'a [Alert],
    with_message: HashSet<&'a str>,
}

/// An epoch whose messages are taken out one by one, as it is settled what becomes of them.
type Messages = Vec<Option<HeldMessage>>;

impl Committer {
    /// Commits epochs, one after the other, until no more come.
    pub(crate) async fn run(mut self) {
        while let Some(epoch) = self.epochs.recv().await {
            let started = Instant::now();
            let (id, reason) = (epoch.id.clone(), epoch.reason);
            let (ticks, rejects) = (epoch.ticks, epoch.rejects);
            let (files, messages) = (epoch.files.len(), epoch.messages.len());
            if self.commit(epoch).await {
                self.stats.took(Stage::Commit, started.elapsed());
                let ms = started.elapsed().as_millis() as u64;
                info!(epoch = %id, ?reason, ticks, rejects, files, messages, ms, "epoch committed");
            } else {
                warn!(epoch = %id, ticks, messages, "epoch not committed, its messages will be delivered again");
            }
        }
    }

    /// Whether the whole of the epoch is in the lake.
    async fn commit(&self, epoch: EncodedEpoch) -> bool {
        let EncodedEpoch { id, files, messages, raised, alerts, ticks, rejects, .. } = epoch;
        let mut commit = Commit::new(messages.len(), files.len());
        let mut messages: Messages = messages.into_iter().map(Some).collect();
        let is_announced = self.announce(&mut commit, &id, &files, &messages).await;
        if commit.phase() == Phase::Storing {
            self.put_all(&mut commit, &id, files, &raised, &messages).await;
        }
        // Published at once as they were raised, they mostly are out by now. They come after the files: what is published again
        // carries the same id, and a message is deleted only after both.
        let is_stored = commit.phase() == Phase::Publishing;
        if is_stored {
            self.stats.epochs_stored.add(1);
            self.stats.ticks_stored.add(ticks);
            self.stats.rejects_stored.add(rejects);
            if published(alerts).await {
                commit.published();
            }
        }
        self.delete(&mut commit, &mut messages).await;
        // That of an aborted epoch may be the last to know of alerts that are not out.
        let is_needed =
            commit.phase() == Phase::Aborted && messages.iter().flatten().any(|held| !held.alerts.is_empty());
        if is_announced && commit.may_remove_entry() && !is_needed {
            self.ledger.retire(id.to_string());
        }
        let is_whole = commit.phase() == Phase::Deleting && commit.to_give_back().next().is_none();
        self.release(messages.into_iter().flatten().collect()).await;
        is_stored && is_whole
    }

    /// Puts the entry; whether there may be one now.
    async fn announce(&self, commit: &mut Commit, id: &EpochId, files: &[DataFile], messages: &Messages) -> bool {
        if commit.phase() != Phase::Announcing {
            return false;
        }
        if self.delivery == Delivery::AtLeastOnce {
            commit.announced(|_| true);
            return false;
        }
        let held = || messages.iter().flatten();
        let (sets, named) = sets_of(held(), files);
        let entry = Entry {
            epoch: id.to_string(),
            files: files.iter().map(|file| file.partition).collect(),
            sets,
            messages: named,
            alerts: held()
                .enumerate()
                .flat_map(|(at, message)| message.alerts.iter().map(move |alert| (at as u32, alert.to_json())))
                .collect(),
        };
        match self.ledger.announce(&entry).await {
            Ok(()) => {
                let now = Moment::now();
                commit.announced(|index| messages[index].as_ref().is_some_and(|message| message.lease.is_ours(now)));
            }
            Err(gave_up) => {
                commit.abort();
                self.give_up(gave_up);
            }
        }
        true
    }

    /// PUTs every file; those that are not decided when a stop comes stay open.
    async fn put_all(
        &self,
        commit: &mut Commit,
        id: &EpochId,
        files: Vec<DataFile>,
        raised: &[Alert],
        messages: &Messages,
    ) {
        let partitions: Vec<Partition> = files.iter().map(|file| file.partition).collect();
        let of_messages = messages.iter().flatten().flat_map(|message| &message.alerts);
        let raised = &Raised { alerts: raised, with_message: of_messages.map(|alert| alert.id.as_str()).collect() };
        let puts =
            files.into_iter().enumerate().map(|(file, data)| async move { (file, self.put(id, data, raised).await) });
        for (file, outcome) in bounded(puts, PUTS).await {
            match outcome {
                Ok(Fate::Stored) => commit.stored(file),
                Ok(Fate::Voided) => {
                    warn!(epoch = %id, partition = %partitions[file], "another worker has taken messages of this epoch over");
                    let may_hold = |message: &HeldMessage| message.may_hold(partitions[file]);
                    commit.voided(file, |index| messages[index].as_ref().is_some_and(may_hold));
                }
                Err(gave_up) => self.give_up(gave_up),
            }
        }
    }

    /// The file of alerts, without those that another epoch has claimed.
    async fn claim(&self, epoch: &EpochId, key: &str, file: DataFile, raised: &Raised<'_>) -> Result<DataFile, GaveUp> {
        let (partition, owner) = (file.partition, &epoch.to_string());
        let mut ids = HashSet::new();
        let is_here = |alert: &&Alert| Partition::of(Table::Alerts, alert.ts_us) == partition;
        // Raised here and taken over from another worker as well it is one.
        let alerts = raised.alerts.iter().filter(is_here).filter(|alert| ids.insert(alert.id.as_str()));
        let alerts: Vec<Alert> = alerts.cloned().collect();
        let claims = alerts.into_iter().map(|alert| async move {
            let has_message = raised.with_message.contains(alert.id.as_str());
            (self.ledger.claim(&alert.id, owner, key, has_message).await, alert)
        });
        let mut ours = Vec::new();
        let mut others = 0;
        for (is_ours, alert) in bounded(claims, CLAIMS).await {
            if is_ours? {
                ours.push(alert);
            } else {
                others += 1;
            }
        }
        if ours.len() == file.rows {
            return Ok(file);
        }
        info!(epoch = owner, alerts = others, "alerts that another epoch stores are left out");
        self.stats.rows_found_stored.add(others);
        ours.sort_by(|one, other| (one.ts_us, &one.id).cmp(&(other.ts_us, &other.id)));
        let ours: Vec<&Alert> = ours.iter().collect();
        self.encoder
            .alerts(epoch, partition, &ours)
            .map_err(|error| GaveUp::Stop(PortError::Stop { action: "encode alerts", text: error.to_string() }))
    }

    async fn put(&self, epoch: &EpochId, file: DataFile, raised: &Raised<'_>) -> Result<Fate, GaveUp> {
        let (key, owner) = (file.partition.key(&self.prefix, epoch), epoch.to_string());
        let is_claimed = file.partition.table() == Table::Alerts && self.delivery == Delivery::ExactlyOnce;
        let file = if is_claimed { self.claim(epoch, &key, file, raised).await? } else { file };
        let bytes = file.bytes.len();
        let body = bytes::Bytes::from(file.bytes);
        let put = || async {
            let object = NewObject { key: &key, body: body.clone(), epoch: &owner, kind: ObjectKind::Data };
            if self.store.put_new(object).await? == PutOutcome::Created {
                return Ok(Fate::Stored);
            }
            // No other epoch ever has this name: it is an earlier attempt of ours, whose answer was lost, or a void.
            match self.store.head(&key).await? {
                Some(found) if found.is_void => Ok(Fate::Voided),
                Some(found) if found.epoch.as_deref() == Some(&owner) => {
                    info!(key, "object exists already, from an attempt without answer");
                    Ok(Fate::Stored)
                }
                Some(found) => {
                    let text = format!("{key} is there already, and of epoch {:?}, not {owner}", found.epoch);
                    Err(PortError::Stop { action: "store a file", text })
                }
                // Somebody has removed it in between: what that leaves is found out by another PUT.
                None => Err(PortError::Retry { action: "store a file", text: format!("{key} was there and is gone") }),
            }
        };
        if retry(self.stop.commit_by(), put).await? == Fate::Voided {
            return Ok(Fate::Voided);
        }
        self.stats.files_stored.add(1);
        if file.partition.table() == Table::Ticks {
            self.stats.tick_bytes_stored.add(bytes);
        }
        Ok(Fate::Stored)
    }

    fn give_up(&self, gave_up: GaveUp) {
        if let GaveUp::Stop(error) = gave_up {
            self.stop.fail(error);
        }
    }

    /// Deletes the messages that may be deleted, and takes them out of `messages`.
    async fn delete(&self, commit: &mut Commit, messages: &mut Messages) {
        let deletable: Vec<usize> = commit.to_delete().collect();
        let items: Vec<Numbered> =
            deletable.iter().filter_map(|&index| Some(Numbered { index, message: messages[index].take()? })).collect();
        let answered = Mutex::new(Vec::with_capacity(items.len()));
        let deletes = by_queue(&self.queues, items).map(|(queue, items)| {
            let answered = &answered;
            let delete = move |batch: &[Numbered]| {
                let receipts: Vec<Receipt> = batch.iter().map(|item| item.message.lease.receipt().clone()).collect();
                let leases: Vec<_> = batch.iter().map(|item| (item.index, item.message.lease.term())).collect();
                async move {
                    let failures = queue.delete(&receipts).await?;
                    let now = Moment::now();
                    let is_done = |at: &usize| !failures.iter().any(|failure| failure.index == *at);
                    let done = (0..leases.len())
                        .filter(is_done)
                        .map(|at| (leases[at].0, leases[at].1.deadline(now).is_some()));
                    answered.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
                    Ok(failures)
                }
                .boxed()
            };
            settle(items, BATCHES, || self.stop.release_by().boxed(), delete)
        });
        for settled in join_all(deletes).await {
            self.stats.messages_deleted.add(settled.done);
            self.count_lapsed(settled, "delete");
        }
        for (index, in_time) in answered.into_inner().unwrap_or_else(PoisonError::into_inner) {
            commit.deleted(index, in_time);
        }
        for index in deletable {
            commit.not_deleted(index);
        }
    }

    /// Gives messages back that still are ours: one that is not is somebody else's, whom a release would rob of it.
    async fn release(&self, messages: Vec<HeldMessage>) {
        let ends = Moment::now().after(self.release_margin);
        let (ours, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| message.lease.is_ours(ends));
        self.stats.messages_lapsed.add(others.len());
        if ours.is_empty() {
            return;
        }
        // An extension that overtakes the release would hide the message again.
        for message in &ours {
            message.lease.end();
        }
        if self.stop.has_begun() {
            self.stop.polls_closed().await;
        }
        let ours = ours.into_iter().enumerate().map(|(index, message)| Numbered { index, message }).collect();
        let releases = by_queue(&self.queues, ours).map(|(queue, items)| {
            let release = move |batch: &[Numbered]| {
                let receipts: Vec<Receipt> = batch.iter().map(|item| item.message.lease.receipt().clone()).collect();
                async move {
                    match queue.release(&receipts).await {
                        // It may have arrived: once more could rob whoever has them now.
                        Err(PortError::Retry { .. } | PortError::OverLimit { .. }) => Ok(no_answer(receipts.len())),
                        answer => answer,
                    }
                }
                .boxed()
            };
            settle(items, BATCHES, || self.stop.release_by().boxed(), release)
        });
        for settled in join_all(releases).await {
            self.stats.messages_released.add(settled.done);
            self.count_lapsed(settled, "release");
        }
    }

    /// What could be neither deleted nor released is delivered again when its visibility times out.
    fn count_lapsed(&self, settled: Settled<Numbered>, action: &'static str) {
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

/// Which of an epoch's files each of its messages may have rows in: the different sets of files, and the messages with theirs.
fn sets_of<'a>(
    messages: impl Iterator<Item = &'a HeldMessage>,
    files: &[DataFile],
) -> (Vec<Vec<u32>>, Vec<(MessageId, u32)>) {
    let mut sets: Vec<Vec<u32>> = Vec::new();
    let mut at = 0;
    let named = messages.map(|message| {
        let set = || (0_u32..).zip(files).filter(|(_, file)| message.may_hold(file.partition)).map(|(file, _)| file);
        // Mostly it is that of the message before.
        let is_set = |known: &Vec<u32>| set().eq(known.iter().copied());
        if !sets.get(at).is_some_and(is_set) {
            at = sets.iter().position(is_set).unwrap_or_else(|| {
                sets.push(set().collect());
                sets.len() - 1
            });
        }
        (message.id, at as u32)
    });
    let named = named.collect();
    (sets, named)
}

/// Entries that are not tried again.
fn no_answer(entries: usize) -> Vec<EntryFailure> {
    (0..entries).map(|index| EntryFailure { index, retryable: false, code: "NoAnswer".to_owned() }).collect()
}

/// A message, and its position in its epoch.
struct Numbered {
    index: usize,
    message: HeldMessage,
}

/// The messages of each queue, in their order.
fn by_queue(queues: &[Arc<dyn Queue>], items: Vec<Numbered>) -> impl Iterator<Item = (&Arc<dyn Queue>, Vec<Numbered>)> {
    let mut of_queue: Vec<Vec<Numbered>> = queues.iter().map(|_| Vec::new()).collect();
    for item in items {
        of_queue[item.message.queue].push(item);
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
