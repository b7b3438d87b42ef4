//! The last minute of a symbol, in panes of five seconds of event time.
//!
//! A pane holds sums, so that ticks may come in any order within the minute. This file owns which pane a tick lies in,
//! and when a pane is closed. It does *not* own what detectors make of panes.

/// Microseconds of a pane.
pub(super) const PANE_US: i64 = 5_000_000;

/// Panes that are kept: a minute, the one before, and the open one.
pub(super) const KEPT: usize = 14;

/// One bit for each kept pane.
const KEPT_BITS: u16 = (1 << KEPT) - 1;

/// Panes of a minute.
pub(super) const MINUTE: usize = 12;

/// After more than this many panes without a tick, a session has ended, and what was usual is forgotten.
const SESSION_GAP: i64 = 180;

/// If so many ticks in a row are too late, it is the panes that are ahead of time.
const STRAY_MAX: u8 = 20;

/// The longest way that one tick adds. As many of them as can be counted have a finite sum.
const WAY_MAX: f32 = 1e30;

/// What happened to a symbol in five seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pane {
    /// Ticks with a volume.
    pub(super) volumes: u16,
    /// Ticks whose price differs from the one before, in order of arrival, and how far prices went with them, both
    /// ways.
    pub(super) changes: u16,
    pub(super) way: f32,
    /// The sums of the logarithms of volumes, and of their squares.
    pub(super) log_volumes: f32,
    pub(super) log_volumes_squared: f32,
    /// The price at the end: the middle one of the last three, which a bad print does not move.
    pub(super) price: f64,
}

/// The panes of one symbol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panes {
    /// The kept panes, as a ring.
    ring: [Pane; KEPT],
    /// Where in the ring the open one is.
    at: u8,
    /// Ticks in a row whose panes were not kept any more.
    stray: u8,
    /// Which panes have ticks: one bit for each, the lowest for the open one.
    ticked: u16,
    /// When the open one begins, microseconds since the Unix epoch.
    open_us: i64,
    /// The last two prices.
    prices: [f64; 2],
}

impl Panes {
    /// The panes of a symbol without a tick.
    pub(super) fn new() -> Self {
        // The open pane lies long before any tick.
        Self { ring: [Pane::default(); KEPT], at: 0, stray: 0, ticked: 0, open_us: i64::MIN / 2, prices: [0.0; 2] }
    }

    /// The pane that lies `back` panes before the open one, which is 0.
    pub(super) fn back(&self, back: usize) -> &Pane {
        &self.ring[self.place(back)]
    }

    /// How many of the last `panes` closed panes have ticks.
    pub(super) fn ticked(&self, panes: usize) -> u32 {
        (self.ticked >> 1 & ((1 << panes) - 1)).count_ones()
    }

    /// Where the open pane begins, microseconds since the Unix epoch.
    pub(super) fn open_us(&self) -> i64 {
        self.open_us
    }

    /// How many panes `ts_us` lies before the open one. Negative if it lies after it.
    fn panes_back(&self, ts_us: i64) -> i64 {
        let since_us = ts_us.saturating_sub(self.open_us);
        // This is nearly always so, and a division takes longer than all the rest.
        if (0..PANE_US).contains(&since_us) { 0 } else { -since_us.div_euclid(PANE_US) }
    }

    /// Call this before a tick at `ts_us` is added. It closes the open pane if the tick lies in a later one. The caller
    /// looks at each closed pane, and calls again until none is closed. A pause that ends a session forgets everything.
    pub(super) fn step(&mut self, ts_us: i64) -> Step {
        let back = self.panes_back(ts_us);
        if back >= 0 {
            self.stray = if back < KEPT as i64 { 0 } else { self.stray + 1 };
            if self.stray < STRAY_MAX {
                return Step::Stays;
            }
            // The panes were ahead of time, because a tick from the future had moved them there.
        } else if -back <= SESSION_GAP {
            self.stray = 0;
            self.close();
            return Step::Closed;
        }
        *self = Self { open_us: ts_us.div_euclid(PANE_US).saturating_mul(PANE_US), ..Self::new() };
        Step::Began
    }

    /// Skips panes without a tick, up to the one before that of `ts_us`, and returns their number. It skips none unless
    /// all kept panes are empty. Otherwise a symbol that is traded seldom would pay for every five seconds.
    pub(super) fn skip(&mut self, ts_us: i64) -> u32 {
        let ahead = -self.panes_back(ts_us);
        if self.ticked != 0 || !(2..=SESSION_GAP).contains(&ahead) {
            return 0;
        }
        // The open one is closed, and the last one before the tick's is opened.
        let skipped = ahead - 1;
        self.open_us += skipped * PANE_US;
        skipped as u32
    }

    fn close(&mut self) {
        let price = self.back(0).price;
        self.open_us += PANE_US;
        self.ticked = (self.ticked << 1) & KEPT_BITS;
        self.at = if usize::from(self.at) + 1 == KEPT { 0 } else { self.at + 1 };
        // It has the old price until it gets its own.
        self.ring[usize::from(self.at)] = Pane { price, ..Pane::default() };
    }

    /// Adds a tick. `false` if its pane is no longer kept, or does not exist yet.
    pub(super) fn add(&mut self, ts_us: i64, price: f64, volume: f64) -> bool {
        let back = self.panes_back(ts_us);
        if !(0..KEPT as i64).contains(&back) {
            return false;
        }
        let place = self.place(back as usize);
        let [before, last] = self.prices;
        let pane = &mut self.ring[place];
        self.ticked |= 1 << back;
        // Ticks that cannot be counted any more add nothing.
        if volume > 0.0 && pane.volumes < u16::MAX {
            let log_volume = (volume as f32).clamp(f32::MIN_POSITIVE, f32::MAX).ln();
            pane.volumes += 1;
            pane.log_volumes += log_volume;
            pane.log_volumes_squared += log_volume * log_volume;
        }
        if back == 0 {
            if last > 0.0 && price != last && pane.changes < u16::MAX {
                pane.changes += 1;
                pane.way += ((price - last).abs() as f32).clamp(f32::MIN_POSITIVE, WAY_MAX);
            }
            pane.price = if before > 0.0 { middle(before, last, price) } else { price };
            self.prices = [last, price];
        }
        true
    }

    fn place(&self, back: usize) -> usize {
        let at = usize::from(self.at) + KEPT - back;
        if at >= KEPT { at - KEPT } else { at }
    }
}

/// What [`Panes::step`] did before a tick is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The open pane was closed, and another one opened.
    Closed,
    /// A session began.
    Began,
    /// The tick lies in the open pane, or before it.
    Stays,
}

fn middle(a: f64, b: f64, c: f64) -> f64 {
    a.min(b).max(a.max(b).min(c))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The twin keeps every tick, and adds up those of a pane when it is asked.
        #[test]
        fn panes_hold_the_sums_of_their_ticks_in_whatever_order_these_came(
            ticks in vec((-90_000_000_i64..60_000_000, 1_u8..9, 1_u16..500), 1..300),
        ) {
            let (mut panes, mut all) = (Panes::new(), BTreeMap::<i64, Vec<f32>>::new());
            let mut latest = None;
            for (step_us, price, volume) in ticks {
                let ts_us = latest.unwrap_or(1_795_442_400_000_000_i64) + step_us;
                while panes.step(ts_us) == Step::Closed {}
                let added = panes.add(ts_us, f64::from(price), f64::from(volume));
                let number = ts_us.div_euclid(PANE_US);
                latest = latest.max(Some(ts_us));
                let open = latest.unwrap().div_euclid(PANE_US);
                prop_assert_eq!(added, number > open - KEPT as i64);
                if added {
                    all.entry(number).or_default().push(f32::from(volume).ln());
                }
                prop_assert_eq!(panes.open_us(), open * PANE_US);
                for back in 0..KEPT {
                    let expected = all.get(&(open - back as i64)).cloned().unwrap_or_default();
                    let pane = panes.back(back);
                    prop_assert_eq!(usize::from(pane.volumes), expected.len());
                    prop_assert!((pane.log_volumes - expected.iter().sum::<f32>()).abs() < 1e-2);
                }
            }
        }
    }

    fn seen(panes: &mut Panes, ts_us: i64, price: f64) -> Step {
        let mut last = panes.step(ts_us);
        while last == Step::Closed {
            last = panes.step(ts_us);
        }
        panes.add(ts_us, price, 1.0);
        last
    }

    #[test]
    fn price_of_a_pane_is_not_that_of_a_bad_print_and_stays_where_none_comes() {
        let mut panes = Panes::new();
        for (second, price) in [(0, 10.0), (1, 10.1), (2, 10.2), (3, 99.0)] {
            seen(&mut panes, second * 1_000_000, price);
        }
        assert_eq!(panes.back(0).price, 10.2);
        seen(&mut panes, 16_000_000, 10.3);
        assert_eq!([3, 2, 1].map(|back| panes.back(back).price), [10.2; 3]);
        let pane = panes.back(3);
        assert_eq!((pane.volumes, pane.changes), (4, 3));
        assert!((pane.way - 89.0).abs() < 1e-4);
    }

    #[test]
    fn session_begins_anew_after_a_pause_and_when_time_itself_was_wrong() {
        let mut panes = Panes::new();
        assert_eq!(seen(&mut panes, 0, 1.0), Step::Began);
        let day_us = 86_400_000_000;
        assert_eq!(seen(&mut panes, day_us, 1.0), Step::Began, "also of a tick from the future");
        let back: Vec<Step> = (0..25).map(|second| seen(&mut panes, second * 1_000_000, 1.0)).collect();
        assert_eq!(back.iter().position(|step| *step == Step::Began), Some(usize::from(STRAY_MAX) - 1));
        assert!(panes.back(0).volumes > 0);
    }
}
