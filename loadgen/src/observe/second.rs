//! One second of a run after the other.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::scrape::{Metric, Scraper};
use crate::{
    send::{Pace, Progress},
    watch::Watch,
};

const SECOND: Duration = Duration::from_secs(1);

/// A queue or a metrics endpoint that takes longer has said nothing in that second.
const ANSWER_MAX: Duration = Duration::from_millis(800);

/// How things stand at the end of a second.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Second {
    /// Seconds since the beginning.
    pub at_s: f64,
    /// Ticks per second that were asked for in the midst of it; `None` in a closed loop.
    pub asked_per_s: Option<f64>,
    /// Ticks and messages that the queues have taken so far.
    pub ticks: u64,
    /// See `ticks`.
    pub messages: u64,
    /// Of the batches that they took in this second, from when each was due; `None` where they took none.
    pub send: Option<Latency>,
    /// Messages that wait in the queues.
    pub waiting: Option<u64>,
    /// Those, and the ones that are in flight: that a consumer has and has not deleted.
    pub backlog: Option<u64>,
    /// Ticks that have been seen in the lake so far.
    pub stored: Option<u64>,
    /// Of those that were seen in this second, from when each was due.
    pub lake: Option<Latency>,
    /// Alerts that have arrived so far.
    pub alerts: Option<u64>,
    /// What the consumer's metrics say, by name; empty where they are not asked for, or say nothing.
    pub metrics: BTreeMap<String, Metric>,
    /// What could not be looked at any more since the second before, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Latencies of a second, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latency {
    /// Those of a histogram of microseconds, if there are any.
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let ms = |us: u64| us as f64 / 1e3;
        (!histogram.is_empty()).then(|| Self {
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        })
    }
}

/// Looks once a second.
pub(super) struct Sampler {
    pub(super) sqs: Client,
    pub(super) queue_urls: Vec<String>,
    pub(super) metrics: Option<Scraper>,
    pub(super) pace: Pace,
    pub(super) progress: Arc<Progress>,
}

impl Sampler {
    /// Goes on until nobody takes seconds.
    pub(super) async fn run(self, to: mpsc::Sender<Second>) -> Result<(), String> {
        let start = Instant::now();
        let mut turns = interval_at(start + SECOND, SECOND);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            turns.tick().await;
            if to.send(self.look(start).await).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn look(&self, start: Instant) -> Second {
        let (at, progress) = (start.elapsed(), &self.progress);
        let is_sending = !progress.is_sent.load(Ordering::Relaxed);
        let (stored, in_lake) = progress.watch.as_ref().and_then(Watch::take_recent_us).unzip();
        let mut second = Second {
            at_s: at.as_secs_f64(),
            asked_per_s: self
                .pace
                .asked_per_s(at.saturating_sub(SECOND / 2))
                .map(|rate| if is_sending { rate } else { 0.0 }),
            ticks: progress.ticks.load(Ordering::Relaxed),
            messages: progress.messages.load(Ordering::Relaxed),
            send: Latency::of(&progress.take_recent_us()),
            waiting: None,
            backlog: None,
            stored,
            lake: in_lake.as_ref().and_then(Latency::of),
            alerts: progress.watch.as_ref().and_then(Watch::alerts),
            metrics: BTreeMap::new(),
            problems: Vec::new(),
        };
        let scrape = async {
            let scraper = self.metrics.as_ref()?;
            timeout(ANSWER_MAX, scraper.scrape()).await.ok()?.ok()
        };
        let depth = async { timeout(ANSWER_MAX, Depth::of(&self.sqs, &self.queue_urls)).await.ok().flatten() };
        let (depth, metrics) = tokio::join!(depth, scrape);
        second.waiting = depth.map(|depth| depth.waiting);
        second.backlog = depth.map(|depth| depth.waiting + depth.in_flight);
        second.metrics = metrics.unwrap_or_default();
        second
    }
}

/// How many messages queues hold, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Those that can be received, now or after their delay.
    pub waiting: u64,
    /// Those that somebody has received and not deleted.
    pub in_flight: u64,
}

impl Depth {
    /// That of all of them; `None` where one does not say.
    pub async fn of(sqs: &Client, queue_urls: &[String]) -> Option<Self> {
        let waiting = QueueAttributeName::ApproximateNumberOfMessages;
        let in_flight = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let delayed = QueueAttributeName::ApproximateNumberOfMessagesDelayed;
        let mut depth = Self::default();
        for url in queue_urls {
            let names = vec![waiting.clone(), in_flight.clone(), delayed.clone()];
            let ask = sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names));
            let counts = ask.send().await.ok()?.attributes?;
            let count = |name: &QueueAttributeName| counts.get(name).and_then(|count| count.parse::<u64>().ok());
            depth.waiting += count(&waiting)? + count(&delayed).unwrap_or(0);
            depth.in_flight += count(&in_flight)?;
        }
        Some(depth)
    }
}
