//! The time of day: what is usual for a symbol in each half hour, learnt over days.
//!
//! Markets are busier at the open and at the close than at noon, and nearly silent afterwards. The recent usual follows
//! only some minutes later. The profile knows it at once, from the second day on. This file owns the profile and what
//! follows from it. It does *not* own the recent usual, or the detectors that use both.

use super::panes::Pane;

/// Half hours of a day.
const SLOTS: usize = 48;
const SLOT_US: i64 = 1_800_000_000;

/// The weight of a new day against all days before it.
const OF_A_DAY: f32 = 0.3;

/// The least trades, panes with changes, and seconds after a silent one, before a half hour is learnt.
const TRADES_MIN: u16 = 50;
const PANES_MIN: u16 = 20;
const SECONDS_MIN: u16 = 50;

/// The share of silent seconds after a silent one that is assumed if it is not known.
const SILENT: f32 = 0.5;

/// What is usual in a half hour. `NaN` means not known.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    /// The mean logarithm of a trade's volume, and of how far prices go when they change.
    volume: f32,
    way: f32,
    /// The share of the seconds after a silent one that are silent as well.
    silent: f32,
}

/// The profile of a symbol's day.
///
/// Only the *difference* between two neighbouring half hours counts. So a day that is livelier than the day before is
/// no event: the recent usual follows the day, and within a half hour it forgets the half hour before. So `t` after the
/// start of a half hour
///
/// ```text
/// expected = recent usual + max(0, profile[now] - profile[before]) exp(-t / time constant of the usual)
/// ```
///
/// It only raises what is expected. If the profile says that less is usual now, the recent usual stands.
#[derive(Debug)]
pub(super) struct TimeOfDay([Slot; SLOTS]);

/// The half hour that is not over, to which many ticks add something.
#[derive(Debug, Clone, Copy)]
pub(super) struct HalfHour {
    /// Counted from the Unix epoch.
    number: i32,
    /// The sums of the logarithms of volumes, of those of how far prices go, and of silent seconds, with their counts.
    /// A full count and its sum stay as they are.
    sums: [f32; 3],
    counts: [u16; 3],
}

const UNKNOWN: Slot = Slot { volume: f32::NAN, way: f32::NAN, silent: f32::NAN };

impl Default for TimeOfDay {
    fn default() -> Self {
        Self([UNKNOWN; SLOTS])
    }
}

impl Default for HalfHour {
    fn default() -> Self {
        Self { number: i32::MIN, sums: [0.0; 3], counts: [0; 3] }
    }
}

impl HalfHour {
    /// A pane that begins at `from_us` was closed.
    pub(super) fn closed(&mut self, pane: &Pane, from_us: i64, day: &mut TimeOfDay) {
        self.move_on(from_us, day);
        self.add(0, pane.log_volumes, pane.volumes);
        if pane.changes > 0 {
            self.add(1, (pane.way / f32::from(pane.changes)).ln(), 1);
        }
    }

    /// A silence of `seconds` is over at `ts_us`.
    pub(super) fn silent(&mut self, seconds: u16, ts_us: i64, day: &mut TimeOfDay) {
        self.move_on(ts_us, day);
        self.add(2, f32::from(seconds) - 1.0, seconds);
    }

    fn add(&mut self, of: usize, sum: f32, count: u16) {
        if let Some(count) = self.counts[of].checked_add(count) {
            self.sums[of] += sum;
            self.counts[of] = count;
        }
    }

    /// If another half hour has begun, adds the one before to the profile. Late ticks count for the present one.
    fn move_on(&mut self, ts_us: i64, day: &mut TimeOfDay) {
        let number = number_of(ts_us);
        if number > self.number {
            day.learn(self);
            *self = Self { number, ..Self::default() };
        }
    }
}

impl TimeOfDay {
    #[cold]
    fn learn(&mut self, over: &HalfHour) {
        let slot = &mut self.0[slot_of(over.number)];
        let least = [TRADES_MIN, PANES_MIN, SECONDS_MIN];
        for (of, usual) in [&mut slot.volume, &mut slot.way, &mut slot.silent].into_iter().enumerate() {
            let (count, least) = (over.counts[of], least[of]);
            let mean = over.sums[of] / f32::from(count);
            if count >= least {
                *usual = if usual.is_nan() { mean } else { *usual + OF_A_DAY * (mean - *usual) };
            }
        }
    }

    /// How much more than the recent usual the logarithm of volumes may be at `ts_us`. The usual fades over `fades_us`.
    pub(super) fn volume_rise(&self, ts_us: i64, fades_us: f64) -> f64 {
        self.rise(ts_us, fades_us, |slot| slot.volume)
    }

    /// The same for how far prices go.
    pub(super) fn way_rise(&self, ts_us: i64, fades_us: f64) -> f64 {
        self.rise(ts_us, fades_us, |slot| slot.way)
    }

    /// The factor, at most 1, by which silences end less often at `ts_us` than they did recently.
    pub(super) fn silence_ends(&self, ts_us: i64, fades_us: f64) -> f64 {
        let [now, before] = self.slots(ts_us).map(|slot| slot.silent);
        // If hardly a second was silent, or there was no tick, the recent usual is what is assumed for all.
        let before = if before.is_nan() { SILENT } else { before };
        (-Self::fading(f64::from((1.0 - before).ln() - (1.0 - now).ln()), ts_us, fades_us)).exp()
    }

    fn rise(&self, ts_us: i64, fades_us: f64, of: impl Fn(&Slot) -> f32) -> f64 {
        let [now, before] = self.slots(ts_us).map(of);
        Self::fading(f64::from(now - before), ts_us, fades_us)
    }

    /// The half hour at `ts_us`, and the one before.
    fn slots(&self, ts_us: i64) -> [&Slot; 2] {
        let number = number_of(ts_us);
        [number, number.saturating_sub(1)].map(|number| &self.0[slot_of(number)])
    }

    fn fading(rise: f64, ts_us: i64, fades_us: f64) -> f64 {
        // An unknown rise (`NaN`) is no rise.
        if rise > 0.0 { rise * (-(ts_us.rem_euclid(SLOT_US) as f64) / fades_us).exp() } else { 0.0 }
    }
}

fn number_of(ts_us: i64) -> i32 {
    // It saturates: all times that are so far away lie in the same half hour.
    i32::try_from(ts_us.div_euclid(SLOT_US)).unwrap_or(if ts_us < 0 { i32::MIN } else { i32::MAX })
}

fn slot_of(number: i32) -> usize {
    number.rem_euclid(SLOTS as i32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::panes::PANE_US;

    const DAY_US: i64 = 86_400_000_000;

    /// The profile after days whose half hours have trades with these logarithms of volumes.
    fn days(days: i64, log_volume: impl Fn(i64) -> f32) -> TimeOfDay {
        let (mut time, mut half_hour) = (TimeOfDay::default(), HalfHour::default());
        for at in 0..days * DAY_US / PANE_US {
            let from_us = at * PANE_US;
            let log_volume = log_volume(from_us.rem_euclid(DAY_US) / SLOT_US);
            let pane =
                Pane { volumes: 1, changes: 1, way: log_volume.exp(), log_volumes: log_volume, ..Pane::default() };
            half_hour.closed(&pane, from_us, &mut time);
            let silent = if log_volume > 1.0 { 1 } else { 4 };
            half_hour.silent(silent, from_us, &mut time);
        }
        half_hour.closed(&Pane::default(), days * DAY_US, &mut time);
        time
    }

    #[test]
    fn half_hour_that_is_busier_every_day_is_expected_to_be_until_the_usual_of_late_knows_it() {
        let time = days(2, |slot| if slot == 27 { 3.0 } else { 1.0 });
        let open_us = 2 * DAY_US + 27 * SLOT_US;
        let fades_us = SLOT_US as f64;
        let rise = |ts_us| time.volume_rise(ts_us, fades_us);
        assert!((rise(open_us) - 2.0).abs() < 1e-3, "{}", rise(open_us));
        assert!((rise(open_us + SLOT_US / 2) - 2.0 * (-0.5_f64).exp()).abs() < 1e-3);
        assert_eq!([rise(open_us - 1), rise(open_us + SLOT_US)], [0.0, 0.0], "before, and after");
        assert!((time.way_rise(open_us, fades_us) - 2.0).abs() < 1e-2);
        assert_eq!(time.silence_ends(open_us, fades_us), 1.0);
        // Before, each silent second ended a silence. Now one in four does, so they end a quarter as often.
        assert!((time.silence_ends(open_us + SLOT_US, fades_us) - 0.25).abs() < 1e-2);
    }

    #[test]
    fn first_day_expects_nothing_and_a_wild_day_is_one_of_several() {
        let first = TimeOfDay::default();
        assert_eq!(first.volume_rise(27 * SLOT_US, 1e9), 0.0);
        let mut time = days(1, |_| 1.0);
        time.0[28] = UNKNOWN;
        let ends = [27, 28, 29].map(|slot| (time.silence_ends(DAY_US + slot * SLOT_US, 1e12) * 100.0).round());
        assert_eq!(ends, [100.0, 100.0, 50.0], "after an unknown half hour, half of the seconds are assumed silent");
        let mut time = days(3, |slot| if slot == 27 { 2.0 } else { 1.0 });
        let from_us = 3 * DAY_US + 27 * SLOT_US;
        let mut half_hour = HalfHour::default();
        for at in 0..60 {
            let pane = Pane { volumes: 1, log_volumes: 9.0, ..Pane::default() };
            half_hour.closed(&pane, from_us + at * PANE_US, &mut time);
        }
        half_hour.closed(&Pane::default(), from_us + SLOT_US, &mut time);
        let rise = time.volume_rise(4 * DAY_US + 27 * SLOT_US, 1e12);
        assert!((rise - (1.0 + 0.3 * 7.0)).abs() < 1e-2, "{rise}");
    }
}
