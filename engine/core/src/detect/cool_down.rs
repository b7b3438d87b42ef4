//! The cool-down: after an alert, a detector raises no other for the same symbol for a while.
//!
//! This file owns when it holds. It does *not* own what becomes of the anomalies that it holds back.

/// The cool-down of one detector for one symbol, in event time.
///
/// It holds for anomalies less than its length before or after the alert's own time, so that late ticks of the same
/// event belong to it, and a tick far in the future or in the past silences nothing but its own surroundings. The last
/// two alerts are remembered, not one: when the ticks of two times alternate, as those of a backlog and of the live
/// feed do, each of them would otherwise lift the other's cool-down.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CoolDown {
    /// Event times of the last two alerts, the last one first.
    alerts_us: [Option<i64>; 2],
}

impl CoolDown {
    /// Whether an anomaly at `ts_us` may become an alert; if so, the next cool-down starts with it.
    pub(super) fn admits(&mut self, ts_us: i64, length_us: u64) -> bool {
        if self.alerts_us.iter().flatten().any(|alert_us| alert_us.abs_diff(ts_us) < length_us) {
            return false;
        }
        self.alerts_us = [Some(ts_us), self.alerts_us[0]];
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(times: &[i64]) -> Vec<i64> {
        let mut cool_down = CoolDown::default();
        times.iter().copied().filter(|&ts_us| cool_down.admits(ts_us, 30)).collect()
    }

    #[test]
    fn second_anomaly_waits_for_the_end_and_does_not_extend_it() {
        assert_eq!(admitted(&[0, 1, 29, 30, 59, 60]), [0, 30, 60]);
    }

    #[test]
    fn late_anomaly_of_the_same_event_is_held_back() {
        assert_eq!(admitted(&[100, 71]), [100]);
        assert_eq!(admitted(&[100, 70]), [100, 70]);
    }

    #[test]
    fn alert_from_the_future_does_not_silence_the_present() {
        assert_eq!(admitted(&[i64::MAX, 0, 1]), [i64::MAX, 0]);
        assert_eq!(admitted(&[i64::MIN, 0, 1]), [i64::MIN, 0]);
    }

    #[test]
    fn ticks_of_two_times_that_alternate_raise_one_alert_each() {
        assert_eq!(admitted(&[1_000, 0, 1_001, 1, 1_002, 2]), [1_000, 0]);
    }

    #[test]
    fn zero_length_holds_nothing_back() {
        assert!([5, 5].into_iter().all({
            let mut cool_down = CoolDown::default();
            move |ts_us| cool_down.admits(ts_us, 0)
        }));
    }
}
