//! The way of an alert before its epoch: noted, published, carried on, and adopted, as `engine/src/publisher.rs` and
//! `notes.rs` do it.

use std::rc::Rc;
use std::time::Duration;

use ticklake_core::alert::Alert;
use ticklake_core::commit::{NoteName, note_body, note_name, read_note};

use super::kernel::{Millis, Slot};
use super::network::{Services, To};
use super::plan::Broken;
use super::worker::{GaveUp, Worker};

/// How long alerts wait for their note: the engine's.
const NOTE_WAIT: Millis = 1_000;

/// How often notes of others are looked for: the engine's bounds.
const ADOPT_EVERY: std::ops::RangeInclusive<Millis> = 1_000..=60_000;

/// What the publisher did with alerts.
pub(super) struct Published {
    /// Whether every one is out.
    pub(super) is_out: bool,
    /// Where they are noted.
    pub(super) notes: Vec<String>,
}

impl Worker {
    /// Has alerts published at once, and stored by the open epoch.
    pub(super) fn raise(self: &Rc<Self>, alerts: Vec<Alert>, notes: Vec<String>) {
        self.tell(|| format!("alerts {:?} raised", alerts.iter().map(|alert| &alert.id).collect::<Vec<_>>()));
        self.opened().alerts.extend(alerts.iter().cloned());
        let done = self.clone().spawn(|worker| async move { worker.publish(alerts, notes).await });
        self.opened().done.push(done);
    }

    /// Has the open epoch store alerts that an earlier one could not.
    pub(super) fn carry(self: &Rc<Self>, alerts: Vec<Alert>, notes: Vec<String>, is_out: bool) {
        if !is_out {
            return self.raise(alerts, notes);
        }
        let done = Slot::new(&self.world.kernel);
        done.fill(Published { is_out, notes });
        let mut open = self.opened();
        open.alerts.extend(alerts);
        open.done.push(done);
    }

    async fn publish(&self, alerts: Vec<Alert>, mut notes: Vec<String>) -> Published {
        let is_last = self.world.plan.is(Broken::PublishedBeforeNoted);
        let mut in_vain = false;
        if notes.is_empty() && !is_last {
            match self.put_note(&alerts, self.now() + NOTE_WAIT).await {
                Ok(note) => notes.push(note),
                Err(GaveUp) => in_vain = true,
            }
        }
        let ids: Vec<Rc<str>> = alerts.iter().map(|alert| Rc::from(&*alert.id)).collect();
        let publish = || {
            let ids = ids.clone();
            move |services: &mut Services, _| services.topic.publish(&ids, in_vain)
        };
        let is_out = self.retry(To::Topic, publish).await.is_ok();
        if notes.is_empty() && is_last {
            notes.extend(self.put_note(&alerts, self.now() + NOTE_WAIT).await.ok());
        }
        Published { is_out, notes }
    }

    /// Notes alerts; the note's name.
    pub(super) async fn put_note(&self, alerts: &[Alert], until: Millis) -> Result<String, GaveUp> {
        let number = self.notes.replace(self.notes.get() + 1);
        let name = note_name(self.now() as i64, &format!("w{}", self.id), number);
        let body: Rc<str> = Rc::from(note_body(alerts));
        let put = || {
            let (name, body) = (name.clone(), body.clone());
            move |services: &mut Services, _| {
                services.store.notes.entry(name).or_insert(body);
            }
        };
        self.retry_until(To::Store, until, put).await?;
        Ok(name)
    }

    /// Removes notes whose alerts are done. One that cannot be removed is adopted by another worker.
    pub(super) async fn remove_finished_notes(&self) {
        for name in self.finished_notes.take() {
            self.call(To::Store, move |services, _| services.store.notes.remove(&name)).await;
        }
    }

    /// Adopts notes of workers that are gone.
    pub(super) async fn adopt(self: Rc<Self>) {
        let adopt_after = self.world.plan.adopt_after;
        while self.stop_by.get().is_none() {
            // Without an answer it is tried again next time.
            let _ = self.adopt_once(Duration::from_millis(adopt_after)).await;
            self.sleep(adopt_after.clamp(*ADOPT_EVERY.start(), *ADOPT_EVERY.end())).await;
        }
    }

    async fn adopt_once(self: &Rc<Self>, adopt_after: Duration) -> Result<(), GaveUp> {
        let list = || |services: &mut Services, _| services.store.notes.keys().cloned().collect::<Vec<String>>();
        let names = self.retry(To::Store, list).await?;
        self.known_notes.borrow_mut().retain(|name| names.binary_search(name).is_ok());
        let (now, owner) = (self.now() as i64, format!("w{}", self.id));
        let is_due =
            |name: &String| NoteName::read(name).and_then(|note| note.turn(now, &owner, adopt_after)).is_some();
        for name in names.into_iter().filter(is_due) {
            if !self.known_notes.borrow_mut().insert(name.clone()) {
                continue;
            }
            let get = || {
                let name = name.clone();
                move |services: &mut Services, _| services.store.notes.get(&name).cloned()
            };
            let Ok(body) = self.retry(To::Store, get).await else {
                self.known_notes.borrow_mut().remove(&name);
                return Err(GaveUp);
            };
            // One that is gone was finished meanwhile.
            if let Some(alerts) = body.as_deref().and_then(read_note) {
                self.tell(|| format!("adopts note {name}"));
                self.raise(alerts, vec![name]);
            }
        }
        Ok(())
    }
}
