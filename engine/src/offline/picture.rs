//! What the detectors saw of one symbol: its prices by the second, the band that judged them, and the alerts.
//!
//! This file owns the points, one a second. It does *not* own how they are drawn ([`super::plot`]).

use ticklake_core::alert::Alert;

const SECOND_US: i64 = 1_000_000;

/// A symbol, watched over time.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The symbol that it shows.
    pub symbol: String,
    /// One for each second with ticks, in order of time.
    pub points: Vec<Point>,
    /// All alerts about the symbol, and about all symbols.
    pub alerts: Vec<Alert>,
}

/// One second of a symbol.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When it begins, microseconds since the Unix epoch, UTC.
    pub from_us: i64,
    /// The lowest, the highest and the last price.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// See `low`.
    pub last: f64,
    /// The median for the next price, and the distance from which that price is far. `None` until both are known.
    pub band: Option<(f64, f64)>,
}

impl Picture {
    /// An empty picture of `symbol`.
    #[must_use]
    pub fn new(symbol: &str) -> Self {
        Self { symbol: symbol.to_owned(), points: Vec::new(), alerts: Vec::new() }
    }

    /// Adds a tick of the symbol, and the band for the next one. A late tick counts to the latest second.
    pub(super) fn tick(&mut self, ts_us: i64, price: f64, band: Option<(f64, f64)>) {
        let from_us = ts_us.div_euclid(SECOND_US) * SECOND_US;
        match self.points.last_mut().filter(|point| point.from_us >= from_us) {
            Some(point) => {
                (point.low, point.high) = (point.low.min(price), point.high.max(price));
                (point.last, point.band) = (price, band);
            }
            None => self.points.push(Point { from_us, low: price, high: price, last: price, band }),
        }
    }

    pub(super) fn alert(&mut self, alert: &Alert) {
        if *alert.symbol == *self.symbol || &*alert.symbol == "*" {
            self.alerts.push(alert.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_second_are_one_point_and_late_ones_count_to_the_latest() {
        let mut picture = Picture::new("A");
        for (ts_us, price) in [(100, 5.0), (200, 7.0), (300, 6.0), (1_000_100, 8.0), (400, 4.0)] {
            picture.tick(ts_us, price, Some((price, 1.0)));
        }
        let point = |from_us, low, high, last| Point { from_us, low, high, last, band: Some((last, 1.0)) };
        assert_eq!(picture.points, [point(0, 5.0, 7.0, 6.0), point(SECOND_US, 4.0, 8.0, 4.0)]);
    }
}
