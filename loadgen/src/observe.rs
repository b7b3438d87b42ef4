//! A run as it goes: every second what was sent, what waits in the queues, what has arrived in the lake, and what the consumer says of
//! itself.
//!
//! This file owns the tasks that look, and for how long they do after the last batch. It does *not* own what is expected
//! ([`crate::watch`]), or what a consumer's metrics mean (`scrape`).

mod scrape;
mod second;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_sdk_sqs::Client;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    lake::{Lake, LakeError},
    send::{Pace, Progress},
    watch::{Seen, Watch, alerts, lake::LakeWatch},
};
use scrape::Scraper;

pub use scrape::{Metric, MetricKind, ScrapeError};
pub use second::{Depth, Latency, Second};

/// An alert may be told only with the next price of its symbol: so long after the last batch somebody listens at least.
const ALERTS_LINGER: Duration = Duration::from_secs(12);

/// How often it is looked whether everything has arrived.
const LOOK: Duration = Duration::from_millis(100);

/// Looks at a run from all sides that are given.
pub struct Observer {
    sqs: Client,
    queue_urls: Vec<String>,
    lake: Option<LakeWatch>,
    alerts: Option<String>,
    metrics: Option<Scraper>,
    /// How long it waits for what was sent to arrive.
    patience: Duration,
}

/// What was seen of a run.
#[derive(Debug, Default)]
pub struct Observed {
    /// One after the other, from the first.
    pub seconds: Vec<Second>,
    /// In the lake, if it was watched.
    pub in_lake: Option<Seen>,
    /// Messages that did not appear there in time, and ticks of those that nobody watched for.
    pub not_in_lake: usize,
    /// See `not_in_lake`.
    pub unwatched: u64,
    /// Of alerts, if somebody listened; and how many were about no tick that is remembered.
    pub alerts: Option<(Seen, u64)>,
    /// What could not be looked at any more, and why.
    pub problems: Vec<String>,
}

impl Observer {
    /// One that looks at the queues only.
    #[must_use]
    pub fn of(sqs: Client, queue_urls: &[String]) -> Self {
        let queue_urls = queue_urls.to_vec();
        Self { sqs, queue_urls, lake: None, alerts: None, metrics: None, patience: Duration::from_mins(2) }
    }

    /// Looks into a lake as well, for what is not there yet.
    pub async fn watching(self, lake: Lake) -> Result<Self, LakeError> {
        Ok(Self { lake: Some(LakeWatch::start(lake).await?), ..self })
    }

    /// Receives and deletes the alerts of a queue as well.
    #[must_use]
    pub fn listening(self, alerts_queue_url: &str) -> Self {
        Self { alerts: Some(alerts_queue_url.to_owned()), ..self }
    }

    /// Asks for the metrics at a URL as well, each second, in the text format of Prometheus.
    pub fn scraping(self, url: &str) -> Result<Self, ScrapeError> {
        Ok(Self { metrics: Some(Scraper::new(url)?), ..self })
    }

    /// Waits so long for what was sent to arrive.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What the [`Progress`] of the run has to be told to expect.
    #[must_use]
    pub fn watch(&self) -> Option<Watch> {
        let (lake, alerts) = (self.lake.is_some(), self.alerts.is_some());
        (lake || alerts).then(|| Watch::new(lake, alerts))
    }

    /// Looks at `run`, whose progress that is, until what it has sent has arrived or patience is over; hands every second to `take`.
    /// What goes wrong with looking does not end it.
    pub async fn observe<T, E>(
        self,
        run: impl Future<Output = Result<T, E>>,
        progress: &Arc<Progress>,
        pace: Pace,
        mut take: impl FnMut(&Second),
    ) -> (Result<T, E>, Observed) {
        let mut observed = Observed::default();
        let (to_us, mut seconds) = mpsc::channel(16);
        let mut tasks: JoinSet<Result<(), String>> = JoinSet::new();
        let has_lake = self.lake.is_some();
        if let Some(mut lake) = self.lake {
            let progress = progress.clone();
            tasks.spawn(async move { lake.run(progress).await.map_err(|error| with_causes(&error)) });
        }
        if let Some(url) = &self.alerts {
            let (sqs, url, progress) = (self.sqs.clone(), url.clone(), progress.clone());
            tasks.spawn(async move { alerts::listen(sqs, &url, progress).await.map_err(|error| with_causes(&error)) });
        }
        let sampler = second::Sampler {
            sqs: self.sqs,
            queue_urls: self.queue_urls,
            metrics: self.metrics,
            pace,
            progress: progress.clone(),
        };
        tasks.spawn(sampler.run(to_us));

        let arrived = async {
            let result = run.await;
            let (sent_at, is_sent) = (Instant::now(), result.is_ok());
            let linger = if self.alerts.is_some() { ALERTS_LINGER } else { Duration::ZERO };
            while is_sent && sent_at.elapsed() < self.patience && !progress.hurry.load(Ordering::Relaxed) {
                let outstanding = progress.watch.as_ref().and_then(Watch::outstanding).filter(|_| has_lake);
                if outstanding.is_none_or(|messages| messages == 0) && sent_at.elapsed() >= linger {
                    break;
                }
                sleep(LOOK).await;
            }
            result
        };
        let mut arrived = std::pin::pin!(arrived);
        let mut told = 0;
        let result = loop {
            tokio::select! {
                result = &mut arrived => break result,
                Some(mut second) = seconds.recv() => {
                    second.problems = observed.problems[told..].to_vec();
                    told = observed.problems.len();
                    take(&second);
                    observed.seconds.push(second);
                }
                Some(Ok(Err(problem))) = tasks.join_next() => observed.problems.push(problem),
            }
        };
        tasks.abort_all();
        while let Ok(second) = seconds.try_recv() {
            observed.seconds.push(second);
        }
        if let Some(watch) = &progress.watch {
            observed.in_lake = watch.in_lake();
            observed.not_in_lake = watch.outstanding().unwrap_or(0);
            observed.unwatched = watch.unwatched();
            observed.alerts = watch.of_alerts();
        }
        (result, observed)
    }
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Observed {
    /// Whether everything that was looked for could be seen.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty() && self.not_in_lake == 0
    }
}

impl fmt::Display for Observed {
    /// A line for each thing that was looked at; each begins with a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |f: &mut fmt::Formatter<'_>, seen: &Seen| {
            let s = |quantile| seen.latency_us.value_at_quantile(quantile) as f64 / 1e6;
            write!(f, "p50 {:.3} s, p99 {:.3} s, p99.9 {:.3} s after they were due", s(0.5), s(0.99), s(0.999))
        };
        if let Some(seen) = &self.in_lake {
            write!(f, "\nin lake    {} ticks, ", seen.count)?;
            after(f, seen)?;
        }
        if self.not_in_lake > 0 {
            write!(f, "\nmissing    {} messages were not in the lake when patience was over", self.not_in_lake)?;
        }
        if self.unwatched > 0 {
            write!(f, "\nunwatched  {} ticks: more was under way than can be remembered", self.unwatched)?;
        }
        if let Some((seen, unmatched)) = &self.alerts {
            write!(f, "\nalerts     {}", seen.count)?;
            if seen.count > *unmatched {
                write!(f, ", ")?;
                after(f, seen)?;
            }
            if *unmatched > 0 {
                write!(f, "; {unmatched} of them about no single tick")?;
            }
        }
        for problem in &self.problems {
            write!(f, "\nproblem    {problem}")?;
        }
        Ok(())
    }
}
