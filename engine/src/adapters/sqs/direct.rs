//! Repeats requests of the SDK. A repeated request has the same endpoint, headers, credentials and connections, but a
//! new body and a new signature.
//!
//! The SDK takes about 100 us of CPU time to make a request to SQS and to read its answer. Most of this work is the
//! same every time. So the first call goes through the SDK, which resolves credentials, region and endpoint, and signs.
//! Its request is noted, and later calls send it again. They know only success. On any other outcome the SDK makes the
//! call again, with its own retries and classification of errors. Then nothing is repeated until a call of the SDK has
//! succeeded.
//!
//! This file owns when a call may be repeated. It does *not* own how a request is noted and signed ([`super::noted`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::noted::{Note, Noted};

use crate::clock::wall;

/// After so many failures in a row, repeating itself does not work. Then nothing is repeated for [`PAUSE`].
const FAILURES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_mins(5);

/// Repeats the requests of one operation.
#[derive(Debug)]
pub(super) struct Direct {
    /// How long an answer may take. `None` if nothing is repeated.
    timeout: Option<Duration>,
    state: RwLock<State>,
    /// How many calls have succeeded.
    count: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    noted: Option<Arc<Noted>>,
    /// Since the last success.
    failures: u32,
    /// Nothing is noted until then.
    paused_until: Option<Instant>,
}

impl Direct {
    /// Nothing is noted yet.
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, state: RwLock::default(), count: AtomicU64::new(0) }
    }

    /// Repeats the noted request with `body`, and returns what `read` makes of the answer. `None` if the SDK has to
    /// make the call.
    pub(super) async fn call<T>(
        &self,
        body: impl FnOnce() -> String,
        read: impl FnOnce(Vec<u8>) -> Option<T>,
    ) -> Option<T> {
        let noted = self.state.read().unwrap_or_else(PoisonError::into_inner).noted.clone()?;
        let now = wall();
        if noted.is_outdated(now) {
            self.write().forget(&noted);
            return None;
        }
        let answer = tokio::time::timeout(self.timeout?, noted.repeat(body(), now)).await;
        let answer = answer.unwrap_or_else(|late| Err(late.into()));
        match answer.and_then(|answer| read(answer).ok_or_else(|| "an answer of another form".into())) {
            Ok(read) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                if self.state.read().unwrap_or_else(PoisonError::into_inner).failures > 0 {
                    self.write().failures = 0;
                }
                Some(read)
            }
            Err(error) => {
                debug!(%error, "a repeated request failed, leaving it to the SDK");
                self.write().failed(&noted, &error);
                None
            }
        }
    }

    /// How many calls have succeeded without the SDK.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// An interceptor that notes the next request of the SDK, if its body says the same as `body`.
    pub(super) fn note(&self, body: impl FnOnce() -> String) -> Note {
        let paused_until = self.state.read().unwrap_or_else(PoisonError::into_inner).paused_until;
        let is_paused = paused_until.is_some_and(|until| Instant::now() < until);
        Note::new((self.timeout.is_some() && !is_paused).then(body))
    }

    /// The SDK's request has succeeded: from now on it is repeated.
    pub(super) fn keep(&self, note: &Note) {
        if let Some(noted) = note.take() {
            self.write().noted = Some(Arc::new(noted));
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Leaves the next call to the SDK, unless another request has been noted since.
    fn forget(&mut self, outdated: &Arc<Noted>) {
        self.noted.take_if(|noted| Arc::ptr_eq(noted, outdated));
    }

    fn failed(&mut self, noted: &Arc<Noted>, error: &BoxError) {
        self.forget(noted);
        self.failures += 1;
        if self.failures == FAILURES_MAX {
            warn!(%error, "repeated requests keep failing, leaving all calls to the SDK for a while");
            self.failures = 0;
            self.noted = None;
            self.paused_until = Some(Instant::now() + PAUSE);
        }
    }
}
