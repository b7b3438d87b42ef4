//! The stages of a message's life inside the engine: received, decoded, seen by the detectors, in a closed epoch, in an
//! encoded epoch. Each has a type of its own. Only [`crate::committer`] deletes messages, after their epoch is stored.

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
    /// Some were delivered before, and all are looked up in the ledger. They stay together, so they keep their order.
    Again,
    /// This worker had all of them before. They are looked up in the ledger; the detectors have judged their ticks.
    Seen,
}

/// A message whose body was decoded: what is left is the right to delete it, and its share of the budget.
#[derive(Debug)]
pub struct HeldMessage {
    /// The queue that it is from, by its position.
    pub queue: usize,
    /// For how long it is ours, and the handle to delete or release it by.
    pub lease: Lease,
    /// Its share of the budget. It is returned when the message is dropped.
    pub permit: Permit,
    /// How many ticks, rejects and left-out events it gave.
    pub yielded: Yield,
    /// Its id.
    pub id: MessageId,
    /// Which of its elements belong to which partition.
    pub layout: Layout,
    /// The message as it was received, if it has to be looked up in the ledger before its rows may be stored.
    pub unresolved: Option<Box<ReceivedMessage>>,
}

/// A decoded batch that all detectors look at, at the same time. The last one to finish takes it on.
#[derive(Debug)]
pub(crate) struct DecodedBatch {
    contents: Decoded<HeldMessage>,
    /// When it was decoded, microseconds since the Unix epoch. It is the same for all detectors, so that they agree
    /// which ticks are from the future.
    pub(crate) decoded_at_us: i64,
    /// Detectors that have not seen it yet.
    unseen: AtomicUsize,
    /// Only a detector that has raised an alert locks it.
    raised: Mutex<Vec<Raised>>,
}

impl DecodedBatch {
    /// A batch that has to be seen by as many detectors as `detectors` says.
    pub(crate) fn new(contents: Decoded<HeldMessage>, detectors: usize) -> Self {
        Self { contents, decoded_at_us: now_us(), unseen: AtomicUsize::new(detectors), raised: Mutex::default() }
    }

    /// What the detectors look at.
    pub(crate) fn ticks(&self) -> &TickBatch {
        &self.contents.ticks
    }

    /// Moves the alerts that one detector has `raised` into the batch. Returns the batch if all other detectors have
    /// done so before, otherwise `None`. The last detector sorts the alerts, so that their order does not depend on who
    /// finished first.
    ///
    /// It also returns `None` if a detector broke down and dropped the batch unseen: to delete its messages would lose
    /// alerts. The messages come back when their visibility times out.
    pub(crate) fn leave(batch: Arc<Self>, raised: &mut Vec<Raised>) -> Option<Decoded<HeldMessage>> {
        if !raised.is_empty() {
            batch.raised.lock().unwrap_or_else(PoisonError::into_inner).append(raised);
        }
        // Taking the batch out of the Arc makes the others' writes visible here, also those of this count.
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

/// When the first tick was received that made an alert of the batch certain. If the clock made all alerts certain, when
/// the first tick of the batch was received.
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
    /// The notes that they have already, if any.
    pub notes: Vec<Note>,
    /// Whether no more come: then open summaries are published now.
    pub is_last: bool,
    /// Tells the stage that waits for them what became of them.
    pub done: oneshot::Sender<Published>,
}

/// A note in the store. If it is not finished, it stays there, and another worker adopts it.
#[derive(Debug)]
pub struct Note {
    pub(crate) name: String,
    /// Whether the store has confirmed the note. Without an answer it may be there, and is removed like any other.
    pub(crate) is_confirmed: bool,
}

/// What the publisher did with a batch of alerts.
#[derive(Debug)]
pub struct Published {
    /// Whether every one was published, summed up, or refused for good.
    pub is_out: bool,
    /// Their notes, if any.
    pub notes: Vec<Note>,
}

/// Resolves when the publisher is done with a batch of alerts.
pub type AlertsDone = oneshot::Receiver<Published>;

/// Alerts that another epoch has to store: their epoch could not, or they had none.
#[derive(Debug)]
pub struct CarriedAlerts {
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// Their notes, if any.
    pub notes: Vec<Note>,
    /// Whether they are published already.
    pub is_out: bool,
}

/// An epoch on its way to the encoders, and what tells that its alerts are published.
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
    /// Its alerts, each with an id of its own. They become rows of its files if no other epoch has claimed them.
    pub raised: Vec<Alert>,
    /// These resolve when the publisher is done with them.
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
        assert_eq!(received(&[None]), Some(98), "if the clock made all of them certain, from the first tick");
        assert_eq!(received_at_us(&Decoded::default()), None);
    }
}
