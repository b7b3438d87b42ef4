//! When files may be stored. This is the only place that says so. Which epoch stores an alert is decided in
//! [`claim`](super::claim).

/// Whether the files of an epoch may be stored, once its entry was answered: only if all of its messages still are
/// ours.
///
/// A worker that is given one of them later lists the ledger later, and finds the entry. Of an epoch that missed this
/// moment nobody may know.
#[must_use]
pub fn may_store(all_ours: bool) -> bool {
    all_ours
}
