//! The decoding stage: plain threads that turn bodies into columns.
//!
//! It owns the loop around [`ticklake_core::decode`], how much is handed on at once, and keeps the budget true to what the
//! decoded form weighs.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender};
use ticklake_core::decode::{Decoder, Message, Reject};
use ticklake_core::epoch::{Decoded, Yield};
use ticklake_core::tick::TickBatch;

use crate::budget::Budget;
use crate::message::{DecodedBatch, HeldMessage, ReceivedBatch};
use crate::stats::Stats;
use crate::stop::Stop;

/// How long to wait before looking again whether the budget has room for more columns.
const EXCEEDED_WAIT: Duration = Duration::from_millis(5);

/// Ticks that are handed on together, where as many wait: what a hand-over costs is then nothing beside decoding them, which
/// takes about a millisecond. Nobody waits for ticks that have not come.
const TICKS_TOGETHER: usize = 4_096;

/// One of several threads' state and its neighbours.
pub(crate) struct Decoding {
    pub(crate) decoder: Decoder,
    pub(crate) batches: Receiver<ReceivedBatch>,
    /// One for each detector: every detector sees every batch.
    pub(crate) to_detect: Vec<Sender<Arc<DecodedBatch>>>,
    /// Batches that were gathered, with nothing in them but capacity.
    pub(crate) spare: Receiver<Decoded<HeldMessage>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

impl Decoding {
    /// Decodes batches until no more come or nobody takes them.
    pub(crate) fn run(mut self) {
        while let Ok(first) = self.batches.recv() {
            // What is decoded already flows on and is committed or given back, so the excess ends without this thread;
            // unless a stage behind this one has failed, and nothing flows any more.
            while self.budget.is_exceeded() && !self.stop.has_failed() {
                std::thread::sleep(EXCEEDED_WAIT);
            }
            let mut decoded = self.spare.try_recv().unwrap_or_default();
            self.decode(first, &mut decoded);
            while decoded.ticks.len() < TICKS_TOGETHER && !self.budget.is_exceeded() {
                let Ok(waiting) = self.batches.try_recv() else { break };
                self.decode(waiting, &mut decoded);
            }
            self.stats.ticks_decoded.add(decoded.ticks.len());
            self.stats.ticks_rejected.add(decoded.rejects.len());
            if self.hand_on(decoded).is_err() {
                return;
            }
        }
    }

    fn decode(&mut self, batch: ReceivedBatch, decoded: &mut Decoded<HeldMessage>) {
        let first = decoded.messages.len();
        let mut bytes = Vec::with_capacity(batch.messages.len());
        for (message, lease, permit) in batch.messages {
            let (ticks, rejects) = (decoded.ticks.len(), decoded.rejects.len());
            let body = Message {
                id: &message.id,
                body: &message.body,
                content_encoding: message.content_encoding.as_deref(),
                sent_at_us: message.sent_at_us,
                received_at_us: batch.received_at_us,
            };
            self.decoder.decode(&body, &mut decoded.ticks, &mut decoded.rejects);
            let rejected = &decoded.rejects[rejects..];
            let yielded = Yield { ticks: decoded.ticks.len() - ticks, rejects: rejected.len() };
            bytes.push(yielded.ticks * TickBatch::ROW_BYTES + rejected.iter().map(Reject::bytes).sum::<usize>());
            decoded.messages.push(HeldMessage { lease, permit, yielded });
        }
        let permits = decoded.messages[first..].iter_mut().map(|message| &mut message.permit);
        self.budget.resize(permits.zip(bytes));
    }

    /// Gives the batch to every detector; an error if one is gone.
    fn hand_on(&self, decoded: Decoded<HeldMessage>) -> Result<(), SendError<Arc<DecodedBatch>>> {
        let batch = Arc::new(DecodedBatch::new(decoded, self.to_detect.len()));
        let Some((last, others)) = self.to_detect.split_last() else { return Ok(()) };
        for detector in others {
            detector.send(batch.clone())?;
        }
        // The last is given this thread's own reference: with one left behind here, no detector would be the last to let go.
        last.send(batch)
    }
}
