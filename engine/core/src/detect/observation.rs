//! What the detectors are shown: a tick, and the time now. This file does *not* own the clocks.

/// One tick, and the time at which it is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) ts_us: i64,
    pub(super) price: f64,
    pub(super) volume: f64,
    pub(super) now: Now,
}

/// The time now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The latest event time of the feed.
    pub(super) clock_us: i64,
    /// When the ticks were decoded. `None` for recorded ticks: the feed's clock is used for them.
    pub(super) decoded_at_us: Option<i64>,
}

impl Now {
    pub(super) fn detected_at_us(self) -> i64 {
        self.decoded_at_us.unwrap_or(self.clock_us)
    }
}
