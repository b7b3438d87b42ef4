//! The stages of a message's life inside the engine, each a type of its own: received, decoded, in an encoded epoch, in
//! a stored epoch. Only the last kind can be deleted; [`crate::committer`] is the one place that makes it.

use ticklake_core::encode::DataFile;
use ticklake_core::epoch::RollReason;
use ticklake_core::lake::EpochId;
use tokio::sync::oneshot;

use crate::budget::Permit;
use crate::ports::{Receipt, ReceivedMessage};

/// The messages of one receive, each with its share of the budget.
#[derive(Debug)]
pub struct ReceivedBatch {
    /// The messages.
    pub messages: Vec<(ReceivedMessage, Permit)>,
    /// When the receive was answered, microseconds since the Unix epoch, UTC.
    pub received_at_us: i64,
}

/// A message whose body was decoded: what is left is the right to delete it, and its share of the budget.
#[derive(Debug)]
pub struct HeldMessage {
    /// The handle to delete or release it by.
    pub receipt: Receipt,
    /// Dropped, and so returned, together with the message.
    pub permit: Permit,
}

/// Resolves when the publisher is done with a batch of alerts: `true` if every one was published or refused for good.
pub type AlertsDone = oneshot::Receiver<bool>;

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
    /// Its alerts' publishing.
    pub alerts: Vec<AlertsDone>,
}
