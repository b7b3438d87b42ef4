//! How a run ends: once, for a reason, within a deadline.
//!
//! Shutdown has two moments. Until `commit_by`, the stages go on committing what they hold. From then until
//! `release_by`, they give back to the queue what they could not commit. This file owns the moments, *not* the work.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use crate::ports::PortError;

/// From the start of a stop until the queue has noticed that polls were abandoned. A message that is released earlier
/// may go to such a poll. Then it is hidden from everybody for its whole visibility timeout.
const POLLS_CLOSE: Duration = Duration::from_millis(250);

/// A handle that every stage holds.
#[derive(Debug, Clone)]
pub struct Stop {
    state: Arc<watch::Sender<State>>,
    grace: Duration,
}

#[derive(Debug, Default)]
struct State {
    begun_at: Option<Instant>,
    cause: Option<PortError>,
}

impl Stop {
    /// A stop that has not begun. Once begun, the whole stop takes no longer than `grace`.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { state: Arc::new(watch::Sender::default()), grace }
    }

    /// Begins the stop, unless it has begun.
    pub fn begin(&self) {
        self.state.send_if_modified(|state| {
            let first = state.begun_at.is_none();
            state.begun_at.get_or_insert_with(Instant::now);
            first
        });
    }

    /// Begins the stop because of `error`; the first error is kept for the run's result.
    pub fn fail(&self, error: PortError) {
        self.state.send_modify(|state| {
            state.begun_at.get_or_insert_with(Instant::now);
            state.cause.get_or_insert(error);
        });
    }

    /// Begins the stop because a stage panicked: the other stages need it.
    pub fn panicked(&self, stage: &'static str) {
        error!(stage, "stage panicked");
        self.fail(PortError::stop("run a stage", format!("the {stage} panicked")));
    }

    /// Takes the error that ended the run; `None` from then on.
    #[must_use]
    pub fn take_cause(&self) -> Option<PortError> {
        let mut cause = None;
        self.state.send_if_modified(|state| {
            cause = state.cause.take();
            false
        });
        cause
    }

    /// Whether the stop has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state.borrow().begun_at.is_some()
    }

    /// Whether the run is ending because of an error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state.borrow().cause.is_some()
    }

    /// Resolves when the stop begins.
    pub async fn begun(&self) {
        self.begun_at().await;
    }

    /// Resolves when no abandoned poll can take a released message any more.
    pub async fn polls_closed(&self) {
        let begun_at = self.begun_at().await;
        sleep_until(begun_at + POLLS_CLOSE).await;
    }

    /// Resolves when committing has to end and giving back begins.
    pub async fn commit_by(&self) {
        let begun_at = self.begun_at().await;
        sleep_until(begun_at + self.grace * 4 / 5).await;
    }

    /// Resolves when everything has to have ended.
    pub async fn release_by(&self) {
        let begun_at = self.begun_at().await;
        sleep_until(begun_at + self.grace).await;
    }

    async fn begun_at(&self) -> Instant {
        let mut state = self.state.subscribe();
        let begun = state.wait_for(|state| state.begun_at.is_some()).await;
        // The sender lives in `self`, so the wait ends only when the stop has begun.
        begun.ok().and_then(|state| state.begun_at).unwrap_or_else(Instant::now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn deadlines_count_from_the_first_begin() {
        let stop = Stop::new(Duration::from_secs(10));
        assert!(!stop.has_begun());
        let start = Instant::now();
        stop.begin();
        tokio::time::advance(Duration::from_secs(5)).await;
        stop.begin();
        stop.commit_by().await;
        assert_eq!(start.elapsed().as_secs(), 8);
        stop.release_by().await;
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test]
    async fn first_error_is_the_cause() {
        let stop = Stop::new(Duration::from_secs(1));
        let error = |text: &str| PortError::stop("receive", text.to_owned());
        stop.fail(error("first"));
        stop.fail(error("second"));
        assert!(stop.has_begun());
        assert!(stop.take_cause().unwrap().to_string().contains("first"));
    }
}
