//! Decides what became of one file that an entry names: it exists, or it never will.
//!
//! An answer is final, no matter who finds it: files and voids are never replaced. So the answer may be kept for good.

use super::contradiction::Refusals;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It is in the lake, with all of its rows.
    Stored,
    /// A void is in its place.
    Voided,
}

/// What is in a file's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Look {
    /// The file, or a void.
    Found(Fate),
    /// Nothing, so far.
    Nothing,
}

/// What to do next about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Look at what is there.
    Look,
    /// Put a void there, unless there is something.
    PutVoid,
    /// Nothing: the fate of the file is decided.
    Done(Fate),
    /// Stop: the store refuses the void, but a look finds nothing there. The fate is not decided.
    Contradicted,
}

/// The decision about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    step: Step,
    refusals: Refusals,
}

impl Default for Decision {
    fn default() -> Self {
        Self { step: Step::Look, refusals: Refusals::NONE }
    }
}

impl Decision {
    /// What to do next.
    #[must_use]
    pub fn step(self) -> Step {
        self.step
    }

    /// A look found `look`.
    pub fn looked(&mut self, look: Look) {
        if self.step != Step::Look {
            return;
        }
        *self = match look {
            Look::Found(fate) => Self { step: Step::Done(fate), ..Self::default() },
            Look::Nothing if self.refusals.are_too_many() => Self { step: Step::Contradicted, ..*self },
            Look::Nothing => Self { step: Step::PutVoid, ..*self },
        };
    }

    /// The void was put, or was refused because something is there. In the second case a look must tell what it is. It
    /// may be a void of our own whose answer was lost.
    pub fn void_put(&mut self, created: bool) {
        if self.step != Step::PutVoid {
            return;
        }
        if created {
            *self = Self { step: Step::Done(Fate::Voided), ..Self::default() };
        } else {
            self.step = Step::Look;
            self.refusals.add();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CONTRADICTIONS_MAX;
    use super::*;

    #[test]
    fn file_that_appears_before_the_void_is_found() {
        let mut decision = Decision::default();
        decision.looked(Look::Nothing);
        assert_eq!(decision.step(), Step::PutVoid);
        decision.void_put(false);
        assert_eq!(decision.step(), Step::Look);
        decision.looked(Look::Found(Fate::Stored));
        assert_eq!(decision.step(), Step::Done(Fate::Stored));
        decision.looked(Look::Nothing);
        decision.void_put(true);
        assert_eq!(decision.step(), Step::Done(Fate::Stored), "for good");
    }

    #[test]
    fn file_that_is_not_there_becomes_a_void() {
        let mut decision = Decision::default();
        decision.looked(Look::Nothing);
        decision.void_put(true);
        assert_eq!(decision.step(), Step::Done(Fate::Voided));
    }

    #[test]
    fn void_that_is_refused_over_nothing_ends_as_an_error() {
        let mut decision = Decision::default();
        let mut puts = 0;
        while !matches!(decision.step(), Step::Contradicted | Step::Done(_)) && puts < 1_000 {
            decision.looked(Look::Nothing);
            if decision.step() == Step::PutVoid {
                puts += 1;
                decision.void_put(false);
            }
        }
        assert_eq!((decision.step(), puts), (Step::Contradicted, u32::from(CONTRADICTIONS_MAX)));
    }

    #[test]
    fn file_that_appears_at_the_last_look_is_found() {
        let mut decision = Decision::default();
        for _ in 0..CONTRADICTIONS_MAX {
            decision.looked(Look::Nothing);
            decision.void_put(false);
        }
        decision.looked(Look::Found(Fate::Stored));
        assert_eq!(decision.step(), Step::Done(Fate::Stored));
    }
}
