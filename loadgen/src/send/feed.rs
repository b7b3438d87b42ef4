//! Batches in the order and at the times at which they are to be sent.

use std::{num::NonZeroU64, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::batch::Batch;

/// The batches that the producers have prepared.
#[derive(Debug)]
pub(super) struct Feed {
    batches: mpsc::Receiver<Batch>,
    schedule: Option<Schedule>,
}

impl Feed {
    pub(super) fn new(batches: mpsc::Receiver<Batch>, rate: Option<NonZeroU64>) -> Self {
        Self { batches, schedule: rate.map(Schedule::new) }
    }

    /// The next batch, not before it is due, and when it was due; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<(Batch, Instant)> {
        let batch = self.batches.recv().await?;
        let due = match &mut self.schedule {
            None => Instant::now(),
            Some(schedule) => {
                let due = schedule.due(batch.ticks());
                sleep_until(due).await;
                due
            }
        };
        Some((batch, due))
    }
}

/// Intended times: they follow from the rate and the ticks before, never from how long sending took.
#[derive(Debug)]
struct Schedule {
    rate: NonZeroU64,
    /// When the first batch was due.
    start: Option<Instant>,
    ticks: u64,
}

impl Schedule {
    fn new(rate: NonZeroU64) -> Self {
        Self { rate, start: None, ticks: 0 }
    }

    fn due(&mut self, ticks: u64) -> Instant {
        let start = *self.start.get_or_insert_with(Instant::now);
        let due = start + Duration::from_secs_f64(self.ticks as f64 / self.rate.get() as f64);
        self.ticks += ticks;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_follow_from_the_rate_alone() {
        let mut schedule = Schedule::new(NonZeroU64::new(1_000).unwrap());
        let first = schedule.due(500);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(schedule.due(1_500) - first, Duration::from_millis(500));
        assert_eq!(schedule.due(1) - first, Duration::from_secs(2));
    }
}
