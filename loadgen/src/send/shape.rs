//! The shape of a load: how its rate changes over time.
//!
//! This file owns the laws and their text form. It does *not* own when a batch is due (`schedule`).

use std::{fmt, str::FromStr, time::Duration};

use jiff::SignedDuration;

/// How the rate of a load changes with the time since its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Shape {
    /// The rate does not change.
    #[default]
    Constant,
    /// The rate goes evenly to `to` ticks per second within `over`, and stays there.
    Ramp {
        /// Ticks per second in the end.
        to: f64,
        /// How long it takes.
        over: Duration,
    },
    /// The rate rises by `by` ticks per second after each `every`.
    Steps {
        /// Ticks per second.
        by: f64,
        /// How long each step lasts.
        every: Duration,
    },
    /// The rate is `peak` ticks per second for `lasts` at the beginning of each `every`.
    Bursts {
        /// Ticks per second.
        peak: f64,
        /// How long a burst lasts.
        lasts: Duration,
        /// From the beginning of one burst to that of the next.
        every: Duration,
    },
    /// The rate swings by a part of itself, as a sine.
    Sine {
        /// The part, up to 1.
        swing: f64,
        /// From one peak to the next.
        period: Duration,
    },
    /// Trading days of this length, whose mean is the rate. Open and close are three times as busy as midday. The first
    /// two-hundredth is an auction, five times as busy again.
    Day {
        /// How long a day takes.
        lasts: Duration,
    },
}

/// The part of a day that the opening auction takes, and how much busier it is.
const AUCTION: (f64, f64) = (0.005, 5.0);

impl Shape {
    /// Ticks per second at `at`, if `rate` was asked for.
    #[must_use]
    pub fn rate_at(&self, rate: f64, at: Duration) -> f64 {
        let part = |of: Duration| at.as_secs_f64() / of.as_secs_f64();
        match *self {
            Shape::Constant => rate,
            Shape::Ramp { to, over } => rate + (to - rate) * part(over).min(1.0),
            Shape::Steps { by, every } => rate + by * part(every).floor(),
            Shape::Bursts { peak, lasts, every } => {
                let since = part(every).fract() * every.as_secs_f64();
                if since < lasts.as_secs_f64() { peak } else { rate }
            }
            Shape::Sine { swing, period } => rate * (1.0 + swing * (part(period) * std::f64::consts::TAU).sin()),
            Shape::Day { lasts } => {
                let day = part(lasts).fract();
                let busy = |day: f64| 0.6 * (1.0 + 2.0 * (2.0 * day - 1.0).powi(2));
                let auction = if day < AUCTION.0 { AUCTION.1 } else { 1.0 };
                // The whole day is scaled down by what the auction adds, so that the mean is the rate.
                rate * busy(day) * auction / (1.0 + (AUCTION.1 - 1.0) * AUCTION.0 * busy(AUCTION.0 / 2.0))
            }
        }
    }
}

/// Why a text is no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read the shape {text:?}: use constant, ramp:TO/OVER, steps:BY/EVERY, bursts:PEAK/LASTS/EVERY, sine:SWING/PERIOD or day:LASTS, \
     with rates in ticks per second, durations such as 30s, and a swing from 0 to 1"
)]
pub struct ShapeError {
    /// The text.
    pub text: String,
}

impl FromStr for Shape {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        parse(text).ok_or_else(|| ShapeError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Shape> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    let duration = |text: &str| {
        let duration: SignedDuration = text.parse().ok()?;
        Duration::try_from(duration).ok().filter(|duration| !duration.is_zero())
    };
    Some(match (name, &parts[..]) {
        ("constant", []) => Shape::Constant,
        ("ramp", [to, over]) => Shape::Ramp { to: number(to)?, over: duration(over)? },
        ("steps", [by, every]) => Shape::Steps { by: number(by)?, every: duration(every)? },
        ("bursts", [peak, lasts, every]) => {
            Shape::Bursts { peak: number(peak)?, lasts: duration(lasts)?, every: duration(every)? }
        }
        ("sine", [swing, period]) => {
            Shape::Sine { swing: number(swing).filter(|swing| *swing <= 1.0)?, period: duration(period)? }
        }
        ("day", [lasts]) => Shape::Day { lasts: duration(lasts)? },
        _ => return None,
    })
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Shape::Constant => write!(f, "constant"),
            Shape::Ramp { to, over } => write!(f, "ramp:{to}/{over:?}"),
            Shape::Steps { by, every } => write!(f, "steps:{by}/{every:?}"),
            Shape::Bursts { peak, lasts, every } => write!(f, "bursts:{peak}/{lasts:?}/{every:?}"),
            Shape::Sine { swing, period } => write!(f, "sine:{swing}/{period:?}"),
            Shape::Day { lasts } => write!(f, "day:{lasts:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 6] =
        ["constant", "ramp:5000/10s", "steps:100/2s", "bursts:9000/1s/5s", "sine:0.5/4s", "day:100s"];

    fn rate(shape: &str, at_ms: u64) -> f64 {
        shape.parse::<Shape>().unwrap().rate_at(1_000.0, Duration::from_millis(at_ms)).round()
    }

    #[test]
    fn rate_follows_the_shape() {
        assert_eq!([0, 5_000, 99_000].map(|at| rate(ALL[1], at)), [1_000.0, 3_000.0, 5_000.0]);
        assert_eq!([0, 1_999, 2_000, 4_100].map(|at| rate(ALL[2], at)), [1_000.0, 1_000.0, 1_100.0, 1_200.0]);
        assert_eq!([0, 999, 1_001, 5_500].map(|at| rate(ALL[3], at)), [9_000.0, 9_000.0, 1_000.0, 9_000.0]);
        assert_eq!([0, 1_000, 3_000].map(|at| rate(ALL[4], at)), [1_000.0, 1_500.0, 500.0]);
        let [auction, open, noon, close] = [100, 600, 50_000, 99_999].map(|at| rate(ALL[5], at));
        assert!(auction > 4.5 * open && (open / noon - 2.95).abs() < 0.05 && (close / noon - 3.0).abs() < 0.05);
    }

    #[test]
    fn mean_of_a_day_is_the_rate() {
        let day: Shape = "day:100s".parse().unwrap();
        let mean = (0..100_000).map(|ms| day.rate_at(1_000.0, Duration::from_millis(ms))).sum::<f64>() / 1e5;
        assert!((mean - 1_000.0).abs() < 1.0, "{mean}");
    }

    #[test]
    fn what_is_written_is_read_back_and_anything_else_refused_with_what_there_is() {
        for text in ALL {
            let shape: Shape = text.parse().unwrap();
            assert_eq!(shape.to_string().parse(), Ok(shape));
        }
        for text in ["", "flat", "ramp", "ramp:5000", "ramp:-1/10s", "ramp:1/0s", "sine:2/1s", "day:1/2s", "steps:x/1s"]
        {
            let error = text.parse::<Shape>().unwrap_err().to_string();
            assert!(error.contains("bursts:PEAK/LASTS/EVERY"), "{error}");
        }
    }
}
