//! The encoding stage: one thread that turns epochs into Parquet files while the next epoch fills.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use ticklake_core::encode::{EncodeError, Encoder};
use ticklake_core::lake::EpochId;
use tokio::sync::mpsc;

use crate::builder::BuiltEpoch;
use crate::message::EncodedEpoch;

/// Encodes epochs of `worker` until no more come or nobody takes them.
pub(crate) fn run(
    mut encoder: Encoder,
    worker: &Arc<str>,
    epochs: &Receiver<BuiltEpoch>,
    to_commit: &mpsc::Sender<EncodedEpoch>,
) -> Result<(), EncodeError> {
    for (epoch, alerts) in epochs {
        let id = EpochId::new(worker.clone(), epoch.number);
        let files = encoder.encode(&id, &epoch.contents)?;
        let encoded = EncodedEpoch {
            id,
            reason: epoch.reason,
            ticks: epoch.contents.ticks.len(),
            rejects: epoch.contents.rejects.len(),
            files,
            messages: epoch.contents.messages,
            alerts,
        };
        if to_commit.blocking_send(encoded).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
