//! Decides which messages and entries may be deleted. This is the only place that says so.

use super::{Commit, MessageState, Phase};

impl Commit {
    /// The messages that may be deleted now and are not deleted yet. All their rows are in the lake, and their alerts
    /// are out.
    ///
    /// One of these messages may not be ours any more. Its rows are in the lake all the same. SQS may ignore such a
    /// delete, but it does no harm.
    pub fn to_delete(&self) -> impl Iterator<Item = usize> {
        let may = self.phase == Phase::Deleting;
        let held = self.messages.iter().enumerate().filter(|(_, state)| **state == MessageState::Held);
        held.filter(move |_| may).map(|(message, _)| message)
    }

    /// Whether the entry may be removed. Either nobody will receive one of its messages again, or none of its files
    /// will ever exist.
    #[must_use]
    pub fn may_remove_entry(&self) -> bool {
        let all_deleted = self.messages.iter().all(|state| *state == MessageState::Deleted);
        self.phase == Phase::Aborted || self.phase == Phase::Deleting && all_deleted
    }
}
