//! The one budget of the process, which bounds the messages and bytes in flight, and its shares, one for each queue.
//!
//! A permit is taken before a receive, and dropped when its messages are deleted or released. If S3 stalls, nothing is
//! deleted. Then the budget fills, receiving stops, and the queue keeps the backlog. The receivers, *not* this file,
//! own how fast the budget is used.

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

/// A bound on what is in flight in the whole process, or of one queue: then it is a share of the whole.
#[derive(Debug)]
pub struct Budget {
    max: Amount,
    used: Mutex<Used>,
    /// Lets one waiter at a time look for room, in the order in which they came.
    turn: tokio::sync::Mutex<()>,
    returned: Notify,
    waiting: AtomicUsize,
    /// The budget that this one is a share of.
    whole: Option<Arc<Budget>>,
}

#[derive(Debug, Default)]
struct Used {
    now: Amount,
    peak: Amount,
}

/// A part of a budget, and of the whole that the budget is a share of. It is returned when the permit is dropped.
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

    /// A share of this budget, with a bound of its own on messages. A share is not shared further.
    #[must_use]
    pub fn share(self: &Arc<Self>, messages_max: usize) -> Arc<Self> {
        Self::part(Amount { messages: messages_max, bytes: self.max.bytes }, Some(self.clone()))
    }

    fn part(max: Amount, whole: Option<Arc<Self>>) -> Arc<Self> {
        let (used, turn, returned, waiting) = Default::default();
        Arc::new(Self { max, used, turn, returned, waiting, whole })
    }

    /// Waits until `amount` is free, here and in the whole, and takes it: first come, first served. An amount larger
    /// than the whole budget would never be free; the validation of the configuration excludes that.
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
            // It registers before it looks, so that it does not miss a permit that is returned in between.
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

    /// The bound itself.
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

    /// Whether more bytes are in flight than the budget admits. Only [`Permit::resize`] can cause that.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used().now.bytes > self.max.bytes
    }

    /// Whether somebody waits for a permit, of this budget or of a share of it.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Wakes the waiters after something was returned. A waiter first counts itself and then looks, under the same lock
    /// as a return. So no waiter is missed, and if nobody waits, a return needs no other lock.
    fn tell_waiting(&self) {
        if self.is_starved() {
            self.returned.notify_waiters();
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // The numbers are written together; a panic elsewhere cannot have left them inconsistent.
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
    /// Changes how many bytes permits of one budget count. This may exceed the budget, because the decoded size of a
    /// message is known only when it is in memory. Then receiving and decoding stop until the excess is returned.
    ///
    /// All permits change together, with one lock and one look for waiters.
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

    /// Moves `amount` from this permit into a permit of its own; `None` if this one has less.
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

/// What was taken of one budget, but not yet of the whole. It is given back if the caller stops waiting for the whole.
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
