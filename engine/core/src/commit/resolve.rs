//! Deciding what became of one file that an entry names: it exists, or it never will.
//!
//! An answer is final, whoever finds it: files and voids are never replaced, so it may be kept for good.

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It is in the lake, with all of its rows.
    Stored,
    /// A void is in its place.
    Voided,
}

/// What is at a file's place.
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
    /// Look what is there.
    Look,
    /// Put a void there, unless there is something.
    PutVoid,
    /// Nothing: it is decided.
    Done(Fate),
}

/// The decision about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision(Step);

impl Default for Decision {
    fn default() -> Self {
        Self(Step::Look)
    }
}

impl Decision {
    /// What to do next.
    #[must_use]
    pub fn step(self) -> Step {
        self.0
    }

    /// It was looked what is there.
    pub fn looked(&mut self, look: Look) {
        self.0 = match (self.0, look) {
            (Step::Look, Look::Found(fate)) => Step::Done(fate),
            (Step::Look, Look::Nothing) => Step::PutVoid,
            (other, _) => other,
        };
    }

    /// The void was put, or was not, because there is something (a void of our own, if an answer was lost): that is looked at.
    pub fn void_put(&mut self, created: bool) {
        if self.0 == Step::PutVoid {
            self.0 = if created { Step::Done(Fate::Voided) } else { Step::Look };
        }
    }
}

#[cfg(test)]
mod tests {
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
}
