//! The table of metrics: names, units, meanings, and where each value comes from.
//!
//! What is counted is in [`crate::stats`] and [`crate::meter`]. This file does *not* own how metrics are printed
//! ([`crate::exporter`]) or served ([`crate::endpoint`]). The latencies of the stages are histograms of their own
//! ([`Stage::ALL`](crate::stats::Stage::ALL)).

use crate::clock::now_us;
use crate::meter::{Meters, QueueMeter};
use crate::stats::Stats;

/// One metric that is read when it is asked for.
#[derive(Debug)]
pub struct Metric {
    /// Its name. It ends in the unit, unless the name says what is counted.
    pub name: &'static str,
    /// What its value is in.
    pub unit: Unit,
    /// What it says.
    pub help: &'static str,
    /// How it is read.
    pub value: Value,
}

/// How a metric is read.
#[derive(Debug)]
pub enum Value {
    /// It only grows.
    Counter(fn(&Stats) -> u64),
    /// It only grows, and has one count for each combination of label values. The names of the labels come first.
    Counters(&'static [&'static str], fn(&Stats) -> Vec<Labelled>),
    /// It goes up and down.
    Gauge(fn(&Meters) -> f64),
}

/// The values of some labels, and the count for them.
pub type Labelled = (Vec<String>, u64);

/// The unit of a metric's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of what the name says.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// 1 for yes, 0 for no.
    YesOrNo,
}

const fn counter(name: &'static str, unit: Unit, help: &'static str, value: fn(&Stats) -> u64) -> Metric {
    Metric { name, unit, help, value: Value::Counter(value) }
}

const fn counters(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    value: fn(&Stats) -> Vec<Labelled>,
) -> Metric {
    Metric { name, unit: Unit::Count, help, value: Value::Counters(labels, value) }
}

const fn gauge(name: &'static str, unit: Unit, help: &'static str, value: fn(&Meters) -> f64) -> Metric {
    Metric { name, unit, help, value: Value::Gauge(value) }
}

/// All metrics except those of single queues ([`QUEUE_TABLE`]) and the histograms of the stages.
pub const TABLE: [Metric; 36] = [
    counter("ticklake_messages_received_total", Unit::Count, "messages received, redeliveries included", |s| {
        s.messages_received.get()
    }),
    counter("ticklake_messages_redelivered_total", Unit::Count, "messages that had been received before", |s| {
        s.messages_redelivered.get()
    }),
    counter("ticklake_messages_repeated_total", Unit::Count, "copies of held messages, which were ignored", |s| {
        s.messages_repeated.get()
    }),
    counter("ticklake_messages_extended_total", Unit::Count, "times that a held message was hidden for longer", |s| {
        s.messages_extended.get()
    }),
    counter("ticklake_messages_deleted_total", Unit::Count, "messages deleted after their rows were stored", |s| {
        s.messages_deleted.get()
    }),
    counter("ticklake_messages_released_total", Unit::Count, "messages given back to the queue", |s| {
        s.messages_released.get()
    }),
    counter(
        "ticklake_messages_lapsed_total",
        Unit::Count,
        "messages that this worker lost, and that come again",
        |s| s.messages_lapsed.get(),
    ),
    counter("ticklake_received_bytes_total", Unit::Bytes, "bytes of received bodies", |s| s.bytes_received.get()),
    counter("ticklake_receive_failures_total", Unit::Count, "receive calls that failed", |s| s.receive_failures.get()),
    counter("ticklake_ticks_decoded_total", Unit::Count, "good ticks", |s| s.ticks_decoded.get()),
    counters("ticklake_ticks_rejected_total", &["reason"], "bad ticks and bodies, sent to the quarantine", |s| {
        s.ticks_rejected.by_reason().map(|(reason, count)| (vec![reason.to_string()], count)).collect()
    }),
    counters(
        "ticklake_fields_unreadable_total",
        &["field"],
        "values of seq, venue and conditions that could not be read, and are null in the lake",
        |s| s.fields_unreadable.by_column().map(|(column, count)| (vec![column.to_owned()], count)).collect(),
    ),
    counters(
        "ticklake_events_left_out_total",
        &["field", "value"],
        "events that decode.only does not choose, which are stored nowhere",
        |s| {
            s.events_left_out
                .by_value()
                .into_iter()
                .map(|((field, value), count)| (vec![field, value], count))
                .collect()
        },
    ),
    counter("ticklake_ticks_stored_total", Unit::Count, "ticks in stored epochs", |s| s.ticks_stored.get()),
    counter("ticklake_rejects_stored_total", Unit::Count, "bad ticks and bodies in stored epochs", |s| {
        s.rejects_stored.get()
    }),
    counter(
        "ticklake_rows_found_stored_total",
        Unit::Count,
        "rows of redelivered messages that were in the lake already, and alerts that another epoch stores",
        |s| s.rows_found_stored.get(),
    ),
    counter(
        "ticklake_ticks_skipped_total",
        Unit::Count,
        "ticks not judged because detect.skip_conditions names their conditions",
        |s| s.ticks_skipped.get(),
    ),
    counter(
        "ticklake_ticks_late_total",
        Unit::Count,
        "ticks more than a minute late, which the detectors' windows leave out",
        |s| s.ticks_late.get(),
    ),
    counter(
        "ticklake_ticks_unwatched_total",
        Unit::Count,
        "ticks not judged because their symbol is beyond detect.symbols_max or decode.names_max",
        |s| s.ticks_unwatched.get(),
    ),
    counter("ticklake_alerts_raised_total", Unit::Count, "alerts raised", |s| s.alerts_raised.get()),
    counter(
        "ticklake_alerts_suppressed_total",
        Unit::Count,
        "anomalies without an alert, because their event had one already",
        |s| s.alerts_suppressed.get(),
    ),
    counter(
        "ticklake_alerts_held_back_total",
        Unit::Count,
        "alerts summed up in another one, because there were too many",
        |s| s.alerts_held_back.get(),
    ),
    counter("ticklake_alert_notes_total", Unit::Count, "notes of alerts that were put into the store", |s| {
        s.alert_notes.get()
    }),
    counter("ticklake_alerts_published_total", Unit::Count, "alerts that the topic took", |s| s.alerts_published.get()),
    counter("ticklake_alerts_refused_total", Unit::Count, "alerts that the topic refused; they are in the lake", |s| {
        s.alerts_refused.get()
    }),
    counter("ticklake_epochs_stored_total", Unit::Count, "epochs whose files are all stored", |s| {
        s.epochs_stored.get()
    }),
    counter("ticklake_files_stored_total", Unit::Count, "files stored", |s| s.files_stored.get()),
    counter("ticklake_stored_tick_bytes_total", Unit::Bytes, "bytes of stored files of the ticks table", |s| {
        s.tick_bytes_stored.get()
    }),
    gauge(
        "ticklake_receiving",
        Unit::YesOrNo,
        "1 while receive calls succeed (queues that are gone do not count) and no stop has begun, else 0",
        |m| {
            if m.is_receiving() { 1.0 } else { 0.0 }
        },
    ),
    gauge("ticklake_messages_held", Unit::Count, "messages received, but not deleted, given back or lost", |m| {
        m.stats.messages_held() as f64
    }),
    gauge("ticklake_budget_messages", Unit::Count, "messages that the budget counts", |m| {
        m.budget.in_flight().messages as f64
    }),
    gauge("ticklake_budget_messages_max", Unit::Count, "messages that the budget admits", |m| {
        m.budget.max().messages as f64
    }),
    gauge("ticklake_budget_bytes", Unit::Bytes, "bytes that the budget counts", |m| m.budget.in_flight().bytes as f64),
    gauge("ticklake_budget_bytes_max", Unit::Bytes, "bytes that the budget admits", |m| m.budget.max().bytes as f64),
    gauge("ticklake_open_epoch_ticks", Unit::Count, "ticks in the open epoch", |m| m.stats.open_epoch().0 as f64),
    gauge("ticklake_open_epoch_age_seconds", Unit::Seconds, "age of the open epoch, 0 if none is open", |m| {
        m.stats.open_epoch().1.map_or(0.0, |opened_at_us| (now_us() - opened_at_us).max(0) as f64 / 1e6)
    }),
];

/// A gauge that each queue has, with the label `queue`.
#[derive(Debug)]
pub struct QueueMetric {
    /// Its name. It ends in the unit, unless the name says what is counted.
    pub name: &'static str,
    /// What its value is in.
    pub unit: Unit,
    /// What it says.
    pub help: &'static str,
    /// `None` where it is not known.
    pub value: fn(&QueueMeter) -> Option<f64>,
}

const fn of_queue(
    name: &'static str,
    unit: Unit,
    help: &'static str,
    value: fn(&QueueMeter) -> Option<f64>,
) -> QueueMetric {
    QueueMetric { name, unit, help, value }
}

/// The metrics of single queues.
pub const QUEUE_TABLE: [QueueMetric; 7] = [
    of_queue("ticklake_queue_gone", Unit::YesOrNo, "1 while the queue does not exist any more, else 0", |q| {
        Some(if q.is_gone() { 1.0 } else { 0.0 })
    }),
    of_queue("ticklake_queue_in_flight_messages", Unit::Count, "messages of the queue that the budget counts", |q| {
        Some(q.budget.in_flight().messages as f64)
    }),
    of_queue(
        "ticklake_queue_in_flight_messages_max",
        Unit::Count,
        "this worker's share of what the queue allows in flight",
        |q| Some(q.budget.max().messages as f64),
    ),
    of_queue("ticklake_queue_in_flight_bytes", Unit::Bytes, "bytes of the queue that the budget counts", |q| {
        Some(q.budget.in_flight().bytes as f64)
    }),
    of_queue(
        "ticklake_queue_backlog_messages",
        Unit::Count,
        "about how many messages the queue holds, including those in flight",
        |q| q.backlog().map(|messages| messages as f64),
    ),
    of_queue(
        "ticklake_queue_backlog_ticks",
        Unit::Count,
        "about how many ticks the queue holds, at the average per message so far",
        QueueMeter::backlog_ticks,
    ),
    of_queue(
        "ticklake_queue_oldest_age_seconds",
        Unit::Seconds,
        "age of the oldest message of the last receive, 0 if empty",
        |q| Some(q.age_us() as f64 / 1e6),
    ),
];
