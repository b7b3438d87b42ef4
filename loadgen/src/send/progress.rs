//! How far a run is, for observers of the run, and how they tell it to end.
//!
//! It does *not* own what becomes of what was sent ([`crate::watch`]).

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use hdrhistogram::Histogram;

use crate::{manifest::no_latencies, watch::Watch};

/// What the queues have taken so far, and whether the run goes on.
#[derive(Debug)]
pub struct Progress {
    /// Ends the run when it is set. Then nothing more is prepared, and prepared batches are sent at once.
    pub stop: AtomicBool,
    /// When it is set, the observer stops waiting for what was sent to arrive.
    pub hurry: AtomicBool,
    /// The run sets it when it has sent everything.
    pub is_sent: AtomicBool,
    /// Ticks that the queues have taken.
    pub ticks: AtomicU64,
    /// Messages that the queues have taken.
    pub messages: AtomicU64,
    /// It learns of every batch before the batch is sent.
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

    /// The latencies since the last call, microseconds: from when a batch was due until its queue had it.
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
