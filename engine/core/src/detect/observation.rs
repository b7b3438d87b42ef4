//! What the detectors are shown: a tick, and when it is.

/// One tick, and when it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) ts_us: i64,
    pub(super) price: f64,
    pub(super) volume: f64,
    pub(super) now: Now,
}

/// What the clocks say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The latest event time of the feed.
    pub(super) clock_us: i64,
    /// When the ticks were decoded; `None` if they are recorded ones, which are as late as the feed's clock says.
    pub(super) decoded_at_us: Option<i64>,
}

impl Now {
    pub(super) fn detected_at_us(self) -> i64 {
        self.decoded_at_us.unwrap_or(self.clock_us)
    }
}
