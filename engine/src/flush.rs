//! Why an open epoch should not wait for more: the queues are drained, or one of them hands no more out before the
//! epoch is stored. This file does *not* own when an epoch rolls otherwise, nor whether symbols are silent.

use std::sync::atomic::{AtomicBool, Ordering};

/// What the receivers know that the builder rolls on.
#[derive(Debug, Default)]
pub struct Flush {
    drained: AtomicBool,
    over_limit: AtomicBool,
}

impl Flush {
    /// Whether the queues hold nothing except what some worker holds.
    pub(crate) fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Whether a queue allows no more messages in flight. It hands out nothing more until an epoch is stored.
    pub(crate) fn set_over_limit(&self, over_limit: bool) {
        self.over_limit.store(over_limit, Ordering::Relaxed);
    }

    pub(crate) fn is_over_limit(&self) -> bool {
        self.over_limit.load(Ordering::Relaxed)
    }
}
