//! The kinds of events that can be planted, and the record of a planted event.
//!
//! This file owns the labels, the kind of alert that each event should raise, how long each lasts, and the JSON of an
//! event. It does *not* own what an event does to the trades (`shape`).

use std::{str::FromStr, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What can be planted. The names carry the size: 50 bp (basis points) are 0.5 % of the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// One trade is off by 20 bp, the next one is back to normal.
    Spike20bp,
    /// One trade is off by 50 bp.
    Spike50bp,
    /// One trade is off by 100 bp.
    Spike100bp,
    /// The price of one trade is ten times or a tenth of what it was.
    DecimalShift,
    /// Prices are off by 50 bp for 120 s, then back at once.
    LevelShift50bp,
    /// Prices drift away by 50 bp within 60 s, stay there for 60 s, and come back within 300 s.
    Move50bp60s,
    /// For 60 s the distance of prices from their centred mean over 10 s is 5 times what it was.
    VolatilityX5,
    /// The same with a factor of 10.
    VolatilityX10,
    /// For 30 s volumes are 20 times what they were.
    VolumeX20,
    /// For 30 s volumes are 50 times what they were.
    VolumeX50,
    /// The trades of 30 s are missing.
    Gap30s,
    /// The trades of 60 s are missing.
    Gap60s,
}

/// How long an event lasts, from its first trade on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spans {
    /// Until when an alert is about the event; see [`Event::end_us`].
    pub(super) event: Duration,
    /// Until when the event alters trades.
    pub(super) traces: Duration,
    /// The part that must have enough trades, or else the event does not fit. Zero if the event is a single trade.
    pub(super) dense: Duration,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 12] = [
        Self::Spike20bp,
        Self::Spike50bp,
        Self::Spike100bp,
        Self::DecimalShift,
        Self::LevelShift50bp,
        Self::Move50bp60s,
        Self::VolatilityX5,
        Self::VolatilityX10,
        Self::VolumeX20,
        Self::VolumeX50,
        Self::Gap30s,
        Self::Gap60s,
    ];

    /// Its name on the command line and in the truth. A `drop_50bp_60s` that goes up is listed as `rise_50bp_60s`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spike20bp => "spike_20bp",
            Self::Spike50bp => "spike_50bp",
            Self::Spike100bp => "spike_100bp",
            Self::DecimalShift => "decimal_shift",
            Self::LevelShift50bp => "level_shift_50bp",
            Self::Move50bp60s => "drop_50bp_60s",
            Self::VolatilityX5 => "volatility_x5",
            Self::VolatilityX10 => "volatility_x10",
            Self::VolumeX20 => "volume_x20",
            Self::VolumeX50 => "volume_x50",
            Self::Gap30s => "gap_30s",
            Self::Gap60s => "gap_60s",
        }
    }

    /// The kind of alert that the event should raise.
    #[must_use]
    pub fn alert_kind(self) -> &'static str {
        match self {
            Self::Spike20bp | Self::Spike50bp | Self::Spike100bp | Self::DecimalShift => "spike",
            Self::LevelShift50bp => "level_shift",
            Self::Move50bp60s => "move",
            Self::VolatilityX5 | Self::VolatilityX10 => "volatility",
            Self::VolumeX20 | Self::VolumeX50 => "volume",
            Self::Gap30s | Self::Gap60s => "gap",
        }
    }

    pub(super) fn spans(self) -> Spans {
        let [event, traces, dense] = match self {
            Self::Spike20bp | Self::Spike50bp | Self::Spike100bp | Self::DecimalShift => [0, 0, 0],
            // The return is part of the event. A detector has 60 s to notice it.
            Self::LevelShift50bp => [180, 180, 120],
            // The return is so slow that it is no event of its own. An alert about it is false.
            Self::Move50bp60s => [120, 420, 60],
            Self::VolatilityX5 | Self::VolatilityX10 | Self::Gap60s => [60, 60, 60],
            Self::VolumeX20 | Self::VolumeX50 | Self::Gap30s => [30, 30, 30],
        }
        .map(Duration::from_secs);
        Spans { event, traces, dense }
    }

    pub(super) fn label(self, direction: Option<Direction>) -> &'static str {
        match (self, direction) {
            (Self::Move50bp60s, Some(Direction::Up)) => "rise_50bp_60s",
            _ => self.name(),
        }
    }
}

/// A name that no kind of event has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read {name:?} as a kind of event; use one of {}", EventKind::ALL.map(EventKind::name).join(", "))]
pub struct UnknownKind {
    /// The name.
    pub name: String,
}

impl FromStr for EventKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind { name: text.to_owned() })
    }
}

/// The side of the normal value on which the planted value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Above.
    Up,
    /// Below.
    Down,
}

/// One planted event: a line of the truth file.
///
/// Kind and label are plain text, so that a hand-written list of real events can be scored as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Line", from = "Line")]
pub struct Event {
    /// The kind of alert that the event should raise.
    pub kind: String,
    /// What was planted: [`EventKind::name`], or `rise_50bp_60s`.
    pub label: String,
    /// The symbol.
    pub symbol: String,
    /// Event time of its first trade, microseconds since the Unix epoch, UTC.
    pub start_us: i64,
    /// Until when an alert is about this event, in the same unit.
    pub end_us: i64,
    /// Where prices or volumes went. `None` for volatility and gaps.
    pub direction: Option<Direction>,
    /// Sequence number, in the planted file, of the first altered trade. For a gap, of the first trade after it.
    pub seq: i64,
    /// The price before planting: of the only trade of a spike, of the first trade of a level shift, or of the first
    /// trade of a move that is off by the full size. `None` for the other kinds.
    pub expected: Option<f64>,
    /// The price that was planted in its place.
    pub observed: Option<f64>,
}

/// The JSON of an event: the times also as text, for people.
#[derive(Serialize, Deserialize)]
struct Line {
    kind: String,
    label: String,
    symbol: String,
    #[serde(default)]
    start: String,
    #[serde(default)]
    end: String,
    start_us: i64,
    end_us: i64,
    direction: Option<Direction>,
    seq: i64,
    expected: Option<f64>,
    observed: Option<f64>,
}

impl From<Event> for Line {
    fn from(event: Event) -> Self {
        let Event { kind, label, symbol, start_us, end_us, direction, seq, expected, observed } = event;
        let (start, end) = (rfc3339(start_us), rfc3339(end_us));
        Self { kind, label, symbol, start, end, start_us, end_us, direction, seq, expected, observed }
    }
}

impl From<Line> for Event {
    fn from(line: Line) -> Self {
        let Line { kind, label, symbol, start: _, end: _, start_us, end_us, direction, seq, expected, observed } = line;
        Self { kind, label, symbol, start_us, end_us, direction, seq, expected, observed }
    }
}

/// The time with six decimals. The text is empty if the calendar does not have this time.
fn rfc3339(us: i64) -> String {
    Timestamp::from_microsecond(us).map(|time| format!("{time:.6}")).unwrap_or_default()
}
