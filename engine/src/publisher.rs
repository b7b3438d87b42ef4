//! The publishing stage: alerts to the topic, as soon as they are raised.
//!
//! It owns what a subscriber sees. [`ticklake_core::outbox`] owns how many alerts that are. Alerts are noted in the
//! store before they are published, so that another worker publishes and stores them if this one dies. If the store
//! does not answer within a second, they go out without a note.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use ticklake_core::alert::Alert;
use ticklake_core::outbox::Outbox;
use tokio::sync::mpsc;
use tracing::warn;

use crate::clock::now_us;
use crate::listeners::Listeners;
use crate::message::{AlertBatch, CarriedAlerts, Note, Published};
use crate::notes::Notes;
use crate::ports::{Notification, Notifier};
use crate::retry::{GaveUp, settle};
use crate::stats::Stats;
use crate::stop::Stop;

/// Publish batches under way at once.
const BATCHES: usize = 4;
/// Batches of alerts that are published together, when as many wait.
const TOGETHER_MAX: usize = 64;
/// How often the stage looks whether a summary is due.
const TICK: Duration = Duration::from_secs(1);

/// How long alerts wait for their note.
const NOTE_WAIT: Duration = Duration::from_secs(1);

/// The stage's neighbours.
pub(crate) struct Publisher {
    pub(crate) notifier: Option<Arc<dyn Notifier>>,
    /// The notes of alerts; `None` if delivery is at least once.
    pub(crate) notes: Option<Arc<Notes>>,
    /// Takes summaries of alerts, which no epoch has yet.
    pub(crate) carried: Sender<CarriedAlerts>,
    pub(crate) alerts: mpsc::Receiver<AlertBatch>,
    pub(crate) listeners: Listeners,
    pub(crate) outbox: Outbox,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

impl Publisher {
    /// Publishes until no more alerts come. Without a topic, every batch is done at once: its alerts go to the lake.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            let more = tokio::time::timeout(TICK, self.alerts.recv_many(&mut waiting, TOGETHER_MAX)).await;
            // Alerts that have notes already were adopted or come again. Listeners hear of them, too.
            for batch in &waiting {
                self.listeners.tell(&batch.alerts);
            }
            let outcomes = match self.notifier.clone() {
                Some(notifier) => {
                    self.note(&mut waiting).await;
                    self.publish(&notifier, &waiting, more == Ok(0) || waiting.iter().any(|batch| batch.is_last)).await
                }
                None => vec![true; waiting.len()],
            };
            for (batch, is_out) in waiting.drain(..).zip(outcomes) {
                // If the epoch was given up, nobody listens, and another worker adopts the notes.
                let _ = batch.done.send(Published { is_out, notes: batch.notes });
            }
            if more == Ok(0) {
                return;
            }
        }
    }

    /// Notes the batches that are not noted yet.
    async fn note(&self, batches: &mut [AlertBatch]) {
        let put =
            batches.iter_mut().filter(|batch| batch.notes.is_empty() && !batch.alerts.is_empty()).map(|batch| async {
                batch.notes = self.noted(&batch.alerts).await;
            });
        join_all(put).await;
    }

    /// Notes `alerts`. If the store does not confirm the note in time, their epoch notes them later, if necessary.
    async fn noted(&self, alerts: &[Alert]) -> Vec<Note> {
        let Some(notes) = &self.notes else { return Vec::new() };
        match notes.put(alerts, NOTE_WAIT).await {
            Ok(note) => {
                if !note.is_confirmed {
                    let count = alerts.len();
                    warn!(alerts = count, "the store was slow to take a note of alerts, publishing them without it");
                }
                return vec![note];
            }
            Err(GaveUp::Stop(error)) => self.stop.fail(error),
            Err(GaveUp::TimeIsUp) => {}
        }
        Vec::new()
    }

    /// The alerts to publish that are in no batch, because they sum others up, with their note.
    async fn summaries(&self, publish: &[Alert], batches: &[AlertBatch]) -> Option<CarriedAlerts> {
        let known: HashSet<&str> =
            batches.iter().flat_map(|batch| &batch.alerts).map(|alert| alert.id.as_str()).collect();
        let alerts: Vec<Alert> = publish.iter().filter(|alert| !known.contains(alert.id.as_str())).cloned().collect();
        if alerts.is_empty() {
            return None;
        }
        let notes = self.noted(&alerts).await;
        Some(CarriedAlerts { alerts, notes, is_out: true })
    }

    /// Publishes the batches. Returns for each whether all its alerts were published, summed up or refused for good.
    async fn publish(&mut self, notifier: &Arc<dyn Notifier>, batches: &[AlertBatch], is_last: bool) -> Vec<bool> {
        let taken_us = now_us();
        let (mut entries, mut publish) = (Vec::new(), Vec::new());
        let held_back = self.outbox.held_back();
        // Summaries that no batch waits for go out with the first batch, or alone.
        if is_last {
            self.outbox.finish(taken_us, &mut publish);
        } else {
            self.outbox.tick(taken_us, &mut publish);
        }
        entries.extend(publish.iter().map(|alert| (0, notification(alert))));
        for (at, batch) in batches.iter().enumerate() {
            let before = publish.len();
            batch.alerts.iter().for_each(|alert| self.outbox.take(alert, taken_us, &mut publish));
            entries.extend(publish[before..].iter().map(|alert| (at, notification(alert))));
        }
        let summaries = self.summaries(&publish, batches).await;
        self.stats.alerts_held_back.add((self.outbox.held_back() - held_back) as usize);
        if entries.is_empty() {
            return vec![true; batches.len()];
        }
        let until = || self.stop.commit_by().boxed();
        let publish = |entries: &[(usize, Notification)]| {
            let entries: Vec<_> = entries.iter().map(|(_, notification)| notification.clone()).collect();
            async move { notifier.publish(&entries).await }.boxed()
        };
        let settled = settle(entries, BATCHES, until, publish).await;
        self.stats.alerts_published.add(settled.done);
        self.stats.alerts_refused.add(settled.refused.len());
        for ((_, notification), code) in &settled.refused {
            warn!(subject = notification.subject, code, "alert refused by the topic, it is only in the lake");
        }
        let now_us = now_us();
        let mut outcomes = vec![true; batches.len()];
        for (at, _) in &settled.undecided {
            outcomes.iter_mut().skip(*at).take(1).for_each(|outcome| *outcome = false);
        }
        for (batch, _) in batches.iter().zip(&outcomes).filter(|(_, published)| **published) {
            self.stats.record_alert_latency(now_us - batch.received_at_us, batch.alerts.len());
        }
        if let Some(summaries) = summaries.filter(|_| settled.undecided.is_empty()) {
            // If the builder is gone, the run is ending, and another worker adopts the note.
            let _ = self.carried.send(summaries);
        }
        if let Some(error) = settled.error {
            self.stop.fail(error);
        }
        outcomes
    }
}

fn notification(alert: &Alert) -> Notification {
    let attribute = |name, value: &str| (name, value.to_owned());
    Notification {
        id: alert.id.clone(),
        subject: alert.subject(),
        body: alert.to_json(),
        email: alert.email(),
        sms: alert.sms(),
        attributes: vec![
            attribute("symbol", &alert.symbol),
            attribute("kind", alert.kind.as_str()),
            attribute("state", alert.state.as_str()),
            attribute("severity", alert.severity.as_str()),
            attribute("direction", alert.direction.as_str()),
        ],
    }
}
