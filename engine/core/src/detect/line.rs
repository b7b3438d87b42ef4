//! The threshold detector: a fixed line that the price of a symbol crosses.
//!
//! This file owns when a crossing counts, and which rules match a symbol. It does *not* own how often an anomaly may
//! become an alert.

use super::anomaly::{Anomaly, Detector, Window};
use super::config::ThresholdConfig;
use super::pattern::pattern_matches;
use crate::alert::{Direction, Severity};

/// One line drawn for one symbol, and whether its next crossing counts.
///
/// A line is armed until the price lies beyond it, which is the crossing. Then it is disarmed until the price has come
/// back past the line by the hysteresis. So one crossing is one anomaly, however many ticks follow beyond the line.
///
/// A line starts armed, so a symbol that is first seen beyond it has crossed it. After a restart, this may repeat an
/// alert. The other choice would miss a crossing that happened while no engine ran.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    direction: Direction,
    price: f64,
    hysteresis: f64,
    /// The unit of the score. It is at least the hysteresis, which the rule takes for noise.
    scale: f64,
    armed: bool,
}

impl Line {
    /// The lines that `rules` draw for `symbol`, armed. If several rules draw the same line, the first one's hysteresis
    /// holds.
    pub(super) fn of(rules: &[ThresholdConfig], symbol: &str, tick_size: f64) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for rule in rules.iter().filter(|rule| pattern_matches(&rule.symbol, symbol)) {
            for (direction, price) in [(Direction::Up, rule.above), (Direction::Down, rule.below)] {
                let Some(price) = price else { continue };
                if lines.iter().any(|line| line.direction == direction && line.price == price) {
                    continue;
                }
                let hysteresis = rule.hysteresis;
                lines.push(Line { direction, price, hysteresis, scale: hysteresis.max(tick_size), armed: true });
            }
        }
        lines
    }

    /// What the anomalies of its events have in common.
    pub(super) fn key(&self) -> (Detector, Direction) {
        (Detector::Line(self.direction, self.price), self.direction)
    }

    /// Judges the next price in order of arrival.
    pub(super) fn observe(&mut self, price: f64) -> Option<News> {
        let (beyond, back) = match self.direction {
            Direction::Up => (price > self.price, price <= self.price - self.hysteresis),
            Direction::Down => (price < self.price, price >= self.price + self.hysteresis),
        };
        if back && !self.armed {
            self.armed = true;
            return Some(News::Back);
        }
        if !(beyond && self.armed) {
            return None;
        }
        self.armed = false;
        Some(News::Crossed(Anomaly {
            // A line does not say how unusual a price is. The user who drew it wants to know.
            severity: Severity::Warning,
            direction: self.direction,
            observed: price,
            expected: self.price,
            score: (price - self.price).abs() / self.scale,
            scale: self.scale,
            threshold: self.price,
            window: Window::Ticks(1),
            detector: Detector::Line(self.direction, self.price),
        }))
    }
}

/// What a price means to a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum News {
    /// The price has crossed the line.
    Crossed(Anomaly),
    /// The price is back, so that the next crossing counts again.
    Back,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(symbol: &str, above: Option<f64>, below: Option<f64>, hysteresis: f64) -> ThresholdConfig {
        ThresholdConfig { symbol: symbol.to_owned(), above, below, hysteresis }
    }

    /// The prices that are anomalies for the one line of `rule`.
    fn crossings(rule: ThresholdConfig, prices: &[f64]) -> Vec<f64> {
        let mut line = Line::of(&[rule], "AAPL", 0.01).remove(0);
        prices.iter().copied().filter(|&price| matches!(line.observe(price), Some(News::Crossed(_)))).collect()
    }

    #[test]
    fn one_crossing_is_one_anomaly() {
        let above = rule("AAPL", Some(10.0), None, 0.0);
        assert_eq!(crossings(above.clone(), &[9.0, 10.0, 10.1, 10.2, 12.0, 10.3]), [10.1]);
        assert_eq!(crossings(above, &[9.0, 10.1, 10.0, 10.2]), [10.1, 10.2]);
        let below = rule("AAPL", None, Some(10.0), 0.0);
        assert_eq!(crossings(below, &[11.0, 10.0, 9.9, 9.8, 10.0, 9.7]), [9.9, 9.7]);
    }

    #[test]
    fn price_must_come_back_past_the_hysteresis_to_cross_again() {
        let above = rule("AAPL", Some(10.0), None, 0.5);
        assert_eq!(crossings(above, &[10.1, 9.6, 10.2, 9.5, 10.3]), [10.1, 10.3]);
        let below = rule("AAPL", None, Some(10.0), 0.5);
        assert_eq!(crossings(below, &[9.9, 10.4, 9.8, 10.5, 9.7]), [9.9, 9.7]);
    }

    #[test]
    fn symbol_first_seen_beyond_the_line_has_crossed_it() {
        assert_eq!(crossings(rule("AAPL", Some(10.0), None, 0.0), &[12.0, 13.0]), [12.0]);
    }

    #[test]
    fn price_between_two_lines_is_silent() {
        let mut lines = Line::of(&[rule("AAPL", Some(11.0), Some(9.0), 0.0)], "AAPL", 0.01);
        let crossed = |line: &mut Line, price| match line.observe(price) {
            Some(News::Crossed(anomaly)) => Some(anomaly.direction),
            _ => None,
        };
        let mut sides = |price| lines.iter_mut().filter_map(|line| crossed(line, price)).collect();
        let observed: Vec<Vec<Direction>> = [10.0, 11.5, 10.0, 8.5].into_iter().map(&mut sides).collect();
        assert_eq!(observed, [vec![], vec![Direction::Up], vec![], vec![Direction::Down]]);
    }

    #[test]
    fn same_line_of_two_rules_is_one_line() {
        let rules = [rule("AAPL", Some(10.0), None, 0.5), rule("*", Some(10.0), Some(10.0), 0.1)];
        let lines = Line::of(&rules, "AAPL", 0.01);
        assert_eq!(
            lines.iter().map(|line| (line.direction, line.hysteresis)).collect::<Vec<_>>(),
            [(Direction::Up, 0.5), (Direction::Down, 0.1)]
        );
        assert_eq!(Line::of(&rules, "MSFT", 0.01).len(), 2);
    }
}
