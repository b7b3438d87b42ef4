//! The lease of a message: from its receipt until its visibility times out, it is ours and nobody else's.
//!
//! The deadline counts from before the receive was sent. An extension counts only if it was answered before the
//! deadline that it moves: later, SQS may have given the message to somebody else, and its answer does not say so. A
//! lease that is over stays over. [`ticklake_core::commit::Deadline`] owns this rule. [`crate::heartbeat`] owns when to
//! extend.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ticklake_core::commit::{Deadline, MessageId};

use crate::clock::Moment;
use crate::hold::Hold;
use crate::ports::Receipt;

/// SQS: "the maximum is 12 hours from the time that Amazon SQS receives the `ReceiveMessage` request".
pub(crate) const HELD_MAX: Duration = Duration::from_hours(12);

/// The right to one message, held by the stages. When it is dropped, it ends, for the heartbeat too.
#[derive(Debug)]
pub struct Lease {
    term: Arc<Term>,
}

/// What a lease and the heartbeat share.
#[derive(Debug)]
pub(crate) struct Term {
    receipt: Receipt,
    /// Makes the message known as held, if delivery is exactly once.
    hold: Option<Hold>,
    asked_at: Moment,
    deadline: Mutex<Deadline<Moment>>,
    /// Whether the lease was dropped.
    is_ended: AtomicBool,
}

impl Lease {
    /// The lease of a message that was asked for at `asked_at`, to be hidden for `visibility_timeout`.
    #[must_use]
    pub fn new(receipt: Receipt, asked_at: Moment, visibility_timeout: Duration) -> Self {
        let deadline = Mutex::new(Deadline::new(asked_at.after(visibility_timeout)));
        Self { term: Arc::new(Term { receipt, hold: None, asked_at, deadline, is_ended: AtomicBool::new(false) }) }
    }

    /// The same lease, but while it lasts the message is known as held.
    pub(crate) fn with(mut self, hold: Option<Hold>) -> Self {
        // A new lease shares its term with nobody yet.
        if let Some(term) = Arc::get_mut(&mut self.term) {
            term.hold = hold;
        }
        self
    }

    /// The message's id, if it is known as held.
    pub(crate) fn message_id(&self) -> Option<MessageId> {
        self.term.hold.as_ref().map(Hold::id)
    }

    /// The handle of the delivery.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.term.receipt
    }

    /// Whether the message is ours at `now`. Once it is not, it never is again.
    #[must_use]
    pub fn is_ours(&self, now: Moment) -> bool {
        self.term.deadline(now).is_some()
    }

    /// Ends the lease for the heartbeat: the message is not extended any more.
    pub(crate) fn end(&self) {
        self.term.is_ended.store(true, Ordering::Relaxed);
    }

    /// The part that the heartbeat shares.
    pub(crate) fn term(&self) -> Arc<Term> {
        self.term.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end();
        self.term.let_go();
    }
}

impl Term {
    pub(crate) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Lets the message go. Returns whether it was handed out again meanwhile: then SQS may ignore a delete by this
    /// receipt.
    pub(crate) fn let_go(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::let_go)
    }

    /// The message was released, and the release cannot arrive after `until`.
    pub(crate) fn released(&self, until: Moment) {
        if let Some(hold) = &self.hold {
            hold.released(until);
        }
    }

    /// Whether nobody holds the lease any more.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Relaxed)
    }

    /// The deadline, if the message is ours at `now`.
    pub(crate) fn deadline(&self, now: Moment) -> Option<Moment> {
        self.locked().look(|until| until.has_passed(now))
    }

    /// For how long the message may be hidden from `now` on: at most `wanted`, in whole seconds, as SQS requires.
    /// `None` if less than a second of its 12 hours is left.
    pub(crate) fn extension(&self, now: Moment, wanted: Duration) -> Option<Duration> {
        let seconds = self.asked_at.after(HELD_MAX).until(now).min(wanted).as_secs();
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// An extension by `extension`, asked for at `asked_at`, was answered at `answered_at`. Returns whether it counts.
    pub(crate) fn extend(&self, asked_at: Moment, answered_at: Moment, extension: Duration) -> bool {
        self.locked().extend(asked_at.after(extension), |until| until.has_passed(answered_at))
    }

    /// The queue says that the message is not ours any more.
    pub(crate) fn lapse(&self) {
        self.locked().lapse();
    }

    fn locked(&self) -> MutexGuard<'_, Deadline<Moment>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Moment {
        Moment::of(Duration::from_secs(seconds), Duration::from_secs(1_000_000 + seconds))
    }

    fn lease() -> Lease {
        Lease::new(Receipt::from("r"), at(0), TIMEOUT)
    }

    #[test]
    fn extension_counts_from_when_it_was_asked_for() {
        let lease = lease();
        assert!(lease.is_ours(at(9)));
        assert!(lease.term.extend(at(5), at(9), TIMEOUT));
        assert!(lease.is_ours(at(14)) && !lease.is_ours(at(15)));
    }

    #[test]
    fn extension_that_was_answered_late_does_not_count() {
        let lease = lease();
        assert!(!lease.term.extend(at(5), at(10), TIMEOUT));
        assert!(!lease.is_ours(at(11)));
    }

    #[test]
    fn lease_that_was_over_once_is_never_taken_up_again() {
        let lease = lease();
        assert!(!lease.is_ours(at(10)));
        assert!(!lease.is_ours(at(1)), "even if the clocks are set back");
        assert!(!lease.term.extend(at(1), at(2), TIMEOUT));
        let refused = super::tests::lease();
        refused.term.lapse();
        assert!(!refused.is_ours(at(1)));
    }

    #[test]
    fn twelve_hours_are_all_that_can_be_asked_for() {
        let lease = lease();
        assert_eq!(lease.term.extension(at(5), TIMEOUT), Some(TIMEOUT));
        let last = HELD_MAX.as_secs();
        assert_eq!(lease.term.extension(at(last - 4), TIMEOUT), Some(Duration::from_secs(4)));
        assert_eq!(lease.term.extension(at(last), TIMEOUT), None);
    }

    #[test]
    fn dropped_lease_has_ended_for_the_heartbeat() {
        let lease = lease();
        let term = lease.term();
        assert!(!term.is_ended());
        drop(lease);
        assert!(term.is_ended());
    }
}
