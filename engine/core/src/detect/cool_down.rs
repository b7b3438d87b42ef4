//! The cool-down: after an alert, a detector raises no other for the same symbol for a while.
//!
//! This file owns when it holds. It does *not* own what becomes of the anomalies that it holds back.

/// An anomaly of so many times the score is another event, or more of one than was said.
const WORSE: f64 = 2.0;

/// The cool-down of one detector for one symbol, in event time.
///
/// It holds for anomalies less than its length before or after the alert's own time, so that late ticks of the same
/// event belong to it, and a tick far in the future or in the past silences nothing but its own surroundings. The last
/// two alerts are remembered, not one: when the ticks of two times alternate, as those of a backlog and of the live
/// feed do, each of them would otherwise lift the other's cool-down. What is twice as bad is not held back: a small event must not
/// hide a large one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CoolDown {
    /// Event times and scores of the last two alerts, the last one first.
    alerts: [Option<(i64, f64)>; 2],
}

impl CoolDown {
    /// Whether an anomaly at `ts_us` may become an alert; if so, the next cool-down starts with it.
    pub(super) fn admits(&mut self, ts_us: i64, score: f64, length_us: u64) -> bool {
        let holds =
            |&(alert_us, alert_score): &(i64, f64)| alert_us.abs_diff(ts_us) < length_us && score < WORSE * alert_score;
        if self.alerts.iter().flatten().any(holds) {
            return false;
        }
        self.alerts = [Some((ts_us, score)), self.alerts[0]];
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(times: &[i64]) -> Vec<i64> {
        let mut cool_down = CoolDown::default();
        times.iter().copied().filter(|&ts_us| cool_down.admits(ts_us, 6.0, 30)).collect()
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
    fn what_is_twice_as_bad_is_not_held_back() {
        let mut cool_down = CoolDown::default();
        let scores = [6.0, 11.0, 12.0, 23.0, 7.0, 24.0];
        let admitted = scores.into_iter().filter(|&score| cool_down.admits(0, score, 30));
        assert_eq!(admitted.collect::<Vec<_>>(), [6.0, 12.0, 24.0]);
    }

    #[test]
    fn zero_length_holds_nothing_back() {
        assert!([5, 5].into_iter().all({
            let mut cool_down = CoolDown::default();
            move |ts_us| cool_down.admits(ts_us, 6.0, 0)
        }));
    }
}
