//! Axes: the places of their marks, and the labels there. It does *not* own the drawing.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// What is counted along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A number.
    Count,
    /// Milliseconds, written in the unit that suits.
    Milliseconds,
    /// Seconds, likewise.
    Seconds,
    /// `1/(1-quantile)`, written as the percentile.
    Percentile,
}

/// An axis over a range of values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    unit: Unit,
    is_log: bool,
    /// The range as it is drawn. For a logarithmic axis, these are the exponents.
    range: Range<f64>,
    marks: Vec<f64>,
}

impl Axis {
    /// From 0, with evenly spaced marks.
    pub(crate) fn linear(unit: Unit, values: impl Iterator<Item = f64>) -> Self {
        let max = values.fold(0.0, f64::max);
        let max = if max > 0.0 { max } else { 1.0 };
        let step = step(max / 5.0);
        let marks = (0..=(max * 1.05 / step) as u32).map(|at| f64::from(at) * step).collect();
        Self { unit, is_log: false, range: 0.0..max * 1.05, marks }
    }

    /// Over the powers of ten that hold the values above 0.
    pub(crate) fn log(unit: Unit, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let (from, to) = (low.log10().floor(), high.log10().ceil());
        let to = to.max(from + 1.0);
        // There is nothing beyond the last percentile.
        let to = if unit == Unit::Percentile { to.min(high.log10()).max(from + 1.0) } else { to };
        let marks = (0..=(to - from) as u32).map(|at| from + f64::from(at)).collect();
        Self { unit, is_log: true, range: from..to, marks }
    }

    /// The place of a value. `None` if a logarithmic axis has no place for it.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        if !self.is_log {
            return Some(value);
        }
        (value > 0.0).then(|| value.log10().clamp(self.range.start, self.range.end))
    }

    /// How many marks it has.
    pub(crate) fn marks(&self) -> usize {
        self.marks.len()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        (f64::from(from) + part * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    /// The label of a mark.
    fn format(mark: &f64) -> String {
        mark.to_string()
    }

    fn format_ext(&self, mark: &f64) -> String {
        let mark = *mark;
        let value = if self.is_log { 10_f64.powf(mark) } else { mark };
        match self.unit {
            Unit::Count => count(value),
            Unit::Milliseconds => duration(value / 1e3),
            Unit::Seconds => duration(value),
            Unit::Percentile => {
                let digits = (mark.round() as usize).saturating_sub(2);
                format!("{:.digits$}%", 100.0 * (1.0 - 1.0 / value))
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, no less than `least`.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// A number as people write it: 1.5k, 20M.
pub(crate) fn count(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{suffix}", short(scaled))
}

/// Seconds in the unit that suits: 250 us, 1.5 ms, 20 s, 3 min.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        120.0.. => format!("{} min", short(seconds / 60.0)),
        1.0.. => format!("{} s", short(seconds)),
        1e-3.. => format!("{} ms", short(seconds * 1e3)),
        _ => format!("{} us", short(seconds * 1e6)),
    }
}

/// Three digits, without zeros behind the point.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        99.95.. => 0,
        9.995.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.marks.iter().map(|mark| axis.format_ext(mark)).collect()
    }

    #[test]
    fn marks_are_round_and_labels_are_in_the_unit_that_suits() {
        let linear = |unit, max: f64| labels(&Axis::linear(unit, [max].into_iter()));
        assert_eq!(linear(Unit::Count, 1_234_567.0), ["0", "500k", "1M"]);
        assert_eq!(linear(Unit::Count, 9.0), ["0", "2", "4", "6", "8"]);
        assert_eq!(linear(Unit::Seconds, 30.0), ["0", "10 s", "20 s", "30 s"]);
        assert_eq!(linear(Unit::Count, 0.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        let log = Axis::log(Unit::Milliseconds, [0.0, 0.3, 1_500.0].into_iter());
        assert_eq!(labels(&log), ["100 us", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        assert_eq!((log.place(0.0), log.place(100.0)), (None, Some(2.0)));
        let percentiles = Axis::log(Unit::Percentile, [1.0, 20_000.0].into_iter());
        assert_eq!(labels(&percentiles), ["0%", "90%", "99%", "99.9%", "99.99%"]);
        assert_eq!(labels(&Axis::log(Unit::Count, std::iter::empty())), ["1", "10"]);
    }
}
