//! Limits how often a store may contradict itself.
//!
//! A store contradicts itself when it refuses a PUT because of an object, and then a look does not find that object.
//! Once, this may be correct: somebody removed the object in between, or another write was under way. If a store goes
//! on like this, it refuses the name for another reason: some stores refuse a name that is the folder of other objects.
//! This must not count as "somebody has stored it", and must not be tried for ever.

/// This many contradictions in a row about one object are an error. With the waits of the shell between them, they take
/// about 10 s.
pub const CONTRADICTIONS_MAX: u8 = 10;

/// How many PUTs of one object were refused in a row, while looks found nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Refusals(u8);

impl Refusals {
    pub(super) const NONE: Self = Self(0);

    /// One more PUT was refused.
    pub(super) fn add(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Whether the worker must stop asking the store, now that a look has found nothing.
    pub(super) fn are_too_many(self) -> bool {
        self.0 >= CONTRADICTIONS_MAX
    }
}
