//! The deadline of a message. Until then the message is ours, and nobody else has it.

/// The time until which a message is hidden from everybody else, as far as we know. Once passed, it stays passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deadline<T>(Option<T>);

impl<T: Copy> Deadline<T> {
    /// The deadline `until`. It counts from a moment before the receive was sent.
    pub fn new(until: T) -> Self {
        Self(Some(until))
    }

    /// The deadline, if it has not passed.
    pub fn look(&mut self, has_passed: impl FnOnce(T) -> bool) -> Option<T> {
        self.0 = self.0.filter(|&until| !has_passed(until));
        self.0
    }

    /// An extension to `until` was answered. Its time counts from before it was sent. Returns whether the extension
    /// counts: only if the old deadline has not passed. Otherwise SQS may have given the message to somebody else in
    /// between, and its answer does not say so.
    pub fn extend(&mut self, until: T, has_passed: impl FnOnce(T) -> bool) -> bool {
        self.0 = self.look(has_passed).map(|_| until);
        self.0.is_some()
    }

    /// The queue says that the message is not ours any more.
    pub fn lapse(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extension_counts_only_if_it_is_answered_before_the_deadline() {
        let at = |now: u8| move |until: u8| now >= until;
        let mut deadline = Deadline::new(10);
        assert!(deadline.extend(15, at(9)));
        assert_eq!(deadline.look(at(14)), Some(15));
        assert!(!deadline.extend(25, at(15)));
        assert_eq!(deadline.look(at(0)), None, "a later clock does not change it");
    }
}
