//! The resolving stage: what was delivered before is looked up in the ledger before its rows join an epoch.
//!
//! Rows that another epoch has stored are dropped, and alerts that another worker may not have got round to are taken over. The
//! rules are those of [`ticklake_core::commit`]; this file applies them to batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::Sender;
use ticklake_core::alert::Alert;
use ticklake_core::commit::{Fate, is_ours_to_store};
use ticklake_core::epoch::Decoded;
use ticklake_core::lake::Partition;
use ticklake_schemas::Table;
use tokio::sync::mpsc;
use tracing::info;

use crate::ledger::{Ledger, Named};
use crate::message::HeldMessage;
use crate::ports::PortError;
use crate::retry::GaveUp;
use crate::stats::Stats;
use crate::stop::Stop;

/// Batches that are looked up in the ledger at once, when many wait.
const TOGETHER: usize = 64;

/// The stage's neighbours.
pub(crate) struct Resolver {
    pub(crate) ledger: Arc<Ledger>,
    /// Batches of redelivered messages. Unbounded, for the budget bounds what is held.
    pub(crate) batches: mpsc::UnboundedReceiver<Decoded<HeldMessage>>,
    /// Takes them back to the builder.
    pub(crate) resolved: Sender<Decoded<HeldMessage>>,
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

    /// They come back by their visibility.
    fn lapse(&self, messages: usize, gave_up: GaveUp) {
        self.stats.messages_lapsed.add(messages);
        if let GaveUp::Stop(error) = gave_up {
            self.stop.fail(error);
        }
    }

    /// Drops what is in the lake already; `entries` are those that name each message of the batch.
    async fn resolve(&self, batch: &mut Decoded<HeldMessage>, entries: &[Vec<Named>]) -> Result<(), GaveUp> {
        let partitions = batch.partitions(|message| message.yielded);
        let mut dropped: BTreeMap<(usize, Partition), bool> = BTreeMap::new();
        for (index, (entries, partitions)) in entries.iter().zip(&partitions).enumerate() {
            for named in entries {
                // Also those that this decoding has no rows for, as that of the other worker may have had.
                for partition in named.entry.files_of(named.at) {
                    self.ledger.fate(&named.entry.epoch, partition).await?;
                }
            }
            for &partition in partitions {
                let fates = self.fates(entries, partition).await?;
                dropped.insert((index, partition), !is_ours_to_store(fates));
            }
            let taken = self.take_alerts(&mut batch.messages[index], entries).await?;
            batch.alerts.retain(|own| !taken.iter().any(|taken| taken.id == own.id));
            batch.alerts.extend(taken);
        }
        let before = (batch.ticks.len(), batch.rejects.len());
        batch.retain_rows(
            |message| message.yielded,
            |index, partition| !dropped.get(&(index, partition)).copied().unwrap_or(false),
            |message, left| message.yielded = left,
        );
        let (ticks, rejects) = (before.0 - batch.ticks.len(), before.1 - batch.rejects.len());
        self.stats.rows_found_stored.add(ticks + rejects);
        info!(
            messages = batch.messages.len(),
            ticks, rejects, "redelivered messages resolved; these rows are in the lake already"
        );
        Ok(())
    }

    /// What became of the files that may hold a message's rows of `partition`.
    async fn fates(&self, entries: &[Named], partition: Partition) -> Result<Vec<Fate>, GaveUp> {
        let mut fates = Vec::new();
        for Named { entry, .. } in
            entries.iter().filter(|named| named.entry.files_of(named.at).any(|file| file == partition))
        {
            fates.push(self.ledger.fate(&entry.epoch, partition).await?);
        }
        Ok(fates)
    }

    /// Settles which alerts of a message become rows of this epoch; returned are those that are to be published because their own
    /// worker may have died before it did, which carry the ids that they had.
    async fn take_alerts(&self, message: &mut HeldMessage, entries: &[Named]) -> Result<Vec<Alert>, GaveUp> {
        let mut kept = std::mem::take(&mut message.alerts);
        let mut taken = Vec::new();
        for Named { entry, at } in entries {
            for (_, json) in entry.alerts.iter().filter(|(of, _)| of == at) {
                let alert = Alert::from_json(json).ok_or_else(|| {
                    let text = format!("the entry of epoch {} has an alert that this version cannot read", entry.epoch);
                    GaveUp::Stop(PortError::Stop { action: "read the ledger", text })
                })?;
                // Raised here too it is the same one, with the same id.
                kept.retain(|own| own.id != alert.id);
                let partition = Partition::of(Table::Alerts, alert.ts_us);
                if self.ledger.fate(&entry.epoch, partition).await? == Fate::Voided {
                    kept.push(alert.clone());
                }
                taken.push(alert);
            }
        }
        message.alerts = kept;
        Ok(taken)
    }
}
