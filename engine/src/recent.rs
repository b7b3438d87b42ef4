//! The ids of messages that were received lately. SQS may deliver a message twice as if each time were the first; its ledger entry
//! may not be there yet when the copy comes, and nothing else tells the two apart.
//!
//! It owns what this process remembers. It does *not* know what other workers have received.

use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxBuildHasher;

/// Sets of four ids that are remembered, 1 MiB in all. An id has its set, from which it is driven by the next ones.
const SETS: usize = 1 << 15;

/// What was received lately, as hashes.
pub(crate) struct Recent(Mutex<Box<[[u64; 4]]>>);

impl Default for Recent {
    fn default() -> Self {
        Self(Mutex::new(vec![[0; 4]; SETS].into()))
    }
}

impl Recent {
    /// Takes note of messages that SQS says it delivers for the first time, and drops those of `messages` that were here before.
    pub(crate) fn retain_new<T>(&self, messages: &mut Vec<T>, first_time: impl Fn(&T) -> Option<&str>) {
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.retain(|message| {
            let Some(id) = first_time(message) else { return true };
            let hash = FxBuildHasher.hash_one(id);
            let set = &mut sets[hash as usize % SETS];
            if set.contains(&hash) {
                return false;
            }
            *set = [hash, set[0], set[1], set[2]];
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_known_from_its_second_time_on_until_many_others_came() {
        let recent = Recent::default();
        let messages = |name: &str, count: usize| (0..count).map(|n| format!("{name}-{n}")).collect::<Vec<_>>();
        let repeated = |ids: &[String]| {
            let mut left = ids.to_vec();
            recent.retain_new(&mut left, |id| Some(id));
            ids.len() - left.len()
        };
        let first = messages("first", 5_000);
        assert_eq!((repeated(&first), repeated(&first)), (0, 5_000));
        assert_eq!(repeated(&messages("other", 5_000)), 0);
        // More than four came together in some sets.
        assert!(repeated(&first) > 4_980);
        repeated(&messages("many", 40 * SETS));
        assert_eq!(repeated(&first), 0);
    }
}
