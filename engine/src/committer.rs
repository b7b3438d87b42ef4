//! The committing stage: takes an epoch through the commit protocol of [`ticklake_core::commit`], which decides what
//! may be stored and what may be deleted.
//!
//! This file owns the order: entry, files, publishing, deletes, files of alerts, notes, and what is given back.
//! [`files`] owns how files are put, and [`messages`] how messages are deleted and released.

mod files;
mod messages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ticklake_core::alert::Alert;
use ticklake_core::commit::{AlertCommit, Commit, Entry, Phase};
use ticklake_core::encode::{DataFile, Encoder};
use ticklake_core::lake::{EpochId, Partition};
use ticklake_schemas::Table;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crossbeam_channel::Sender;

use crate::clock::Moment;
use crate::config::Delivery;
use crate::ledger::Ledger;
use crate::message::{AlertsDone, CarriedAlerts, EncodedEpoch, HeldMessage, Note};
use crate::notes::Notes;
use crate::ports::{ObjectStore, PortError, Queue};
use crate::retry::GaveUp;
use crate::stats::{Stage, Stats};
use crate::stop::Stop;

/// The stage's neighbours.
pub(crate) struct Committer {
    pub(crate) queues: Vec<Arc<dyn Queue>>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) ledger: Arc<Ledger>,
    /// The notes of alerts; `None` if delivery is at least once.
    pub(crate) notes: Option<Arc<Notes>>,
    /// Takes alerts that the next epoch has to store.
    pub(crate) carried: Sender<CarriedAlerts>,
    /// Encodes alerts again if another epoch has claimed some of them.
    pub(crate) encoder: Encoder,
    pub(crate) delivery: Delivery,
    /// How long a request may take, with all its attempts. A release that reaches SQS late could take the message from
    /// its next consumer. So a message is released only if it is ours for longer than this.
    pub(crate) release_margin: Duration,
    pub(crate) prefix: String,
    /// Whether some alerts are neither published and stored nor noted. Then no later epoch may delete messages, because
    /// these could raise the alerts again.
    pub(crate) has_alerts_at_risk: AtomicBool,
    pub(crate) epochs: mpsc::Receiver<EncodedEpoch>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

/// The messages of an epoch. Each is taken out once it is settled what becomes of it.
type Messages = Vec<Option<HeldMessage>>;

impl Committer {
    /// Commits epochs in the order of their numbers, until no more come. An epoch that overtook an earlier one at the
    /// encoders waits: it may hold a message whose alerts are in the earlier one.
    pub(crate) async fn run(mut self) {
        let (mut early, mut next) = (BTreeMap::new(), 0);
        while let Some(epoch) = self.epochs.recv().await {
            early.insert(epoch.id.number(), epoch);
            while let Some(epoch) = early.remove(&next) {
                next += 1;
                self.commit_one(epoch).await;
            }
        }
        // A broken encoder leaves a gap in the numbers. The messages of the epochs after it are given back.
        for epoch in early.into_values() {
            self.release(epoch.messages).await;
        }
    }

    async fn commit_one(&self, epoch: EncodedEpoch) {
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

    /// Commits an epoch. Returns whether all of it is in the lake.
    async fn commit(&self, epoch: EncodedEpoch) -> bool {
        let EncodedEpoch { id, files, messages, raised, alerts, ticks, rejects, .. } = epoch;
        let is_of_alerts = |file: &DataFile| file.partition.table() == Table::Alerts;
        let (alert_files, files): (Vec<_>, Vec<_>) = files.into_iter().partition(is_of_alerts);
        let mut commit = Commit::new(messages.len(), files.len());
        let mut alert_commit = AlertCommit::new(raised.len());
        let mut messages: Messages = messages.into_iter().map(Some).collect();
        let is_announced = self.announce(&mut commit, &id, &files, &messages).await;
        if commit.phase() == Phase::Storing {
            self.put_all(&mut commit, &id, files, &messages).await;
        }
        let is_stored = commit.phase() == Phase::Publishing;
        if is_stored {
            self.stats.epochs_stored.add(1);
            self.stats.ticks_stored.add(ticks);
            self.stats.rejects_stored.add(rejects);
        } else {
            // None of its messages will be deleted, so they need not wait for its alerts.
            self.release(std::mem::take(&mut messages).into_iter().flatten().collect()).await;
        }
        let mut notes = self.published(&mut alert_commit, alerts).await;
        // Messages need not wait for alerts that are noted and published.
        self.delete_if(&alert_commit, &mut commit, &mut messages).await;
        if alert_commit.may_claim() {
            self.put_alerts(&mut alert_commit, &id, alert_files, &raised).await;
        }
        self.note(&mut alert_commit, &raised, &mut notes).await;
        self.delete_if(&alert_commit, &mut commit, &mut messages).await;
        if is_announced && commit.may_remove_entry() {
            self.ledger.retire(id.to_string());
        }
        let is_whole = commit.phase() == Phase::Deleting && commit.to_give_back().next().is_none();
        self.release(messages.into_iter().flatten().collect()).await;
        self.finish(&alert_commit, raised, notes);
        is_stored && is_whole
    }

    /// Deletes the messages that may be deleted, if the alerts of this and of earlier epochs would survive this worker.
    async fn delete_if(&self, alerts: &AlertCommit, commit: &mut Commit, messages: &mut Messages) {
        if alerts.may_delete_messages() && !self.has_alerts_at_risk.load(Ordering::Relaxed) {
            commit.published();
            self.delete(commit, messages).await;
        }
    }

    /// Puts the entry. Returns whether there may be one now.
    async fn announce(&self, commit: &mut Commit, id: &EpochId, files: &[DataFile], messages: &Messages) -> bool {
        if commit.phase() != Phase::Announcing {
            return false;
        }
        if self.delivery == Delivery::AtLeastOnce {
            commit.announced(|_| true);
            return false;
        }
        let partitions: Vec<Partition> = files.iter().map(|file| file.partition).collect();
        let named = messages.iter().flatten().map(|message| (message.id, &message.layout));
        let Some(entry) = Entry::naming(id.to_string(), self.ledger.splitting(), partitions, named) else {
            commit.abort();
            let text = "a message has rows in a file that its epoch does not have".to_owned();
            self.stop.fail(PortError::stop("announce an epoch", text));
            return false;
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

    /// Waits until the publisher is done with the epoch's alerts, and returns their notes. Mostly they are out by now,
    /// because they were published as soon as they were raised.
    async fn published(&self, commit: &mut AlertCommit, done: Vec<AlertsDone>) -> Vec<Note> {
        let (mut notes, mut are_out, mut are_noted) = (Vec::new(), true, true);
        for done in done {
            if let Ok(published) = done.await {
                are_out &= published.is_out;
                are_noted &= published.notes.iter().any(|note| note.is_confirmed);
                notes.extend(published.notes);
            } else {
                (are_out, are_noted) = (false, false);
            }
        }
        if are_out {
            commit.published();
        }
        if are_noted {
            commit.noted();
        }
        notes
    }

    /// Notes the epoch's alerts, if they would not survive this worker otherwise.
    async fn note(&self, commit: &mut AlertCommit, raised: &[Alert], notes: &mut Vec<Note>) {
        let Some(own) = self.notes.as_ref().filter(|_| commit.is_to_note()) else { return };
        match own.put(raised, Duration::MAX).await {
            Ok(note) => {
                notes.push(note);
                commit.noted();
            }
            Err(gave_up) => {
                self.has_alerts_at_risk.store(true, Ordering::Relaxed);
                self.give_up(gave_up);
            }
        }
    }

    /// Removes the notes if all alerts are done. If not, the next epoch stores the alerts that this one could not.
    fn finish(&self, commit: &AlertCommit, raised: Vec<Alert>, notes: Vec<Note>) {
        if let (Some(own), true) = (&self.notes, commit.may_remove_notes()) {
            for note in notes {
                own.finish(note);
            }
            return;
        }
        let mut left = vec![false; raised.len()];
        commit.to_carry().for_each(|alert| left[alert] = true);
        let left = raised.into_iter().zip(left).filter(|(_, left)| *left);
        let alerts: Vec<Alert> = left.map(|(alert, _)| alert).collect();
        if !alerts.is_empty() {
            // If the builder is gone, the run is ending, and another worker adopts the notes.
            let _ = self.carried.send(CarriedAlerts { alerts, notes, is_out: commit.may_claim() });
        }
    }

    fn give_up(&self, gave_up: GaveUp) {
        if let GaveUp::Stop(error) = gave_up {
            self.stop.fail(error);
        }
    }
}
