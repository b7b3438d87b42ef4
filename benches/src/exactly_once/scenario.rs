//! A scenario: everything that happens in one round, as plain data. It is drawn from a seed and the number of the
//! round, printed as one line, and read back from that line.
//!
//! This file owns the data, and knows for which scenarios the protocol promises anything. It does *not* own how
//! scenarios are drawn (`draw`) or run.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Ticks of a message.
pub(super) const PER_MESSAGE: usize = 10;

/// Shrinking stops here: fewer messages are no easier to look at.
const MESSAGES_MIN: usize = 125;

/// What one round does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// The seed and the round that it was drawn from. The sent messages follow from both, too.
    pub(super) seed: u64,
    pub(super) round: u64,
    /// What the scenario is about.
    pub(super) kind: Kind,
    /// Processes at the beginning.
    pub(super) workers: usize,
    /// Queues. Message n goes to queue n modulo this number.
    pub(super) queues: usize,
    /// Messages of [`PER_MESSAGE`] ticks. The last messages of a feed may hold fewer.
    pub(super) messages: usize,
    /// Malformed messages.
    pub(super) malformed: usize,
    /// How old an epoch may get, in milliseconds.
    pub(super) age_max_ms: u64,
    /// How the processes decode. The processes take these in the order of their start, and begin again after the last.
    pub(super) decodings: Vec<Decoding>,
    /// Messages that the queue hands out once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) copies: Option<Copies>,
    /// The number of receives after which the queue moves a message to its dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) receives_max: Option<u32>,
    /// Whether the queue honours receipts of earlier receives in half of the deletes and visibility changes.
    pub(super) old_receipts: bool,
    /// In the order of their times.
    pub(super) events: Vec<Event>,
}

/// What a scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Several workers of one configuration.
    Fleet,
    /// Workers that decode in different ways.
    Mixed,
    /// Workers of one configuration that know few names.
    Names,
    /// One worker that is frozen and cut off, and nothing else.
    Alone,
    /// One worker, and a queue that hands messages out once more.
    Copies,
    /// Messages move to a dead-letter queue, which a worker drains at the end.
    DeadLetters,
    /// A slow store, and kills.
    SlowStore,
    /// One of two queues is deleted.
    DeletedQueue,
}

/// How a process decodes, if it differs from the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Decoding {
    Default,
    /// The process knows this many symbols, and as many venues.
    NamesMax(usize),
    /// Some messages hold prices as strings. Processes with another decoding reject these.
    NumbersAsStrings,
    /// The longest symbol, in bytes.
    SymbolMaxBytes(usize),
    /// The process looks for another field, and takes the sending time for the event time. The tick moves to another
    /// hour.
    OtherTs,
}

/// Messages that the queue hands out once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Copies {
    /// Every n-th message has a copy.
    pub(super) every: u64,
    /// The receive count that one of the two deliveries shows.
    pub(super) count: u32,
    /// The copies come at a random moment within this many milliseconds.
    pub(super) within_ms: u64,
    /// Whether the copies come after the message was deleted.
    pub(super) deleted: bool,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    /// Milliseconds after the first message.
    pub(super) at_ms: u64,
    /// The worker's place among those that run, modulo their number.
    pub(super) worker: usize,
    pub(super) what: What,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// The worker is killed, and another one starts.
    Kill,
    /// The worker is frozen for `for_ms` milliseconds. If `replaced`, another one starts.
    Freeze { for_ms: u64, replaced: bool },
    /// The worker gets SIGTERM, and another one starts: at once if `overlap`, otherwise after the old one's end.
    Restart { overlap: bool },
    /// Connections break, and the proxy accepts no new ones.
    Cut { for_ms: u64, place: Place },
    /// Each connection to the store carries at most this many bytes a second.
    Slow { for_ms: u64, bytes_per_s: u64 },
    /// The second queue is deleted.
    DeleteQueue,
}

/// The server that cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    Queue,
    Store,
    Everything,
}

impl Scenario {
    /// Whether the protocol promises anything for this scenario. A copy may reach the worker that got the message
    /// before. It may reach a worker that started later only if its receive count always makes that worker look up
    /// earlier deliveries.
    pub(super) fn is_valid(&self) -> bool {
        let is_whole = self.workers > 0 && self.queues > 0 && self.messages > 0 && !self.decodings.is_empty();
        let deletes = self.has(|what| matches!(what, What::DeleteQueue));
        let starts_others = self.has(|what| matches!(what, What::Freeze { replaced: true, .. } | What::Restart { .. }));
        let kills = self.has(|what| matches!(what, What::Kill));
        let copies = self.copies.is_none_or(|copies| {
            // If both deliveries come before the deletion, the later one may show the smaller count.
            let always_tells = copies.deleted && copies.count > 1;
            let is_one = self.workers == 1 && !starts_others;
            is_one && copies.every > 0 && copies.count > 0 && (!kills || always_tells)
        });
        is_whole && copies && (!deletes || self.queues == 2)
    }

    /// Whether any event satisfies `is_such`.
    pub(super) fn has(&self, is_such: impl Fn(&What) -> bool) -> bool {
        self.count(is_such) > 0
    }

    /// How many events satisfy `is_such`.
    pub(super) fn count(&self, is_such: impl Fn(&What) -> bool) -> u64 {
        self.events.iter().filter(|event| is_such(&event.what)).count() as u64
    }

    /// Whether the round must give the same alerts as a run of the same messages in which nothing happens. This needs
    /// one worker, the same from beginning to end, that receives its messages in their order. A queue that is cut off
    /// loses answers. The messages of a lost answer come seconds later than the messages after them. So do the messages
    /// that a worker was about to receive when it was frozen.
    pub(super) fn has_certain_alerts(&self) -> bool {
        let same = |what: &What| match what {
            What::Cut { place, .. } => *place == Place::Store,
            What::Slow { .. } => true,
            What::Kill | What::Freeze { .. } | What::Restart { .. } | What::DeleteQueue => false,
        };
        let is_one = self.workers == 1 && self.queues == 1 && self.receives_max.is_none();
        is_one && self.decodes_alike() && !self.may_reject() && self.events.iter().all(|event| same(&event.what))
    }

    /// Whether some worker may reject a well-formed tick.
    pub(super) fn may_reject(&self) -> bool {
        !self.decodes_alike() || self.decodings.iter().any(|decoding| *decoding != Decoding::Default)
    }

    /// Whether some worker may take the sending time for the event time.
    pub(super) fn may_move(&self) -> bool {
        self.decodings.contains(&Decoding::OtherTs)
    }

    /// Whether some messages hold prices as strings.
    pub(super) fn has_strings(&self) -> bool {
        self.decodings.contains(&Decoding::NumbersAsStrings)
    }

    fn decodes_alike(&self) -> bool {
        self.decodings.iter().collect::<BTreeSet<_>>().len() == 1
    }

    /// The same scenario with one part left out, largest parts first. The search tries each of these after a failure.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut smaller: Vec<Self> = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut one = self.clone();
            change(&mut one);
            if one != *self && one.is_valid() {
                smaller.push(one);
            }
        };
        let half = self.events.len() / 2;
        if half > 1 {
            with(&|one| one.events.truncate(half));
            with(&|one| drop(one.events.drain(..half)));
        }
        with(&|one| one.old_receipts = false);
        for event in 0..self.events.len() {
            with(&|one| {
                one.events.remove(event);
            });
        }
        with(&|one| one.workers = one.workers.saturating_sub(1).max(1));
        with(&|one| one.malformed = 0);
        with(&|one| one.copies = None);
        with(&|one| one.receives_max = None);
        with(&|one| one.decodings = vec![Decoding::Default]);
        with(&|one| one.messages = (one.messages / 2).max(MESSAGES_MIN.min(one.messages)));
        smaller
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Scenario {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = serde_json::from_str(text)?;
        anyhow::ensure!(scenario.is_valid(), "failed to read the scenario: nothing is promised about it");
        Ok(scenario)
    }
}
