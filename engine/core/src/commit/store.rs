//! When files may be stored. This is the only place that says so; whose an alert is to store says
//! [`claim`](super::claim).

/// Whether the files of an epoch may be stored, once its entry was answered: only if all of its messages still are
/// ours.
///
/// Whoever is given one of them later lists the ledger later, and finds the entry. Of an epoch that missed this moment
/// nobody may know.
#[must_use]
pub fn may_store(all_ours: bool) -> bool {
    all_ours
}
