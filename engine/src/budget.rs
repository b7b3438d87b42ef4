//! The one budget that bounds the process, messages and bytes in flight, and its shares, one for each queue.
//!
//! Permits are taken before a receive and dropped when their messages are deleted or released. When S3 stalls nothing
//! is deleted, so the budget fills, so receiving stops, and the queue keeps the backlog. How fast it is used up is the
//! receivers' business.

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

/// A bound on what is in flight: of the whole process, or of one queue, which is a share of it.
#[derive(Debug)]
pub struct Budget {
    max: Amount,
    used: Mutex<Used>,
    /// Whoever waits does so one after the other, in the order in which they came.
    turn: tokio::sync::Mutex<()>,
    returned: Notify,
    waiting: AtomicUsize,
    /// Where a share takes its part.
    whole: Option<Arc<Budget>>,
}

#[derive(Debug, Default)]
struct Used {
    now: Amount,
    peak: Amount,
}

/// A part of a budget, and of the whole that it is a share of; returned when it is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    amount: Amount,
}

impl Budget {
    /// An unused budget.
    #[must_use]
    pub fn new(max: Amount) -> Arc<Self> {
        Self::part(max, None)
    }

    /// A share of this budget, with a bound of its own on messages. Of a share there are no shares.
    #[must_use]
    pub fn share(self: &Arc<Self>, messages_max: usize) -> Arc<Self> {
        Self::part(Amount { messages: messages_max, bytes: self.max.bytes }, Some(self.clone()))
    }

    fn part(max: Amount, whole: Option<Arc<Self>>) -> Arc<Self> {
        let (used, turn, returned, waiting) = Default::default();
        Arc::new(Self { max, used, turn, returned, waiting, whole })
    }

    /// Waits until `amount` is free, here and in the whole, and takes it; first come, first served. An amount larger
    /// than the whole budget would never be free: the configuration is validated against that.
    pub async fn take(self: &Arc<Self>, amount: Amount) -> Permit {
        let here = self.take_here(amount).await;
        if let Some(whole) = &self.whole {
            std::mem::forget(whole.take_here(amount).await);
        }
        std::mem::forget(here);
        Permit { budget: self.clone(), amount }
    }

    async fn take_here(&self, amount: Amount) -> Taken<'_> {
        if !self.is_starved()
            && let Some(taken) = self.try_take(amount)
        {
            return taken;
        }
        let _waiting = Waiting::new(self);
        let _turn = self.turn.lock().await;
        loop {
            // Registered before the look, so that a permit returned between the two is not missed.
            let returned = self.returned.notified();
            tokio::pin!(returned);
            returned.as_mut().enable();
            if let Some(taken) = self.try_take(amount) {
                return taken;
            }
            returned.await;
        }
    }

    fn try_take(&self, amount: Amount) -> Option<Taken<'_>> {
        let mut used = self.used();
        let after = Amount { messages: used.now.messages + amount.messages, bytes: used.now.bytes + amount.bytes };
        if after.messages > self.max.messages || after.bytes > self.max.bytes {
            return None;
        }
        used.set(after);
        Some(Taken { budget: self, amount })
    }

    fn give_back(&self, amount: Amount) {
        let mut used = self.used();
        used.now.messages -= amount.messages;
        used.now.bytes -= amount.bytes;
        drop(used);
        self.tell_waiting();
    }

    fn exchange(&self, before: usize, after: usize) {
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

    /// How many more messages it admits now.
    #[must_use]
    pub fn messages_left(&self) -> usize {
        self.max.messages.saturating_sub(self.used().now.messages)
    }

    /// The most that ever was in flight at once.
    #[must_use]
    pub fn peak(&self) -> Amount {
        self.used().peak
    }

    /// Whether more is in flight than the budget is for, which only [`Permit::resize`] can bring about.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used().now.bytes > self.max.bytes
    }

    /// Whether somebody waits for a permit, of this budget or of a share of it.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// After something was returned. Whoever waits has said so before it looked in vain, under the lock under which
    /// what it waits for was returned: so nobody is missed, and where nobody waits a permit is returned without another
    /// lock.
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
    /// Changes what permits of one budget count in bytes. Messages may grow past the budget here, because what they
    /// expand to is known only when they are in memory: receiving and decoding then stop until the excess is returned.
    ///
    /// All at once, for one lock and one look at who waits.
    pub fn resize<'a>(permits: impl Iterator<Item = (&'a mut Permit, usize)>) {
        let (mut budget, mut before, mut after) = (None::<Arc<Budget>>, 0, 0);
        for (permit, bytes) in permits {
            let budget = budget.get_or_insert_with(|| permit.budget.clone());
            debug_assert!(Arc::ptr_eq(budget, &permit.budget), "a permit of another budget");
            before += permit.amount.bytes;
            after += bytes;
            permit.amount.bytes = bytes;
        }
        let Some(budget) = budget else { return };
        budget.exchange(before, after);
        if let Some(whole) = &budget.whole {
            whole.exchange(before, after);
        }
    }

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
        self.budget.give_back(self.amount);
        if let Some(whole) = &self.budget.whole {
            whole.give_back(self.amount);
        }
    }
}

/// What was taken of one budget, and not yet of the whole; given back if the wait for that is given up.
struct Taken<'a> {
    budget: &'a Budget,
    amount: Amount,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.amount);
    }
}

/// Counts a waiter for as long as it waits, even if its future is dropped.
struct Waiting<'a>(&'a Budget);

impl<'a> Waiting<'a> {
    fn new(budget: &'a Budget) -> Self {
        budget.waiting.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &budget.whole {
            whole.waiting.fetch_add(1, Ordering::Relaxed);
        }
        Self(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start tasks as they need")]
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
        Permit::resize([(&mut one, 250)].into_iter());
        assert_eq!(budget.in_flight(), amount(1, 250));
        assert!(budget.try_take(amount(1, 1)).is_none(), "over the bound, nothing more is taken");
        Permit::resize([(&mut one, 3)].into_iter());
        assert_eq!(budget.in_flight(), amount(1, 3));
        drop(one);
        assert_eq!(budget.in_flight(), Amount::default());
    }

    #[tokio::test]
    async fn full_share_leaves_the_rest_to_others_and_who_waits_is_served_in_turn() {
        let whole = Budget::new(amount(30, 100));
        let (a, b) = (whole.share(20), whole.share(20));
        let held = [a.take(amount(10, 10)).await, a.take(amount(10, 10)).await];
        let first = tokio::spawn({
            let a = a.clone();
            async move { a.take(amount(10, 10)).await }
        });
        tokio::task::yield_now().await;
        assert!(a.is_starved() && whole.is_starved() && !b.is_starved());
        let other = b.take(amount(10, 10)).await;
        assert_eq!(whole.in_flight(), amount(30, 30));
        // The share has room again, and the whole has none until the other share gives back.
        let [one, two] = held;
        let last = tokio::spawn({
            let b = b.clone();
            async move { b.take(amount(10, 10)).await }
        });
        tokio::task::yield_now().await;
        drop(one);
        let last = last.await.unwrap();
        assert!(!first.is_finished(), "the one that waits for its share is behind the one that waits for the whole");
        drop((two, other, last));
        drop(first.await);
        assert_eq!([whole.in_flight(), a.in_flight(), b.in_flight()], [Amount::default(); 3]);
        assert_eq!((a.peak(), whole.peak()), (amount(20, 20), amount(30, 30)));
    }

    #[tokio::test]
    async fn small_wish_does_not_overtake_a_large_one() {
        let budget = Budget::new(amount(10, 100));
        let mut held = budget.take(amount(10, 10)).await;
        let (large, small) = (budget.take(amount(8, 0)), budget.take(amount(1, 0)));
        tokio::pin!(large, small);
        assert!(futures_util::poll!(large.as_mut()).is_pending());
        drop(held.split(amount(5, 0)));
        assert!(futures_util::poll!(small.as_mut()).is_pending(), "there is room for it, and it is not its turn");
        drop(held);
        drop((large.await, small.await));
    }

    #[tokio::test]
    async fn wait_that_is_given_up_leaves_nothing_taken() {
        let whole = Budget::new(amount(10, 100));
        let (a, b) = (whole.share(10), whole.share(10));
        let held = a.take(amount(10, 10)).await;
        {
            let wait = b.take(amount(10, 10));
            tokio::pin!(wait);
            assert!(futures_util::poll!(wait.as_mut()).is_pending());
            assert_eq!(b.in_flight(), amount(10, 10), "taken of the share, and waiting for the whole");
        }
        assert_eq!((b.in_flight(), whole.is_starved()), (Amount::default(), false));
        drop(held);
        drop(b.take(amount(10, 10)).await);
    }
}
