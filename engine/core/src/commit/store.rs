//! Which files, and which rows of messages, may be stored. This is the only place that says so; whose an alert is to store says
//! [`claim`](super::claim).

use super::Fate;

/// Whether the files of an epoch may be stored, once its entry was answered: only if all of its messages still are ours.
///
/// Whoever is given one of them later lists the ledger later, and finds the entry. Of an epoch that missed this moment nobody
/// may know.
#[must_use]
pub fn may_store(all_ours: bool) -> bool {
    all_ours
}

/// Whether the rows of a redelivered message in one partition are ours to store, given what became of every file that they
/// may be in: only if each of them is a void, and so will never be.
#[must_use]
pub fn is_ours_to_store(fates: impl IntoIterator<Item = Fate>) -> bool {
    fates.into_iter().all(|fate| fate == Fate::Voided)
}
