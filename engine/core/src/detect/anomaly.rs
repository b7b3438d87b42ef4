//! The anomaly: what a detector says about one tick or pane, before it is known which event it belongs to.
//!
//! This file owns its fields and the names of the detectors. It does *not* own the events.

use std::borrow::Cow;

use crate::alert::{Direction, Kind, Severity};

/// What a detector found. The fields are those of [`Alert`](crate::alert::Alert).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Anomaly {
    pub(super) severity: Severity,
    pub(super) direction: Direction,
    pub(super) observed: f64,
    pub(super) expected: f64,
    pub(super) scale: f64,
    pub(super) score: f64,
    pub(super) threshold: f64,
    pub(super) window: Window,
    pub(super) detector: Detector,
}

/// The window that the detector looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Window {
    Ticks(usize),
    Seconds(i64),
}

/// The detector that found it. It gives the alert its kind, and tells the lines of a symbol apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Detector {
    Spike,
    LevelShift,
    /// There is one per side and price.
    Line(Direction, f64),
    Move,
    Volatility,
    Volume,
    Gap,
    LimitBand,
    Clock,
}

impl Anomaly {
    /// What the anomalies of one event have in common.
    pub(super) fn key(&self) -> (Detector, Direction) {
        (self.detector, self.direction)
    }
}

impl Window {
    pub(super) fn text(self) -> Cow<'static, str> {
        match self {
            Window::Ticks(1) => "1 tick".into(),
            Window::Ticks(ticks) => format!("{ticks} ticks").into(),
            Window::Seconds(seconds) => format!("{seconds} s").into(),
        }
    }
}

impl Detector {
    pub(super) fn kind(self) -> Kind {
        match self {
            Detector::Spike => Kind::Spike,
            Detector::LevelShift => Kind::LevelShift,
            Detector::Line(..) => Kind::Threshold,
            Detector::Move => Kind::Move,
            Detector::Volatility => Kind::Volatility,
            Detector::Volume => Kind::Volume,
            Detector::Gap => Kind::Gap,
            Detector::LimitBand => Kind::LimitBand,
            Detector::Clock => Kind::Clock,
        }
    }

    /// The name that tells its events in this direction from other events of the symbol.
    pub(super) fn name(self, direction: Direction) -> String {
        let kind = self.kind().as_str();
        match self {
            Detector::Line(Direction::Up, price) => format!("{kind}-above-{price}"),
            Detector::Line(Direction::Down, price) => format!("{kind}-below-{price}"),
            _ => format!("{kind}-{}", direction.as_str()),
        }
    }

    /// Whether an anomaly of twice the score is another event. One bad print is not a part of another one.
    pub(super) fn is_of_one_tick(self) -> bool {
        self == Detector::Spike
    }

    /// Whether a larger score means a worse event.
    pub(super) fn has_scale(self) -> bool {
        !matches!(self, Detector::Line(..) | Detector::Gap | Detector::Clock)
    }
}
