//! The heartbeat: if a message is held for longer than half of its visibility timeout, it is hidden for another one,
//! wherever in the process it waits. Calls take batches, the most urgent messages first.
//!
//! If an extension is refused, comes too late or is not possible any more (12 hours), the message is not ours any more:
//! its lease is over, and the encoders leave out its rows. This file owns when to ask. It does *not* own whether an
//! answer counts: [`crate::lease`] does.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::clock::Moment;
use crate::lease::Term;
use crate::ports::{BATCH_MAX, EntryFailure, PortError, Queue, Receipt};
use crate::stats::Stats;
use crate::stop::Stop;

/// Calls under way at once. 120,000 messages take 2 s at 10 ms a call, and half of the shortest timeout is 2.5 s.
const CALLS: usize = 64;

/// The shortest time between two attempts to extend a message.
const AGAIN_MIN: Duration = Duration::from_millis(200);

/// The task's state and its neighbours.
pub(crate) struct Heartbeat {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) visibility_timeout: Duration,
    /// Received messages. It is unbounded, because the budget bounds what is held.
    pub(crate) received: mpsc::UnboundedReceiver<Vec<Arc<Term>>>,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
}

/// A call and its answer.
struct Beat {
    terms: Vec<Arc<Term>>,
    asked_at: Moment,
    extension: Duration,
    answer: Result<Vec<EntryFailure>, PortError>,
}

impl Heartbeat {
    /// Extends received messages until none is held and no more come, or the run has to have ended.
    pub(crate) async fn run(mut self) {
        let mut due = Due::default();
        let mut calls = FuturesUnordered::new();
        let stop = self.stop.clone();
        let mut over = std::pin::pin!(stop.release_by());
        let mut open = true;
        while open || !due.is_empty() || !calls.is_empty() {
            let now = Moment::now();
            while calls.len() < CALLS
                && let Some((terms, extension)) = due.take(now, self.visibility_timeout)
            {
                calls.push(beat(self.queue.clone(), terms, extension));
            }
            let next = due.next().filter(|_| calls.len() < CALLS);
            let wait = next.map_or(Duration::MAX, |next| next.until(now).max(AGAIN_MIN));
            tokio::select! {
                received = self.received.recv(), if open => match received {
                    Some(terms) => terms.into_iter().for_each(|term| due.add(term, now, self.visibility_timeout / 2)),
                    None => open = false,
                },
                Some(beat) = calls.next() => self.take_in(beat, &mut due),
                () = tokio::time::sleep(wait), if next.is_some() => {}
                () = &mut over => return,
            }
        }
    }

    fn take_in(&self, beat: Beat, due: &mut Due) {
        let Beat { terms, asked_at, extension, answer } = beat;
        let now = Moment::now();
        let failures = match answer {
            Ok(failures) => failures,
            Err(error @ PortError::Stop(_)) => return self.stop.fail(error),
            Err(error) => {
                debug!(%error, messages = terms.len(), "extending failed, trying again");
                return terms.into_iter().for_each(|term| due.add_again(term, now));
            }
        };
        let mut failed: Vec<Option<EntryFailure>> = terms.iter().map(|_| None).collect();
        for failure in failures {
            if let Some(slot) = failed.get_mut(failure.index) {
                *slot = Some(failure);
            }
        }
        let mut lapsed = None;
        for (term, failure) in terms.into_iter().zip(failed) {
            match failure {
                None if term.extend(asked_at, now, extension) => {
                    self.stats.messages_extended.add(1);
                    // A message that could not be hidden for the whole timeout is at the end of its twelve hours.
                    if extension == self.visibility_timeout {
                        due.add(term, now, self.visibility_timeout / 2);
                    }
                }
                None => lapsed = Some("the answer came too late".to_owned()),
                Some(failure) if failure.retryable => due.add_again(term, now),
                // The stages may have deleted it in the meantime.
                Some(_) if term.is_ended() => {}
                Some(failure) => {
                    term.lapse();
                    lapsed = Some(failure.code);
                }
            }
        }
        if let Some(reason) = lapsed {
            warn!(reason, "messages could not be held any longer, and will be delivered again");
        }
    }
}

async fn beat(queue: Arc<dyn Queue>, terms: Vec<Arc<Term>>, extension: Duration) -> Beat {
    let receipts: Vec<Receipt> = terms.iter().map(|term| term.receipt().clone()).collect();
    let asked_at = Moment::now();
    let answer = queue.extend(&receipts, extension).await;
    Beat { terms, asked_at, extension, answer }
}

/// Held messages, by the time at which they have to be extended.
#[derive(Default)]
struct Due {
    heap: BinaryHeap<Entry>,
    /// How many were left when ended ones were last removed.
    kept: usize,
}

struct Entry {
    at: Moment,
    term: Arc<Term>,
}

impl Due {
    /// Up to this many, nothing is removed: so few are looked at soon enough.
    const FEW: usize = 1_024;

    fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Adds a message that is to be extended `before` its deadline.
    fn add(&mut self, term: Arc<Term>, now: Moment, before: Duration) {
        let Some(deadline) = term.deadline(now) else { return };
        let at = now.after(deadline.until(now).saturating_sub(before));
        self.push(Entry { at, term });
    }

    /// Adds a message that could not be extended. It is tried again after a quarter of the time that is left.
    fn add_again(&mut self, term: Arc<Term>, now: Moment) {
        let Some(deadline) = term.deadline(now) else { return };
        let at = now.after((deadline.until(now) / 4).max(AGAIN_MIN));
        self.push(Entry { at, term });
    }

    /// Most messages are deleted long before they are due. Their entries must not pile up until then.
    fn push(&mut self, entry: Entry) {
        self.heap.push(entry);
        if self.heap.len() > Self::FEW.max(2 * self.kept) {
            self.heap.retain(|entry| !entry.term.is_ended());
            self.kept = self.heap.len();
        }
    }

    /// A batch of messages that are due at `now` and ours, and for how long to hide all of them: mostly `wanted`.
    fn take(&mut self, now: Moment, wanted: Duration) -> Option<(Vec<Arc<Term>>, Duration)> {
        let mut batch = Vec::new();
        let mut extension = wanted;
        while batch.len() < BATCH_MAX
            && let Some(entry) = self.heap.peek().filter(|entry| entry.at.has_passed(now))
        {
            let term = entry.term.clone();
            let possible = if term.is_ended() { None } else { term.deadline(now).and(term.extension(now, wanted)) };
            // A message whose twelve hours end soon goes into a batch with its own extension.
            if possible.is_some_and(|possible| possible != extension) && !batch.is_empty() {
                break;
            }
            self.heap.pop();
            if let Some(possible) = possible {
                extension = possible;
                batch.push(term);
            }
        }
        (!batch.is_empty()).then_some((batch, extension))
    }
}

// Entries compare by time alone. The earliest is the greatest, because a BinaryHeap gives its greatest element first.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{HELD_MAX, Lease};

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Moment {
        Moment::of(Duration::from_secs(seconds), Duration::from_secs(1_000_000 + seconds))
    }

    fn lease(name: u64, received: u64) -> Lease {
        Lease::new(Receipt::from(name.to_string()), at(received), TIMEOUT)
    }

    fn names(batch: Option<(Vec<Arc<Term>>, Duration)>) -> Vec<String> {
        batch.map_or_else(Vec::new, |(terms, _)| terms.iter().map(|term| term.receipt().to_string()).collect())
    }

    #[test]
    fn most_urgent_messages_are_extended_first_and_none_before_half_of_its_time() {
        let mut due = Due::default();
        let leases: Vec<Lease> = [3, 1, 2].map(|received| lease(received, received)).into();
        for lease in &leases {
            due.add(lease.term(), at(3), TIMEOUT / 2);
        }
        assert!(due.take(at(5), TIMEOUT).is_none());
        assert_eq!(names(due.take(at(7), TIMEOUT)), ["1", "2"]);
        assert_eq!(names(due.take(at(8), TIMEOUT)), ["3"]);
        assert!(due.is_empty());
    }

    #[test]
    fn messages_that_were_deleted_or_lapsed_are_not_extended() {
        let mut due = Due::default();
        let (deleted, lapsed, held) = (lease(1, 0), lease(2, 0), lease(3, 1));
        for lease in [&deleted, &lapsed, &held] {
            due.add(lease.term(), at(1), TIMEOUT / 2);
        }
        drop(deleted);
        assert_eq!(names(due.take(at(10), TIMEOUT)), ["3"], "the second one's deadline has passed");
        assert!(!lapsed.is_ours(at(10)));
    }

    #[test]
    fn message_is_hidden_for_no_longer_than_its_twelve_hours() {
        let mut due = Due::default();
        let held = HELD_MAX.as_secs();
        let lease = Lease::new(Receipt::from("r"), at(0), HELD_MAX);
        due.add(lease.term(), at(held - 8), TIMEOUT / 2);
        let (_, extension) = due.take(at(held - 3), TIMEOUT).unwrap();
        assert_eq!(extension, Duration::from_secs(3));
    }

    #[test]
    fn ended_leases_do_not_pile_up() {
        let mut due = Due::default();
        for name in 0..100_000 {
            let lease = lease(name, 0);
            due.add(lease.term(), at(0), TIMEOUT / 2);
        }
        assert!(due.heap.len() <= 2 * Due::FEW, "{}", due.heap.len());
    }
}
