//! What is known outside the building stage of why an open epoch should not wait for more.

use std::sync::atomic::{AtomicBool, Ordering};

/// Why an open epoch is not to wait for more.
#[derive(Debug, Default)]
pub struct Flush {
    drained: AtomicBool,
    over_limit: AtomicBool,
}

impl Flush {
    /// Whether the queues hold nothing but what is in here.
    pub(crate) fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Whether a queue allows no more in flight: until an epoch is stored, nothing more comes of it.
    pub(crate) fn set_over_limit(&self, over_limit: bool) {
        self.over_limit.store(over_limit, Ordering::Relaxed);
    }

    pub(crate) fn is_over_limit(&self) -> bool {
        self.over_limit.load(Ordering::Relaxed)
    }
}
