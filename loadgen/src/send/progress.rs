//! How far a run is, for whoever looks at it meanwhile; and how it is told to end.
//!
//! It does *not* own what becomes of what was sent ([`crate::watch`]).

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use hdrhistogram::Histogram;

use crate::{manifest::no_latencies, watch::Watch};

/// What the queues have taken so far, and whether the run is to go on.
#[derive(Debug)]
pub struct Progress {
    /// Set by whoever wants the run to end: no more is prepared then, and what is, is sent at once.
    pub stop: AtomicBool,
    /// Set by whoever does not want to wait for what was sent to arrive.
    pub hurry: AtomicBool,
    /// Set when nothing is sent any more.
    pub is_sent: AtomicBool,
    /// Ticks.
    pub ticks: AtomicU64,
    /// Messages.
    pub messages: AtomicU64,
    /// Is told of every batch before it is sent.
    pub watch: Option<Arc<Watch>>,
    /// Latencies since somebody last asked, microseconds.
    recent_us: Mutex<Histogram<u64>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            stop: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
            is_sent: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            watch: None,
            recent_us: Mutex::new(no_latencies()),
        }
    }
}

impl Progress {
    /// A run whose ticks are watched.
    #[must_use]
    pub fn watched(watch: Option<Watch>) -> Self {
        Self { watch: watch.map(Arc::new), ..Self::default() }
    }

    /// The latencies since this was last called, microseconds: from when a batch was due until its queue had it.
    pub fn take_recent_us(&self) -> Histogram<u64> {
        let mut recent = self.recent_us.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut recent, no_latencies())
    }

    pub(super) fn add(&self, ticks: u64, messages: u64, latency_us: u64) {
        self.ticks.fetch_add(ticks, Ordering::Relaxed);
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.recent_us.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(latency_us);
    }
}
