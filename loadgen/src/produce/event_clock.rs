//! A clock for the event time of a recording. It follows the newest tick, but not a tick with a wrong time.
//!
//! It must believe the first tick. It does *not* own when a batch is sent.

use std::time::Duration;

/// The clock follows a tick that is at most this far ahead.
const STEP_MAX_US: i64 = 10_000_000;

/// The clock also follows this many ticks in a row that are further ahead: nobody traded meanwhile.
const WITNESSES: u32 = 5;

/// Event time since the beginning of a recording, at the speed of a replay.
#[derive(Debug, Clone)]
pub(super) struct EventClock {
    speed: f64,
    /// The time of the first tick, and the event time that the clock shows.
    first_us: Option<i64>,
    now_us: i64,
    /// The number of ticks in a row that are further ahead, and the earliest of their times.
    ahead: u32,
    ahead_us: i64,
}

impl EventClock {
    pub(super) fn new(speed: f64) -> Self {
        Self { speed, first_us: None, now_us: 0, ahead: 0, ahead_us: 0 }
    }

    /// Sees a tick of that time and returns when it is sent, since the beginning. The result never goes back.
    pub(super) fn see(&mut self, ts_us: i64) -> Duration {
        let first_us = *self.first_us.get_or_insert_with(|| {
            self.now_us = ts_us;
            ts_us
        });
        if ts_us.saturating_sub(self.now_us) <= STEP_MAX_US {
            self.now_us = self.now_us.max(ts_us);
            self.ahead = 0;
        } else {
            self.ahead_us = if self.ahead == 0 { ts_us } else { self.ahead_us.min(ts_us) };
            self.ahead += 1;
            if self.ahead == WITNESSES {
                (self.now_us, self.ahead) = (self.ahead_us, 0);
            }
        }
        Duration::from_micros(self.now_us.abs_diff(first_us)).div_f64(self.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(speed: f64, ts_s: &[i64]) -> Vec<f64> {
        let mut clock = EventClock::new(speed);
        ts_s.iter().map(|ts| clock.see(1_700_000_000_000_000 + ts * 1_000_000).as_secs_f64()).collect()
    }

    #[test]
    fn time_goes_as_fast_as_the_replay_and_never_back() {
        assert_eq!(times(1.0, &[0, 1, 3, 2, 5]), [0.0, 1.0, 3.0, 3.0, 5.0]);
        assert_eq!(times(100.0, &[0, 1, -7, 3]), [0.0, 0.01, 0.01, 0.03]);
    }

    #[test]
    fn clock_that_is_wrong_is_not_followed_and_a_break_is() {
        assert_eq!(times(1.0, &[0, 1, 3_600, 2, 3_600, 3]), [0.0, 1.0, 1.0, 2.0, 2.0, 3.0]);
        let night = times(1.0, &[0, 1, 3_602, 3_601, 3_603, 3_604, 3_605, 3_606, 3_607]);
        assert_eq!(night, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3_601.0, 3_606.0, 3_607.0]);
    }
}
