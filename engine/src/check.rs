//! `ticklake check`: do the queue, the bucket and the topic exist, and may they be used?
//!
//! This file owns the report. [`queue`], [`bucket`] and [`topic`] own the questions. The check changes nothing that the
//! engine or a consumer could notice: it receives no message, and it removes the objects that it writes, whose names
//! Athena hides. This file does *not* own the meaning of AWS errors.

mod bucket;
mod queue;
mod topic;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;

use crate::aws::Clients;
use crate::config::Config;
use crate::redact;

/// How long the check of one service may take. The SDK's own deadlines add up over its attempts, which is too long for
/// an operator at a prompt.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The SQS queue.
    Queue,
    /// The S3 bucket.
    Bucket,
    /// The SNS topic.
    Topic,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// The engine will run, but this causes trouble later.
    Warn,
    /// The engine cannot run like this.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found, and what to do.
    pub text: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order queues, bucket, topic.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether the engine could run.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Fail)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let subject = match self.subject {
            Subject::Queue => "queue",
            Subject::Bucket => "bucket",
            Subject::Topic => "topic",
        };
        write!(f, "{verdict:<4}  {subject:<6}  {}", self.text)
    }
}

/// Asks all three services at the same time.
pub async fn check(config: &Config, clients: &Clients) -> Report {
    // The SDK's futures are tens of kilobytes. They are boxed, so that they do not add up in the caller's future.
    let queues = config.queue_urls().map(|url| patiently(Subject::Queue, Box::pin(queue::check(clients, url))));
    let (queues, bucket, topic) = tokio::join!(
        join_all(queues),
        patiently(Subject::Bucket, Box::pin(bucket::check(&clients.s3, &config.lake))),
        patiently(Subject::Topic, Box::pin(topic::check(&clients.sns, config.alerts.topic_arn.as_deref()))),
    );
    Report { findings: [queues.concat(), bucket, topic].concat() }
}

async fn patiently(subject: Subject, check: impl Future<Output = Findings>) -> Vec<Finding> {
    let findings = tokio::time::timeout(PATIENCE, check).await.unwrap_or_else(|_| {
        let mut late = Findings::default();
        late.fail(format!("no answer within {} s: check the network and the endpoint URL", PATIENCE.as_secs()));
        late
    });
    let finding = |(verdict, text): (_, String)| Finding { subject, verdict, text: redact::urls(&text).into_owned() };
    findings.0.into_iter().map(finding).collect()
}

/// The findings that the check of one service collects.
#[derive(Debug, Default)]
struct Findings(Vec<(Verdict, String)>);

impl Findings {
    fn ok(&mut self, text: String) {
        self.0.push((Verdict::Ok, text));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.0.push((Verdict::Note, text.into()));
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.0.push((Verdict::Warn, text.into()));
    }

    fn fail(&mut self, text: String) {
        self.0.push((Verdict::Fail, text));
    }

    fn failed(&self) -> bool {
        self.0.iter().any(|(verdict, _)| *verdict == Verdict::Fail)
    }
}
