//! The commit protocol: every message's rows are in the lake exactly once, whatever crashes, stalls or is redelivered.
//!
//! It rests on three facts. S3 is strongly consistent. A PUT with `If-None-Match: *` succeeds for one writer only. SQS
//! raises a message's receive count when it delivers it again.
//!
//! 1. An epoch is *announced*: its ledger entry names its messages and its files. When that is answered, and every
//!    message is still ours, its files may be stored; otherwise it is *aborted*, and none ever will be.
//! 2. Each file is stored under its own name, unless there is something. What is there is our own earlier attempt, or a
//!    *void*: another worker has taken messages of this epoch over. Messages that may have rows in a voided file are
//!    forgotten.
//! 3. When every file is decided and the alerts are out, the messages that are left are deleted.
//! 4. The entry is removed if every delete was answered while its message was ours; otherwise it stays.
//!
//! A worker knows what it holds ([`Holdings`]): a copy of a held message is left alone, whatever its receive count
//! says. A message that was received before, by the queue's count or by the worker's own knowledge, is *resolved*
//! before its rows join an epoch: of each file that an entry names for it, the worker finds out whether it exists. If
//! it does not, the worker puts a void in its place, which succeeds, or shows what was there first. The elements of the
//! message that stored files hold are dropped, and the rest is taken ([`remaining`]).
//!
//! Alerts do not depend on messages: they are noted, published, claimed and stored by rules of their own
//! ([`AlertCommit`], [`Claim`]).
//!
//! Why it holds: two workers hold the same message only when the first one's lease is over. If its entry was answered
//! before that, the second one's listing, which comes later, shows it, and each of its files is a file or a void, once
//! and for all. If it was not, the first one aborts.
//!
//! Nothing here does anything: the shell says what has happened, and is told what may happen next. Which files may be
//! stored is decided in [`store`], what may be deleted in [`delete`]. A model runs this same code through every
//! interleaving of small cases (`tests/protocol`). What it does *not* promise: a copy of a message that SQS hands to
//! another worker while the first one holds it, or after it was deleted and its entry is gone.

mod holdings;
mod lease;

mod elements;
mod entry;
mod layout;
mod resolve;
mod takeover;

mod contradiction;
mod delete;
mod own;
mod store;

mod alerts;
mod claim;
mod left;
mod note;

pub use alerts::AlertCommit;
pub use claim::{Claim, ClaimStep, Claimant, read_claim};
pub use contradiction::CONTRADICTIONS_MAX;
pub use elements::Elements;
pub use entry::{Entry, EntryError, MessageId};
pub use holdings::{Arrival, Holdings, is_first_delivery, may_take};
pub use layout::{Layout, kept_rows};
pub use lease::Deadline;
pub use left::{left_body, left_due_ms, left_name, read_left};
pub use note::{NoteName, note_body, note_name, read_note};
pub use own::{OwnLook, OwnPut, OwnPutStep};
pub use resolve::{Decision, Fate, Look, Step};
pub use store::may_store;
pub use takeover::{Remaining, Shape, remaining};

/// Where the commit of one epoch has got to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Commit {
    phase: Phase,
    files: Vec<FileState>,
    messages: Vec<MessageState>,
}

/// What the epoch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Its entry.
    Announcing,
    /// Its files.
    Storing,
    /// Its alerts.
    Publishing,
    /// The deletes of its messages.
    Deleting,
    /// Nothing: none of its files will ever be stored.
    Aborted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum FileState {
    Open,
    Stored,
    Voided,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum MessageState {
    Held,
    /// Another worker may have taken it over: it is given back, never deleted.
    Forgotten,
    /// Its delete was answered while it was ours.
    Deleted,
    /// Its delete was refused, or answered too late to be believed.
    Uncertain,
}

impl Commit {
    /// An epoch of so many messages and files. Without files nothing has to be announced, and nothing stored.
    #[must_use]
    pub fn new(messages: usize, files: usize) -> Self {
        let phase = if files == 0 { Phase::Publishing } else { Phase::Announcing };
        Self { phase, files: vec![FileState::Open; files], messages: vec![MessageState::Held; messages] }
    }

    /// What it waits for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The entry's PUT was answered. `is_ours` says of each message whether it still is, now.
    pub fn announced(&mut self, is_ours: impl Fn(usize) -> bool) {
        if self.phase == Phase::Announcing {
            let all = (0..self.messages.len()).all(is_ours);
            self.phase = if may_store(all) { Phase::Storing } else { Phase::Aborted };
        }
    }

    /// The epoch is given up before its entry was answered.
    pub fn abort(&mut self) {
        if self.phase == Phase::Announcing {
            self.phase = Phase::Aborted;
        }
    }

    /// The files that may be stored now and are not yet.
    pub fn to_store(&self) -> impl Iterator<Item = usize> {
        let may = self.phase == Phase::Storing;
        self.files.iter().enumerate().filter(move |(_, state)| may && **state == FileState::Open).map(|(file, _)| file)
    }

    /// File `file` is in its place: this epoch's, with all of its rows.
    pub fn stored(&mut self, file: usize) {
        self.decide(file, FileState::Stored);
    }

    /// There is a void in the place of `file`. `holds` says of each message whether it has rows in that file.
    pub fn voided(&mut self, file: usize, holds: impl Fn(usize) -> bool) {
        self.decide(file, FileState::Voided);
        for (message, state) in self.messages.iter_mut().enumerate() {
            if holds(message) {
                *state = MessageState::Forgotten;
            }
        }
    }

    fn decide(&mut self, file: usize, state: FileState) {
        if self.phase == Phase::Storing {
            self.files[file] = state;
            if !self.files.contains(&FileState::Open) {
                self.phase = Phase::Publishing;
            }
        }
    }

    /// The alerts are out.
    pub fn published(&mut self) {
        if self.phase == Phase::Publishing {
            self.phase = Phase::Deleting;
        }
    }

    /// The delete of `message` was answered with success; `in_time` if it still was ours then, and was not handed out
    /// again meanwhile: else SQS may have ignored the delete.
    pub fn deleted(&mut self, message: usize, in_time: bool) {
        let state = if in_time { MessageState::Deleted } else { MessageState::Uncertain };
        self.settle(message, state);
    }

    /// The delete of `message` was refused for good, or is given up.
    pub fn not_deleted(&mut self, message: usize) {
        self.settle(message, MessageState::Uncertain);
    }

    fn settle(&mut self, message: usize, state: MessageState) {
        if self.phase == Phase::Deleting && self.messages[message] == MessageState::Held {
            self.messages[message] = state;
        }
    }

    /// The messages that are not this epoch's to delete: to be given back, as far as they still are ours at all.
    pub fn to_give_back(&self) -> impl Iterator<Item = usize> {
        let aborted = self.phase == Phase::Aborted;
        let is_to = move |state: &MessageState| aborted || *state == MessageState::Forgotten;
        self.messages.iter().enumerate().filter(move |(_, state)| is_to(state)).map(|(message, _)| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An epoch of two files and three messages: 0 in the first file, 1 in the second, 2 in both.
    fn announced() -> Commit {
        let mut commit = Commit::new(3, 2);
        assert_eq!(commit.to_store().count(), 0, "nothing before the entry");
        commit.announced(|_| true);
        commit
    }

    fn list(of: impl Iterator<Item = usize>) -> Vec<usize> {
        of.collect()
    }

    #[test]
    fn messages_are_deletable_after_every_file_and_the_alerts() {
        let mut commit = announced();
        assert_eq!(list(commit.to_store()), [0, 1]);
        commit.stored(1);
        assert_eq!((list(commit.to_store()), list(commit.to_delete())), (vec![0], vec![]));
        commit.published();
        assert_eq!(commit.phase(), Phase::Storing, "a file is missing");
        commit.stored(0);
        assert_eq!(list(commit.to_delete()), [0; 0], "the alerts are not out");
        commit.published();
        assert_eq!(list(commit.to_delete()), [0, 1, 2]);
        (0..3).for_each(|message| commit.deleted(message, true));
        assert!(commit.may_remove_entry());
    }

    #[test]
    fn one_lapsed_message_aborts_the_epoch_for_good() {
        let mut commit = Commit::new(2, 1);
        commit.announced(|message| message != 1);
        assert_eq!(
            (commit.phase(), list(commit.to_store()), list(commit.to_delete())),
            (Phase::Aborted, vec![], vec![])
        );
        commit.announced(|_| true);
        commit.stored(0);
        commit.published();
        assert_eq!(commit.phase(), Phase::Aborted);
        assert_eq!(list(commit.to_give_back()), [0, 1]);
        assert!(commit.may_remove_entry(), "it says nothing that will ever be true");
    }

    #[test]
    fn messages_of_a_voided_file_are_given_back_and_the_others_deleted() {
        let mut commit = announced();
        commit.stored(1);
        commit.voided(0, |message| message != 1);
        commit.published();
        assert_eq!((list(commit.to_delete()), list(commit.to_give_back())), (vec![1], vec![0, 2]));
        commit.deleted(1, true);
        commit.deleted(0, true);
        assert!(!commit.may_remove_entry(), "the others come again, and need it");
    }

    #[test]
    fn entry_stays_unless_every_delete_was_answered_in_time() {
        for uncertain in [|commit: &mut Commit| commit.deleted(2, false), |commit: &mut Commit| commit.not_deleted(2)] {
            let mut commit = announced();
            (0..2).for_each(|file| commit.stored(file));
            commit.published();
            (0..2).for_each(|message| commit.deleted(message, true));
            assert!(!commit.may_remove_entry(), "one is open");
            uncertain(&mut commit);
            commit.deleted(2, true);
            assert!(!commit.may_remove_entry());
        }
    }

    #[test]
    fn epoch_without_files_only_deletes() {
        let mut commit = Commit::new(1, 0);
        commit.published();
        assert_eq!(list(commit.to_delete()), [0]);
    }
}
