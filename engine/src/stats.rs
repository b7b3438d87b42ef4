//! What a run counts: every message, tick, reject, alert and byte that passes, and every one that is refused.
//!
//! Counters are bumped per batch and never per tick. This file owns the numbers. It does *not* own how they are shown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use ticklake_core::decode::{Reason, Reject, UnreadableFields};

use crate::clock::now_us;

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

/// Bad ticks and bodies, by their reasons.
#[derive(Debug, Default)]
pub struct Rejected([Counter; Reason::ALL.len()]);

impl Rejected {
    /// Adds `rejects`.
    pub(crate) fn add(&self, rejects: &[Reject]) {
        for reject in rejects {
            self.0[reject.reason as usize].add(1);
        }
    }

    /// How many there were, whatever the reason.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    /// How many there were, for each reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(&self.0).map(|(reason, counter)| (reason, counter.get()))
    }
}

/// Values of optional fields that could not be read, by column.
#[derive(Debug, Default)]
pub struct Unreadable([Counter; UnreadableFields::COLUMNS.len()]);

impl Unreadable {
    /// Adds `fields`.
    pub(crate) fn add(&self, fields: UnreadableFields) {
        for (counter, (_, count)) in self.0.iter().zip(fields.by_column()) {
            counter.add(count as usize);
        }
    }

    /// How many there were, of each column.
    pub fn by_column(&self) -> impl Iterator<Item = (&'static str, u64)> {
        UnreadableFields::COLUMNS.into_iter().zip(&self.0).map(|(column, counter)| (column, counter.get()))
    }
}

/// Events that were not meant to be ticks, by the field that decided it and its value. Each decoder bounds how many
/// values there are.
#[derive(Debug, Default)]
pub struct LeftOut(Mutex<BTreeMap<(String, String), u64>>);

impl LeftOut {
    /// Adds events in which `field` had this value.
    pub(crate) fn add(&self, field: &str, value: &str, count: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((field.to_owned(), value.to_owned())).or_default() += count;
    }

    /// How many there were, whatever the value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// How many there were, for each field and value.
    #[must_use]
    pub fn by_value(&self) -> BTreeMap<(String, String), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A step on a message's way whose duration is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// One receive call that brought messages.
    Receive,
    /// One epoch, sorted and encoded.
    Encode,
    /// One epoch, from its entry to the last delete.
    Commit,
    /// One batch of alerts, from the receipt of its ticks until the topic took it.
    Alert,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 4] = [Stage::Receive, Stage::Encode, Stage::Commit, Stage::Alert];

    /// The name of its metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Receive => "ticklake_receive_seconds",
            Stage::Encode => "ticklake_encode_seconds",
            Stage::Commit => "ticklake_commit_seconds",
            Stage::Alert => "ticklake_alert_seconds",
        }
    }

    /// What its metric says.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Stage::Receive => "receive calls that brought messages",
            Stage::Encode => "sorting and encoding an epoch",
            Stage::Commit => "an epoch's alerts, files and deletes",
            Stage::Alert => "from the receipt of ticks until their alerts are published",
        }
    }
}

/// The counters of one run.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages received, redeliveries included.
    pub messages_received: Counter,
    /// Messages received whose receive count was above 1.
    pub messages_redelivered: Counter,
    /// Copies of messages that were held already.
    pub messages_repeated: Counter,
    /// Messages deleted after their rows were stored.
    pub messages_deleted: Counter,
    /// Messages given back to the queue: a stop came before their commit, or their epoch was aborted.
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
    pub ticks_rejected: Rejected,
    /// Values of optional fields that could not be read: the column is null there.
    pub fields_unreadable: Unreadable,
    /// Events that are not meant to be ticks.
    pub events_left_out: LeftOut,
    /// Ticks in stored epochs.
    pub ticks_stored: Counter,
    /// Bad ticks and bodies in stored epochs.
    pub rejects_stored: Counter,
    /// Rows of redelivered messages that were in the lake already, and alerts that another epoch stores: they were not
    /// stored again.
    pub rows_found_stored: Counter,
    /// Alerts the detectors raised.
    pub alerts_raised: Counter,
    /// Anomalies that did not become alerts, because their event had one already.
    pub alerts_suppressed: Counter,
    /// Ticks no detector judged, because as many symbols as `detect.symbols_max` were watched already, or as many as
    /// `decode.names_max` were known.
    pub ticks_unwatched: Counter,
    /// Ticks that came too late for the windows of their symbol.
    pub ticks_late: Counter,
    /// Ticks not judged, because their sale conditions are skipped.
    pub ticks_skipped: Counter,
    /// Alerts the topic took.
    pub alerts_published: Counter,
    /// Alerts that were not published one by one, because there were too many.
    pub alerts_held_back: Counter,
    /// Notes of alerts that were put into the store.
    pub alert_notes: Counter,
    /// Alerts the topic refused for good; they are in the lake all the same.
    pub alerts_refused: Counter,
    /// Epochs whose files are all stored.
    pub epochs_stored: Counter,
    /// Files stored.
    pub files_stored: Counter,
    /// Bytes of stored files of the ticks table.
    pub tick_bytes_stored: Counter,
    alert_latency: Mutex<Option<Histogram<u64>>>,
    /// By [`Stage`]; empty if there is no exporter.
    latencies: OnceLock<[metrics::Histogram; Stage::ALL.len()]>,
    /// Ticks in the open epoch, and when it was opened; 0 if none is.
    open_epoch: (AtomicU64, AtomicI64),
}

impl Stats {
    /// Messages received and not yet deleted, released or lapsed.
    #[must_use]
    pub fn messages_held(&self) -> u64 {
        // The counters are read one after the other while others add to them: the difference may be off for a moment.
        let left = self.messages_deleted.get() + self.messages_released.get() + self.messages_lapsed.get();
        self.messages_received.get().saturating_sub(left)
    }

    /// Records latencies in `histograms` from now on.
    pub(crate) fn take_down_latencies(&self, histograms: [metrics::Histogram; Stage::ALL.len()]) {
        // A second exporter of the same engine would get the counters, but no latencies. There is none.
        let _ = self.latencies.set(histograms);
    }

    /// Records how long a stage took.
    pub(crate) fn took(&self, stage: Stage, duration: Duration) {
        if let Some(histograms) = self.latencies.get() {
            histograms[stage as usize].record(duration.as_secs_f64());
        }
    }

    /// Ticks in the open epoch, and when it was opened, in microseconds since the Unix epoch; `None` if none is open.
    #[must_use]
    pub fn open_epoch(&self) -> (u64, Option<i64>) {
        let opened_at_us = self.open_epoch.1.load(Ordering::Relaxed);
        (self.open_epoch.0.load(Ordering::Relaxed), (opened_at_us > 0).then_some(opened_at_us))
    }

    /// Notes that the open epoch holds `ticks`; `None` if none is open.
    pub(crate) fn set_open_epoch(&self, ticks: Option<usize>) {
        let (size, opened_at_us) = &self.open_epoch;
        size.store(ticks.unwrap_or(0) as u64, Ordering::Relaxed);
        match ticks {
            None => opened_at_us.store(0, Ordering::Relaxed),
            // Only the builder writes it.
            Some(_) if opened_at_us.load(Ordering::Relaxed) == 0 => opened_at_us.store(now_us(), Ordering::Relaxed),
            Some(_) => {}
        }
    }

    /// Adds, for `alerts` alerts, the time from the receipt of the message to the topic's acceptance of the alert.
    pub fn record_alert_latency(&self, latency_us: i64, alerts: usize) {
        self.took(Stage::Alert, Duration::from_micros(u64::try_from(latency_us).unwrap_or(0)));
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
