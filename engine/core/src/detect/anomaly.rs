//! The anomaly: what a detector says about the price of one tick, before it is known whether it becomes an alert.
//!
//! This file owns its fields and how they become an alert's. It does *not* own whether they do.

use std::fmt;
use std::sync::Arc;

use crate::alert::{Alert, Direction, Kind, Severity};

/// What a detector found in a price. The fields are those of [`Alert`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Anomaly {
    pub(super) severity: Severity,
    pub(super) direction: Direction,
    pub(super) observed: f64,
    pub(super) expected: f64,
    pub(super) scale: f64,
    pub(super) score: f64,
    pub(super) threshold: f64,
    pub(super) detector: Detector,
}

/// Which detector found it: for the alert its kind, and what tells it from others of its kind that watch the symbol.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Detector {
    /// There is one per symbol.
    Spike,
    /// There is one per side and price.
    Line(Direction, f64),
    Move,
    Volatility,
    Volume,
    Gap,
}

impl Anomaly {
    /// The alert about this anomaly.
    pub(super) fn alert(&self, symbol: &Arc<str>, ts_us: i64, detected_at_us: i64) -> Alert {
        Alert {
            id: Alert::id_of(&self.detector.to_string(), symbol, ts_us),
            kind: self.detector.kind(),
            severity: self.severity,
            symbol: symbol.clone(),
            direction: self.direction,
            ts_us,
            detected_at_us,
            observed: self.observed,
            expected: self.expected,
            scale: self.scale,
            // The largest of prices over the smallest of scales would be infinite, which JSON cannot say.
            score: self.score.min(f64::MAX),
            threshold: self.threshold,
        }
    }
}

impl Detector {
    fn kind(self) -> Kind {
        match self {
            Detector::Spike => Kind::Spike,
            Detector::Line(..) => Kind::Threshold,
            Detector::Move => Kind::Move,
            Detector::Volatility => Kind::Volatility,
            Detector::Volume => Kind::Volume,
            Detector::Gap => Kind::Gap,
        }
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        match self {
            Detector::Spike | Detector::Move | Detector::Volatility | Detector::Volume | Detector::Gap => Ok(()),
            Detector::Line(Direction::Up, price) => write!(f, "-above-{price}"),
            Detector::Line(Direction::Down, price) => write!(f, "-below-{price}"),
        }
    }
}
