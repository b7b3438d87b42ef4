//! The gap detector: it finds a symbol that is silent for too long.
//!
//! This file owns how long is too long. It does *not* own the clock that measures it.

use std::num::NonZeroU16;
use std::time::Duration;

const SECOND_US: i64 = 1_000_000;

/// The seconds over which the usual fades.
pub(super) const FADES: f64 = 600.0;

/// The counts to begin with: silent seconds that follow a silent one, and all seconds that follow a silent one.
const PRIOR: (f64, f64) = (2.0, 4.0);

/// If more than this share of the seconds after a silent one are silent, there are no gaps: a symbol that is traded
/// once a minute is never missed.
const SHARE_MAX: f64 = 0.98;

/// A pause of more than this many seconds ends a session, and says nothing about what is usual.
const SESSION_GAP: i64 = 900;

/// Seconds of a session before silence is judged.
const WARM_UP: i64 = 300;

/// How long a symbol is usually silent, in whole seconds of event time.
///
/// A second is silent or not, which depends on the second before: a Markov chain of two states. If a share `q` of the
/// seconds that follow a silent one are silent too, a silence of `n` seconds has the probability `q^(n-1)`. So a
/// silence of more than
///
/// ```text
/// 1 + ln(probability) / ln(q)  seconds
/// ```
///
/// is a gap. `q` is an average over ten minutes: at the open and at the close, when more is traded, gaps are shorter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    /// Silent seconds after a silent one, and all seconds after a silent one, as far as they still count.
    silent: f32,
    all: f32,
    /// The second of the last tick, and the first of the session.
    last: i64,
    since: i64,
    /// After how many silent seconds the present silence became a gap, if it did.
    gap_after: Option<NonZeroU16>,
}

/// A silence that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) seconds: i64,
    /// How many of these seconds count for what is usual.
    pub(super) counts: i64,
    pub(super) was_gap: bool,
}

impl Silence {
    /// The silence of a symbol whose first tick is at `ts_us`.
    pub(super) fn new(ts_us: i64) -> Self {
        let second = ts_us.div_euclid(SECOND_US);
        Self { silent: PRIOR.0 as f32, all: PRIOR.1 as f32, last: second, since: second, gap_after: None }
    }

    /// Notes that the silence since the last tick has been a gap from `until_us` on. It counts only up to that time. So
    /// a fault hardly changes what is usual, but a market that calms down for good does change it.
    pub(super) fn set_gap(&mut self, until_us: i64) {
        let seconds = until_us.div_euclid(SECOND_US) - self.last - 1;
        self.gap_after = NonZeroU16::new(seconds.clamp(1, i64::from(u16::MAX)) as u16);
    }

    /// Whether the second of the last tick is over at `now_us`.
    fn is_over(&self, now_us: i64) -> bool {
        now_us >= self.over_us()
    }

    /// When the second of the last tick is over.
    pub(super) fn over_us(&self) -> i64 {
        self.last.saturating_add(1).saturating_mul(SECOND_US)
    }

    /// Takes a tick at `ts_us`, in any order. Returns the silence that ends with it, if one does.
    pub(super) fn seen(&mut self, ts_us: i64) -> Option<Ended> {
        // Most ticks come within a second of the last one, and a division takes longer than all the rest.
        if !self.is_over(ts_us) {
            return None;
        }
        let second = ts_us.div_euclid(SECOND_US);
        let passed = second - self.last;
        let gap_after = self.gap_after.take().map(|seconds| i64::from(seconds.get()));
        let counts = (passed - 1).min(gap_after.unwrap_or(i64::MAX));
        let ended = Ended { seconds: passed - 1, counts, was_gap: gap_after.is_some() };
        self.last = second;
        if passed > SESSION_GAP {
            *self = Self::new(ts_us);
            // A night says nothing about the hour in which it ends.
            return Some(Ended { counts: 0, ..ended });
        }
        let left = (-(passed as f64) / FADES).exp();
        let fade = |value: f32, prior: f64| (prior + (f64::from(value) - prior) * left) as f32;
        (self.silent, self.all) = (fade(self.silent, PRIOR.0), fade(self.all, PRIOR.1));
        if counts > 0 {
            self.silent += (counts - 1) as f32;
            self.all += counts as f32;
        }
        (ended.seconds > 0).then_some(ended)
    }

    /// From when on the symbol is silent for too long, in microseconds since the Unix epoch. `None` if it never is, or
    /// is not watched for long enough. `ends` is called only if needed. It returns how often silences end now, as a
    /// factor of how often they did.
    pub(super) fn too_long_us(&self, probability: f64, least: Duration, ends: impl FnOnce() -> f64) -> Option<i64> {
        if self.last - self.since < WARM_UP {
            return None;
        }
        let share = 1.0 - (1.0 - f64::from(self.silent) / f64::from(self.all)) * ends();
        if share > SHARE_MAX {
            return None;
        }
        let seconds = (1.0 + probability.ln() / share.ln()).max(least.as_secs_f64()).ceil();
        Some((self.last + 1).saturating_add(seconds as i64).saturating_mul(SECOND_US))
    }

    /// When the last tick was, microseconds since the Unix epoch, rounded down to a second.
    pub(super) fn last_us(&self) -> i64 {
        self.last.saturating_mul(SECOND_US)
    }

    /// How long a silence usually lasts, in seconds.
    pub(super) fn usual(&self) -> f64 {
        let share = (f64::from(self.silent) / f64::from(self.all)).min(SHARE_MAX);
        1.0 / (1.0 - share)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const LEAST: Duration = Duration::from_secs(5);

    /// The silence of a symbol with ticks in these seconds.
    fn of(seconds: impl IntoIterator<Item = i64>) -> Silence {
        let mut seconds = seconds.into_iter();
        let mut silence = Silence::new(seconds.next().unwrap() * SECOND_US);
        for second in seconds {
            silence.seen(second * SECOND_US);
        }
        silence
    }

    /// After how many silent seconds it is a gap.
    fn too_long_s(silence: &Silence, probability: f64) -> Option<i64> {
        silence.too_long_us(probability, LEAST, || 1.0).map(|us| us / SECOND_US - silence.last - 1)
    }

    proptest! {
        /// The twin looks at every second by itself.
        #[test]
        fn share_is_that_of_the_seconds_one_by_one(pauses in vec(1_i64..30, 1..300)) {
            let mut seconds = vec![0];
            for pause in pauses {
                seconds.push(seconds.last().unwrap() + pause);
            }
            let (mut silent, mut all) = PRIOR;
            for second in 1..=*seconds.last().unwrap() {
                let left = (-1.0 / FADES).exp();
                silent = PRIOR.0 + (silent - PRIOR.0) * left;
                all = PRIOR.1 + (all - PRIOR.1) * left;
                let is_silent = |second: i64| seconds.binary_search(&second).is_err();
                if is_silent(second - 1) {
                    all += 1.0;
                    silent += f64::from(u8::from(is_silent(second)));
                }
            }
            let silence = of(seconds);
            // The fast one adds all seconds of a pause at its end, so they have not faded within it.
            prop_assert!((f64::from(silence.all) - all).abs() < 0.05 * all, "{silence:?} {all}");
            let share = f64::from(silence.silent) / f64::from(silence.all);
            prop_assert!((share - silent / all).abs() < 0.03, "{silence:?} {silent}/{all}");
        }
    }

    #[test]
    fn busier_symbols_are_missed_sooner() {
        let limits = [1, 3, 10, 20].map(|pause| too_long_s(&of((0..400).map(|tick| tick * pause)), 1e-4).unwrap());
        assert!(limits.is_sorted(), "{limits:?}");
        assert_eq!(limits[0], 15, "as the prior says, and no less");
        assert!(limits[3] > 60, "{limits:?}");
        let certain = of((0..400).map(|tick| tick * 10));
        assert!(too_long_s(&certain, 1e-6) > too_long_s(&certain, 1e-4));
        assert_eq!(too_long_s(&of(0..400), 0.9), Some(5), "the least");
    }

    #[test]
    fn nothing_is_said_before_the_warm_up_and_after_a_night() {
        assert_eq!(too_long_s(&of(0..300), 1e-4), None);
        assert!(too_long_s(&of(0..=300), 1e-4).is_some());
        assert_eq!(too_long_s(&of((0..=300).chain([60_000])), 1e-4), None);
        let ended = of(0..=300).seen(60_000 * SECOND_US).unwrap();
        assert_eq!((ended.seconds, ended.counts), (59_699, 0));
    }

    #[test]
    fn what_is_seldom_traded_is_never_missed() {
        assert_eq!(too_long_s(&of((0..40).map(|tick| tick * 500)), 1e-4), None);
        assert_eq!(too_long_s(&of((0..40).map(|tick| tick * 80)), 1e-4), None);
    }

    #[test]
    fn silence_that_ends_half_as_often_by_now_is_a_gap_later() {
        let silence = of((0..400).map(|tick| tick * 3));
        let limit = |ends| silence.too_long_us(1e-4, LEAST, || ends).unwrap() / SECOND_US - silence.last - 1;
        assert!(limit(0.5) > limit(1.0) * 3 / 2, "{} {}", limit(0.5), limit(1.0));
    }

    #[test]
    fn late_ticks_change_nothing() {
        let (mut late, on_time) = (of(0..=300), of(0..=300));
        assert_eq!([late.seen(17 * SECOND_US), late.seen(i64::MIN)], [None; 2]);
        assert_eq!(format!("{late:?}"), format!("{on_time:?}"));
    }
}
