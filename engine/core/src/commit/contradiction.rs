//! How often a store may contradict itself.
//!
//! A store contradicts itself when it refuses a PUT because of an object that a look does not find. Once, that may be
//! true: somebody has removed the object in between, or another write was under way. A store that goes on refuses the
//! name for another reason: some refuse a name that is the folder of other objects. That must count neither as
//! "somebody has stored it" nor as "try for ever".

/// After so many contradictions in a row about one object it is an error. With the shell's waits between them they take
/// about 10 s.
pub const CONTRADICTIONS_MAX: u8 = 10;

/// The PUTs of one object that were refused in a row, with nothing found in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Refusals(u8);

impl Refusals {
    pub(super) const NONE: Self = Self(0);

    /// One more PUT was refused.
    pub(super) fn add(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Whether the store is not to be asked again, now that a look has found nothing.
    pub(super) fn are_too_many(self) -> bool {
        self.0 >= CONTRADICTIONS_MAX
    }
}
