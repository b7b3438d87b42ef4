//! The metrics: one table of names, units and meanings, and their text for Prometheus.
//!
//! What is counted is in [`crate::stats`]; how the text is served in [`crate::endpoint`]. Nothing here is global: each
//! engine has an exporter of its own.

use metrics::{Unit, with_local_recorder};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusRecorder};

use crate::clock::now_us;
use crate::meter::{Meters, QueueMeter};
use crate::stats::{Stage, Stats};

/// Upper bounds of the histograms' buckets, in seconds: from a call within a region to a store that is down.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// One metric that is read when it is asked for.
#[derive(Debug)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Counter(fn(&Stats) -> u64),
    Gauge(fn(&Meters) -> f64),
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Stats) -> u64) -> Metric {
    Metric { name, help, value: Value::Counter(value) }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Meters) -> f64) -> Metric {
    Metric { name, help, value: Value::Gauge(value) }
}

/// All metrics but those of single queues ([`QUEUE_TABLE`]) and the histograms, which are those of [`Stage::ALL`].
pub const TABLE: [Metric; 34] = [
    counter("ticklake_messages_received_total", "messages received, redeliveries included", |s| {
        s.messages_received.get()
    }),
    counter("ticklake_messages_redelivered_total", "messages received that were received before", |s| {
        s.messages_redelivered.get()
    }),
    counter("ticklake_messages_repeated_total", "copies of held messages, which were left alone", |s| {
        s.messages_repeated.get()
    }),
    counter("ticklake_messages_extended_total", "times that a held message was hidden for longer", |s| {
        s.messages_extended.get()
    }),
    counter("ticklake_messages_deleted_total", "messages deleted after their rows were stored", |s| {
        s.messages_deleted.get()
    }),
    counter("ticklake_messages_released_total", "messages given back to the queue", |s| s.messages_released.get()),
    counter("ticklake_messages_lapsed_total", "messages that were lost to the queue, and come again", |s| {
        s.messages_lapsed.get()
    }),
    counter("ticklake_received_bytes_total", "bytes of received bodies", |s| s.bytes_received.get()),
    counter("ticklake_receive_failures_total", "receive calls that failed", |s| s.receive_failures.get()),
    counter("ticklake_ticks_decoded_total", "good ticks", |s| s.ticks_decoded.get()),
    counter("ticklake_ticks_rejected_total", "bad ticks and bodies, for the quarantine", |s| s.ticks_rejected.get()),
    counter("ticklake_ticks_stored_total", "ticks in stored epochs", |s| s.ticks_stored.get()),
    counter("ticklake_rejects_stored_total", "bad ticks and bodies in stored epochs", |s| s.rejects_stored.get()),
    counter(
        "ticklake_rows_found_stored_total",
        "rows of redelivered messages that were in the lake already, and alerts that another epoch stores",
        |s| s.rows_found_stored.get(),
    ),
    counter(
        "ticklake_ticks_skipped_total",
        "ticks not judged, for detect.skip_conditions names their conditions",
        |s| s.ticks_skipped.get(),
    ),
    counter(
        "ticklake_ticks_late_total",
        "ticks more than a minute late, which the detectors' windows leave out",
        |s| s.ticks_late.get(),
    ),
    counter(
        "ticklake_ticks_unwatched_total",
        "ticks not judged, for their symbol is beyond detect.symbols_max or decode.names_max",
        |s| s.ticks_unwatched.get(),
    ),
    counter("ticklake_alerts_raised_total", "alerts raised", |s| s.alerts_raised.get()),
    counter(
        "ticklake_alerts_suppressed_total",
        "anomalies of which nothing was said, for their event was told of",
        |s| s.alerts_suppressed.get(),
    ),
    counter("ticklake_alerts_held_back_total", "alerts summed up in another one, for there were too many", |s| {
        s.alerts_held_back.get()
    }),
    counter("ticklake_alert_notes_total", "notes of alerts that were put into the store", |s| s.alert_notes.get()),
    counter("ticklake_alerts_published_total", "alerts that the topic took", |s| s.alerts_published.get()),
    counter("ticklake_alerts_refused_total", "alerts that the topic refused; they are in the lake", |s| {
        s.alerts_refused.get()
    }),
    counter("ticklake_epochs_stored_total", "epochs all of whose files are stored", |s| s.epochs_stored.get()),
    counter("ticklake_files_stored_total", "files stored", |s| s.files_stored.get()),
    counter("ticklake_stored_tick_bytes_total", "bytes of stored files of the ticks table", |s| {
        s.tick_bytes_stored.get()
    }),
    gauge(
        "ticklake_receiving",
        "1 while receive calls succeed, but for queues that are gone, and no stop has begun, else 0",
        |m| {
            if m.is_receiving() { 1.0 } else { 0.0 }
        },
    ),
    gauge("ticklake_messages_held", "messages received and neither deleted nor given back", |m| {
        m.stats.messages_held() as f64
    }),
    gauge("ticklake_budget_messages", "messages that the budget counts", |m| m.budget.in_flight().messages as f64),
    gauge("ticklake_budget_messages_max", "messages that the budget admits", |m| m.budget.max().messages as f64),
    gauge("ticklake_budget_bytes", "bytes that the budget counts", |m| m.budget.in_flight().bytes as f64),
    gauge("ticklake_budget_bytes_max", "bytes that the budget admits", |m| m.budget.max().bytes as f64),
    gauge("ticklake_open_epoch_ticks", "ticks in the open epoch", |m| m.stats.open_epoch().0 as f64),
    gauge("ticklake_open_epoch_age_seconds", "age of the open epoch, 0 if none is open", |m| {
        m.stats.open_epoch().1.map_or(0.0, |opened_at_us| (now_us() - opened_at_us).max(0) as f64 / 1e6)
    }),
];

/// A gauge that each queue has, with the label `queue`.
#[derive(Debug)]
pub struct QueueMetric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// `None` where it is not known.
    value: fn(&QueueMeter) -> Option<f64>,
}

const fn of_queue(name: &'static str, help: &'static str, value: fn(&QueueMeter) -> Option<f64>) -> QueueMetric {
    QueueMetric { name, help, value }
}

/// The metrics of single queues.
pub const QUEUE_TABLE: [QueueMetric; 7] = [
    of_queue("ticklake_queue_gone", "1 while the queue does not exist any more, else 0", |q| {
        Some(if q.is_gone() { 1.0 } else { 0.0 })
    }),
    of_queue("ticklake_queue_in_flight_messages", "messages of the queue that the budget counts", |q| {
        Some(q.budget.in_flight().messages as f64)
    }),
    of_queue("ticklake_queue_in_flight_messages_max", "the share of what the queue allows in flight", |q| {
        Some(q.budget.max().messages as f64)
    }),
    of_queue("ticklake_queue_in_flight_bytes", "bytes of the queue that the budget counts", |q| {
        Some(q.budget.in_flight().bytes as f64)
    }),
    of_queue(
        "ticklake_queue_backlog_messages",
        "messages that the queue holds, about, those in flight included",
        |q| q.backlog().map(|messages| messages as f64),
    ),
    of_queue("ticklake_queue_backlog_ticks", "the same in ticks, at as many to a message as so far", |q| {
        q.backlog_ticks()
    }),
    of_queue("ticklake_queue_oldest_age_seconds", "age of the oldest message of the last receive, 0 if empty", |q| {
        Some(q.age_us() as f64 / 1e6)
    }),
];

/// The text of one engine's metrics.
#[derive(Debug)]
pub struct Exporter {
    recorder: PrometheusRecorder,
    meters: Meters,
}

impl Exporter {
    /// The exporter of what `meters` count. From now on they take down latencies, too.
    pub fn new(meters: Meters) -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS)?.build_recorder();
        with_local_recorder(&recorder, || {
            for metric in &TABLE {
                match metric.value {
                    Value::Counter(_) => metrics::describe_counter!(metric.name, metric.help),
                    Value::Gauge(_) => metrics::describe_gauge!(metric.name, metric.help),
                }
            }
            for metric in &QUEUE_TABLE {
                metrics::describe_gauge!(metric.name, metric.help);
            }
            meters.stats.take_down_latencies(Stage::ALL.map(|stage| {
                metrics::describe_histogram!(stage.name(), Unit::Seconds, stage.help());
                metrics::histogram!(stage.name())
            }));
        });
        Ok(Self { recorder, meters })
    }

    /// All metrics as of now, in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        with_local_recorder(&self.recorder, || {
            for metric in &TABLE {
                match metric.value {
                    Value::Counter(value) => metrics::counter!(metric.name).absolute(value(&self.meters.stats)),
                    Value::Gauge(value) => metrics::gauge!(metric.name).set(value(&self.meters)),
                }
            }
            for queue in &*self.meters.queues {
                for metric in &QUEUE_TABLE {
                    let value = (metric.value)(queue).unwrap_or(f64::NAN);
                    metrics::gauge!(metric.name, "queue" => queue.name.to_string()).set(value);
                }
            }
        });
        let handle = self.recorder.handle();
        handle.run_upkeep();
        handle.render()
    }

    /// Whether messages are being received.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.meters.is_receiving()
    }

    /// The names of the queues that do not exist any more.
    pub fn queues_gone(&self) -> impl Iterator<Item = &str> {
        self.meters.queues.iter().filter(|queue| queue.is_gone()).map(|queue| &*queue.name)
    }
}
