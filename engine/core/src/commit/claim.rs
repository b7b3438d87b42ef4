//! Claiming an alert: of all the epochs that raise it, one stores its row.
//!
//! An alert may be raised by several workers that were given the same tick one after the other, by the same worker
//! again, and by one that adopts the alerts of a dead one. What decides is an object of the alert's id, which the first
//! epoch puts before its file of alerts. That epoch stores the row, and the others leave it out.
//!
//! A claim stays. Where the file of the epoch that has it turns out to be a void, its row will never be there, and the
//! next turn decides, with an object of its own. Where there is neither file nor void yet, its worker may be about to
//! put the file, or may be dead. So the file is waited for, and then a void decides.

use super::Fate;
use super::contradiction::Refusals;

/// Whose an alert's row is to store, as seen by one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    step: ClaimStep,
    refusals: Refusals,
}

/// What to do next about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimStep {
    /// Put the object of this turn, which names our file of alerts, unless there is one.
    Put(u32),
    /// Read which file it names.
    Read(u32),
    /// Wait a while for the file of alerts of the epoch that has this turn, then decide what becomes of it: put a void
    /// there, unless there is something.
    Decide(u32),
    /// Nothing: it is decided whether the row is ours to store.
    Done(bool),
    /// Stop: the store refuses the object of this turn and shows none. It is not decided.
    Contradicted(u32),
}

/// Whose a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claimant {
    /// This epoch's: the answer to an earlier attempt was lost.
    Us,
    /// Another epoch's.
    Other,
    /// Nobody's any more: claims that are older than anything in the queue are removed.
    Nobody,
}

impl Default for Claim {
    fn default() -> Self {
        Self::at(ClaimStep::Put(0))
    }
}

impl Claim {
    const fn at(step: ClaimStep) -> Self {
        Self { step, refusals: Refusals::NONE }
    }

    /// What to do next.
    #[must_use]
    pub fn step(self) -> ClaimStep {
        self.step
    }

    /// The object was put, or was not, because there is one.
    pub fn put(&mut self, created: bool) {
        if let ClaimStep::Put(turn) = self.step {
            if created {
                *self = Self::at(ClaimStep::Done(true));
            } else {
                self.step = ClaimStep::Read(turn);
                self.refusals.add();
            }
        }
    }

    /// The object was read, and says whose the turn is.
    pub fn read(&mut self, claimant: Claimant) {
        if let ClaimStep::Read(turn) = self.step {
            *self = match claimant {
                Claimant::Us => Self::at(ClaimStep::Done(true)),
                Claimant::Other => Self::at(ClaimStep::Decide(turn)),
                Claimant::Nobody if self.refusals.are_too_many() => Self::at(ClaimStep::Contradicted(turn)),
                Claimant::Nobody => Self { step: ClaimStep::Put(turn), ..*self },
            };
        }
    }

    /// The fate of the other epoch's file is known.
    pub fn decided(&mut self, fate: Fate) {
        if let ClaimStep::Decide(turn) = self.step {
            *self = Self::at(match fate {
                Fate::Voided => ClaimStep::Put(turn.saturating_add(1)),
                Fate::Stored => ClaimStep::Done(false),
            });
        }
    }
}

/// The key of the file of alerts that a claiming object names. Version 1 added a second line, which says nothing any
/// more.
#[must_use]
pub fn read_claim(body: &str) -> &str {
    body.split_once('\n').map_or(body, |(file, _)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_that_is_refused_over_nothing_ends_as_an_error() {
        let mut claim = Claim::default();
        let mut puts = 0;
        while claim.step() == ClaimStep::Put(0) && puts < 1_000 {
            puts += 1;
            claim.put(false);
            claim.read(Claimant::Nobody);
        }
        assert_eq!((claim.step(), puts), (ClaimStep::Contradicted(0), u32::from(super::super::CONTRADICTIONS_MAX)));
    }

    #[test]
    fn claim_of_the_version_before_is_read() {
        for body in ["alerts/w-1.parquet", "alerts/w-1.parquet\nwithout a message"] {
            assert_eq!(read_claim(body), "alerts/w-1.parquet");
        }
    }
}
