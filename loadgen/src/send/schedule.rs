//! When each batch is due. It follows from the rate, the shape and the ticks before, never from how long sending took.
//!
//! It reads no clock. It does *not* own the shape (`shape`).

use std::{num::NonZeroU64, time::Duration};

use super::shape::Shape;

/// The rate counts as constant over this time.
const CELL: Duration = Duration::from_millis(1);

/// Intended times since the beginning.
#[derive(Debug)]
pub(super) struct Schedule {
    rate: f64,
    shape: Shape,
    /// Ticks in the batches so far.
    ticks: u64,
    /// The number of the cell in which the next batch is due, and how many ticks are due before that cell.
    cells: u32,
    due_before: f64,
}

impl Schedule {
    pub(super) fn new(rate: NonZeroU64, shape: Shape) -> Self {
        Self { rate: rate.get() as f64, shape, ticks: 0, cells: 0, due_before: 0.0 }
    }

    /// When the next batch is due. It has this many ticks.
    pub(super) fn due(&mut self, ticks: u64) -> Duration {
        let before = self.ticks as f64;
        self.ticks += ticks;
        if self.shape == Shape::Constant {
            return Duration::from_secs_f64(before / self.rate);
        }
        loop {
            let start = CELL * self.cells;
            let in_cell = self.shape.rate_at(self.rate, start + CELL / 2) * CELL.as_secs_f64();
            if self.due_before + in_cell > before || self.cells == u32::MAX {
                let part = if in_cell > 0.0 { (before - self.due_before) / in_cell } else { 0.0 };
                return start + CELL.mul_f64(part.clamp(0.0, 1.0));
            }
            self.due_before += in_cell;
            self.cells += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(rate: u64, shape: &str) -> Schedule {
        Schedule::new(NonZeroU64::new(rate).unwrap(), shape.parse().unwrap())
    }

    #[test]
    fn due_times_follow_from_the_rate_alone() {
        let mut schedule = schedule(1_000, "constant");
        assert_eq!(schedule.due(500), Duration::ZERO);
        assert_eq!(schedule.due(1_500), Duration::from_millis(500));
        assert_eq!(schedule.due(1), Duration::from_secs(2));
    }

    #[test]
    fn ramp_is_due_as_its_integral_says() {
        let mut schedule = schedule(1_000, "ramp:3000/10s");
        // Until time t, 1000 t + 100 t^2 ticks are due.
        for ticks in [0.0, 1_100.0, 7_500.0, 20_000.0, 23_000.0_f64] {
            let expected = if ticks <= 20_000.0 {
                (-1_000.0 + (1e6 + 400.0 * ticks).sqrt()) / 200.0
            } else {
                10.0 + (ticks - 20_000.0) / 3_000.0
            };
            let before = schedule.ticks;
            let due = schedule.due(0);
            assert!(before as f64 > ticks || due.as_secs_f64() <= expected + 1e-6);
            schedule.ticks = ticks as u64;
            let due = schedule.due(0);
            assert!((due.as_secs_f64() - expected).abs() < 1e-4, "{due:?} for {expected}");
        }
    }

    proptest! {
        /// The twin adds up the rate from the beginning each time.
        #[test]
        fn due_is_when_as_many_ticks_have_been_due(
            shape in prop::sample::select(vec!["ramp:5000/2s", "steps:300/500ms", "bursts:4000/100ms/1s", "sine:0.9/700ms", "day:3s"]),
            batches in prop::collection::vec(1_u64..400, 1..20),
        ) {
            let mut schedule = schedule(700, shape);
            let law: Shape = shape.parse().unwrap();
            let (mut before, mut last) = (0, Duration::ZERO);
            for ticks in batches {
                let due = schedule.due(ticks);
                prop_assert!(due >= last);
                let step = 1e-4;
                let steps = (due.as_secs_f64() / step) as u32;
                let naive: f64 = (0..steps).map(|at| law.rate_at(700.0, Duration::from_secs_f64((f64::from(at) + 0.5) * step)) * step).sum();
                prop_assert!((naive - before as f64).abs() <= 6.0, "{} {}", naive, before);
                before += ticks;
                last = due;
            }
        }
    }
}
