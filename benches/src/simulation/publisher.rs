//! What happens to an alert before its epoch: it is noted, published, carried on, and adopted, as
//! `engine/src/publisher.rs` and `notes.rs` do it.

use std::rc::Rc;
use std::time::Duration;

use ticklake_core::alert::Alert;
use ticklake_core::commit::{NoteName, note_body, note_name, read_note};

use super::kernel::{Millis, Slot};
use super::network::{Services, To};
use super::plan::Broken;
use super::worker::{GaveUp, Note, Published, Worker};

/// How long alerts wait for their note. It is the engine's value.
const NOTE_WAIT: Millis = 1_000;

/// How often a worker looks for notes of others. These are the engine's bounds.
const ADOPT_EVERY: std::ops::RangeInclusive<Millis> = 1_000..=60_000;

impl Worker {
    /// Publishes alerts at once, and adds them to the open epoch.
    pub(super) fn raise(self: &Rc<Self>, alerts: Vec<Alert>, notes: Vec<Note>) {
        self.tell(|| format!("alerts {:?} raised", alerts.iter().map(|alert| &alert.id).collect::<Vec<_>>()));
        self.opened().alerts.extend(alerts.iter().cloned());
        let done = self.clone().spawn(|worker| async move { worker.publish(alerts, notes).await });
        self.opened().done.push(done);
    }

    /// Adds alerts to the open epoch that an earlier epoch could not store.
    pub(super) fn carry(self: &Rc<Self>, alerts: Vec<Alert>, notes: Vec<Note>, is_out: bool) {
        if !is_out {
            return self.raise(alerts, notes);
        }
        let done = Slot::new(&self.world.kernel);
        done.fill(Published { is_out, notes });
        let mut open = self.opened();
        open.alerts.extend(alerts);
        open.done.push(done);
    }

    async fn publish(&self, alerts: Vec<Alert>, mut notes: Vec<Note>) -> Published {
        let is_last = self.world.plan.is(Broken::PublishedBeforeNoted);
        let mut in_vain = false;
        if notes.is_empty() && !is_last {
            match self.put_note(&alerts, self.now() + NOTE_WAIT).await {
                Ok(note) => {
                    in_vain = !note.is_confirmed;
                    notes.push(note);
                }
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

    /// Notes alerts, if the store takes the note in time.
    pub(super) async fn put_note(&self, alerts: &[Alert], until: Millis) -> Result<Note, GaveUp> {
        let number = self.notes.replace(self.notes.get() + 1);
        let name = note_name(self.now() as i64, &format!("w{}", self.id), number);
        let body: Rc<str> = Rc::from(note_body(alerts));
        let put = || {
            let (name, body) = (name.clone(), body.clone());
            move |services: &mut Services, _| {
                services.store.notes.entry(name).or_insert(body);
            }
        };
        let is_confirmed = self.retry_until(To::Store, until, put).await.is_ok();
        let is_late = !is_confirmed && until < Millis::MAX;
        if is_confirmed || is_late { Ok(Note { name, is_confirmed }) } else { Err(GaveUp) }
    }

    /// Removes notes whose alerts are done. If a removal fails, it is tried again later.
    pub(super) async fn remove_finished_notes(&self) {
        let names = self.finished_notes.borrow().clone();
        for name in names {
            let of = name.clone();
            let removed = self.call(To::Store, move |services, _| services.store.notes.remove(&of)).await;
            if removed.is_some() {
                self.finished_notes.borrow_mut().retain(|finished| *finished != name);
            }
        }
    }

    /// Adopts notes of workers that are gone.
    pub(super) async fn adopt(self: Rc<Self>) {
        let adopt_after = self.world.plan.adopt_after;
        while self.stop_by.get().is_none() {
            // If no answer comes, the next turn tries again.
            let _ = self.adopt_once(Duration::from_millis(adopt_after)).await;
            self.sleep(adopt_after.clamp(*ADOPT_EVERY.start(), *ADOPT_EVERY.end())).await;
        }
    }

    async fn adopt_once(self: &Rc<Self>, adopt_after: Duration) -> Result<(), GaveUp> {
        let list = || |services: &mut Services, _| services.store.notes.keys().cloned().collect::<Vec<String>>();
        let names = self.retry(To::Store, list).await?;
        self.adopted_notes.borrow_mut().retain(|name| names.binary_search(name).is_ok());
        let (now, owner) = (self.now() as i64, format!("w{}", self.id));
        for name in names {
            let turn = NoteName::read(&name).and_then(|note| note.turn(now, &owner, adopt_after));
            let Some(turn) = turn.filter(|_| !self.adopted_notes.borrow().contains(&name)) else { continue };
            if let Some(alerts) = self.take(&name, turn).await? {
                self.tell(|| format!("adopts note {name}"));
                self.adopted_notes.borrow_mut().insert(name.clone());
                self.raise(alerts, vec![Note { name, is_confirmed: true }]);
            }
        }
        Ok(())
    }

    /// The alerts of another worker's note, if no other worker adopts it in this turn.
    async fn take(&self, name: &str, turn: u32) -> Result<Option<Vec<Alert>>, GaveUp> {
        let put = || {
            let name = name.to_owned();
            move |services: &mut Services, _| services.store.put_turn(name, turn)
        };
        if !self.retry(To::Store, put).await? {
            return Ok(None);
        }
        let get = || {
            let name = name.to_owned();
            move |services: &mut Services, _| services.store.notes.get(&name).cloned()
        };
        // If the note is gone, its worker has finished it.
        Ok(self.retry(To::Store, get).await?.as_deref().and_then(read_note))
    }
}
