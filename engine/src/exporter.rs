//! The metrics of one engine as text for Prometheus. Nothing here is global: each engine has an exporter of its own.
//!
//! It does *not* own which metrics there are ([`crate::metrics`]), nor how the text is served ([`crate::endpoint`]).

use metrics::{Label, with_local_recorder};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusRecorder};

use crate::meter::Meters;
use crate::metrics::{QUEUE_TABLE, TABLE, Unit, Value};
use crate::stats::Stage;

/// Upper bounds of the histograms' buckets, in seconds: from a call within a region to a store that is down.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The text of one engine's metrics.
#[derive(Debug)]
pub struct Exporter {
    recorder: PrometheusRecorder,
    meters: Meters,
}

impl Exporter {
    /// The exporter of what `meters` count. From now on, they also record latencies.
    pub fn new(meters: Meters) -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS)?.build_recorder();
        with_local_recorder(&recorder, || {
            for metric in &TABLE {
                match metric.value {
                    Value::Counter(_) | Value::Counters(..) => {
                        metrics::describe_counter!(metric.name, unit(metric.unit), metric.help);
                    }
                    Value::Gauge(_) => metrics::describe_gauge!(metric.name, unit(metric.unit), metric.help),
                }
            }
            for metric in &QUEUE_TABLE {
                metrics::describe_gauge!(metric.name, unit(metric.unit), metric.help);
            }
            meters.stats.take_down_latencies(Stage::ALL.map(|stage| {
                metrics::describe_histogram!(stage.name(), metrics::Unit::Seconds, stage.help());
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
                    Value::Counters(names, value) => {
                        for (values, count) in value(&self.meters.stats) {
                            let labels: Vec<Label> =
                                names.iter().zip(values).map(|(name, value)| Label::new(*name, value)).collect();
                            metrics::counter!(metric.name, labels).absolute(count);
                        }
                    }
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

    /// The meters that it exports.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.meters
    }
}

fn unit(unit: Unit) -> metrics::Unit {
    match unit {
        Unit::Count | Unit::YesOrNo => metrics::Unit::Count,
        Unit::Bytes => metrics::Unit::Bytes,
        Unit::Seconds => metrics::Unit::Seconds,
    }
}
