//! What happens to ticks on their way: some are late, some overtake each other, some are sent twice, and some are
//! malformed.
//!
//! This file owns how often that is and draws the fate of each tick. It does *not* hold ticks back, which the producer
//! does.

use std::{str::FromStr, time::Duration};

use jiff::SignedDuration;

use crate::{
    payload::{Layout, Malformed},
    random::Random,
};

/// Where the streams of random numbers begin that fates are drawn from: beyond those of the market, so that its ticks
/// stay as they are.
const STREAMS: u64 = 1 << 32;

/// A tick that is sent twice is sent again within this event time.
const AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// How often something happens to a tick. Nothing does by default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Disturbance {
    /// What is drawn follows from it.
    pub seed: u64,
    /// Ticks that are sent long after those around them.
    pub late: Delays,
    /// Ticks that are sent shortly after some that follow them.
    pub out_of_order: Delays,
    /// The share of ticks that are sent twice.
    pub duplicates: f64,
    /// Malformed ticks that are sent besides, as a share of the good ones.
    pub malformed: f64,
}

/// Ticks that are held back.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Delays {
    /// The share of ticks.
    pub share: f64,
    /// For how much event time at most; any time up to that is as likely.
    pub up_to: Duration,
}

/// Why a text is no [`Delays`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read {0:?}: it is SHARE/DURATION, such as 0.01/5s, with a share from 0 to 1")]
pub struct DelaysError(String);

impl FromStr for Delays {
    type Err = DelaysError;

    fn from_str(text: &str) -> Result<Self, DelaysError> {
        let parse = || {
            let (share, up_to) = text.split_once('/')?;
            let share = share.parse().ok().filter(|share| (0.0..=1.0).contains(share))?;
            let up_to: SignedDuration = up_to.parse().ok()?;
            Some(Self { share, up_to: Duration::try_from(up_to).ok()? })
        };
        parse().ok_or_else(|| DelaysError(text.to_owned()))
    }
}

/// What happens to one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fate {
    /// It is held back for so much event time.
    pub(crate) hold_us: i64,
    /// It is sent again so much later.
    pub(crate) again_us: Option<i64>,
    /// This is sent before it.
    pub(crate) malformed: Option<Malformed>,
}

/// Draws the fates of the ticks of one feed.
#[derive(Debug, Clone)]
pub(crate) struct Fates {
    disturbance: Disturbance,
    layout: Layout,
    random: Random,
    is_quiet: bool,
}

impl Fates {
    /// Those of feed number `feed`, whose messages have that layout.
    pub(crate) fn new(disturbance: Disturbance, layout: Layout, feed: usize) -> Self {
        let Disturbance { seed, late, out_of_order, duplicates, malformed } = disturbance;
        let is_quiet = [late.share, out_of_order.share, duplicates, malformed].iter().all(|share| *share <= 0.0);
        Self { disturbance, layout, random: Random::new(seed, STREAMS + feed as u64), is_quiet }
    }

    /// That of the next tick.
    pub(crate) fn draw(&mut self) -> Fate {
        if self.is_quiet {
            return Fate::default();
        }
        let Disturbance { late, out_of_order, duplicates, malformed, .. } = self.disturbance;
        let hold_us =
            [late, out_of_order].map(|delays| if self.happens(delays.share) { self.up_to(delays.up_to) } else { 0 });
        let again_us = self.happens(duplicates).then(|| self.up_to(AGAIN_WITHIN));
        let malformed = self.happens(malformed).then(|| Malformed::draw(self.layout, &mut self.random));
        Fate { hold_us: hold_us[0].max(hold_us[1]), again_us, malformed }
    }

    fn happens(&mut self, share: f64) -> bool {
        self.random.unit() < share
    }

    fn up_to(&mut self, most: Duration) -> i64 {
        1 + self.random.below(most.as_micros() as u64) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_are_as_frequent_as_asked() {
        let delays = |text: &str| text.parse::<Delays>().unwrap();
        let disturbance = Disturbance {
            seed: 4,
            late: delays("0.01/5m"),
            out_of_order: delays("0.2/100ms"),
            duplicates: 0.03,
            malformed: 0.04,
        };
        let mut fates = Fates::new(disturbance, Layout::Array, 0);
        let drawn: Vec<Fate> = (0..100_000).map(|_| fates.draw()).collect();
        let share = |of: &dyn Fn(&Fate) -> bool| drawn.iter().filter(|fate| of(fate)).count() as f64 / 1e5;
        assert!((share(&|fate| fate.hold_us > 100_000) - 0.01).abs() < 0.002);
        assert!((share(&|fate| fate.hold_us > 0) - 0.208).abs() < 0.01);
        assert!((share(&|fate| fate.again_us.is_some()) - 0.03).abs() < 0.003);
        assert!((share(&|fate| fate.malformed.is_some()) - 0.04).abs() < 0.003);
        assert_eq!(share(&|fate| fate.hold_us > 300_000_000), 0.0);
        assert_eq!(share(&|fate| fate.malformed == Some(Malformed::Truncated)), 0.0, "it would spoil the whole array");
    }

    #[test]
    fn delays_are_read_and_anything_else_is_refused_with_what_they_are() {
        assert_eq!("0.5/1m".parse(), Ok(Delays { share: 0.5, up_to: Duration::from_mins(1) }));
        for text in ["", "0.5", "2/1s", "-1/1s", "0.1/-1s", "x/1s", "0.1/x"] {
            assert!(text.parse::<Delays>().unwrap_err().to_string().contains("SHARE/DURATION"), "{text}");
        }
    }
}
