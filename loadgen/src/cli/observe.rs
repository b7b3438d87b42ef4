//! What a run is looked at from, as a user says it, and the line of each second.
//!
//! It does *not* own what is seen ([`Observed`]), or the report.

use std::{
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;
use loadgen::{
    Lake, Observed, Observer, Pace, Progress,
    observe::{Latency, Second},
};

use super::{
    connect::{Connection, Destination},
    fetch,
    signals::Signals,
};

/// How often the progress line is renewed.
const REFRESH: Duration = Duration::from_millis(200);

/// What to look at besides.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Looking at the consumer")]
pub(super) struct ObserveArgs {
    /// The lake of the consumer: a folder that holds `ticks`, or `s3://BUCKET/PREFIX`. How long ticks take to appear
    /// there is measured from when they were due; it is listed ten times a second, or as often as it can be. In S3 it
    /// is looked for with the settings of every AWS tool, and without an endpoint among them where the queue is, if
    /// that is on loopback.
    #[arg(long, value_name = "FOLDER")]
    lake: Option<PathBuf>,

    /// A queue that is subscribed to the consumer's alerts. They are received and deleted, and how long they took is
    /// measured from when the tick was due that they are about.
    #[arg(long, value_name = "URL")]
    alerts_queue_url: Option<String>,

    /// Where the consumer says its metrics in the text format of Prometheus; they become part of the report.
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,

    /// How long to wait for what was sent to appear in the lake.
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    patience: SignedDuration,

    /// Print the line of each second although the output is no terminal.
    #[arg(long)]
    live: bool,
}

impl ObserveArgs {
    /// Whether somebody looks into a lake.
    pub(super) fn has_lake(&self) -> bool {
        self.lake.is_some()
    }

    /// How long to wait for what was sent.
    pub(super) fn patience(&self) -> anyhow::Result<Duration> {
        Duration::try_from(self.patience).context("--patience is negative")
    }

    /// The queue that alerts are received from.
    pub(super) fn alerts_queue_url(&self) -> Option<&str> {
        self.alerts_queue_url.as_deref()
    }

    /// Looks at the queues of `to`, and at whatever else there is.
    pub(super) async fn observer(&self, to: &Destination, connection: &Connection) -> anyhow::Result<Observer> {
        let mut observer = Observer::of(connection.client.clone(), to.queue_urls());
        observer = observer.patient(self.patience()?);
        if let Some(place) = &self.lake {
            let lake = match place.to_str().and_then(|place| place.strip_prefix("s3://")) {
                Some(place) => Lake::in_s3(fetch::connect(connection.local.as_deref()).await, place),
                None => Lake::Folder(place.clone()),
            };
            if let Lake::Folder(folder) = &lake
                && !folder.is_dir()
            {
                writeln!(io::stderr(), "warning: there is no folder {} yet", folder.display())?;
            }
            observer = observer.watching(lake).await.context("failed to look into the lake")?;
        }
        if let Some(url) = &self.alerts_queue_url {
            observer = observer.listening(url);
        }
        if let Some(url) = &self.metrics_url {
            observer = observer.scraping(url)?;
        }
        Ok(observer)
    }

    /// Looks at a run and shows how it goes, on stderr and only where that is a terminal, unless lines were asked for;
    /// `also` is told of every second, too. Signals end sending, and then the wait for what was sent.
    pub(super) async fn observe<T, E>(
        &self,
        observer: Observer,
        run: impl Future<Output = Result<T, E>>,
        look: Look<'_>,
        mut also: impl FnMut(&Second),
    ) -> anyhow::Result<(Result<T, E>, Observed)> {
        let Look { progress, pace, ticks, signals } = look;
        let bar = progress_bar(ticks)?;
        let shows = self.live || io::stderr().is_terminal();
        let mut last = Second::default();
        let take = |second: &Second| {
            also(second);
            if shows {
                bar.suspend(|| drop(writeln!(io::stderr(), "{}", line(&last, second))));
            }
            for problem in &second.problems {
                bar.suspend(|| drop(writeln!(io::stderr(), "warning: {problem}")));
            }
            last = second.clone();
        };
        let mut observing = std::pin::pin!(observer.observe(run, progress, pace, take));
        let mut refresh = tokio::time::interval(REFRESH);
        let result = loop {
            tokio::select! {
                observed = &mut observing => break observed,
                _ = refresh.tick() => bar.set_position(progress.ticks.load(Ordering::Relaxed)),
                status = signals.next() => signals.act(status, progress, &bar),
            }
        };
        bar.finish_and_clear();
        Ok(result)
    }
}

/// What is known of a run that is looked at.
pub(super) struct Look<'a> {
    pub(super) progress: &'a Arc<Progress>,
    pub(super) pace: Pace,
    /// How many it sends, where that is known.
    pub(super) ticks: Option<u64>,
    pub(super) signals: &'a mut Signals,
}

/// It draws on stderr, and only where that is a terminal.
fn progress_bar(ticks: Option<u64>) -> anyhow::Result<ProgressBar> {
    Ok(match ticks {
        Some(ticks) => ProgressBar::new(ticks)
            .with_style(ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} ticks, {per_sec}, {eta} left")?),
        None => ProgressBar::new_spinner()
            .with_style(ProgressStyle::with_template("{spinner} {human_pos} ticks, {per_sec}")?),
    })
}

/// A second in a line, with what has happened since the one before.
fn line(before: &Second, second: &Second) -> String {
    let span = (second.at_s - before.at_s).max(1e-3);
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / span;
    let (ticks, messages) = (rate(second.ticks, before.ticks), rate(second.messages, before.messages));
    let latency = |of: Latency| format!("p50 {:.1} ms, p99 {:.1} ms", of.p50_ms, of.p99_ms);
    let parts = [
        Some(format!("{:>5.0} s  {ticks:>9.0} ticks/s {messages:>7.0} messages/s", second.at_s)),
        second.send.map(latency),
        second.backlog.map(|backlog| format!("backlog {backlog}")),
        second.stored.map(|stored| format!("in lake {:.0} ticks/s", rate(stored, before.stored.unwrap_or(0)))),
        second.lake.map(|lake| format!("after p99 {:.1} s", lake.p99_ms / 1e3)),
        second.alerts.map(|alerts| format!("alerts {alerts}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_a_second_says_what_has_happened_in_it() {
        let before = Second { at_s: 1.0, ticks: 1_000, messages: 10, stored: Some(400), ..Second::default() };
        let send = Some(Latency { p50_ms: 1.25, p99_ms: 30.0, max_ms: 31.0 });
        let lake = Some(Latency { p50_ms: 5_000.0, p99_ms: 6_543.0, max_ms: 7_000.0 });
        let (backlog, stored, alerts) = (Some(77), Some(900), Some(3));
        let now =
            Second { at_s: 3.0, ticks: 5_000, messages: 50, send, backlog, stored, lake, alerts, ..before.clone() };
        let expected = "    3 s       2000 ticks/s      20 messages/s  p50 1.2 ms, p99 30.0 ms  backlog 77  \
            in lake 250 ticks/s  after p99 6.5 s  alerts 3";
        assert_eq!(line(&before, &now), expected);
        let silent = Second { at_s: 4.0, ..now.clone() };
        let silent = Second { send: None, backlog: None, stored: None, lake: None, alerts: None, ..silent };
        assert_eq!(line(&now, &silent), "    4 s          0 ticks/s       0 messages/s");
    }
}
