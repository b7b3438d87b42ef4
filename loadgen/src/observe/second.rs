//! One second of a run after the other: what it is made of, and how it is found out.
//!
//! It does *not* own how long a run is looked at.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_sqs::{Client, error::DisplayErrorContext, types::QueueAttributeName};
use futures_util::future;
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
    fn or_worse(self, other: Self) -> Self {
        Self {
            p50_ms: self.p50_ms.max(other.p50_ms),
            p99_ms: self.p99_ms.max(other.p99_ms),
            max_ms: self.max_ms.max(other.max_ms),
        }
    }

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

impl Second {
    /// This one instead of both: totals are those at its end, latencies the worse ones.
    pub(super) fn with(self, before: &Second) -> Self {
        let worse = |a: Option<Latency>, b: Option<Latency>| a.into_iter().chain(b).reduce(Latency::or_worse);
        let problems = before.problems.iter().cloned().chain(self.problems).collect();
        Self { send: worse(before.send, self.send), lake: worse(before.lake, self.lake), problems, ..self }
    }
}

/// Looks once a second.
pub(super) struct Sampler {
    pub(super) start: Instant,
    sqs: Client,
    queue_urls: Vec<String>,
    metrics: Option<Scraper>,
    /// Whether it was said that there are no metrics.
    is_said: AtomicBool,
    pace: Pace,
    progress: Arc<Progress>,
}

impl Sampler {
    pub(super) fn new(
        sqs: Client,
        queue_urls: Vec<String>,
        metrics: Option<Scraper>,
        pace: Pace,
        progress: Arc<Progress>,
    ) -> Self {
        let (start, is_said) = (Instant::now(), AtomicBool::new(false));
        Self { start, sqs, queue_urls, metrics, is_said, pace, progress }
    }

    /// Goes on until nobody takes seconds.
    pub(super) async fn run(&self, to: mpsc::Sender<Second>) {
        let mut turns = interval_at(self.start + SECOND, SECOND);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            turns.tick().await;
            if to.send(self.look().await).await.is_err() {
                return;
            }
        }
    }

    /// How things stand now, and what has happened since it was looked at last.
    pub(super) async fn look(&self) -> Second {
        let (at, progress) = (self.start.elapsed(), &self.progress);
        let is_sending = !progress.is_sent.load(Ordering::Relaxed);
        let asked = self.pace.asked_per_s(at.saturating_sub(SECOND / 2));
        let watch = progress.watch.as_deref();
        let (stored, in_lake) = watch.and_then(Watch::take_recent_us).unzip();
        let second = Second {
            at_s: at.as_secs_f64(),
            asked_per_s: asked.map(|rate| if is_sending { rate } else { 0.0 }),
            ticks: progress.ticks.load(Ordering::Relaxed),
            messages: progress.messages.load(Ordering::Relaxed),
            send: Latency::of(&progress.take_recent_us()),
            stored,
            lake: in_lake.as_ref().and_then(Latency::of),
            alerts: watch.and_then(Watch::alerts),
            ..Second::default()
        };
        let depth = async { timeout(ANSWER_MAX, Depth::of(&self.sqs, &self.queue_urls)).await.ok()?.ok() };
        let (depth, (metrics, problem)) = tokio::join!(depth, self.scrape());
        Second {
            waiting: depth.map(|depth| depth.waiting),
            backlog: depth.map(|depth| depth.waiting + depth.in_flight),
            metrics,
            problems: problem.into_iter().collect(),
            ..second
        }
    }

    /// What the consumer says of itself; the first time that it does not, why.
    async fn scrape(&self) -> (BTreeMap<String, Metric>, Option<String>) {
        let Some(scraper) = &self.metrics else { return (BTreeMap::new(), None) };
        let problem = match timeout(ANSWER_MAX, scraper.scrape()).await {
            Ok(Ok(metrics)) => return (metrics, None),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("failed to ask for metrics: there was no answer within {ANSWER_MAX:?}"),
        };
        (BTreeMap::new(), (!self.is_said.swap(true, Ordering::Relaxed)).then_some(problem))
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
    /// That of all of them together.
    pub async fn of(sqs: &Client, queue_urls: &[String]) -> Result<Self, DepthError> {
        let asked = queue_urls.iter().map(|url| Self::of_one(sqs, url));
        let depths = future::try_join_all(asked).await?;
        Ok(depths.into_iter().fold(Self::default(), |sum, depth| Self {
            waiting: sum.waiting + depth.waiting,
            in_flight: sum.in_flight + depth.in_flight,
        }))
    }

    async fn of_one(sqs: &Client, url: &str) -> Result<Self, DepthError> {
        let waiting = QueueAttributeName::ApproximateNumberOfMessages;
        let in_flight = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let delayed = QueueAttributeName::ApproximateNumberOfMessagesDelayed;
        let names = vec![waiting.clone(), in_flight.clone(), delayed.clone()];
        let ask = sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names));
        let failed = |problem| DepthError { url: url.to_owned(), problem };
        let answer = ask.send().await.map_err(|error| failed(DisplayErrorContext(&error).to_string()))?;
        let counts = answer.attributes.unwrap_or_default();
        let count = |name: &QueueAttributeName| {
            let count = counts.get(name).and_then(|count| count.parse::<u64>().ok());
            count.ok_or_else(|| failed(format!("it does not say its {}", name.as_str())))
        };
        let delayed = counts.get(&delayed).and_then(|count| count.parse().ok()).unwrap_or(0);
        Ok(Self { waiting: count(&waiting)? + delayed, in_flight: count(&in_flight)? })
    }
}

/// Why it is not known how much a queue holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to ask {url} what it holds: {problem}")]
pub struct DepthError {
    url: String,
    problem: String,
}
