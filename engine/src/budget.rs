//! The one budget that bounds the process: messages and bytes in flight.
//!
//! Permits are taken before a receive and dropped when their messages are deleted or released. When S3 stalls nothing is
//! deleted, so the budget fills, so receiving stops, and the queue keeps the backlog. How fast it is used up is the receivers' business.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// An amount of messages and of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Messages.
    pub messages: usize,
    /// Bytes of bodies before decoding, of columns and rejects after it.
    pub bytes: usize,
}

/// A bound on what is in flight.
#[derive(Debug)]
pub struct Budget {
    max: Amount,
    used: Mutex<Used>,
    returned: Notify,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Used {
    now: Amount,
    peak: Amount,
}

/// A share of the budget, returned when it is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    amount: Amount,
}

impl Budget {
    /// An unused budget.
    #[must_use]
    pub fn new(max: Amount) -> Arc<Self> {
        Arc::new(Self { max, used: Mutex::default(), returned: Notify::new(), waiting: AtomicUsize::new(0) })
    }

    /// Waits until `amount` is free, and takes it. An amount larger than the whole budget would never be free: the
    /// configuration is validated against that.
    pub async fn take(self: &Arc<Self>, amount: Amount) -> Permit {
        if let Some(permit) = self.try_take(amount) {
            return permit;
        }
        let _waiting = Waiting::new(&self.waiting);
        loop {
            // Registered before the look, so that a permit returned between the two is not missed.
            let returned = self.returned.notified();
            tokio::pin!(returned);
            returned.as_mut().enable();
            if let Some(permit) = self.try_take(amount) {
                return permit;
            }
            returned.await;
        }
    }

    fn try_take(self: &Arc<Self>, amount: Amount) -> Option<Permit> {
        let mut used = self.used();
        let after = Amount { messages: used.now.messages + amount.messages, bytes: used.now.bytes + amount.bytes };
        if after.messages > self.max.messages || after.bytes > self.max.bytes {
            return None;
        }
        used.set(after);
        Some(Permit { budget: self.clone(), amount })
    }

    /// Changes what each of its permits counts in bytes. Messages may grow past the budget here, because what they expand to
    /// is known only when they are in memory: receiving and decoding then stop until the excess is returned.
    ///
    /// All at once, for one lock and one look at who waits.
    pub fn resize<'a>(&self, permits: impl Iterator<Item = (&'a mut Permit, usize)>) {
        let (mut before, mut after) = (0, 0);
        for (permit, bytes) in permits {
            debug_assert!(std::ptr::eq(self, &raw const *permit.budget), "a permit of another budget");
            before += permit.amount.bytes;
            after += bytes;
            permit.amount.bytes = bytes;
        }
        let mut used = self.used();
        let now = Amount { messages: used.now.messages, bytes: used.now.bytes - before + after };
        used.set(now);
        drop(used);
        if after < before {
            self.tell_waiting();
        }
    }

    /// What it is for.
    #[must_use]
    pub fn max(&self) -> Amount {
        self.max
    }

    /// What is in flight now.
    #[must_use]
    pub fn in_flight(&self) -> Amount {
        self.used().now
    }

    /// The most that ever was in flight at once.
    #[must_use]
    pub fn peak(&self) -> Amount {
        self.used().peak
    }

    /// Whether more is in flight than the budget is for, which only [`Budget::resize`] can bring about.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used().now.bytes > self.max.bytes
    }

    /// Whether somebody waits for a permit.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// After something was returned. Whoever waits has said so before it looked in vain, under the lock under which what it
    /// waits for was returned: so nobody is missed, and where nobody waits a permit is returned without another lock.
    fn tell_waiting(&self) {
        if self.is_starved() {
            self.returned.notify_waiters();
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // The numbers are written whole; a panic elsewhere cannot have left them inconsistent.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn set(&mut self, now: Amount) {
        self.now = now;
        self.peak.messages = self.peak.messages.max(now.messages);
        self.peak.bytes = self.peak.bytes.max(now.bytes);
    }
}

impl Permit {
    /// Moves `messages` of this permit, with `bytes`, into a permit of their own; `None` if this one has not as much.
    pub fn split(&mut self, amount: Amount) -> Option<Permit> {
        let messages = self.amount.messages.checked_sub(amount.messages)?;
        let bytes = self.amount.bytes.checked_sub(amount.bytes)?;
        self.amount = Amount { messages, bytes };
        Some(Permit { budget: self.budget.clone(), amount })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = self.budget.used();
        used.now.messages -= self.amount.messages;
        used.now.bytes -= self.amount.bytes;
        drop(used);
        self.budget.tell_waiting();
    }
}

/// Counts a waiter for as long as it waits, even if its future is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(messages: usize, bytes: usize) -> Amount {
        Amount { messages, bytes }
    }

    #[tokio::test]
    async fn taking_waits_until_enough_is_returned() {
        let budget = Budget::new(amount(10, 100));
        let mut held = budget.take(amount(10, 50)).await;
        assert!(!budget.is_starved());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(amount(2, 10)).await }
        });
        tokio::task::yield_now().await;
        assert!(budget.is_starved());
        drop(held.split(amount(1, 0)));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "one message is free, two are wanted");
        drop(held);
        waiting.await.unwrap();
        assert!(!budget.is_starved());
        assert_eq!(budget.peak(), amount(10, 50));
        assert_eq!(budget.in_flight(), Amount::default());
    }

    #[tokio::test]
    async fn bytes_bound_as_messages_do() {
        let budget = Budget::new(amount(10, 100));
        let held = budget.take(amount(1, 95)).await;
        assert!(budget.try_take(amount(1, 6)).is_none());
        assert!(budget.try_take(amount(1, 5)).is_some());
        drop(held);
    }

    #[tokio::test]
    async fn split_and_resized_permits_return_exactly_what_they_hold() {
        let budget = Budget::new(amount(10, 100));
        let mut batch = budget.take(amount(10, 100)).await;
        let mut one = batch.split(amount(1, 10)).unwrap();
        assert!(batch.split(amount(10, 0)).is_none(), "nine are left");
        drop(batch);
        assert_eq!(budget.in_flight(), amount(1, 10));
        budget.resize([(&mut one, 250)].into_iter());
        assert_eq!(budget.in_flight(), amount(1, 250));
        assert!(budget.try_take(amount(1, 1)).is_none(), "over the bound, nothing more is taken");
        budget.resize([(&mut one, 3)].into_iter());
        assert_eq!(budget.in_flight(), amount(1, 3));
        drop(one);
        assert_eq!(budget.in_flight(), Amount::default());
    }
}
