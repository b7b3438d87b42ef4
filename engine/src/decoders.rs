//! The decoding stage: plain threads that turn bodies into columns.
//!
//! It owns the loop around [`ticklake_core::decode`], and keeps the budget true to what the decoded form weighs.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use ticklake_core::decode::{Decoder, Message, Reject};
use ticklake_core::epoch::Decoded;
use ticklake_core::tick::TickBatch;

use crate::budget::Budget;
use crate::message::{HeldMessage, ReceivedBatch};
use crate::stats::Stats;
use crate::stop::Stop;

/// How long to wait before looking again whether the budget has room for more columns.
const EXCEEDED_WAIT: Duration = Duration::from_millis(5);

/// Decodes batches until no more come or nobody takes them.
pub(crate) fn run(
    mut decoder: Decoder,
    batches: &Receiver<ReceivedBatch>,
    to_build: &Sender<Decoded<HeldMessage>>,
    budget: &Budget,
    stop: &Stop,
    stats: &Stats,
) {
    for batch in batches {
        // What is decoded already flows on and is committed or given back, so the excess ends without this thread; unless a
        // stage behind this one has failed, and nothing flows any more.
        while budget.is_exceeded() && !stop.has_failed() {
            std::thread::sleep(EXCEEDED_WAIT);
        }
        let decoded = decode(&mut decoder, batch);
        stats.ticks_decoded.add(decoded.ticks.len());
        stats.ticks_rejected.add(decoded.rejects.len());
        if to_build.send(decoded).is_err() {
            return;
        }
    }
}

fn decode(decoder: &mut Decoder, batch: ReceivedBatch) -> Decoded<HeldMessage> {
    let mut decoded = Decoded::default();
    for (message, mut permit) in batch.messages {
        let (ticks, rejects) = (decoded.ticks.len(), decoded.rejects.len());
        let body = Message {
            id: &message.id,
            body: &message.body,
            content_encoding: message.content_encoding.as_deref(),
            sent_at_us: message.sent_at_us,
            received_at_us: batch.received_at_us,
        };
        decoder.decode(&body, &mut decoded.ticks, &mut decoded.rejects);
        let columns = (decoded.ticks.len() - ticks) * TickBatch::ROW_BYTES;
        permit.resize(columns + decoded.rejects[rejects..].iter().map(Reject::bytes).sum::<usize>());
        decoded.messages.push(HeldMessage { receipt: message.receipt, permit });
    }
    decoded
}
