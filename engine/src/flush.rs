//! Why an open epoch should not wait for more: the queues are drained, or one of them hands out no more before the
//! epoch is stored. This file does *not* own when an epoch rolls otherwise, nor whether symbols are silent.

use std::sync::atomic::{AtomicBool, Ordering};

/// Reasons to roll that the receivers and the drain know, and that the builder asks for.
#[derive(Debug, Default)]
pub struct Flush {
    drained: AtomicBool,
    over_limit: AtomicBool,
}

impl Flush {
    /// Tells whether the queues hold nothing except what some worker holds.
    pub(crate) fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Tells whether a queue allows no more messages in flight. It hands out nothing more until an epoch is stored.
    pub(crate) fn set_over_limit(&self, over_limit: bool) {
        self.over_limit.store(over_limit, Ordering::Relaxed);
    }

    pub(crate) fn is_over_limit(&self) -> bool {
        self.over_limit.load(Ordering::Relaxed)
    }
}
