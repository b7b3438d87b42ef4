//! Capped, jittered retries, and the settling of batch calls that half-fail.
//!
//! This file owns when a call is tried again. It does *not* own which errors are worth a retry: the ports know. The
//! caller passes a future that ends the tries.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::ports::{BATCH_MAX, EntryFailure, PortError};

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a call may fail before it is worth a warning, counted from its first try. Throttling passes by then.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// The time between warnings about the same call.
const WARN_AGAIN: Duration = Duration::from_secs(30);

/// Exponential backoff with full jitter: the wait before attempt `n` is uniform between 0 and `50 ms * 2^n`, at most 5
/// s. ("Exponential Backoff And Jitter", AWS Architecture Blog.)
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Forgets earlier failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(self.failures)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(fastrand::f64())
    }
}

/// A call that fails and is tried again: how long to wait, and when to say so.
///
/// Time decides that, not the number of failures: a try may take a minute, and ten of them may take a second.
#[derive(Debug)]
pub(crate) struct Failing {
    backoff: Backoff,
    /// When the call was tried for the first time.
    began: Instant,
    warn_at: Instant,
}

impl Default for Failing {
    fn default() -> Self {
        let began = Instant::now();
        Self { backoff: Backoff::default(), began, warn_at: began + WARN_AFTER }
    }
}

impl Failing {
    /// Logs that a try has failed, with the number of `entries` if it was a batch, and waits until the next one.
    pub(crate) async fn wait(&mut self, error: &(dyn fmt::Display + Sync), entries: Option<usize>) {
        let wait = self.backoff.next_wait();
        let (wait_ms, failures) = (wait.as_millis() as u64, self.backoff.failures);
        let failing_s = self.began.elapsed().as_secs();
        if self.is_warning_due(Instant::now()) {
            warn!(%error, entries, failures, failing_s, wait_ms, "call keeps failing, still trying");
        } else {
            debug!(%error, entries, failures, failing_s, wait_ms, "call failed, trying again");
        }
        tokio::time::sleep(wait).await;
    }

    /// Whether to warn of a failure now. After a warning, the next one has to wait for a while.
    fn is_warning_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.warn_at;
        if is_due {
            self.warn_at = now + WARN_AGAIN;
        }
        is_due
    }
}

/// Why a retried call ended without success.
#[derive(Debug)]
pub enum GaveUp {
    /// The caller's time was over.
    TimeIsUp,
    /// The call cannot succeed.
    Stop(PortError),
}

/// Repeats `call` until it succeeds, fails for good, or `until` resolves. Then it drops a call in progress.
pub async fn retry<T, F>(until: impl Future<Output = ()>, mut call: impl FnMut() -> F) -> Result<T, GaveUp>
where
    F: Future<Output = Result<T, PortError>>,
{
    let attempts = async {
        let mut failing = Failing::default();
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) if error.is_final() => return Err(GaveUp::Stop(error)),
                Err(error) => failing.wait(&error, None).await,
            }
        }
    };
    tokio::select! {
        result = attempts => result,
        () = until => Err(GaveUp::TimeIsUp),
    }
}

/// Runs `futures`, at most `limit` at a time. The results are in the order in which they came.
pub async fn bounded<F: Future>(futures: impl IntoIterator<Item = F>, limit: usize) -> Vec<F::Output> {
    let mut waiting = futures.into_iter();
    let mut running: FuturesUnordered<F> = waiting.by_ref().take(limit).collect();
    let mut results = Vec::new();
    while let Some(result) = running.next().await {
        results.push(result);
        running.extend(waiting.next());
    }
    results
}

/// What became of the items of many batch calls.
#[derive(Debug)]
pub struct Settled<T> {
    /// How many succeeded.
    pub done: usize,
    /// Those the service refused for good, with its codes.
    pub refused: Vec<(T, String)>,
    /// Those still undecided when time was up or a call failed for good.
    pub undecided: Vec<T>,
    /// The error that ended it, if one did.
    pub error: Option<PortError>,
}

impl<T> Settled<T> {
    fn new() -> Self {
        Self { done: 0, refused: Vec::new(), undecided: Vec::new(), error: None }
    }

    fn merge(mut self, mut other: Self) -> Self {
        self.done += other.done;
        self.refused.append(&mut other.refused);
        self.undecided.append(&mut other.undecided);
        self.error = self.error.or(other.error);
        self
    }
}

/// The answer to a batch call: the entries that failed. It borrows nothing from the entries.
pub type BatchAnswer<'a> = BoxFuture<'a, Result<Vec<EntryFailure>, PortError>>;

/// Puts all items through a batch call, `concurrency` batches at a time. Only failed entries go again, until each is
/// settled or `until` resolves.
pub async fn settle<'a, T: Send + 'a>(
    items: Vec<T>,
    concurrency: usize,
    until: impl Fn() -> BoxFuture<'a, ()>,
    call: impl Fn(&[T]) -> BatchAnswer<'a>,
) -> Settled<T> {
    let mut items = items.into_iter();
    let batches = std::iter::from_fn(|| {
        let batch: Vec<T> = items.by_ref().take(BATCH_MAX).collect();
        (!batch.is_empty()).then(|| settle_batch(batch, until(), &call))
    });
    bounded(batches, concurrency).await.into_iter().fold(Settled::new(), Settled::merge)
}

async fn settle_batch<'a, T>(
    mut pending: Vec<T>,
    until: BoxFuture<'a, ()>,
    call: &impl Fn(&[T]) -> BatchAnswer<'a>,
) -> Settled<T> {
    let mut settled = Settled::new();
    let attempts = async {
        let mut failing = Failing::default();
        loop {
            match call(&pending).await {
                Ok(failures) => {
                    let code = sort_out(&mut pending, failures, &mut settled);
                    if pending.is_empty() {
                        return None;
                    }
                    failing.wait(&code, Some(pending.len())).await;
                }
                Err(error) if error.is_final() => return Some(error),
                Err(error) => failing.wait(&error, Some(pending.len())).await,
            }
        }
    };
    let error = tokio::select! {
        error = attempts => error,
        () = until => None,
    };
    settled.error = error;
    settled.undecided = pending;
    settled
}

/// Leaves in `pending` the entries to try again, and gives the code of the last of them.
fn sort_out<T>(pending: &mut Vec<T>, failures: Vec<EntryFailure>, settled: &mut Settled<T>) -> String {
    let mut code = String::new();
    let mut failed: Vec<Option<EntryFailure>> = pending.iter().map(|_| None).collect();
    for failure in failures {
        if let Some(slot) = failed.get_mut(failure.index) {
            *slot = Some(failure);
        }
    }
    for (item, failure) in std::mem::take(pending).into_iter().zip(failed) {
        match failure {
            None => settled.done += 1,
            Some(failure) if failure.retryable => {
                pending.push(item);
                code = failure.code;
            }
            Some(failure) => settled.refused.push((item, failure.code)),
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt as _;

    use super::*;

    fn never() -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }

    #[test]
    fn backoff_grows_to_its_cap_and_no_further() {
        let mut backoff = Backoff::default();
        let longest = (0..2_000).map(|_| backoff.next_wait()).max().unwrap();
        assert!(longest <= BACKOFF_MAX && longest > BACKOFF_MAX * 9 / 10, "{longest:?}");
        backoff.reset();
        assert!(backoff.next_wait() <= BACKOFF_MIN);
    }

    /// An S3 that is slower than `aws.attempt_timeout` fails once a minute. A count of failures would hide that for
    /// minutes.
    #[tokio::test(start_paused = true)]
    async fn warnings_go_by_time_and_not_by_the_number_of_failures() {
        for (failures, each, warnings) in [(6, Duration::from_secs(40), 6), (200, Duration::from_millis(50), 2)] {
            let mut failing = Failing::default();
            let due = async |failing: &mut Failing| {
                tokio::time::sleep(each).await;
                failing.is_warning_due(Instant::now())
            };
            let mut warned = 0;
            for _ in 0..failures {
                warned += u32::from(due(&mut failing).await);
            }
            assert!(warned <= warnings && warned > 0, "{warned} warnings of {failures} failures, {each:?} each");
            assert!(each < WARN_AGAIN || warned == failures, "each failure of a slow call is told");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_failed_entries_go_again() {
        let calls = Mutex::new(Vec::new());
        let settled = settle((0..12).collect(), 1, never, |batch: &[u32]| {
            let mut calls = calls.lock().unwrap();
            calls.push(batch.to_vec());
            let fail = |index, retryable| EntryFailure { index, retryable, code: "Code".to_owned() };
            let failures = if calls.len() == 1 { vec![fail(3, true), fail(4, false)] } else { Vec::new() };
            async move { Ok(failures) }.boxed()
        })
        .await;
        assert_eq!(*calls.lock().unwrap(), vec![(0..10).collect::<Vec<_>>(), vec![3], vec![10, 11]]);
        assert_eq!((settled.done, settled.refused), (11, vec![(4, "Code".to_owned())]));
        assert!(settled.undecided.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn time_up_leaves_items_undecided() {
        let until = || tokio::time::sleep(Duration::from_mins(1)).boxed();
        let settled =
            settle(vec![1, 2], 4, until, |_: &[u32]| async { Err(PortError::retry("x", String::new())) }.boxed()).await;
        assert_eq!((settled.done, settled.undecided), (0, vec![1, 2]));
    }

    #[tokio::test]
    async fn hopeless_call_is_not_repeated() {
        let settled =
            settle(vec![1], 1, never, |_: &[u32]| async { Err(PortError::stop("x", "denied".to_owned())) }.boxed())
                .await;
        assert!(settled.error.is_some());
        assert_eq!(settled.undecided, vec![1]);
    }
}
