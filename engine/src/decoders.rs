//! The decoding stage: plain threads that turn bodies into columns.
//!
//! It owns the loop around [`ticklake_core::decode`] and how much is handed on at once. It corrects the budget to the
//! size of the decoded form.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, SendError, Sender};
use ticklake_core::batch::{Decoded, Yield};
use ticklake_core::commit::{Layout, MessageId};
use ticklake_core::decode::{Decoder, Message, Reject};
use ticklake_core::epoch::GATHERED_ROWS_MAX;
use ticklake_core::tick::TickBatch;

use crate::budget::Permit;
use crate::message::{DecodedBatch, Delivered, HeldMessage, ReceivedBatch};
use crate::meter::Meters;
use crate::ports::ReceivedMessage;
use crate::stop::Stop;

/// How long to wait before looking again whether the budget has room for more columns.
const EXCEEDED_WAIT: Duration = Duration::from_millis(5);

/// How many ticks are handed on together, if so many wait. To decode them takes about a millisecond; a hand-over costs
/// next to nothing compared with that. The thread does not wait for ticks that have not come.
const TICKS_TOGETHER: usize = 4_096;

/// Few ticks take fewer bytes of text.
pub(crate) const TICK_TEXT_MIN: usize = 64;

/// If a batch has more ticks than this, its bytes per tick are a good estimate for the next batch.
const MANY_TICKS: usize = 1_000;

/// The state of one of the decoding threads, and its neighbours.
pub(crate) struct Decoding {
    pub(crate) decoder: Decoder,
    /// About how many bytes of text a tick takes, at least.
    pub(crate) tick_text: usize,
    pub(crate) batches: Receiver<ReceivedBatch>,
    /// One for each detector: every detector sees every batch.
    pub(crate) to_detect: Vec<Sender<Arc<DecodedBatch>>>,
    /// Takes batches that the detectors have judged before.
    pub(crate) to_build: Sender<Decoded<HeldMessage>>,
    /// Emptied batches, which still have their capacity.
    pub(crate) spare: Receiver<Decoded<HeldMessage>>,
    pub(crate) meters: Meters,
    pub(crate) stop: Stop,
}

impl Decoding {
    /// Decodes batches until no more come or nobody takes them.
    #[expect(clippy::disallowed_methods, reason = "nothing may be decoded before an epoch is stored")]
    pub(crate) fn run(mut self) {
        let mut next = None;
        while let Ok(first) = next.take().map_or_else(|| self.batches.recv(), Ok) {
            // Decoded batches flow on and are committed or given back, so the excess ends without this thread. If a
            // later stage has failed, nothing flows any more, so the wait ends.
            while self.meters.budget.is_exceeded() && !self.stop.has_failed() {
                std::thread::sleep(EXCEEDED_WAIT);
            }
            let mut decoded = self.spare.try_recv().unwrap_or_default();
            let delivery = first.delivery;
            self.decode(first, &mut decoded);
            while decoded.ticks.len() < TICKS_TOGETHER && !self.meters.budget.is_exceeded() {
                let Ok(waiting) = self.batches.try_recv() else { break };
                // Batches that have to be looked up in the ledger do not hold up the others.
                if waiting.delivery != delivery {
                    next = Some(waiting);
                    break;
                }
                self.decode(waiting, &mut decoded);
            }
            self.meters.stats.ticks_decoded.add(decoded.ticks.len());
            self.meters.stats.ticks_rejected.add(&decoded.rejects);
            self.meters.stats.fields_unreadable.add(self.decoder.take_unreadable());
            self.decoder
                .take_left_out(|field, value, count| self.meters.stats.events_left_out.add(field, value, count));
            self.meters.rejects.note(decoded.ticks.len(), &decoded.rejects, decoded.left_out.len());
            let is_taken = match delivery {
                Delivered::First | Delivered::Again => self.hand_on(decoded).is_ok(),
                Delivered::Seen => self.to_build.send(decoded).is_ok(),
            };
            if !is_taken {
                return;
            }
        }
    }

    fn decode(&mut self, batch: ReceivedBatch, decoded: &mut Decoded<HeldMessage>) {
        let first = decoded.messages.len();
        let (ticks_before, queue) = (decoded.ticks.len(), batch.queue);
        let mut bytes = Vec::with_capacity(batch.messages.len());
        // Columns that grow leave holes of every size in memory, too small for columns of the full size. Columns with
        // much more room than ticks keep memory that nothing uses.
        let text: usize = batch.messages.iter().map(|(message, ..)| message.body.len()).sum();
        decoded.ticks.reserve((text / self.tick_text).min(GATHERED_ROWS_MAX));
        for (message, lease, permit) in batch.messages {
            let (ticks, rejects) = (decoded.ticks.len(), decoded.rejects.len());
            let guests = decoded.ticks.guests.len();
            let body = Message {
                id: &message.id,
                body: &message.body,
                content_encoding: message.content_encoding.as_deref(),
                sent_at_us: message.sent_at_us,
                received_at_us: batch.received_at_us,
            };
            self.decoder.decode(&body, &mut decoded.ticks, &mut decoded.rejects);
            let rejected = &decoded.rejects[rejects..];
            let left_out = decoded.left_out.len();
            decoded.left_out.extend(self.decoder.left_out());
            let left_out = &decoded.left_out[left_out..];
            let yielded =
                Yield { ticks: decoded.ticks.len() - ticks, rejects: rejected.len(), left_out: left_out.len() };
            let layout = Layout::of(&decoded.ticks.ts_us[ticks..], rejected, left_out);
            let rejects: usize = rejected.iter().map(Reject::bytes).sum();
            let guests: usize = decoded.ticks.guests[guests..].iter().map(|hold| hold.bytes()).sum();
            let rows = yielded.ticks * TickBatch::ROW_BYTES + rejects + guests;
            let id = lease.message_id().unwrap_or_else(|| MessageId::new(&message.id));
            // The whole body may have to go to quarantine. A copy does not keep the rest of its receive in memory.
            let unresolved = (batch.delivery != Delivered::First)
                .then(|| Box::new(ReceivedMessage { body: Bytes::copy_from_slice(&message.body), ..message }));
            bytes.push(rows + unresolved.as_ref().map_or(0, |message| message.body.len()));
            decoded.messages.push(HeldMessage { queue, lease, permit, yielded, id, layout, unresolved });
        }
        let ticks = decoded.ticks.len() - ticks_before;
        self.meters.queues[queue].count(decoded.messages.len() - first, ticks);
        if ticks > MANY_TICKS {
            // A little less than measured, because the next batch may have shorter ticks.
            self.tick_text = (text / (ticks + ticks / 50)).max(TICK_TEXT_MIN / 2);
        }
        Permit::resize(decoded.messages[first..].iter_mut().map(|message| &mut message.permit).zip(bytes));
    }

    /// Gives the batch to every detector. Returns an error if one is gone.
    fn hand_on(&self, decoded: Decoded<HeldMessage>) -> Result<(), SendError<Arc<DecodedBatch>>> {
        let batch = Arc::new(DecodedBatch::new(decoded, self.to_detect.len()));
        let Some((last, others)) = self.to_detect.split_last() else { return Ok(()) };
        for detector in others {
            detector.send(batch.clone())?;
        }
        // The last detector gets this thread's own reference. If one stayed here, no detector would be the last to let
        // go.
        last.send(batch)
    }
}
