//! The commit protocol: every message's rows are in the lake exactly once, whatever crashes, stalls or is redelivered.
//!
//! It rests on three facts. S3 is strongly consistent. A PUT with `If-None-Match: *` succeeds for one writer only. SQS
//! raises a message's receive count when it delivers it again.
//!
//! 1. An epoch is *announced*: its ledger entry names its messages and files. If all messages are still ours when the
//!    store answers, the files may be stored. Otherwise the epoch is *aborted*, and none of its files ever will be.
//! 2. Each file is stored under its own name, unless something is already there. That is either our own earlier
//!    attempt, or a *void*: another worker has taken messages of this epoch over. Messages that may have rows in a
//!    voided file are forgotten.
//! 3. When every file is decided and the alerts are out, the remaining messages are deleted.
//! 4. The entry is removed if every delete was answered while its message was ours. Otherwise it stays.
//!
//! A worker knows what it holds ([`Holdings`]). It leaves a copy of a held message alone, whatever the copy's receive
//! count says. If a message was received before, by the queue's count or by the worker's own knowledge, the worker
//! *resolves* it before its rows join an epoch. For each file that an entry names for the message, the worker finds out
//! whether it exists. If it does not, the worker puts a void in its place. Either that succeeds, or it shows what was
//! there first. The worker drops the elements that stored files hold, and takes the rest ([`remaining`]).
//!
//! Alerts do not depend on messages. They have rules of their own, by which they are noted, published, claimed and
//! stored ([`AlertCommit`], [`Claim`]).
//!
//! Why this works: two workers hold the same message only if the first one's lease is over. If the first one's entry
//! was answered before that, the second one finds the entry, because it lists the ledger later. Each file of the entry
//! is then a file or a void for good. If the entry was answered too late, the first one aborts.
//!
//! This module does no I/O: the shell reports what has happened, and is told what may happen next. [`store`] decides
//! what may be stored, [`delete`] what may be deleted. A model runs this code through every interleaving of small cases
//! (`tests/protocol`). Two copies of a message are *not* covered: one that SQS hands to another worker while the first
//! one holds the message, and one that comes after the message was deleted and its entry is gone.

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

/// The state of the commit of one epoch.
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
    /// Another worker may have taken it over. It is given back, and never deleted.
    Forgotten,
    /// Its delete was answered while it was ours.
    Deleted,
    /// Its delete was refused, or the answer came too late to be trusted.
    Uncertain,
}

impl Commit {
    /// The commit of an epoch with this many messages and files. Without files, nothing must be announced or stored.
    #[must_use]
    pub fn new(messages: usize, files: usize) -> Self {
        let phase = if files == 0 { Phase::Publishing } else { Phase::Announcing };
        Self { phase, files: vec![FileState::Open; files], messages: vec![MessageState::Held; messages] }
    }

    /// What the epoch waits for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The PUT of the entry was answered. `is_ours` says for each message whether it is still ours now.
    pub fn announced(&mut self, is_ours: impl Fn(usize) -> bool) {
        if self.phase == Phase::Announcing {
            let all = (0..self.messages.len()).all(is_ours);
            self.phase = if may_store(all) { Phase::Storing } else { Phase::Aborted };
        }
    }

    /// The epoch is given up before the PUT of its entry was answered.
    pub fn abort(&mut self) {
        if self.phase == Phase::Announcing {
            self.phase = Phase::Aborted;
        }
    }

    /// The files that may be stored now and are not stored yet.
    pub fn to_store(&self) -> impl Iterator<Item = usize> {
        let may = self.phase == Phase::Storing;
        self.files.iter().enumerate().filter(move |(_, state)| may && **state == FileState::Open).map(|(file, _)| file)
    }

    /// File `file` is stored in its place, with all rows of this epoch.
    pub fn stored(&mut self, file: usize) {
        self.decide(file, FileState::Stored);
    }

    /// There is a void in the place of `file`. `holds` says for each message whether it has rows in that file.
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

    /// The delete of `message` succeeded. `in_time` says that the message was still ours then, and was not handed out
    /// again meanwhile. Otherwise SQS may have ignored the delete.
    pub fn deleted(&mut self, message: usize, in_time: bool) {
        let state = if in_time { MessageState::Deleted } else { MessageState::Uncertain };
        self.settle(message, state);
    }

    /// The delete of `message` was refused for good, or the worker has given it up.
    pub fn not_deleted(&mut self, message: usize) {
        self.settle(message, MessageState::Uncertain);
    }

    fn settle(&mut self, message: usize, state: MessageState) {
        if self.phase == Phase::Deleting && self.messages[message] == MessageState::Held {
            self.messages[message] = state;
        }
    }

    /// The messages that this epoch must not delete. The worker gives them back if they are still ours.
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
        assert_eq!(commit.to_store().count(), 0, "the entry was not answered yet");
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
        assert!(commit.may_remove_entry(), "none of its files will ever exist");
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
        assert!(!commit.may_remove_entry(), "the other messages come again, and need the entry");
    }

    #[test]
    fn entry_stays_unless_every_delete_was_answered_in_time() {
        for uncertain in [|commit: &mut Commit| commit.deleted(2, false), |commit: &mut Commit| commit.not_deleted(2)] {
            let mut commit = announced();
            (0..2).for_each(|file| commit.stored(file));
            commit.published();
            (0..2).for_each(|message| commit.deleted(message, true));
            assert!(!commit.may_remove_entry(), "one delete is not answered yet");
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
