//! Decides when files may be stored. This is the only place that says so. It does *not* decide which epoch stores an
//! alert: [`claim`](super::claim) does.

/// Whether the files of an epoch may be stored, once its entry was answered: only if all of its messages are still
/// ours.
///
/// If another worker receives one of the messages later, it lists the ledger later, and finds the entry. If an epoch
/// missed this moment, others may not know of it.
#[must_use]
pub fn may_store(all_ours: bool) -> bool {
    all_ours
}
