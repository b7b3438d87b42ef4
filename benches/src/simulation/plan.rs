//! A world before it begins: its size and its faults. All of it follows from the seed.

use fastrand::Rng;

use super::kernel::Millis;

/// A way to break the rules. Some seed must find each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Broken {
    /// A worker goes by the queue's count, and ignores which messages it holds.
    HoldingsIgnored,
    /// An entry is removed after any delete, even one that the queue may have ignored.
    EntryRemovedAfterAnyDelete,
    /// A worker believes the count of a dead-letter queue.
    DeadLettersBelieved,
    /// Alerts are published before they are noted.
    PublishedBeforeNoted,
    /// An epoch goes on after its entry, whether or not its messages are still ours.
    NoCheck,
    /// A worker assumes that a missing file will never exist, and puts no void.
    NoVoids,
    /// Messages are deleted before their files are stored.
    DeletedFirst,
    /// A worker assumes that everything an entry names is stored, and does not look.
    EntryTrusted,
    /// Each epoch stores its alerts, without a claim.
    NoClaims,
    /// Retired entries are removed too early, when a worker stops. A copy whose receive got no answer makes SQS ignore
    /// the delete, and the worker cannot know of it.
    EntriesRemovedAtStop,
    /// A worker takes a copy that it asked for before its own release of the message was answered. The release then
    /// takes the copy away. A few of ten thousand seeds find it.
    ReleasedTakenAgain,
}

impl Broken {
    /// The variants that a few hundred seeds find.
    pub const ALL: [Self; 10] = [
        Self::HoldingsIgnored,
        Self::EntryRemovedAfterAnyDelete,
        Self::DeadLettersBelieved,
        Self::PublishedBeforeNoted,
        Self::NoCheck,
        Self::NoVoids,
        Self::DeletedFirst,
        Self::EntryTrusted,
        Self::NoClaims,
        Self::EntriesRemovedAtStop,
    ];
}

/// A span of time.
pub(super) type Span = std::ops::Range<Millis>;

/// A world.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) workers: usize,
    pub(super) queues: usize,
    /// Queues that each worker polls, besides their dead letters.
    pub(super) queues_of_worker: usize,
    pub(super) messages: usize,
    /// Until then, messages are sent and faults happen.
    pub(super) faults_until: Millis,
    pub(super) visibility_timeout: Millis,
    pub(super) request_timeout: Millis,
    pub(super) poll_wait: Millis,
    pub(super) epoch_age_max: Millis,
    pub(super) epoch_messages_max: usize,
    pub(super) held_max: usize,
    pub(super) adopt_after: Millis,
    /// The average time between two faults of workers.
    pub(super) kill_every: Millis,
    pub(super) freeze_every: Millis,
    pub(super) stop_every: Millis,
    /// Shares of requests that are lost, whose answers are lost, and that are served much later.
    pub(super) lost: f64,
    pub(super) unanswered: f64,
    pub(super) late: f64,
    /// When the store is slow, and when it does not answer.
    pub(super) slow: Vec<Span>,
    pub(super) down: Vec<Span>,
    /// Share of receives that bring a copy.
    pub(super) copies: f64,
    /// Share of old receipts that SQS honours.
    pub(super) old_receipts: f64,
    /// The number of receives after which a message moves to the dead-letter queue.
    pub(super) receives_max: Option<u32>,
    /// The number of configurations that workers start with.
    pub(super) variants: u8,
    /// One in this many messages raises an alert.
    pub(super) alert_of: u64,
    /// The average time between two alerts that no message raises, per worker.
    pub(super) clock_alert_every: Millis,
    pub(super) broken: Option<Broken>,
}

const SECOND: Millis = 1_000;

impl Plan {
    /// A small world.
    pub(super) fn small(seed: u64, broken: Option<Broken>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let visibility_timeout = rng.u64(6..30) * SECOND;
        let faults_until = rng.u64(3..10) * visibility_timeout;
        let rare = |rng: &mut Rng, most: f64| if rng.bool() { rng.f64() * most } else { 0.0 };
        let queues = rng.usize(1..=3);
        Self {
            seed,
            workers: rng.usize(2..=5),
            queues,
            queues_of_worker: queues,
            messages: rng.usize(20..=200),
            faults_until,
            visibility_timeout,
            request_timeout: visibility_timeout / 6,
            poll_wait: rng.u64(200..2_000),
            epoch_age_max: rng.u64(100..visibility_timeout),
            epoch_messages_max: rng.usize(5..60),
            held_max: rng.usize(20..100),
            adopt_after: rng.u64(1..=4) * visibility_timeout,
            kill_every: rng.u64(1..6) * visibility_timeout,
            freeze_every: rng.u64(1..6) * visibility_timeout,
            stop_every: rng.u64(1..6) * visibility_timeout,
            lost: rare(&mut rng, 0.05),
            unanswered: rare(&mut rng, 0.1),
            late: rare(&mut rng, 0.1),
            slow: Self::spans(&mut rng, faults_until, visibility_timeout),
            down: Self::spans(&mut rng, faults_until, visibility_timeout),
            copies: rare(&mut rng, 0.3),
            old_receipts: rng.f64(),
            receives_max: rng.bool().then(|| rng.u32(1..4)),
            variants: rng.u8(1..=3),
            alert_of: rng.u64(3..20),
            clock_alert_every: rng.u64(1..4) * visibility_timeout,
            broken,
        }
    }

    /// A fleet: 200 workers, 50 queues, a million messages.
    pub(super) fn fleet(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (visibility_timeout, faults_until) = (30 * SECOND, 600 * SECOND);
        Self {
            seed,
            workers: 200,
            queues: 50,
            queues_of_worker: 2,
            messages: 1_000_000,
            faults_until,
            visibility_timeout,
            request_timeout: 5 * SECOND,
            poll_wait: 2 * SECOND,
            epoch_age_max: 5 * SECOND,
            epoch_messages_max: 2_000,
            held_max: 2_000,
            adopt_after: 120 * SECOND,
            kill_every: 2 * SECOND,
            freeze_every: 2 * SECOND,
            stop_every: 2 * SECOND,
            lost: 0.002,
            unanswered: 0.005,
            late: 0.002,
            slow: Self::spans(&mut rng, faults_until, visibility_timeout),
            down: Self::spans(&mut rng, faults_until, visibility_timeout),
            copies: 0.05,
            old_receipts: 0.5,
            receives_max: Some(2),
            variants: 3,
            alert_of: 100,
            clock_alert_every: 60 * SECOND,
            broken: None,
        }
    }

    fn spans(rng: &mut Rng, until: Millis, length_max: Millis) -> Vec<Span> {
        let mut spans: Vec<Span> = (0..rng.usize(0..3))
            .map(|_| {
                let start = rng.u64(0..until);
                start..(start + rng.u64(0..length_max)).min(until)
            })
            .collect();
        spans.sort_by_key(|span| span.start);
        spans
    }

    pub(super) fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }
}
