//! What is wrong after a round, and what happened in it: counts that add up over rounds, and examples that help to find
//! the cause.

use std::fmt;
use std::ops::AddAssign;

use super::scenario::{Scenario, What};

/// How many examples of each kind are kept.
const EXAMPLES_MAX: usize = 5;

/// What a round must not show: every count must be 0.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Findings {
    counts: [u64; Fault::ALL.len()],
    examples: Vec<(Fault, String)>,
}

/// One way in which a round fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A tick is in neither table.
    TickLost,
    /// A tick has a further row, in the ticks or the quarantine.
    TickDoubled,
    /// A row does not hold what was sent, lies in the wrong partition, was never sent, or was rejected without need.
    TickAltered,
    /// A malformed body is not in the quarantine.
    RejectLost,
    /// A malformed body, or the body of a whole message, has a further row.
    RejectDoubled,
    /// An alert has a further row.
    AlertDoubled,
    /// The topic never got an alert of the table.
    AlertUnpublished,
    /// The table does not have an alert that the topic got.
    AlertUnstored,
    /// An alert was claimed but is not in the table.
    AlertClaimed,
    /// The undisturbed run does not have an alert of the table, or the other way around.
    AlertOther,
    /// A worker ended although nobody asked it to.
    WorkerEnded,
    /// The queue did not become empty.
    Undrained,
}

impl Fault {
    pub(super) const ALL: [Self; 12] = [
        Self::TickLost,
        Self::TickDoubled,
        Self::TickAltered,
        Self::RejectLost,
        Self::RejectDoubled,
        Self::AlertDoubled,
        Self::AlertUnpublished,
        Self::AlertUnstored,
        Self::AlertClaimed,
        Self::AlertOther,
        Self::WorkerEnded,
        Self::Undrained,
    ];

    /// The name of its figure.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TickLost => "ticks lost",
            Self::TickDoubled => "ticks there more than once",
            Self::TickAltered => "ticks altered, in the wrong place, never sent, or rejected without need",
            Self::RejectLost => "rejects lost",
            Self::RejectDoubled => "rejects there more than once",
            Self::AlertDoubled => "alerts there more than once",
            Self::AlertUnpublished => "alerts stored that were not published",
            Self::AlertUnstored => "alerts published that are not stored",
            Self::AlertClaimed => "alerts claimed that are not stored",
            Self::AlertOther => "alerts that differ from those of an undisturbed run",
            Self::WorkerEnded => "workers that ended by themselves",
            Self::Undrained => "queues that were not drained",
        }
    }
}

impl Findings {
    /// Notes a fault with an example.
    pub(super) fn find(&mut self, fault: Fault, example: impl FnOnce() -> String) {
        self.counts[fault as usize] += 1;
        if self.examples.iter().filter(|(of, _)| *of == fault).count() < EXAMPLES_MAX {
            self.examples.push((fault, example()));
        }
    }

    /// Notes a fault `times` times.
    pub(super) fn add(&mut self, fault: Fault, times: u64) {
        self.counts[fault as usize] += times;
    }

    /// Adds the findings of another part of the same round, with their examples.
    pub(super) fn join(&mut self, other: Self) {
        *self += &other;
        self.examples.extend(other.examples);
    }

    pub(super) fn of(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }

    pub(super) fn is_clean(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}

impl AddAssign<&Findings> for Findings {
    fn add_assign(&mut self, other: &Findings) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Fault::ALL.into_iter().filter(|fault| self.of(*fault) > 0);
        for (at, fault) in found.enumerate() {
            let separator = if at > 0 { "\n" } else { "" };
            write!(f, "{separator}  {}: {}", fault.name(), self.of(fault))?;
            for (_, example) in self.examples.iter().filter(|(of, _)| *of == fault) {
                write!(f, "\n    {example}")?;
            }
        }
        Ok(())
    }
}

/// What happened in a round. A round in which nothing happened proves nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) kills: u64,
    pub(super) freezes: u64,
    pub(super) restarts: u64,
    pub(super) cuts: u64,
    pub(super) slow: u64,
    pub(super) deleted_queues: u64,
    /// Copies that the queue has handed out.
    pub(super) copies: u64,
    /// Messages that were in a dead-letter queue before it was drained.
    pub(super) dead_letters: u64,
    pub(super) rejects: u64,
    /// Alerts that the topic got.
    pub(super) alerts: u64,
    /// Rounds whose alerts were compared with those of an undisturbed run.
    pub(super) compared: u64,
}

impl Happened {
    /// Counts the events of a scenario.
    pub(super) fn of(scenario: &Scenario) -> Self {
        Self {
            kills: scenario.count(|what| matches!(what, What::Kill)),
            freezes: scenario.count(|what| matches!(what, What::Freeze { .. })),
            restarts: scenario.count(|what| matches!(what, What::Restart { .. })),
            cuts: scenario.count(|what| matches!(what, What::Cut { .. })),
            slow: scenario.count(|what| matches!(what, What::Slow { .. })),
            deleted_queues: scenario.count(|what| matches!(what, What::DeleteQueue)),
            ..Self::default()
        }
    }
}

impl AddAssign for Happened {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.freezes += other.freezes;
        self.restarts += other.restarts;
        self.cuts += other.cuts;
        self.slow += other.slow;
        self.deleted_queues += other.deleted_queues;
        self.copies += other.copies;
        self.dead_letters += other.dead_letters;
        self.rejects += other.rejects;
        self.alerts += other.alerts;
        self.compared += other.compared;
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, freezes, restarts, cuts, slow, deleted_queues, .. } = self;
        write!(
            f,
            "{kills} kills, {freezes} freezes, {restarts} restarts, {cuts} cuts, {slow} times a slow store, \
             {deleted_queues} deleted queues"
        )
    }
}
