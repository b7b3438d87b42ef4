//! What a run counts: every message, tick, reject, alert and byte that passes, and every one that is refused.
//!
//! Counters are bumped per batch and never per tick. This file owns the numbers, not how they are shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one run.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages received, redeliveries included.
    pub messages_received: Counter,
    /// Messages received whose receive count was above 1.
    pub messages_redelivered: Counter,
    /// Messages deleted after their rows were stored.
    pub messages_deleted: Counter,
    /// Messages given back to the queue because a stop came before their commit.
    pub messages_released: Counter,
    /// Times that a held message was hidden for another visibility timeout.
    pub messages_extended: Counter,
    /// Messages that could not be held until they were stored, that SQS would not delete or release (their receipt had
    /// lapsed), or whose delete got no answer before a stop: they will be delivered again.
    pub messages_lapsed: Counter,
    /// Bytes of received bodies.
    pub bytes_received: Counter,
    /// Receive calls that failed.
    pub receive_failures: Counter,
    /// Good ticks.
    pub ticks_decoded: Counter,
    /// Bad ticks and bodies.
    pub ticks_rejected: Counter,
    /// Ticks in committed epochs.
    pub ticks_stored: Counter,
    /// Bad ticks and bodies in committed epochs.
    pub rejects_stored: Counter,
    /// Alerts the detectors raised.
    pub alerts_raised: Counter,
    /// Anomalies that fell into a cool-down.
    pub alerts_suppressed: Counter,
    /// Ticks no detector judged, because as many symbols as `detect.symbols_max` were watched already.
    pub ticks_unwatched: Counter,
    /// Alerts the topic took.
    pub alerts_published: Counter,
    /// Alerts the topic refused for good; they are in the lake all the same.
    pub alerts_refused: Counter,
    /// Epochs whose files are all stored.
    pub epochs_stored: Counter,
    /// Files stored.
    pub files_stored: Counter,
    /// Bytes of stored files of the ticks table.
    pub tick_bytes_stored: Counter,
    alert_latency: Mutex<Option<Histogram<u64>>>,
}

impl Stats {
    /// Messages received and not yet deleted, released or lapsed.
    #[must_use]
    pub fn messages_held(&self) -> u64 {
        // The counters are read one after the other while others add to them: the difference may be off for a moment.
        let left = self.messages_deleted.get() + self.messages_released.get() + self.messages_lapsed.get();
        self.messages_received.get().saturating_sub(left)
    }

    /// Adds, for `alerts` alerts, the time from the receipt of the message to the topic's acceptance of the alert.
    pub fn record_alert_latency(&self, latency_us: i64, alerts: usize) {
        let mut latency = self.alert_latency.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = latency.get_or_insert_with(auto_histogram);
        // An auto-resizing histogram refuses only what it has no memory for.
        let _ = histogram.record_n(u64::try_from(latency_us).unwrap_or(0).max(1), alerts as u64);
    }

    /// The latencies of published alerts in microseconds; `None` if there were none.
    #[must_use]
    pub fn alert_latency(&self) -> Option<Histogram<u64>> {
        self.alert_latency.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[expect(clippy::expect_used, reason = "three significant digits are a constant within the allowed 0 to 5")]
fn auto_histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}
