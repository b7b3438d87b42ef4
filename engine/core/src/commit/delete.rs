//! Which messages and entries may be deleted. This is the only place that says so.

use super::{Commit, MessageState, Phase};

impl Commit {
    /// The messages that may be deleted now and are not yet: those whose rows are all in the lake, and whose alerts are
    /// out.
    ///
    /// A message that is not ours any more may be among them: its rows are in the lake all the same, and SQS may ignore
    /// the delete, but does no harm.
    pub fn to_delete(&self) -> impl Iterator<Item = usize> {
        let may = self.phase == Phase::Deleting;
        let held = self.messages.iter().enumerate().filter(|(_, state)| **state == MessageState::Held);
        held.filter(move |_| may).map(|(message, _)| message)
    }

    /// Whether the entry may be removed: nobody will be given a message again that it names, or it names what will
    /// never be.
    #[must_use]
    pub fn may_remove_entry(&self) -> bool {
        let all_deleted = self.messages.iter().all(|state| *state == MessageState::Deleted);
        self.phase == Phase::Aborted || self.phase == Phase::Deleting && all_deleted
    }
}
