//! The detecting stage: plain threads that show every tick to the detectors as it arrives, each those of its own symbols.
//!
//! It owns the loop around [`ticklake_core::detect`]. Every thread is given every batch, in the order in which its decoder
//! hands them on, so the ticks of a symbol are seen in the order in which they are decoded. Nothing is shared per tick:
//! how a batch collects the alerts of all threads is in [`crate::message`].

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use ticklake_core::detect::Detectors;
use ticklake_core::epoch::Decoded;
use ticklake_core::names::Names;

use crate::message::{DecodedBatch, HeldMessage};
use crate::stats::Stats;

/// Judges batches until no more come or nobody takes them.
pub(crate) fn run(
    mut detectors: Detectors,
    symbols: &Names,
    batches: &Receiver<Arc<DecodedBatch>>,
    to_build: &Sender<Decoded<HeldMessage>>,
    stats: &Stats,
) {
    let mut alerts = Vec::new();
    for batch in batches {
        let (suppressed, unwatched) = (detectors.suppressed(), detectors.unwatched());
        detectors.observe(batch.ticks(), symbols, batch.decoded_at_us, &mut alerts);
        stats.alerts_raised.add(alerts.len());
        stats.alerts_suppressed.add((detectors.suppressed() - suppressed) as usize);
        stats.ticks_unwatched.add((detectors.unwatched() - unwatched) as usize);
        // Sent on before the next batch is looked at, whose last detector may be another: so batches of one decoder arrive
        // in its order.
        if let Some(decoded) = DecodedBatch::leave(batch, &mut alerts)
            && to_build.send(decoded).is_err()
        {
            return;
        }
    }
}
