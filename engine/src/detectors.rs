//! The detecting stage: plain threads that show every tick to the detectors as it arrives. Each judges its own symbols.
//!
//! It owns the loop around [`ticklake_core::detect`]. Every thread gets every batch, in the order in which a decoder
//! hands them on. So it sees the ticks of a symbol in the order in which they are decoded. The threads share nothing
//! per tick. [`crate::message`] owns how a batch collects their alerts.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use ticklake_core::batch::Decoded;
use ticklake_core::detect::Detectors;
use ticklake_core::tick::Dictionaries;

use crate::bounds::Bounds;
use crate::clock::now_us;
use crate::message::{DecodedBatch, HeldMessage};
use crate::quiet::Quiet;
use crate::stats::Stats;

/// How often the detectors are told that nothing comes.
const IDLE: Duration = Duration::from_secs(1);

/// Judges batches until no more come or nobody takes them. While the queues are empty, it tells the detectors the time.
pub(crate) fn run(
    mut detectors: Detectors,
    names: &Dictionaries,
    batches: &Receiver<Arc<DecodedBatch>>,
    to_build: &Sender<Decoded<HeldMessage>>,
    (quiet, stats, bounds): (&Quiet, &Stats, &Bounds),
) {
    let mut raised = Vec::new();
    loop {
        let (before, watched) = (counts(&detectors), detectors.watched());
        let next = batches.recv_timeout(IDLE);
        match &next {
            Ok(batch) => detectors.observe(batch.ticks(), names, Some(batch.decoded_at_us), &mut raised),
            Err(RecvTimeoutError::Timeout) if quiet.is_quiet() => detectors.idle(now_us(), &mut raised),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => detectors.finish(Some(now_us()), &mut raised),
        }
        stats.alerts_raised.add(raised.len());
        let counters = [&stats.alerts_suppressed, &stats.ticks_unwatched, &stats.ticks_skipped, &stats.ticks_late];
        for (counter, (after, before)) in counters.into_iter().zip(counts(&detectors).into_iter().zip(before)) {
            counter.add((after - before) as usize);
        }
        bounds.note_names(names);
        bounds.note_watched(watched, detectors.watched());
        let is_last = matches!(next, Err(RecvTimeoutError::Disconnected));
        // This thread sends the batch on before it looks at the next one, whose last detector may be another. So
        // batches of one decoder arrive in its order.
        let decoded = match next {
            Ok(batch) => DecodedBatch::leave(batch, &mut raised),
            Err(_) if raised.is_empty() => None,
            Err(_) => Some(Decoded { alerts: std::mem::take(&mut raised), ..Decoded::default() }),
        };
        if decoded.is_some_and(|decoded| to_build.send(decoded).is_err()) || is_last {
            return;
        }
    }
}

/// The counts of the detectors: anomalies that did not become alerts, and ticks that were not judged in full.
fn counts(detectors: &Detectors) -> [u64; 4] {
    [detectors.suppressed(), detectors.unwatched(), detectors.skipped(), detectors.late()]
}
