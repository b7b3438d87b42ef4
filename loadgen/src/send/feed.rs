//! Hands out batches in the order and at the times at which they must be sent.
//!
//! This file also owns whose fault a late batch is. If it was not prepared when it was due, that is the generator's
//! fault. If it waited for a free sender, that is the queue's. It does *not* own when a batch is due (`schedule`).

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Pace, Progress, schedule::Schedule};
use crate::batch::Batch;

/// How often the feed checks whether the run must end.
const LOOK: Duration = Duration::from_millis(100);

/// What says when a batch is due.
#[derive(Debug)]
pub(super) enum Due {
    /// Nothing. A batch is due when somebody takes it.
    WhenTaken,
    /// A rate.
    Schedule(Schedule),
    /// The batch itself.
    Batch,
}

impl Due {
    pub(super) fn by(pace: Pace) -> Self {
        match pace {
            Pace::AsTaken => Self::WhenTaken,
            Pace::Rate { ticks_per_s, shape } => Self::Schedule(Schedule::new(ticks_per_s, shape)),
            Pace::EventTime(_) => Self::Batch,
        }
    }

    /// Since the beginning.
    fn of(&mut self, batch: &Batch) -> Option<Duration> {
        match self {
            Self::WhenTaken => None,
            Self::Schedule(schedule) => Some(schedule.due(batch.ticks())),
            Self::Batch => batch.due(),
        }
    }
}

/// The batches that the producers have prepared.
#[derive(Debug)]
pub(super) struct Feed {
    batches: mpsc::Receiver<Vec<Batch>>,
    /// The rest of what was received last.
    received: VecDeque<Batch>,
    due: Due,
    progress: Arc<Progress>,
    /// When the first batch was due.
    start: Option<Instant>,
    /// How far the generator is behind its schedule, now and at worst. Its delays add up until it catches up.
    behind: Duration,
    behind_max: Duration,
}

impl Feed {
    pub(super) fn new(batches: mpsc::Receiver<Vec<Batch>>, due: Due, progress: Arc<Progress>) -> Self {
        Self {
            batches,
            received: VecDeque::new(),
            due,
            progress,
            start: None,
            behind: Duration::ZERO,
            behind_max: Duration::ZERO,
        }
    }

    /// The next batch, not before it is due, and when it was due. `None` after the last batch.
    pub(super) async fn next(&mut self) -> Option<(Batch, Instant)> {
        let asked = Instant::now();
        while self.received.is_empty() {
            self.received = self.batches.recv().await?.into();
        }
        let batch = self.received.pop_front()?;
        let now = Instant::now();
        let Some(due) = self.due.of(&batch) else { return Some((batch, now)) };
        let due = *self.start.get_or_insert(now) + due;
        // Only the wait since a sender asked is the generator's fault. Before that, there was no free sender.
        let waited = now.saturating_duration_since(due.max(asked));
        self.behind = now.saturating_duration_since(due).min(self.behind + waited);
        self.behind_max = self.behind_max.max(self.behind);
        while Instant::now() < due && !self.progress.stop.load(Ordering::Relaxed) {
            sleep_until(due.min(Instant::now() + LOOK)).await;
        }
        // When the run ends, a batch is sent before its time. Its latency counts from now on.
        Some((batch, due.min(Instant::now())))
    }

    /// How far the generator was behind its schedule, at worst.
    pub(super) fn behind_max(&self) -> Duration {
        self.behind_max
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::{batch::Batcher, payload::tests::message};

    const MS: Duration = Duration::from_millis(1);

    /// A batch of a hundred ticks. In `feed`, one is due every 100 ms.
    fn batch() -> Batch {
        let mut batcher = Batcher::default();
        assert_eq!(batcher.push(message("x".to_owned(), 100)), None);
        batcher.finish().unwrap()
    }

    fn feed(batches: mpsc::Receiver<Vec<Batch>>) -> Feed {
        let rate = NonZeroU64::new(1_000).unwrap();
        Feed::new(batches, Due::by(Pace::even(rate)), Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn batch_that_waits_for_a_sender_is_the_queues_fault() {
        let (to_feed, batches) = mpsc::channel(10);
        let mut feed = feed(batches);
        for _ in 0..5 {
            to_feed.send(vec![batch()]).await.unwrap();
        }
        let start = Instant::now();
        for at in 0..5_u32 {
            let (_, due) = feed.next().await.unwrap();
            assert_eq!(due - start, 100 * MS * at, "however late the one before was");
            tokio::time::sleep(350 * MS).await;
        }
        assert_eq!(feed.behind_max(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn batch_that_is_sent_before_its_time_is_late_from_then_on() {
        let (to_feed, batches) = mpsc::channel(10);
        let mut feed = feed(batches);
        to_feed.send((0..50).map(|_| batch()).collect()).await.unwrap();
        let start = Instant::now();
        assert_eq!(feed.next().await.unwrap().1, start);
        feed.progress.stop.store(true, Ordering::Relaxed);
        for _ in 1..50 {
            tokio::time::sleep(MS).await;
            let (_, due) = feed.next().await.unwrap();
            assert!(due <= Instant::now() && due >= start, "its latency would be 0 whatever it takes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn batch_that_is_not_there_when_it_is_due_is_the_generators() {
        let (to_feed, batches) = mpsc::channel(10);
        let mut feed = feed(batches);
        let slow = async move {
            for _ in 0..3 {
                to_feed.send(vec![batch()]).await.unwrap();
                tokio::time::sleep(250 * MS).await;
            }
        };
        let take = async { while feed.next().await.is_some() {} };
        tokio::join!(slow, take);
        // The batches are due at 100 and 200 ms, and come at 250 and 500 ms.
        assert_eq!(feed.behind_max(), 300 * MS);
    }
}
