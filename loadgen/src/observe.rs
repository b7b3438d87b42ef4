//! A run as it goes: every second what was sent, what waits in the queues, what has arrived in the lake, and what the
//! consumer says of itself.
//!
//! This file owns the tasks that look, and for how long they do after the last batch. It does *not* own what is
//! expected ([`crate::watch`]), or what a consumer's metrics mean (`scrape`).

mod scrape;
mod second;

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_sqs::Client;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use ticklake_reader::{Lake, LakeError};

use crate::{
    send::{Pace, Progress},
    watch::{Seen, Watch, alerts, lake::LakeWatch, with_causes},
};
use scrape::Scraper;
use second::Sampler;

pub use scrape::{Metric, MetricKind, ScrapeError};
pub use second::{Depth, DepthError, Latency, Second};

/// An alert may be told only with the next price of its symbol: so long after the last batch somebody listens at least.
const ALERTS_LINGER: Duration = Duration::from_secs(12);

/// A rest of a second is looked at where it is as long as this: what it brings is shown per second.
const REST_MIN_S: f64 = 0.5;

/// When there are twice as many seconds, every second one is left out: a page cannot show them, and a run may take
/// days.
const SECONDS_MAX: usize = 3_600;

/// No more problems are remembered.
const PROBLEMS_MAX: usize = 100;

/// Between two looks into a lake it should be no longer than this; else it is said.
const BLIND_MAX: Duration = Duration::from_millis(500);

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
    /// One after the other, from the first; of a run of hours every other one, or fewer.
    pub seconds: Vec<Second>,
    /// In the lake, if it was watched.
    pub in_lake: Option<Seen>,
    /// Messages that did not appear there in time, and ticks of those that nobody watched for.
    pub not_in_lake: usize,
    /// See `not_in_lake`.
    pub unwatched: u64,
    /// Of alerts, if somebody listened; and how many were about no tick that is remembered.
    pub alerts: Option<(Seen, u64)>,
    /// The longest time between two looks into the lake: latencies there may be too long by so much.
    pub blind_max: Duration,
    /// What could not be looked at, and why.
    pub problems: Vec<String>,
    /// Whether one of them is about ticks or alerts.
    pub is_blind: bool,
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

    /// Looks at `run`, whose progress that is, until what it has sent has arrived or patience is over; hands every
    /// second to `take`. What goes wrong with looking does not end it.
    pub async fn observe<T, E>(
        self,
        run: impl Future<Output = Result<T, E>>,
        progress: &Arc<Progress>,
        pace: Pace,
        mut take: impl FnMut(&Second),
    ) -> (Result<T, E>, Observed) {
        let mut observed = Observed::default();
        let linger = if self.alerts.is_some() { ALERTS_LINGER } else { Duration::ZERO };
        let patience = self.patience;
        let mut looking = self.start(progress, pace);
        // Nobody waits for what nobody can see.
        let is_blind = AtomicBool::new(!looking.has_lake);
        let mut arrived = std::pin::pin!(arrival(run, progress, &is_blind, linger, patience));
        let result = loop {
            tokio::select! {
                result = &mut arrived => break result,
                Some(second) = looking.seconds.recv() => take(observed.add(second, looking.problems(progress))),
                Some(ended) = looking.tasks.join_next() => {
                    let (what, problem) = match ended {
                        Ok((_, Ok(()))) => continue,
                        Ok((what, Err(problem))) => (what, problem),
                        Err(panic) => (What::Lake, panic.to_string()),
                    };
                    if what == What::Lake {
                        is_blind.store(true, Ordering::Relaxed);
                    }
                    looking.problems.push(problem);
                }
            }
        };
        looking.tasks.abort_all();
        while let Ok(second) = looking.seconds.try_recv() {
            observed.add(second, Vec::new());
        }
        let last_s = observed.seconds.last().map_or(0.0, |second| second.at_s);
        let problems = looking.problems(progress);
        if looking.sampler.start.elapsed().as_secs_f64() - last_s >= REST_MIN_S || !problems.is_empty() {
            take(observed.add(looking.sampler.look().await, problems));
        }
        if let Some(watch) = &progress.watch {
            observed.in_lake = watch.in_lake();
            observed.not_in_lake = watch.outstanding().filter(|_| !is_blind.load(Ordering::Relaxed)).unwrap_or(0);
            observed.unwatched = watch.unwatched();
            observed.blind_max = watch.blind_max();
            observed.alerts = watch.of_alerts();
        }
        (result, observed)
    }

    /// Begins to look.
    fn start(self, progress: &Arc<Progress>, pace: Pace) -> Looking {
        let (to_us, seconds) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        let has_lake = self.lake.is_some();
        if let (Some(mut lake), Some(watch)) = (self.lake, progress.watch.clone()) {
            tasks.spawn(async move { (What::Lake, lake.run(watch).await.map_err(|error| with_causes(&error))) });
        }
        if let (Some(url), Some(watch)) = (self.alerts, progress.watch.clone()) {
            let sqs = self.sqs.clone();
            tasks.spawn(async move {
                (What::Alerts, alerts::listen(sqs, &url, watch).await.map_err(|error| with_causes(&error)))
            });
        }
        let sampler = Arc::new(Sampler::new(self.sqs, self.queue_urls, self.metrics, pace, progress.clone()));
        let sampling = sampler.clone();
        tasks.spawn(async move {
            sampling.run(to_us).await;
            (What::Seconds, Ok(()))
        });
        Looking { tasks, sampler, seconds, has_lake, problems: Vec::new() }
    }
}

/// What looks at a run.
struct Looking {
    tasks: JoinSet<(What, Result<(), String>)>,
    sampler: Arc<Sampler>,
    seconds: mpsc::Receiver<Second>,
    has_lake: bool,
    /// What went wrong since the last second.
    problems: Vec<String>,
}

impl Looking {
    /// What went wrong since the last second.
    fn problems(&mut self, progress: &Progress) -> Vec<String> {
        let mut problems = mem::take(&mut self.problems);
        problems.extend(progress.watch.iter().flat_map(|watch| watch.take_problems()));
        problems
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Lake,
    Alerts,
    Seconds,
}

/// Waits for the end of `run`, then for what it has sent to arrive.
async fn arrival<T, E>(
    run: impl Future<Output = Result<T, E>>,
    progress: &Progress,
    is_blind: &AtomicBool,
    linger: Duration,
    patience: Duration,
) -> Result<T, E> {
    let result = run.await;
    let sent_at = Instant::now();
    let is_underway = || {
        let outstanding = progress.watch.as_ref().and_then(|watch| watch.outstanding()).unwrap_or(0);
        sent_at.elapsed() < linger || (outstanding > 0 && !is_blind.load(Ordering::Relaxed))
    };
    let goes_on = || sent_at.elapsed() < patience && !progress.hurry.load(Ordering::Relaxed);
    while result.is_ok() && goes_on() && is_underway() {
        sleep(LOOK).await;
    }
    result
}

impl Observed {
    /// Adds a second, with what went wrong in it with looking at ticks and alerts.
    fn add(&mut self, mut second: Second, problems: Vec<String>) -> &Second {
        self.is_blind |= !problems.is_empty();
        second.problems.extend(problems);
        let room = PROBLEMS_MAX.saturating_sub(self.problems.len());
        self.problems.extend(second.problems.iter().take(room).cloned());
        if self.seconds.len() == 2 * SECONDS_MAX {
            let mut thinned = Vec::with_capacity(2 * SECONDS_MAX);
            let mut seconds = mem::take(&mut self.seconds).into_iter();
            while let Some(first) = seconds.next() {
                thinned.push(seconds.next().map_or_else(|| first.clone(), |next| next.with(&first)));
            }
            self.seconds = thinned;
        }
        self.seconds.push(second);
        &self.seconds[self.seconds.len() - 1]
    }

    /// Whether all ticks and alerts that were looked for could be seen.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.is_blind && self.not_in_lake == 0 && self.unwatched == 0
    }
}

impl fmt::Display for Observed {
    /// A line for each thing that was looked at; each begins with a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |f: &mut fmt::Formatter<'_>, seen: &Seen| {
            if seen.latency_us.is_empty() {
                return Ok(());
            }
            let s = |quantile| seen.latency_us.value_at_quantile(quantile) as f64 / 1e6;
            write!(f, ", p50 {:.3} s, p99 {:.3} s, p99.9 {:.3} s after they were due", s(0.5), s(0.99), s(0.999))
        };
        if let Some(seen) = &self.in_lake {
            write!(f, "\nin lake    {} ticks", seen.count)?;
            after(f, seen)?;
        }
        if self.blind_max > BLIND_MAX {
            write!(f, "\nblind      for up to {:.1} s between two looks into the lake", self.blind_max.as_secs_f64())?;
        }
        if self.not_in_lake > 0 {
            write!(f, "\nmissing    {} messages were not in the lake when patience was over", self.not_in_lake)?;
        }
        if self.unwatched > 0 {
            write!(f, "\nunwatched  {} ticks: more was under way than can be remembered", self.unwatched)?;
        }
        if let Some((seen, unmatched)) = &self.alerts {
            write!(f, "\nalerts     {}", seen.count)?;
            after(f, seen)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_run_is_thinned_out_and_its_worst_latencies_remain() {
        let mut observed = Observed::default();
        for at in 1..=50_000_u32 {
            let worst = if at == 12_345 { 900.0 } else { 1.0 };
            let send = Some(Latency { p50_ms: 1.0, p99_ms: worst, max_ms: worst });
            let ticks = 10 * u64::from(at);
            observed.add(Second { at_s: f64::from(at), ticks, send, ..Second::default() }, Vec::new());
        }
        let seconds = &observed.seconds;
        assert!((SECONDS_MAX..=2 * SECONDS_MAX).contains(&seconds.len()), "{}", seconds.len());
        assert!(seconds.iter().all(|second| second.ticks as f64 == 10.0 * second.at_s));
        assert_eq!(seconds.iter().filter(|second| second.send.unwrap().max_ms == 900.0).count(), 1);
        assert_eq!(seconds.last().unwrap().at_s, 50_000.0);
    }
}
