//! Whether it is quiet: the queues are asked, and nothing comes. Only then does silence of a symbol mean something.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// How long a poll has to be under way without an answer before its queue counts as empty. SQS answers a long poll as
/// soon as there is a message.
const QUIET_MS: u64 = 1_000;

/// While nothing comes, the detectors ask each second whether it is quiet. After a longer pause, it cannot be known.
const CHECK_AGAIN_MAX_MS: u64 = 2_000;

/// If no poll was under way for longer than this, messages may have come meanwhile.
const UNASKED_MAX_MS: u64 = 200;

/// The polls of all queues, and when something came last. All times are milliseconds since the start.
#[derive(Debug)]
pub struct Quiet {
    started: Instant,
    polls: AtomicUsize,
    /// When a poll last ended and left no other one under way.
    unasked_ms: AtomicU64,
    /// Since when nothing has come.
    stirred_ms: AtomicU64,
    /// When a detector asked last whether it is quiet.
    checked_ms: AtomicU64,
}

impl Default for Quiet {
    fn default() -> Self {
        let (polls, unasked_ms, stirred_ms, checked_ms) = Default::default();
        Self { started: Instant::now(), polls, unasked_ms, stirred_ms, checked_ms }
    }
}

/// A poll under way.
pub(crate) struct PollUnderWay<'a>(&'a Quiet);

impl Drop for PollUnderWay<'_> {
    fn drop(&mut self) {
        if self.0.polls.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.unasked_ms.store(self.0.now_ms(), Ordering::Relaxed);
        }
    }
}

impl Quiet {
    /// A poll begins.
    pub(crate) fn polls(&self) -> PollUnderWay<'_> {
        // One poll follows another at once, unless there was no room for messages. Then some may have come in between.
        let unasked_ms = self.now_ms().saturating_sub(self.unasked_ms.load(Ordering::Relaxed));
        if self.polls.fetch_add(1, Ordering::Relaxed) == 0 && unasked_ms > UNASKED_MAX_MS {
            self.stirs();
        }
        PollUnderWay(self)
    }

    /// Messages have come.
    pub(crate) fn stirs(&self) {
        self.stirred_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Whether the queues are asked, and nothing has come for a while. It is not quiet while the engine has no room and
    /// asks for nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        // A process that was frozen, or got no processor time, does not know what came meanwhile.
        let now_ms = self.now_ms();
        if now_ms.saturating_sub(self.checked_ms.swap(now_ms, Ordering::Relaxed)) > CHECK_AGAIN_MAX_MS {
            self.stirs();
            return false;
        }
        let still_ms = now_ms.saturating_sub(self.stirred_ms.load(Ordering::Relaxed));
        self.polls.load(Ordering::Relaxed) > 0 && still_ms >= QUIET_MS
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}
