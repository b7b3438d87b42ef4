//! Notes of alerts in the store. They are put before alerts are published, and removed when the alerts are in the
//! table. Other workers adopt the notes of a worker that died.
//!
//! [`ticklake_core::commit`] owns their form, and who may adopt them when. This file puts, lists, reads and removes
//! them. It does *not* decide when an alert is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Sender;
use rustc_hash::FxHashSet;
use ticklake_core::alert::Alert;
use ticklake_core::commit::{NoteName, note_body, note_name, read_note};
use ticklake_core::lake::{claim_key, note_key};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::clock::now_us;
use crate::message::{CarriedAlerts, Note};
use crate::ports::{NewObject, ObjectKind, ObjectStore, PutOutcome};
use crate::put::put_own;
use crate::retry::{GaveUp, bounded, retry};
use crate::stats::Stats;
use crate::stop::Stop;

/// Notes that are put, read or removed at a time.
const TOGETHER: usize = 8;

/// How often, at least, this worker looks for notes of dead workers, and how often it removes finished notes.
const ADOPT_EVERY_MAX: Duration = Duration::from_mins(1);
const REMOVE_EVERY: Duration = Duration::from_secs(1);

/// The notes of one worker.
pub(crate) struct Notes {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    worker: Arc<str>,
    next: AtomicU64,
    /// Names of notes that are not needed any more.
    finished: Mutex<Vec<String>>,
    /// How many notes of others from before the run are not adopted yet, once that is known.
    before: watch::Sender<Option<usize>>,
    stop: Stop,
    stats: Arc<Stats>,
}

impl Notes {
    /// The notes of `worker` in the lake below `prefix`.
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        prefix: String,
        worker: Arc<str>,
        stop: Stop,
        stats: Arc<Stats>,
    ) -> Self {
        let (next, finished, before) = Default::default();
        Self { store, prefix, worker, next, finished, before, stop, stats }
    }

    /// Notes `alerts`. If the store does not take the note within `in_time`, it is not confirmed. Tries at most until a
    /// stop ends the time to commit.
    pub(crate) async fn put(
        &self,
        alerts: impl IntoIterator<Item = &Alert>,
        in_time: Duration,
    ) -> Result<Note, GaveUp> {
        let name = note_name(now_us() / 1_000, &self.worker, self.next.fetch_add(1, Ordering::Relaxed));
        let (key, body) = (note_key(&self.prefix, &name), Bytes::from(note_body(alerts)));
        let object = NewObject { key: &key, body, epoch: &self.worker, kind: ObjectKind::Note };
        self.stats.alert_notes.add(1);
        match tokio::time::timeout(in_time, put_own(&*self.store, object, &self.stop)).await {
            Ok(put) => put.map(|_| Note { name, is_confirmed: true }),
            Err(_) => Ok(Note { name, is_confirmed: false }),
        }
    }

    /// The alerts of `note` are all published and in the table: it is removed soon.
    pub(crate) fn finish(&self, note: Note) {
        self.finished().push(note.name);
    }

    /// Removes finished notes, for as long as it is polled.
    pub(crate) async fn remove_finished(&self) {
        loop {
            sleep(REMOVE_EVERY).await;
            self.remove_all_finished().await;
        }
    }

    /// Removes the notes that are finished now. A note that cannot be removed is tried again later.
    async fn remove_all_finished(&self) {
        let names = self.finished().clone();
        let removals = names.into_iter().map(|name| async move {
            match self.store.delete(&note_key(&self.prefix, &name)).await {
                Ok(()) => self.finished().retain(|finished| *finished != name),
                Err(error) => debug!(name, %error, "failed to remove a note of alerts, trying again"),
            }
        });
        bounded(removals, TOGETHER).await;
    }

    /// Removes the notes that are finished at the end of a run, as far as the time for a stop allows. Others stay for
    /// the next worker.
    pub(crate) async fn remove_last_finished(&self) {
        tokio::select! {
            () = self.remove_all_finished() => {}
            () = self.stop.release_by() => {}
        }
        let left = self.finished().len();
        if left > 0 {
            warn!(notes = left, "notes of alerts could not be removed, the next worker looks at their alerts again");
        }
    }

    fn finished(&self) -> MutexGuard<'_, Vec<String>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adopts notes of other workers that are older than `adopt_after`, for as long as it is polled.
    pub(crate) async fn adopt(&self, adopt_after: Duration, carried: &Sender<CarriedAlerts>) {
        let started_ms = now_us() / 1_000;
        let mut adopted = FxHashSet::default();
        loop {
            let before = match self.adopt_once(adopt_after, started_ms, &mut adopted, carried).await {
                Ok(before) => before,
                Err(GaveUp::Stop(error)) => {
                    // If the store refuses everything, the first epoch finds out.
                    warn!(%error, "failed to adopt alerts of workers that are gone");
                    0
                }
                Err(GaveUp::TimeIsUp) => return,
            };
            self.before.send_replace(Some(before));
            let wait = if before > 0 { REMOVE_EVERY } else { adopt_after.clamp(REMOVE_EVERY, ADOPT_EVERY_MAX) };
            sleep(wait).await;
        }
    }

    /// Resolves when every note that others had put before this run is gone, or is adopted by this worker.
    pub(crate) async fn earlier_are_adopted(&self) {
        // The sender lives in `self`.
        let _ = self.before.subscribe().wait_for(|before| *before == Some(0)).await;
    }

    /// Hands the alerts of old notes of other workers to the builder. Returns how many notes of others from before
    /// `started_ms` this worker has not adopted.
    async fn adopt_once(
        &self,
        adopt_after: Duration,
        started_ms: i64,
        adopted: &mut FxHashSet<String>,
        carried: &Sender<CarriedAlerts>,
    ) -> Result<usize, GaveUp> {
        let folder = note_key(&self.prefix, "");
        let keys = retry(self.stop.commit_by(), || self.store.list(&folder)).await?;
        let names: FxHashSet<&str> = keys.iter().filter_map(|key| key.strip_prefix(&folder)).collect();
        adopted.retain(|name| names.contains(name.as_str()));
        let now_ms = now_us() / 1_000;
        let mut due = Vec::new();
        let mut before = 0;
        for name in names {
            let Some(note) = NoteName::read(name).filter(|note| note.worker != &*self.worker) else { continue };
            if adopted.contains(name) {
                continue;
            }
            before += usize::from(note.put_ms < started_ms);
            let turn = note.turn(now_ms, &self.worker, adopt_after);
            due.extend(turn.map(|turn| (name.to_owned(), turn, note.put_ms < started_ms)));
        }
        let reads = due.into_iter().map(|(name, turn, is_before)| async move {
            let alerts = self.take(&name, turn).await;
            (name, alerts, is_before)
        });
        for (name, alerts, is_before) in bounded(reads, TOGETHER).await {
            let Some(alerts) = alerts? else { continue };
            info!(name, alerts = alerts.len(), "alerts of a worker that is gone are adopted");
            before -= usize::from(is_before);
            adopted.insert(name.clone());
            let note = Note { name, is_confirmed: true };
            // If the builder is gone, the run is ending, and the next worker adopts the note.
            let _ = carried.send(CarriedAlerts { alerts, notes: vec![note], is_out: false });
        }
        Ok(before)
    }

    /// The alerts of another worker's note, if no other worker adopts it in this turn.
    async fn take(&self, name: &str, turn: u32) -> Result<Option<Vec<Alert>>, GaveUp> {
        let key = claim_key(&self.prefix, name, turn);
        let put = || {
            let body = Bytes::from(self.worker.to_string());
            self.store.put_new(NewObject { key: &key, body, epoch: &self.worker, kind: ObjectKind::Claim })
        };
        if retry(self.stop.commit_by(), put).await? != PutOutcome::Created {
            return Ok(None);
        }
        let key = note_key(&self.prefix, name);
        // A note that is gone was finished meanwhile.
        let Some(body) = retry(self.stop.commit_by(), || self.store.get(&key)).await? else { return Ok(None) };
        let alerts = std::str::from_utf8(&body).ok().and_then(read_note);
        if alerts.is_none() {
            warn!(name, "this version cannot read a note of alerts, and leaves it for another one");
        }
        Ok(alerts)
    }
}
