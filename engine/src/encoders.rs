//! The encoding stage: threads that turn epochs into Parquet files while the next ones fill.
//!
//! Epochs do not wait for each other here: a later one may be finished first. The committer restores the order.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use rustc_hash::FxHashSet;
use ticklake_core::batch::Contents;
use ticklake_core::encode::{EncodeError, Encoder};
use ticklake_core::lake::EpochId;
use ticklake_core::tick::TickBatch;
use tokio::sync::mpsc;

use crate::clock::Moment;
use crate::message::{BuiltEpoch, EncodedEpoch};
use crate::stats::{Stage, Stats};

/// Encodes epochs of `worker` until no more come or nobody takes them. The columns of an epoch go back through
/// `spare_columns`, to be filled again. Messages that are not ours any more are left out, with all their rows: they
/// have been delivered again, or will be.
pub(crate) fn run(
    mut encoder: Encoder,
    worker: &Arc<str>,
    epochs: &Receiver<BuiltEpoch>,
    to_commit: &mpsc::Sender<EncodedEpoch>,
    spare_columns: &Sender<Vec<TickBatch>>,
    stats: &Stats,
) -> Result<(), EncodeError> {
    for (mut epoch, alerts) in epochs {
        let id = EpochId::new(worker.clone(), epoch.number);
        let (started, now) = (Instant::now(), Moment::now());
        let lost = epoch.contents.retain(|message| message.lease.is_ours(now), |message| message.yielded);
        stats.messages_lapsed.add(lost.len());
        let (reason, rows) = (epoch.reason, epoch.contents.rows());
        let Contents { ticks, rejects, messages, alerts: mut raised } = epoch.contents;
        // An alert that was raised and also carried over counts once.
        let mut ids = FxHashSet::default();
        raised.retain(|alert| ids.insert(alert.id.clone()));
        encoder.sort(&ticks);
        // The columns go back as soon as they can be used again, while the caches still have them. If spare ones wait
        // already, these are dropped.
        let _ = spare_columns.try_send(ticks);
        let files = encoder.encode_sorted(&id, &raised, &rejects)?;
        stats.took(Stage::Encode, started.elapsed());
        let encoded = EncodedEpoch { id, reason, ticks: rows, rejects: rejects.len(), files, messages, raised, alerts };
        if to_commit.blocking_send(encoded).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
