//! The stages of a message's life inside the engine, each a type of its own: received, decoded, seen by the detectors,
//! in a closed epoch, in an encoded epoch, in a stored epoch. Only the last kind can be deleted; [`crate::committer`]
//! is the one place that makes it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ticklake_core::alert::Alert;
use ticklake_core::batch::{Decoded, Yield};
use ticklake_core::commit::{Layout, MessageId};
use ticklake_core::detect::Raised;
use ticklake_core::encode::DataFile;
use ticklake_core::epoch::{Epoch, RollReason};
use ticklake_core::lake::EpochId;
use ticklake_core::tick::TickBatch;
use tokio::sync::oneshot;

use crate::budget::Permit;
use crate::clock::now_us;
use crate::lease::Lease;
use crate::ports::ReceivedMessage;

/// The messages of one receive, each with its share of the budget.
#[derive(Debug)]
pub struct ReceivedBatch {
    /// The messages.
    pub messages: Vec<(ReceivedMessage, Lease, Permit)>,
    /// The queue that they are from, by its position.
    pub queue: usize,
    /// What is known of earlier deliveries.
    pub delivery: Delivered,
    /// When the receive was answered, microseconds since the Unix epoch, UTC.
    pub received_at_us: i64,
}

/// What is known of earlier deliveries of the messages of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// There was none.
    First,
    /// Some were delivered before, and all are looked up in the ledger. They stay together, and so in their order.
    Again,
    /// This worker had all of them before. They are looked up in the ledger, and the detectors have judged their ticks.
    Seen,
}

/// A message whose body was decoded: what is left is the right to delete it, and its share of the budget.
#[derive(Debug)]
pub struct HeldMessage {
    /// The queue that it is from, by its position.
    pub queue: usize,
    /// For how long it is ours, and the handle to delete or release it by.
    pub lease: Lease,
    /// Dropped, and so returned, together with the message.
    pub permit: Permit,
    /// What it gave.
    pub yielded: Yield,
    /// Its id.
    pub id: MessageId,
    /// Which of its elements belong to which partition.
    pub layout: Layout,
    /// The message as it was received, if it has to be looked up in the ledger before its rows may be stored.
    pub unresolved: Option<Box<ReceivedMessage>>,
}

/// A decoded batch that the detectors look at, all of them at the same time. Whichever is the last takes it on.
#[derive(Debug)]
pub(crate) struct DecodedBatch {
    contents: Decoded<HeldMessage>,
    /// The same for all detectors, microseconds since the Unix epoch: what a tick from the future is must not depend on
    /// who looks.
    pub(crate) decoded_at_us: i64,
    /// Detectors that have not seen it yet.
    unseen: AtomicUsize,
    /// Locked by a detector that has raised an alert, and by no other.
    raised: Mutex<Vec<Raised>>,
}

impl DecodedBatch {
    /// A batch that as many detectors as `detectors` have to see.
    pub(crate) fn new(contents: Decoded<HeldMessage>, detectors: usize) -> Self {
        Self { contents, decoded_at_us: now_us(), unseen: AtomicUsize::new(detectors), raised: Mutex::default() }
    }

    /// What the detectors look at.
    pub(crate) fn ticks(&self) -> &TickBatch {
        &self.contents.ticks
    }

    /// Leaves with the batch what one detector has `raised`, which is left empty. `None` unless all others have done so
    /// before. The last one puts them into an order that does not depend on which detector finished first.
    ///
    /// Nor is there a batch if a detector broke down and let go of it unseen: stored without the alerts that it should
    /// have raised, its messages would be deleted, and the alerts lost. They come back by their visibility instead.
    pub(crate) fn leave(batch: Arc<Self>, raised: &mut Vec<Raised>) -> Option<Decoded<HeldMessage>> {
        if !raised.is_empty() {
            batch.raised.lock().unwrap_or_else(PoisonError::into_inner).append(raised);
        }
        // Taking the batch out of the Arc is what makes the others' writes visible here, this count included.
        batch.unseen.fetch_sub(1, Ordering::Relaxed);
        let Self { mut contents, unseen, raised, .. } = Arc::into_inner(batch)?;
        if unseen.into_inner() > 0 {
            return None;
        }
        contents.alerts = raised.into_inner().unwrap_or_else(PoisonError::into_inner);
        Raised::sort(&mut contents.alerts);
        Some(contents)
    }
}

/// When the ticks were received that made alerts of the batch certain, or the first tick of it, if all alerts are the
/// clock's.
pub(crate) fn received_at_us(batch: &Decoded<HeldMessage>) -> Option<i64> {
    let received = &batch.ticks.received_at_us;
    let credited = batch.alerts.iter().filter_map(|raised| received.get(raised.row? as usize)).min();
    credited.or_else(|| received.iter().min()).copied()
}

/// Alerts on their way to the publisher.
#[derive(Debug)]
pub struct AlertBatch {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// When the first of the messages that made them certain was received, microseconds since the Unix epoch, UTC.
    pub received_at_us: i64,
    /// Where they are noted already, if they are.
    pub notes: Vec<Note>,
    /// Whether no more come: what sums alerts up is to be said now.
    pub is_last: bool,
    /// Tells whoever waits for them what became of them.
    pub done: oneshot::Sender<Published>,
}

/// A note in the store. One that is not finished stays there, and another worker adopts it.
#[derive(Debug)]
pub struct Note {
    pub(crate) name: String,
    /// Whether the store has answered that it is there. Without an answer it may be, and is removed like any other.
    pub(crate) is_confirmed: bool,
}

/// What the publisher did with a batch of alerts.
#[derive(Debug)]
pub struct Published {
    /// Whether every one was published, summed up, or refused for good.
    pub is_out: bool,
    /// Where they are noted, if they are.
    pub notes: Vec<Note>,
}

/// Resolves when the publisher is done with a batch of alerts.
pub type AlertsDone = oneshot::Receiver<Published>;

/// Alerts that another epoch has to store: the one that had them could not, or there was none.
#[derive(Debug)]
pub struct CarriedAlerts {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// Where they are noted, if they are.
    pub notes: Vec<Note>,
    /// Whether they are published already.
    pub is_out: bool,
}

/// An epoch on its way to the encoders, with its alerts' publishing.
pub(crate) type BuiltEpoch = (Epoch<HeldMessage>, Vec<AlertsDone>);

/// An epoch as files, ready to be stored.
#[derive(Debug)]
pub struct EncodedEpoch {
    /// Its name.
    pub id: EpochId,
    /// Why it was closed.
    pub reason: RollReason,
    /// Good ticks in it.
    pub ticks: usize,
    /// Bad ticks and bodies in it.
    pub rejects: usize,
    /// Its files.
    pub files: Vec<DataFile>,
    /// Its messages.
    pub messages: Vec<HeldMessage>,
    /// Its alerts, of which no two have the same id. They become rows of its files if no other epoch has claimed them.
    pub raised: Vec<Alert>,
    /// Their publishing.
    pub alerts: Vec<AlertsDone>,
}

#[cfg(test)]
mod tests {
    use ticklake_core::alert::{Direction, Kind, Severity, State};
    use ticklake_core::names::NameId;
    use ticklake_core::tick::Tick;

    use super::*;

    fn alert(symbol: &str, ts_us: i64) -> Alert {
        Alert {
            id: Alert::id_of("spike", symbol, ts_us),
            event: Alert::id_of("spike", symbol, ts_us),
            kind: Kind::Spike,
            state: State::Open,
            severity: Severity::Info,
            symbol: Arc::from(symbol),
            direction: Direction::Up,
            ts_us,
            detected_at_us: 0,
            observed: 2.0,
            expected: 1.0,
            scale: 0.1,
            score: 10.0,
            threshold: 6.0,
            window: "50 ticks".into(),
            suppressed: 0,
            ticks: Vec::new(),
        }
    }

    fn raised(symbol: &str, ts_us: i64, row: Option<u32>) -> Raised {
        Raised { alert: alert(symbol, ts_us), row }
    }

    /// Ticks that were received at 100, 99, 98 and so on.
    fn batch(ticks: i64) -> Decoded<HeldMessage> {
        let mut batch = Decoded::default();
        for at in 0..ticks {
            batch.ticks.push(Tick {
                symbol: NameId::NONE,
                ts_us: 0,
                price: 1.0,
                volume: 1.0,
                seq: None,
                venue: NameId::NONE,
                conditions: NameId::NONE,
                received_at_us: 100 - at,
            });
        }
        batch
    }

    fn leave_all(contents: Decoded<HeldMessage>, detectors: &[&[Raised]]) -> Decoded<HeldMessage> {
        let batch = Arc::new(DecodedBatch::new(contents, detectors.len()));
        let batches = vec![batch; detectors.len()];
        let mut left = None;
        for (batch, raised) in batches.into_iter().zip(detectors) {
            assert!(left.is_none(), "not before all have seen it");
            left = DecodedBatch::leave(batch, &mut raised.to_vec());
        }
        left.unwrap()
    }

    #[test]
    fn last_detector_takes_the_batch_on_with_the_alerts_of_all_in_one_order() {
        let (b, a, c) =
            ([raised("B", 1, Some(0)), raised("B", 9, None)], [raised("A", 2, None)], [raised("C", 1, Some(0))]);
        for order in [[&b[..], &a, &c], [&c, &a, &b]] {
            let left: Vec<Alert> = leave_all(batch(1), &order).alerts.into_iter().map(|raised| raised.alert).collect();
            let expected = [("A", 2), ("B", 1), ("B", 9), ("C", 1)].map(|(symbol, ts_us)| alert(symbol, ts_us));
            assert_eq!(left, expected, "by row and symbol, and those of a symbol in their own order");
        }
    }

    #[test]
    fn batch_that_a_broken_detector_has_not_seen_goes_no_further() {
        let batch = Arc::new(DecodedBatch::new(Decoded::default(), 2));
        drop(batch.clone());
        assert!(DecodedBatch::leave(batch, &mut Vec::new()).is_none());
    }

    #[test]
    fn latency_of_alerts_counts_from_the_first_tick_that_made_one_certain() {
        let received = |rows: &[Option<u32>]| {
            let all: Vec<Raised> = rows.iter().map(|row| raised("A", 1, *row)).collect();
            received_at_us(&leave_all(batch(3), &[&all]))
        };
        assert_eq!(received(&[Some(1), None]), Some(99));
        assert_eq!(received(&[Some(0), Some(1)]), Some(99));
        assert_eq!(received(&[None]), Some(98), "where all alerts are the clock's, from the first tick of the batch");
        assert_eq!(received_at_us(&Decoded::default()), None);
    }
}
