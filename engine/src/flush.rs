//! What the stages know of the queues: why an open epoch should not wait for more, and whether anything comes at all.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// For how long a poll has to be under way without an answer for its queue to be empty: a long poll is answered as soon
/// as there is a message.
const QUIET_MS: u64 = 1_000;

/// The detectors ask each second whether it is quiet while nothing comes. After a longer pause nobody knows.
const CHECK_AGAIN_MAX_MS: u64 = 2_000;

/// Longer than this no poll was under way only if there was a reason.
const UNASKED_MAX_MS: u64 = 200;

/// Why an open epoch is not to wait for more, and when something came last.
#[derive(Debug)]
pub struct Flush {
    drained: AtomicBool,
    over_limit: AtomicBool,
    started: Instant,
    /// Polls under way, when there were none last, and since when nothing has come; milliseconds since the start.
    polls: AtomicUsize,
    unasked_ms: AtomicU64,
    stirred_ms: AtomicU64,
    /// When somebody asked last whether it is quiet.
    checked_ms: AtomicU64,
}

impl Default for Flush {
    fn default() -> Self {
        let (drained, over_limit, polls, unasked_ms, stirred_ms, checked_ms) = Default::default();
        Self { drained, over_limit, started: Instant::now(), polls, unasked_ms, stirred_ms, checked_ms }
    }
}

/// A poll under way.
pub(crate) struct PollUnderWay<'a>(&'a Flush);

impl Drop for PollUnderWay<'_> {
    fn drop(&mut self) {
        if self.0.polls.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.unasked_ms.store(self.0.now_ms(), Ordering::Relaxed);
        }
    }
}

impl Flush {
    /// Whether the queues hold nothing but what some worker holds.
    pub(crate) fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// A poll begins.
    pub(crate) fn polls(&self) -> PollUnderWay<'_> {
        // From one poll to the next is no time; but while there was no room for messages, some may have come.
        let unasked_ms = self.now_ms().saturating_sub(self.unasked_ms.load(Ordering::Relaxed));
        if self.polls.fetch_add(1, Ordering::Relaxed) == 0 && unasked_ms > UNASKED_MAX_MS {
            self.stirs();
        }
        PollUnderWay(self)
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Messages have come.
    pub(crate) fn stirs(&self) {
        self.stirred_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Whether the queues are asked, and nothing has come for a while. While nothing is asked for, as there is no room,
    /// nobody knows.
    pub(crate) fn is_quiet(&self) -> bool {
        // A process that was frozen, or had no processor, has not heard what there was to hear meanwhile.
        let now_ms = self.now_ms();
        if now_ms.saturating_sub(self.checked_ms.swap(now_ms, Ordering::Relaxed)) > CHECK_AGAIN_MAX_MS {
            self.stirs();
            return false;
        }
        let still_ms = now_ms.saturating_sub(self.stirred_ms.load(Ordering::Relaxed));
        self.polls.load(Ordering::Relaxed) > 0 && still_ms >= QUIET_MS
    }

    /// Whether a queue allows no more in flight: until an epoch is stored, nothing more comes of it.
    pub(crate) fn set_over_limit(&self, over_limit: bool) {
        self.over_limit.store(over_limit, Ordering::Relaxed);
    }

    pub(crate) fn is_over_limit(&self) -> bool {
        self.over_limit.load(Ordering::Relaxed)
    }
}
