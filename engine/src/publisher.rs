//! The publishing stage: alerts to the topic, as soon as they are raised.
//!
//! It owns what a subscriber sees. An epoch's messages are not deleted before its alerts are out, so an alert whose
//! worker dies is raised again, with the same id, by whoever receives its ticks next.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ticklake_core::alert::Alert;
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

/// The stage's neighbours.
pub(crate) struct Publisher {
    pub(crate) notifier: Option<Arc<dyn Notifier>>,
    pub(crate) alerts: mpsc::Receiver<AlertBatch>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

impl Publisher {
    /// Publishes until no more alerts come. Without a topic every batch is done at once: its alerts go to the lake.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.alerts.recv_many(&mut waiting, TOGETHER_MAX).await > 0 {
            let outcomes = match &self.notifier {
                Some(notifier) => self.publish(notifier, &waiting).await,
                None => vec![true; waiting.len()],
            };
            for (batch, outcome) in waiting.drain(..).zip(outcomes) {
                // The epoch that waits for this may have been given up; then nobody listens.
                let _ = batch.done.send(outcome);
            }
        }
    }

    /// For each batch, whether all its alerts were published or refused for good.
    async fn publish(&self, notifier: &Arc<dyn Notifier>, batches: &[AlertBatch]) -> Vec<bool> {
        let numbered = batches.iter().enumerate();
        let entries = numbered.flat_map(|(at, batch)| batch.alerts.iter().map(move |alert| (at, notification(alert))));
        let until = || self.stop.commit_by().boxed();
        let publish = |entries: &[(usize, Notification)]| {
            let entries: Vec<_> = entries.iter().map(|(_, notification)| notification.clone()).collect();
            async move { notifier.publish(&entries).await }.boxed()
        };
        let settled = settle(entries.collect(), BATCHES, until, publish).await;
        self.stats.alerts_published.add(settled.done);
        self.stats.alerts_refused.add(settled.refused.len());
        for ((_, notification), code) in &settled.refused {
            warn!(subject = notification.subject, code, "alert refused by the topic, it is only in the lake");
        }
        let now_us = now_us();
        let mut outcomes = vec![true; batches.len()];
        for (at, _) in &settled.undecided {
            outcomes[*at] = false;
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
    let (kind, direction) = (alert.kind.as_str(), alert.direction.as_str());
    Notification {
        id: alert.id.clone(),
        // SNS takes at most 100 characters of ASCII; a symbol is at most 64 by default.
        subject: format!("{} {kind} {direction} on {}", alert.severity.as_str(), alert.symbol)
            .chars()
            .take(100)
            .collect(),
        body: alert.to_json(),
        attributes: vec![
            ("symbol", alert.symbol.to_string()),
            ("kind", kind.to_owned()),
            ("severity", alert.severity.as_str().to_owned()),
            ("direction", direction.to_owned()),
        ],
    }
}
