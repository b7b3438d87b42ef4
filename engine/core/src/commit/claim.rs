//! Claims: if several epochs raise the same alert, only one of them stores its row.
//!
//! Several workers may raise the same alert if they receive the same tick one after the other. The same worker may
//! raise it again, and a worker may adopt it from a dead one. An object with the alert's id decides. The first epoch
//! that puts this object, before its file of alerts, stores the row. The others leave the row out.
//!
//! A claim stays for good. If the file of the winning epoch becomes a void, the row will never be there. Then the next
//! turn decides, with an object of its own. If there is neither file nor void yet, the winner may be about to put the
//! file, or may be dead. So the other workers wait for the file for a while, and then put a void.

use super::Fate;
use super::contradiction::Refusals;

/// Decides, for one epoch, which epoch stores the row of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    step: ClaimStep,
    refusals: Refusals,
}

/// What to do next about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimStep {
    /// Put the object of this turn, which names our file of alerts, unless there is one already.
    Put(u32),
    /// Read which file the object of this turn names.
    Read(u32),
    /// Wait a while for the file of alerts of the epoch that has this turn. Then decide its fate: put a void in its
    /// place, unless something is there.
    Decide(u32),
    /// Nothing: the claim is decided. The value says whether the row is ours to store.
    Done(bool),
    /// Stop: the store refuses the object of this turn, but a read does not find it. The claim is not decided.
    Contradicted(u32),
}

/// Who has a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claimant {
    /// This epoch. The answer to its earlier attempt was lost.
    Us,
    /// Another epoch.
    Other,
    /// Nobody any more. Claims that are older than anything in the queue are removed.
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

    /// The object was put, or was refused because there is one already.
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

    /// The object was read. `claimant` has the turn.
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

/// The key of the file of alerts that a claiming object names. In version 1 the object had a second line. It has no
/// meaning any more.
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
