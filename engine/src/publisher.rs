//! The publishing stage: alerts to the topic, as soon as they are raised.
//!
//! It owns what a subscriber sees; how many alerts that are is in [`ticklake_core::outbox`]. An epoch's messages are not deleted before its alerts are out, so an alert whose
//! worker dies is raised again, with the same id, by whoever receives its ticks next.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ticklake_core::alert::Alert;
use ticklake_core::outbox::Outbox;
use tokio::sync::mpsc;
use tracing::warn;

use crate::clock::now_us;
use crate::message::AlertBatch;
use crate::ports::{Notification, Notifier};
use crate::retry::settle;
use crate::stats::Stats;
use crate::stop::Stop;

/// Publish batches under way at once.
const BATCHES: usize = 4;
/// Batches of alerts that are published together, when as many wait.
const TOGETHER_MAX: usize = 64;
/// How often it is looked whether what was summed up is over.
const TICK: Duration = Duration::from_secs(1);

/// The stage's neighbours.
pub(crate) struct Publisher {
    pub(crate) notifier: Option<Arc<dyn Notifier>>,
    pub(crate) alerts: mpsc::Receiver<AlertBatch>,
    pub(crate) outbox: Outbox,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

impl Publisher {
    /// Publishes until no more alerts come. Without a topic every batch is done at once: its alerts go to the lake.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            let more = tokio::time::timeout(TICK, self.alerts.recv_many(&mut waiting, TOGETHER_MAX)).await;
            let outcomes = match self.notifier.clone() {
                Some(notifier) => self.publish(&notifier, &waiting, more == Ok(0)).await,
                None => vec![true; waiting.len()],
            };
            for (batch, outcome) in waiting.drain(..).zip(outcomes) {
                // The epoch that waits for this may have been given up; then nobody listens.
                let _ = batch.done.send(outcome);
            }
            if more == Ok(0) {
                return;
            }
        }
    }

    /// For each batch, whether all its alerts were published, summed up or refused for good.
    async fn publish(&mut self, notifier: &Arc<dyn Notifier>, batches: &[AlertBatch], is_last: bool) -> Vec<bool> {
        let taken_us = now_us();
        let (mut entries, mut publish) = (Vec::new(), Vec::new());
        let held_back = self.outbox.held_back();
        // What no batch waits for any more goes out with the first one, or alone.
        if is_last {
            self.outbox.finish(taken_us, &mut publish);
        } else {
            self.outbox.tick(taken_us, &mut publish);
        }
        for (at, batch) in batches.iter().enumerate() {
            batch.alerts.iter().for_each(|alert| self.outbox.take(alert, taken_us, &mut publish));
            entries.extend(publish.drain(..).map(|alert| (at, notification(&alert))));
        }
        entries.extend(publish.drain(..).map(|alert| (0, notification(&alert))));
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
