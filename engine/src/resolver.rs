//! The resolving stage: it looks up redelivered messages in the ledger before their rows join an epoch.
//!
//! It drops elements of a message that another epoch has stored. [`ticklake_core::commit`] owns the rules. This file
//! asks the ledger for what the rules need, and applies them to batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::Sender;
use ticklake_core::alert::Alert;
use ticklake_core::batch::Decoded;
use ticklake_core::commit::{Fate, Remaining, Shape, remaining};
use ticklake_core::decode::{Reason, Reject};
use tokio::sync::mpsc;
use tracing::info;

use crate::clock::now_us;
use crate::ledger::{Ledger, Named};
use crate::message::{CarriedAlerts, HeldMessage};
use crate::ports::{PortError, ReceivedMessage};
use crate::retry::GaveUp;
use crate::stats::Stats;
use crate::stop::Stop;

/// Batches that are looked up in the ledger at once, when many wait.
const TOGETHER: usize = 64;

/// The stage's neighbours.
pub(crate) struct Resolver {
    pub(crate) ledger: Arc<Ledger>,
    /// Batches of redelivered messages. It is unbounded, because the budget bounds what is held.
    pub(crate) batches: mpsc::UnboundedReceiver<Decoded<HeldMessage>>,
    /// Takes them back to the builder.
    pub(crate) resolved: Sender<Decoded<HeldMessage>>,
    /// Takes the alerts in entries of the version before, which noted no alerts.
    pub(crate) carried: Sender<CarriedAlerts>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

impl Resolver {
    /// Resolves batches until no more come.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.batches.recv_many(&mut waiting, TOGETHER).await > 0 {
            let ids: Vec<_> = waiting.iter().flat_map(|batch| &batch.messages).map(|message| message.id).collect();
            let batches = waiting.drain(..);
            match self.ledger.naming(&ids).await {
                Ok(entries) => {
                    let mut entries = entries.into_iter();
                    for mut batch in batches {
                        let messages = batch.messages.len();
                        let own: Vec<_> = entries.by_ref().take(messages).collect();
                        match self.resolve(&mut batch, &own).await {
                            Ok(()) if self.resolved.send(batch).is_err() => return,
                            Ok(()) => {}
                            Err(gave_up) => self.lapse(messages, gave_up),
                        }
                    }
                }
                Err(gave_up) => self.lapse(ids.len(), gave_up),
            }
        }
    }

    /// Counts messages that come back when their visibility times out.
    fn lapse(&self, messages: usize, gave_up: GaveUp) {
        self.stats.messages_lapsed.add(messages);
        if let GaveUp::Stop(error) = gave_up {
            self.stop.fail(error);
        }
    }

    /// Drops what is in the lake already. `entries` has the entries that name each message of the batch.
    async fn resolve(&self, batch: &mut Decoded<HeldMessage>, entries: &[Vec<Named>]) -> Result<(), GaveUp> {
        let mut left = Vec::with_capacity(batch.messages.len());
        for (message, entries) in batch.messages.iter().zip(entries) {
            let mut earlier = Vec::with_capacity(entries.len());
            for named in entries {
                earlier.push(self.decided(named).await?);
                self.take_alerts(named)?;
            }
            left.push(remaining(message.layout.elements(), &earlier));
        }
        let before = (batch.ticks.len(), batch.rejects.len());
        let received_at_us = batch.ticks.received_at_us.first().copied().unwrap_or_else(now_us);
        batch.take_over(
            &left,
            |message| message.yielded,
            |message| in_doubt(message.unresolved.as_deref(), received_at_us),
            |message, yielded, layout| {
                // The body is not needed any more.
                (message.yielded, message.layout, message.unresolved) = (yielded, layout, None);
            },
        );
        let in_doubt = left.iter().filter(|left| **left == Remaining::InDoubt).count();
        let (ticks, rejects) =
            (before.0 - batch.ticks.len(), (before.1 + in_doubt).saturating_sub(batch.rejects.len()));
        self.stats.rows_found_stored.add(ticks + rejects);
        info!(
            messages = batch.messages.len(),
            ticks, rejects, in_doubt, "redelivered messages resolved; the rows counted here are not stored again"
        );
        Ok(())
    }

    /// What an entry says of a message, with the fate of each file. That includes files that this decoding has no rows
    /// for: the other worker's decoding may have had some.
    async fn decided(&self, Named { entry, at }: &Named) -> Result<Shape<Fate>, GaveUp> {
        let mut fates = BTreeMap::new();
        for partition in entry.files_of(*at) {
            fates.insert(partition, self.ledger.fate(&entry.epoch, partition).await?);
        }
        entry.shape_of(*at, |partition| fates.get(&partition).copied()).ok_or_else(|| {
            let text = format!("the entry of epoch {} names files that it does not list", entry.epoch);
            GaveUp::Stop(PortError::stop("read the ledger", text))
        })
    }

    /// Passes on the alerts of an entry of the version before. Its worker may have died before it published and stored
    /// them.
    fn take_alerts(&self, Named { entry, at }: &Named) -> Result<(), GaveUp> {
        let of_message = entry.alerts.iter().filter(|(of, _)| of == at);
        let alerts: Option<Vec<Alert>> = of_message.map(|(_, json)| Alert::from_json(json)).collect();
        let alerts = alerts.ok_or_else(|| {
            let text = format!("the entry of epoch {} has an alert that this version cannot read", entry.epoch);
            GaveUp::Stop(PortError::stop("read the ledger", text))
        })?;
        if !alerts.is_empty() {
            // If the builder is gone, the run is over, and the entry stays.
            let _ = self.carried.send(CarriedAlerts { alerts, notes: Vec::new(), is_out: false });
        }
        Ok(())
    }
}

/// The reject for a body if some of its elements are stored, and nobody can tell which are missing.
fn in_doubt(message: Option<&ReceivedMessage>, received_at_us: i64) -> Reject {
    let sent_at_us = message.and_then(|message| message.sent_at_us);
    Reject {
        message_id: message.map(|message| message.id.clone()).unwrap_or_default(),
        index: None,
        reason: Reason::DecodedDifferently,
        detail: "an earlier delivery of this body was decoded differently, and some of its ticks are stored: compare it with the lake"
            .to_owned(),
        body: message.map(|message| message.body.to_vec()).unwrap_or_default(),
        received_at_us,
        message_us: sent_at_us.unwrap_or(received_at_us),
    }
}
