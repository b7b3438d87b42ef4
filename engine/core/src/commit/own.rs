//! Puts an object under a name that no other epoch ever uses: a data file or a ledger entry.
//!
//! If a PUT is refused, the store claims that something is there. A look shows what it is: our own earlier attempt that
//! got no answer, a void of another worker, or an object that none of our workers has put.

use super::Fate;
use super::contradiction::Refusals;

/// The PUT of one object whose name only this epoch uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnPut {
    step: OwnPutStep,
    refusals: Refusals,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnPutStep {
    /// Put the object, unless something is there.
    Put,
    /// Look at what is there.
    Look,
    /// Nothing: the object is there, or a void.
    Done(Fate),
    /// Stop: somebody else's object has the name.
    Taken,
    /// Stop: the store refuses the name, but a look finds nothing there.
    Contradicted,
}

/// What a look finds in the place of such an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnLook {
    /// Our own earlier attempt.
    Ours,
    /// A void.
    Void,
    /// Anything else.
    Other,
    /// Nothing.
    Nothing,
}

impl Default for OwnPut {
    fn default() -> Self {
        Self { step: OwnPutStep::Put, refusals: Refusals::NONE }
    }
}

impl OwnPut {
    /// What to do next.
    #[must_use]
    pub fn step(self) -> OwnPutStep {
        self.step
    }

    /// The object was put, or the store refused it.
    pub fn put(&mut self, created: bool) {
        if self.step == OwnPutStep::Put {
            self.step = if created { OwnPutStep::Done(Fate::Stored) } else { OwnPutStep::Look };
            if !created {
                self.refusals.add();
            }
        }
    }

    /// A look after a refused PUT found `look`.
    pub fn looked(&mut self, look: OwnLook) {
        if self.step == OwnPutStep::Look {
            self.step = match look {
                OwnLook::Ours => OwnPutStep::Done(Fate::Stored),
                OwnLook::Void => OwnPutStep::Done(Fate::Voided),
                OwnLook::Other => OwnPutStep::Taken,
                OwnLook::Nothing if self.refusals.are_too_many() => OwnPutStep::Contradicted,
                OwnLook::Nothing => OwnPutStep::Put,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CONTRADICTIONS_MAX;
    use super::*;

    #[test]
    fn refused_put_is_what_a_look_finds() {
        let ends = [
            (OwnLook::Ours, OwnPutStep::Done(Fate::Stored)),
            (OwnLook::Void, OwnPutStep::Done(Fate::Voided)),
            (OwnLook::Other, OwnPutStep::Taken),
            (OwnLook::Nothing, OwnPutStep::Put),
        ];
        for (look, end) in ends {
            let mut put = OwnPut::default();
            put.put(false);
            assert_eq!(put.step(), OwnPutStep::Look, "a refusal does not say what is there");
            put.looked(look);
            assert_eq!(put.step(), end);
        }
    }

    #[test]
    fn put_that_is_refused_over_nothing_ends_as_an_error() {
        let mut put = OwnPut::default();
        let mut puts = 0;
        while put.step() == OwnPutStep::Put && puts < 1_000 {
            puts += 1;
            put.put(false);
            put.looked(OwnLook::Nothing);
        }
        assert_eq!((put.step(), puts), (OwnPutStep::Contradicted, u32::from(CONTRADICTIONS_MAX)));
    }
}
