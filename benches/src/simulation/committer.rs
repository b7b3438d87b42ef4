//! The commit of an epoch, as `engine/src/committer.rs` does it: entry, files and alerts, publishing, deletes, and the
//! release of messages.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ticklake_core::alert::Alert;
use ticklake_core::commit::{AlertCommit, Commit, Entry, Fate, OwnLook, OwnPut, OwnPutStep, Phase};
use ticklake_core::decode::Reason;
use ticklake_core::lake::Partition;
use ticklake_schemas::Table;

use super::kernel::{Millis, Slot};
use super::lease::HeldMessage;
use super::network::{Services, To};
use super::plan::Broken;
use super::sqs::{BATCH_MAX, Receipt};
use super::store::{Epoch, Object, Place, Row};
use super::worker::{GaveUp, Open, Worker};
use super::worker::{Note, Published};

/// All simulated workers split bodies alike.
const SPLITTING: u32 = 1;

/// The messages of an epoch. A message that is done leaves `None`.
type Messages = Vec<Option<HeldMessage>>;

/// Rows by file.
type Files = BTreeMap<Partition, Vec<Row>>;

impl Worker {
    pub(super) async fn commit(self: Rc<Self>, open: Open) {
        let epoch = Epoch { worker: self.id, number: self.epochs.replace(self.epochs.get() + 1) };
        let Open { mut messages, alerts: mut raised, done, .. } = open;
        let now = self.now();
        messages.retain(|message| message.is_ours(now) || self.world.plan.is(Broken::NoCheck));
        let mut ids = BTreeSet::new();
        raised.retain(|alert| ids.insert(alert.id.clone()));
        let files = files_of(&messages);
        let numbers = || messages.iter().map(|message| message.receipt().message).collect::<Vec<_>>();
        self.tell(|| format!("epoch {}: messages {:?}, {} files", epoch.number, numbers(), files.len()));
        let mut commit = Commit::new(messages.len(), files.len());
        let mut alert_commit = AlertCommit::new(raised.len());
        let mut messages: Messages = messages.into_iter().map(Some).collect();
        let is_announced = self.announce(&mut commit, epoch, &files, &messages).await;
        if self.world.plan.is(Broken::DeletedFirst) && commit.phase() == Phase::Storing {
            let receipts: Vec<Receipt> = messages.iter().flatten().map(HeldMessage::receipt).collect();
            self.call(To::Sqs, move |services, now| services.sqs.delete(&receipts, now)).await;
        }
        if commit.phase() == Phase::Storing {
            self.put_all(&mut commit, epoch, files, &messages).await;
        }
        if commit.phase() != Phase::Publishing {
            self.world.count(|counts| counts.aborts += 1);
            self.release(std::mem::take(&mut messages)).await;
        }
        let mut notes = self.published(&mut alert_commit, done).await;
        // Alerts that are noted and published hold up no message.
        self.delete_if(&alert_commit, &mut commit, &mut messages).await;
        if alert_commit.may_claim() {
            self.put_alerts(&mut alert_commit, epoch, &raised).await;
        }
        if alert_commit.is_to_note() {
            if let Ok(note) = self.put_note(&raised, Millis::MAX).await {
                notes.push(note);
                alert_commit.noted();
            } else {
                self.has_alerts_at_risk.set(true);
            }
        }
        self.delete_if(&alert_commit, &mut commit, &mut messages).await;
        let is_careless = self.world.plan.is(Broken::EntryRemovedAfterAnyDelete) && commit.phase() == Phase::Deleting;
        if is_announced && commit.may_remove_entry() {
            self.retire(epoch);
        } else if is_announced && is_careless {
            self.call(To::Store, move |services, _| services.store.remove_entry(epoch)).await;
        }
        self.tell(|| format!("epoch {} ends: {:?}", epoch.number, commit.phase()));
        self.release(messages).await;
        self.finish(&alert_commit, raised, notes);
    }

    /// Puts the entry. Returns whether the store may hold an entry now.
    async fn announce(&self, commit: &mut Commit, epoch: Epoch, files: &Files, messages: &Messages) -> bool {
        if commit.phase() != Phase::Announcing {
            return false;
        }
        let partitions: Vec<Partition> = files.keys().copied().collect();
        let named = messages.iter().flatten().map(|message| (message.hold.id, &message.layout));
        let Some(entry) = Entry::naming(format!("w{}-{}", epoch.worker, epoch.number), SPLITTING, partitions, named)
        else {
            commit.abort();
            return false;
        };
        let entry = Rc::new(entry);
        let announced = self.put_own(
            || {
                let entry = entry.clone();
                move |services: &mut Services, _| services.store.put_entry(epoch, &entry)
            },
            || move |services: &mut Services, _| services.store.has_entry(epoch),
        );
        match announced.await {
            Ok(_) => {
                let (now, is_careless) = (self.now(), self.world.plan.is(Broken::NoCheck));
                let is_ours = |message: &HeldMessage| is_careless || message.is_ours(now);
                commit.announced(|index| messages[index].as_ref().is_some_and(is_ours));
            }
            Err(GaveUp) => commit.abort(),
        }
        true
    }

    /// Puts an object under a name that no other epoch uses. Returns its fate.
    async fn put_own<P, L>(&self, mut put: impl FnMut() -> P, mut look: impl FnMut() -> L) -> Result<Fate, GaveUp>
    where
        P: FnOnce(&mut Services, Millis) -> bool + 'static,
        L: FnOnce(&mut Services, Millis) -> OwnLook + 'static,
    {
        let mut own = OwnPut::default();
        loop {
            match own.step() {
                OwnPutStep::Put => own.put(self.retry(To::Store, &mut put).await?),
                OwnPutStep::Look => own.looked(self.retry(To::Store, &mut look).await?),
                OwnPutStep::Done(fate) => return Ok(fate),
                OwnPutStep::Taken | OwnPutStep::Contradicted => return Err(GaveUp),
            }
        }
    }

    pub(super) async fn put_file(&self, place: Place, rows: Vec<Row>) -> Result<Fate, GaveUp> {
        let rows = Rc::new(rows);
        self.put_own(
            || {
                let rows = rows.clone();
                move |services: &mut Services, _| services.store.put_file(place, Object::Data(rows))
            },
            || move |services: &mut Services, _| services.store.look_own(place),
        )
        .await
    }

    /// PUTs all files at the same time. Files without a decision stay open when a stop comes.
    async fn put_all(self: &Rc<Self>, commit: &mut Commit, epoch: Epoch, files: Files, messages: &Messages) {
        let put = |(partition, rows)| {
            let put = self.clone().spawn(|worker| async move { worker.put_file((epoch, partition), rows).await });
            (partition, put)
        };
        let puts: Vec<(Partition, Slot<_>)> = files.into_iter().map(put).collect();
        for (file, (partition, put)) in puts.into_iter().enumerate() {
            match put.await {
                Ok(Fate::Stored) => commit.stored(file),
                Ok(Fate::Voided) => {
                    self.tell(|| format!("epoch {}: {partition} is a void", epoch.number));
                    let holds = |message: &HeldMessage| message.layout.holds(partition);
                    commit.voided(file, |index| messages[index].as_ref().is_some_and(holds));
                }
                Err(GaveUp) => {}
            }
        }
    }

    /// Waits until the publisher is done with the epoch's alerts, and returns their notes.
    async fn published(&self, commit: &mut AlertCommit, done: Vec<Slot<Published>>) -> Vec<Note> {
        let (mut notes, mut are_out, mut are_noted) = (Vec::new(), true, true);
        for done in done {
            let published = done.await;
            are_out &= published.is_out;
            are_noted &= published.notes.iter().any(|note| note.is_confirmed);
            notes.extend(published.notes);
        }
        if are_out {
            commit.published();
        }
        if are_noted {
            commit.noted();
        }
        notes
    }

    /// Removes the notes of alerts that are done. Alerts that this epoch could not store go to the next epoch.
    fn finish(self: &Rc<Self>, commit: &AlertCommit, raised: Vec<Alert>, notes: Vec<Note>) {
        if commit.may_remove_notes() {
            return self.finished_notes.borrow_mut().extend(notes.into_iter().map(|note| note.name));
        }
        let left: BTreeSet<usize> = commit.to_carry().collect();
        let alerts = raised.into_iter().enumerate().filter(|(at, _)| left.contains(at));
        let alerts: Vec<Alert> = alerts.map(|(_, alert)| alert).collect();
        if !alerts.is_empty() && self.stop_by.get().is_none() {
            self.carry(alerts, notes, commit.may_claim());
        }
    }

    /// Deletes the messages that may be deleted, once the alerts allow it.
    async fn delete_if(&self, alerts: &AlertCommit, commit: &mut Commit, messages: &mut Messages) {
        let may = alerts.may_delete_messages() && !self.has_alerts_at_risk.get();
        if may || self.world.plan.is(Broken::PublishedBeforeNoted) {
            commit.published();
            self.delete(commit, messages).await;
        }
    }

    /// Deletes the messages that may be deleted, and takes them out of `messages`.
    async fn delete(&self, commit: &mut Commit, messages: &mut Messages) {
        let deletable: Vec<usize> = commit.to_delete().collect();
        for batch in deletable.chunks(BATCH_MAX) {
            let held: Vec<(usize, HeldMessage)> =
                batch.iter().filter_map(|&index| Some((index, messages[index].take()?))).collect();
            let receipts: Vec<Receipt> = held.iter().map(|(_, message)| message.receipt()).collect();
            let delete = || {
                let receipts = receipts.clone();
                move |services: &mut Services, now| services.sqs.delete(&receipts, now)
            };
            let answered = self.retry(To::Sqs, delete).await;
            let now = self.now();
            for (index, message) in held {
                if answered.is_ok() {
                    commit.deleted(index, message.is_ours(now) && !message.hold.let_go());
                } else {
                    commit.not_deleted(index);
                }
            }
        }
    }

    /// Releases the messages that are still ours, and stay ours until the request has arrived.
    async fn release(&self, messages: Messages) {
        let ends = self.now() + self.world.plan.request_timeout;
        let ours: Vec<HeldMessage> = messages.into_iter().flatten().filter(|message| message.is_ours(ends)).collect();
        for message in &ours {
            message.hold.term.is_ended.set(true);
            message.hold.let_go();
        }
        for batch in ours.chunks(BATCH_MAX) {
            let receipts: Vec<Receipt> = batch.iter().map(HeldMessage::receipt).collect();
            // The release is sent only once. A second one could take the message from another worker that holds it by
            // then.
            self.mark_released(&receipts, self.now() + self.world.plan.request_timeout);
            let sent = receipts.clone();
            if self.call(To::SqsInTime, move |services, now| services.sqs.release(&sent, now)).await.is_some() {
                self.mark_released(&receipts, self.now());
            }
        }
    }

    /// Notes that releases of these messages may arrive until `until`.
    fn mark_released(&self, receipts: &[Receipt], until: Millis) {
        self.released.borrow_mut().extend(receipts.iter().map(|receipt| (receipt.message, until)));
    }
}

/// The rows of an epoch's messages, by file.
fn files_of(messages: &[HeldMessage]) -> Files {
    let mut files = Files::new();
    for message in messages {
        let number = message.receipt().message as u32;
        for tick in &message.ticks {
            let row = Row::Tick { message: number, seq: tick.seq, price: tick.price };
            files.entry(Partition::of(Table::Ticks, tick.ts_us)).or_default().push(row);
        }
        for reject in &message.rejects {
            let is_in_doubt = reject.reason == Reason::DecodedDifferently;
            let row = Row::Reject { message: number, index: reject.index, is_in_doubt };
            files.entry(reject.partition()).or_default().push(row);
        }
    }
    files
}
