//! Notes of alerts in the store: put before alerts are published, removed when they are in the table, adopted from
//! workers that died.
//!
//! Their form, and who may adopt them when, is [`ticklake_core::commit`]'s. This file puts, lists, reads and removes
//! them. It does *not* decide when an alert is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Sender;
use rustc_hash::FxHashSet;
use ticklake_core::alert::Alert;
use ticklake_core::commit::{is_to_adopt, note_body, note_name, read_note};
use ticklake_core::lake::note_key;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::clock::now_us;
use crate::message::CarriedAlerts;
use crate::ports::{NewObject, ObjectKind, ObjectStore};
use crate::retry::{GaveUp, bounded, retry};
use crate::stop::Stop;

/// Notes that are put, read or removed at a time.
const TOGETHER: usize = 8;

/// How often notes of workers that died are looked for, and finished ones removed.
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
    adopted: Notify,
    stop: Stop,
}

/// A note in the store. One that is not finished stays there, and another worker adopts it.
#[derive(Debug)]
pub struct Note {
    name: String,
}

impl Notes {
    /// The notes of `worker` in the lake below `prefix`.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: String, worker: Arc<str>, stop: Stop) -> Self {
        let (next, finished, adopted) = Default::default();
        Self { store, prefix, worker, next, finished, adopted, stop }
    }

    /// Notes `alerts`. Tries until the time for a stop is over.
    pub(crate) async fn put(&self, alerts: impl IntoIterator<Item = &Alert>) -> Result<Note, GaveUp> {
        let name = note_name(now_us() / 1_000, &self.worker, self.next.fetch_add(1, Ordering::Relaxed));
        let (key, body) = (note_key(&self.prefix, &name), Bytes::from(note_body(alerts)));
        let put = || {
            let object = NewObject { key: &key, body: body.clone(), epoch: "", kind: ObjectKind::Note };
            self.store.put_new(object)
        };
        // One that is there is an earlier attempt of ours: nobody else uses this worker's name.
        retry(self.stop.commit_by(), put).await?;
        Ok(Note { name })
    }

    /// The alerts of `note` are all published and in the table: it is removed soon.
    pub(crate) fn finish(&self, note: Note) {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).push(note.name);
    }

    /// Removes finished notes, for as long as it is polled.
    pub(crate) async fn remove_finished(&self) {
        loop {
            sleep(REMOVE_EVERY).await;
            self.remove_all_finished().await;
        }
    }

    /// Removes the notes that are finished now. One that cannot be removed is adopted by another worker, which finds
    /// its alerts stored.
    pub(crate) async fn remove_all_finished(&self) {
        let names = std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        let removals = names.into_iter().map(|name| async move {
            if let Err(error) = self.store.delete(&note_key(&self.prefix, &name)).await {
                debug!(name, %error, "failed to remove a note of alerts");
            }
        });
        bounded(removals, TOGETHER).await;
    }

    /// Adopts notes of other workers that are older than `adopt_after`, for as long as it is polled.
    pub(crate) async fn adopt(&self, adopt_after: Duration, carried: &Sender<CarriedAlerts>) {
        let mut known = FxHashSet::default();
        loop {
            if let Err(GaveUp::Stop(error)) = self.adopt_once(adopt_after, &mut known, carried).await {
                // A store that refuses everything is found out by the first epoch.
                warn!(%error, "failed to adopt alerts of workers that are gone");
            }
            self.adopted.notify_one();
            sleep(adopt_after.clamp(REMOVE_EVERY, ADOPT_EVERY_MAX)).await;
        }
    }

    /// Resolves after the notes that were there at the start are adopted. One waits for it at most.
    pub(crate) async fn adopted(&self) {
        self.adopted.notified().await;
    }

    /// Hands the alerts of old notes of other workers to the builder.
    async fn adopt_once(
        &self,
        adopt_after: Duration,
        known: &mut FxHashSet<String>,
        carried: &Sender<CarriedAlerts>,
    ) -> Result<(), GaveUp> {
        let folder = note_key(&self.prefix, "");
        let keys = retry(self.stop.commit_by(), || self.store.list(&folder)).await?;
        let names: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix(&folder)).collect();
        known.retain(|name| names.contains(&name.as_str()));
        let now_ms = now_us() / 1_000;
        let is_due = |name: &&&str| !known.contains(**name) && is_to_adopt(name, now_ms, &self.worker, adopt_after);
        let due: Vec<String> = names.iter().filter(is_due).map(|name| (*name).to_owned()).collect();
        let reads = due.into_iter().map(|name| async move {
            let key = note_key(&self.prefix, &name);
            (name, retry(self.stop.commit_by(), || self.store.get(&key)).await)
        });
        for (name, body) in bounded(reads, TOGETHER).await {
            // One that is gone was finished meanwhile.
            let Some(body) = body? else { continue };
            let Some(alerts) = std::str::from_utf8(&body).ok().and_then(read_note) else {
                warn!(name, "a note of alerts cannot be read by this version, and is left for another one");
                known.insert(name);
                continue;
            };
            info!(name, alerts = alerts.len(), "alerts of a worker that is gone are adopted");
            known.insert(name.clone());
            // Without a builder the run is ending, and the next worker adopts it.
            let _ = carried.send(CarriedAlerts { alerts, notes: vec![Note { name }], is_out: false });
        }
        Ok(())
    }
}
