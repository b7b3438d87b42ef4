//! The last ticks of a symbol, which its alerts show.
//!
//! This file owns their times and volumes, four bytes each. It does *not* own their prices, which the spike detector
//! keeps.

use crate::alert::{ALERT_TICKS_MAX, AlertTick};

/// How many ticks are kept before the last one.
const BEFORE: usize = ALERT_TICKS_MAX - 1;

/// Times and volumes of the last ticks before the current one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recent {
    /// The lower 32 bits of the event time in milliseconds. They suffice within 24 days before or after the next one.
    ms: [u32; BEFORE],
    volumes: [f32; BEFORE],
    count: u8,
}

impl Recent {
    /// Adds a tick.
    pub(super) fn push(&mut self, ts_us: i64, volume: f64) {
        let at = usize::from(self.count) % BEFORE;
        self.ms[at] = (ts_us.div_euclid(1_000)) as u32;
        self.volumes[at] = volume.min(f64::from(f32::MAX)) as f32;
        // Before twice the length, the count goes back to the length, which is the same place.
        self.count = if usize::from(self.count) == 2 * BEFORE - 1 { BEFORE as u8 } else { self.count + 1 };
    }

    /// The last ticks, oldest first. The last one was at about `ts_us`. `price(n)` returns the price `n` ticks before
    /// the last one.
    pub(super) fn ticks(&self, ts_us: i64, price: impl Fn(usize) -> Option<f64>) -> Vec<AlertTick> {
        let count = usize::from(self.count).min(BEFORE);
        let now_ms = ts_us.div_euclid(1_000);
        let tick = |back: usize| {
            let at = (usize::from(self.count) + BEFORE - 1 - back) % BEFORE;
            let since_ms = (now_ms as u32).wrapping_sub(self.ms[at]) as i32;
            let ts_us = now_ms.saturating_sub(i64::from(since_ms)).saturating_mul(1_000);
            Some(AlertTick { ts_us, price: price(back)?, volume: f64::from(self.volumes[at]) })
        };
        (0..count).rev().filter_map(tick).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_ticks_are_given_in_order_with_their_times_and_volumes() {
        let mut recent = Recent::default();
        let start_us = 1_795_442_400_123_456;
        for at in 0..30_i64 {
            let ticks = recent.ticks(start_us, |back| Some((at - 1 - back as i64) as f64));
            let first = (at - BEFORE as i64).max(0);
            let expected: Vec<_> = (first..at)
                .map(|at| AlertTick {
                    ts_us: (start_us / 1_000 - at * 7) * 1_000,
                    price: at as f64,
                    volume: 0.5 * at as f64,
                })
                .collect();
            assert_eq!(ticks, expected);
            recent.push(start_us - at * 7_000, 0.5 * at as f64);
        }
    }

    #[test]
    fn enormous_volume_is_a_number_still() {
        let mut recent = Recent::default();
        recent.push(5, 1e300);
        assert!(recent.ticks(5, |_| Some(1.0))[0].volume.is_finite());
    }

    #[test]
    fn ticks_without_a_price_are_not_shown() {
        let mut recent = Recent::default();
        recent.push(5, 1.0);
        assert_eq!(recent.ticks(5, |_| None), []);
    }
}
