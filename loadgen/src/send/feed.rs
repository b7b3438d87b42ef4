//! Batches in the order and at the times at which they are to be sent.
//!
//! This file also owns whose fault it is when one is late: what was not prepared when it was due is the generator's, what waited for a free sender
//! is the queue's. It does *not* own when a batch is due (`schedule`).

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Progress, schedule::Schedule};
use crate::batch::Batch;

/// How often it is looked whether the run is to end.
const LOOK: Duration = Duration::from_millis(100);

/// The batches that the producers have prepared.
#[derive(Debug)]
pub(super) struct Feed {
    batches: mpsc::Receiver<Vec<Batch>>,
    /// The rest of what was received last.
    received: VecDeque<Batch>,
    schedule: Option<Schedule>,
    progress: Arc<Progress>,
    /// When the first batch was due.
    start: Option<Instant>,
    /// How far the generator is behind its schedule, and was at worst: what it takes longer adds up, until it catches up.
    behind: Duration,
    behind_max: Duration,
}

impl Feed {
    pub(super) fn new(
        batches: mpsc::Receiver<Vec<Batch>>,
        schedule: Option<Schedule>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            batches,
            received: VecDeque::new(),
            schedule,
            progress,
            start: None,
            behind: Duration::ZERO,
            behind_max: Duration::ZERO,
        }
    }

    /// The next batch, not before it is due, and when it was due; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<(Batch, Instant)> {
        let asked = Instant::now();
        while self.received.is_empty() {
            self.received = self.batches.recv().await?.into();
        }
        let batch = self.received.pop_front()?;
        let (now, Some(schedule)) = (Instant::now(), &mut self.schedule) else { return Some((batch, Instant::now())) };
        let due = *self.start.get_or_insert(now) + schedule.due(batch.ticks());
        // What it is late by, but for what it would have been late by anyway, for want of a sender.
        let waited = now.saturating_duration_since(due.max(asked));
        self.behind = now.saturating_duration_since(due).min(self.behind + waited);
        self.behind_max = self.behind_max.max(self.behind);
        while Instant::now() < due && !self.progress.stop.load(Ordering::Relaxed) {
            sleep_until(due.min(Instant::now() + LOOK)).await;
        }
        Some((batch, due))
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
    use crate::{batch::Batcher, payload::Message};

    const MS: Duration = Duration::from_millis(1);

    /// A batch of a hundred ticks: due each 100 ms.
    fn batch() -> Batch {
        let mut batcher = Batcher::default();
        assert_eq!(batcher.push(Message { body: "x".to_owned(), ticks: 100, is_compressed: false }), None);
        batcher.finish().unwrap()
    }

    fn feed(batches: mpsc::Receiver<Vec<Batch>>) -> Feed {
        let rate = NonZeroU64::new(1_000).unwrap();
        Feed::new(batches, Some(Schedule::new(rate, "constant".parse().unwrap())), Arc::default())
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
        // Due at 100 and 200, there at 250 and 500.
        assert_eq!(feed.behind_max(), 300 * MS);
    }
}
