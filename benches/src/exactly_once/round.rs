//! One round: it plays a scenario and audits the lake afterwards.
//!
//! This file owns the order of steps in a round. It does *not* own the settings of the processes (`workers`), or what
//! is right (`audit`).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::audit::Audit;
use super::feed::Feed;
use super::findings::{Fault, Findings, Happened};
use super::scenario::{Copies, Event, Scenario, What};
use super::site::{Endpoints, Site};
use super::tables;
use super::workers::{ADOPT_AFTER_S, Engine, Workers};
use crate::localaws::served::Served;

/// SQS may honour a delete or a visibility change by the receipt of an earlier receive.
const OLD_RECEIPTS: [&str; 2] =
    ["sqs:DeleteMessageBatch=old-receipts@50%", "sqs:ChangeMessageVisibilityBatch=old-receipts@50%"];

/// A copy comes within a known time. A queue must stay empty for this much longer before the round ends.
const QUIET: Duration = Duration::from_millis(500);

/// How often the harness looks whether a worker has ended.
const STEP: Duration = Duration::from_millis(20);

/// Options that are the same for all rounds.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The engine to test.
    pub engine: Engine,
    /// The servers to test it with.
    pub endpoints: Endpoints,
    /// A folder for logs and lakes of rounds that fail.
    pub keep: Option<PathBuf>,
}

impl Options {
    /// The scenario without the faults that the servers cannot make: only the local endpoint has faults.
    pub(super) fn playable(&self, scenario: Scenario) -> Option<Scenario> {
        if self.endpoints.queue.is_none() {
            return Some(scenario);
        }
        scenario.copies.is_none().then_some(Scenario { old_receipts: false, ..scenario })
    }
}

/// The result of a round.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) findings: Findings,
    pub(super) happened: Happened,
}

/// Plays a scenario.
pub(super) async fn play(scenario: &Scenario, options: &Options) -> anyhow::Result<Outcome> {
    let feed = Feed::of(scenario)?;
    // One after the other, because two engines at a time would disturb each other.
    let undisturbed =
        if scenario.has_certain_alerts() { Some(undisturbed(scenario, &feed, options).await?) } else { None };
    let served = Served::start().await?;
    let faults = faults(scenario);
    served.set_faults(&faults.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let outcome = Round::begin(scenario, &feed, options, &served).await?.finish(undisturbed.as_ref()).await?;
    served.stop().await?;
    Ok(outcome)
}

fn faults(scenario: &Scenario) -> Vec<String> {
    let mut faults = Vec::new();
    if scenario.old_receipts {
        faults.extend(OLD_RECEIPTS.map(str::to_owned));
    }
    if let Some(Copies { every, count, within_ms, deleted }) = scenario.copies {
        let name = if deleted { "again-deleted" } else { "again" };
        faults.push(format!("sqs:ReceiveMessage={name}:{every}:{within_ms}ms@{count}"));
    }
    faults
}

/// The ids of the alerts of the same messages when nothing happens.
async fn undisturbed(scenario: &Scenario, feed: &Feed, options: &Options) -> anyhow::Result<BTreeSet<String>> {
    let calm = Scenario { events: Vec::new(), copies: None, old_receipts: false, ..scenario.clone() };
    let options = Options { keep: None, ..options.clone() };
    let served = Served::start().await?;
    let mut round = Round::begin(&calm, feed, &options, &served).await?;
    round.play().await?;
    let lake = round.settle().await?;
    served.stop().await?;
    Ok(tables::alerts(lake.path())?.into_keys().collect())
}

/// A round that has begun.
struct Round<'a> {
    scenario: &'a Scenario,
    feed: &'a Feed,
    site: Site,
    workers: Workers,
    served: &'a Served,
    keep: Option<PathBuf>,
    happened: Happened,
}

impl<'a> Round<'a> {
    async fn begin(
        scenario: &'a Scenario,
        feed: &'a Feed,
        options: &Options,
        served: &'a Served,
    ) -> anyhow::Result<Self> {
        // Other people's servers keep the objects of earlier rounds.
        let name = format!("{}-{:08x}", scenario.round, fastrand::u32(..));
        let site = Site::create(served, &options.endpoints, scenario, &name).await?;
        let keep = options.keep.as_ref().map(|keep| keep.join(format!("round-{name}")));
        if let Some(keep) = &keep {
            std::fs::create_dir_all(keep).with_context(|| format!("failed to create {}", keep.display()))?;
        }
        let mut workers = Workers::new(options.engine.clone(), scenario, keep.clone());
        for _ in 0..scenario.workers {
            workers.start(&site)?;
        }
        Ok(Self { scenario, feed, site, workers, served, keep, happened: Happened::of(scenario) })
    }

    /// Sends all messages, runs all events, and waits until the queues are empty. Returns when the messages were sent.
    async fn play(&mut self) -> anyhow::Result<std::ops::Range<i64>> {
        let (sqs, queues) = (self.site.sqs().clone(), self.site.queues.clone());
        let deletes = self.scenario.has(|what| matches!(what, What::DeleteQueue));
        let sending = self.feed.send(&sqs, &queues, |queue| deletes && queue > 0);
        let (sent_us, happened) = tokio::join!(sending, happen(self.scenario, &mut self.site, &mut self.workers));
        happened?;
        let sent_us = sent_us?;
        self.drain(&self.site.queues.clone()).await?;
        Ok(sent_us)
    }

    /// Waits until these queues are empty.
    async fn drain(&mut self, queues: &[String]) -> anyhow::Result<()> {
        let copies = self.scenario.copies;
        let quiet = copies.map_or(Duration::ZERO, |copies| Duration::from_millis(copies.within_ms) + QUIET);
        let Self { site, workers, .. } = self;
        if !site.drained(queues, quiet, || workers.replace_ended(site)).await? {
            self.workers.findings.find(Fault::Undrained, || format!("{queues:?}"));
        }
        Ok(())
    }

    /// Ends the workers, lets a last one handle everything that was left, and copies the lake.
    async fn settle(&mut self) -> anyhow::Result<tempfile::TempDir> {
        self.workers.end_all().await;
        let mut queues = self.site.queues.clone();
        if let Some(dead) = &self.site.dead_letters {
            self.happened.dead_letters = self.site.backlog(dead).await.unwrap_or(0);
            queues.push(dead.clone());
        }
        tokio::time::sleep_until((self.workers.last_loss + Duration::from_secs(ADOPT_AFTER_S + 1)).into()).await;
        self.workers.drain(&self.site, &queues).await?;
        self.site.lake().await
    }

    async fn finish(mut self, undisturbed: Option<&BTreeSet<String>>) -> anyhow::Result<Outcome> {
        let sent_us = self.play().await?;
        let lake = self.settle().await?;
        let published = self.site.topic.published().await?;
        let audit = Audit { scenario: self.scenario, feed: self.feed, sent_us, published: &published, undisturbed };
        let mut findings = std::mem::take(&mut self.workers.findings);
        findings.join(audit.of(lake.path())?);
        self.happened.copies = self.copies().await?;
        self.happened.rejects = self.scenario.malformed as u64;
        self.happened.alerts = published.len() as u64;
        self.happened.compared = u64::from(undisturbed.is_some());
        if let Some(keep) = &self.keep {
            if findings.is_clean() {
                std::fs::remove_dir_all(keep)?;
            } else {
                std::fs::rename(lake.keep(), keep.join("lake"))?;
            }
        }
        Ok(Outcome { findings, happened: self.happened })
    }

    async fn copies(&self) -> anyhow::Result<u64> {
        match self.scenario.copies {
            Some(Copies { deleted: true, .. }) => self.served.calls("sqs:again-deleted").await,
            Some(_) => self.served.calls("sqs:again").await,
            None => Ok(0),
        }
    }
}

/// A moment at which something begins or ends.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Begins(Event),
    Thaws,
    Reopens,
    Speeds,
}

/// Runs the events at their times.
async fn happen(scenario: &Scenario, site: &mut Site, workers: &mut Workers) -> anyhow::Result<()> {
    let began = Instant::now();
    for (at_ms, number, moment) in moments(&scenario.events) {
        while let Some(left) = Duration::from_millis(at_ms).checked_sub(began.elapsed()) {
            workers.replace_ended(site)?;
            tokio::time::sleep(left.min(STEP)).await;
        }
        match moment {
            Moment::Thaws => workers.thaw(number)?,
            Moment::Reopens => site.reopen()?,
            Moment::Speeds => site.slow_down(None),
            Moment::Begins(Event { worker, what, .. }) => match what {
                What::Kill => workers.kill(worker, site)?,
                What::Freeze { replaced, .. } => workers.freeze(number, worker, replaced.then_some(&*site))?,
                What::Restart { overlap } => workers.restart(worker, overlap, site)?,
                What::Cut { place, .. } => site.shut(place).await,
                What::Slow { bytes_per_s, .. } => site.slow_down(Some(bytes_per_s)),
                What::DeleteQueue => site.delete_queue().await?,
            },
        }
    }
    Ok(())
}

/// The beginnings and ends of events, in order.
fn moments(events: &[Event]) -> Vec<(u64, usize, Moment)> {
    let mut moments = Vec::new();
    for (number, event) in events.iter().enumerate() {
        moments.push((event.at_ms, number, Moment::Begins(*event)));
        match event.what {
            What::Freeze { for_ms, .. } => moments.push((event.at_ms + for_ms, number, Moment::Thaws)),
            What::Cut { for_ms, .. } => moments.push((event.at_ms + for_ms, number, Moment::Reopens)),
            What::Slow { for_ms, .. } => moments.push((event.at_ms + for_ms, number, Moment::Speeds)),
            What::Kill | What::Restart { .. } | What::DeleteQueue => {}
        }
    }
    moments.sort_by_key(|(at_ms, ..)| *at_ms);
    moments
}
