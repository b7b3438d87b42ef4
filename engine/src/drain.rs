//! Finds out when a draining run is done: the queues hold nothing, and neither does the engine.
//!
//! SQS counts approximately, and its counts settle about a minute after the last send. So a queue is taken for empty
//! only after its counts and every long poll have said so for a while. Messages in flight at another consumer count,
//! because they may come back. But the open epoch does not wait for them: two workers that drain one queue would wait
//! for each other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::flush::Flush;
use crate::notes::Notes;
use crate::ports::{Backlog, PortError, Queue};
use crate::rejected::RejectWatch;
use crate::stats::Stats;
use crate::stop::Stop;

const INTERVAL: Duration = Duration::from_millis(250);

/// How long nothing may be counted, held or received before the queues are taken for empty: two full long polls of each
/// receiver. Each asks all of SQS's servers.
const QUIET: Duration = Drain::WAIT.saturating_mul(2);

/// Watches the queues that are being drained.
pub(crate) struct Drain {
    pub(crate) queues: Vec<Arc<dyn Queue>>,
    /// Has alerts of workers that died. They are adopted first.
    pub(crate) notes: Option<Arc<Notes>>,
    pub(crate) stats: Arc<Stats>,
    /// Ends the receiving if nearly everything is rejected.
    pub(crate) rejects: Arc<RejectWatch>,
    /// Tells the builder that waiting for more messages is pointless.
    pub(crate) flush: Arc<Flush>,
    pub(crate) stop: Stop,
}

impl Drain {
    /// How long a draining poll waits. It is short, because at the end every poll comes back empty.
    pub(crate) const WAIT: Duration = Duration::from_secs(1);

    /// Begins the stop once the queues are drained.
    pub(crate) async fn run(self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.watch() => {}
            () = stop.begun() => {}
        }
    }

    async fn watch(self) {
        if let Some(notes) = &self.notes {
            notes.earlier_are_adopted().await;
        }
        let mut quiet = Quiet::default();
        loop {
            tokio::time::sleep(INTERVAL).await;
            if self.rejects.halted().is_some() {
                return self.stop.begin();
            }
            let received = self.stats.messages_received.get();
            let held = self.stats.messages_held();
            let backlogs = try_join_all(self.queues.iter().map(|queue| backlog(&**queue))).await;
            match backlogs {
                Ok(backlogs) => {
                    self.flush.set_drained(backlogs.iter().all(|backlog| backlog.waiting() == 0));
                    let is_empty = held == 0 && backlogs.iter().all(|backlog| backlog.total() == 0);
                    if quiet.lasts(is_empty, received) >= QUIET {
                        info!(received, "queue drained");
                        return self.stop.begin();
                    }
                }
                Err(error @ PortError::Stop(_)) => return self.stop.fail(error),
                Err(error) => debug!(%error, "backlog unknown, looking again"),
            }
        }
    }
}

/// What a queue holds. A queue that does not exist holds nothing: its receivers decide whether that ends the run.
async fn backlog(queue: &dyn Queue) -> Result<Backlog, PortError> {
    match queue.backlog().await {
        Err(PortError::NotFound(_)) => Ok(Backlog::default()),
        answer => answer,
    }
}

/// Since when nothing has been there or has come, and the count of messages then.
#[derive(Debug, Default)]
struct Quiet {
    since: Option<(Instant, u64)>,
}

impl Quiet {
    /// How long it has been quiet. `empty`: nothing is there now. `received`: how many messages came so far.
    fn lasts(&mut self, empty: bool, received: u64) -> Duration {
        let unbroken = self.since.filter(|(_, before)| empty && *before == received);
        self.since = unbroken.or_else(|| empty.then(|| (Instant::now(), received)));
        self.since.map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn anything_counted_or_received_starts_the_wait_anew() {
        let mut quiet = Quiet::default();
        let second = Duration::from_secs(1);
        assert_eq!(quiet.lasts(true, 5), Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(quiet.lasts(true, 5), second);
        assert_eq!(quiet.lasts(true, 6), Duration::ZERO, "something came");
        tokio::time::advance(second).await;
        assert_eq!(quiet.lasts(false, 6), Duration::ZERO, "something is there");
        assert_eq!(quiet.lasts(true, 6), Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(quiet.lasts(true, 6), second);
    }
}
