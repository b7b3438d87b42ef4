//! A market that looks like one: trades that come in bursts, wild hours and calm ones, a busy open and a busy close.
//!
//! This file owns the laws of times and prices of [`Character::Lively`](super::Character::Lively). It does *not* own
//! which symbol is traded.

use std::time::Duration;

use crate::random::Random;

/// Another trade of the same order follows with this probability: 3.6 trades on average. Durations between trades are
/// then those of a compound Poisson process, whose coefficient of variation is the root of `2 x 3.6 - 1`: 2.5; busy and
/// calm stretches raise it above 3.
const GOES_ON: f64 = 0.72;

/// Microseconds between two trades of an order, at most.
const WITHIN_US: u64 = 1_500;

/// The weights of GARCH(1,1) (T. Bollerslev, "Generalized autoregressive conditional heteroskedasticity", 1986): of the
/// last squared move, and of the variance before. What is left to 1 is the long-run variance's.
const OF_LAST: f64 = 0.035;
const OF_BEFORE: f64 = 0.955;

/// The variance is no more than this many times the long-run one: a panic, and not the end of the world.
const VARIANCE_MAX: f64 = 4.0;

/// Long-run deviation of one order's move, as a fraction of the price.
const MOVE: f64 = 2.4e-4;

/// One move in so many is a jump, of so many deviations.
const JUMP_EVERY: u64 = 3_000;
const JUMP: f64 = 2.5;

/// One order in so many comes from the other side than the one before.
const SIDE_CHANGES_EVERY: u64 = 6;

/// Within an order, one trade in so many takes the next price level.
const NEXT_LEVEL_EVERY: u64 = 25;

/// The part of the distance from the opening price that one move takes back.
const PULL: f64 = 1e-5;

/// A price of one symbol: a diffusion with volatility that clusters and jumps, seen through a bid and an ask in whole
/// pennies.
#[derive(Debug, Clone)]
pub(super) struct LivelyWalk {
    /// Between bid and ask, unrounded, in cents.
    middle: f64,
    opening: f64,
    /// Of the next move, over its long-run value.
    variance: f64,
    /// Half of the ask less the bid, in cents.
    half_spread: f64,
    /// Where the order at hand trades, and to which side it goes.
    cents: i64,
    side: i64,
}

impl LivelyWalk {
    /// A walk that opens at `opening` cents.
    pub(super) fn new(opening: f64) -> Self {
        let half_spread = 0.5 + (opening / 30_000.0).floor();
        Self { middle: opening, opening, variance: 1.0, half_spread, cents: opening as i64, side: 1 }
    }

    /// The price of the first trade of the next order, in cents.
    pub(super) fn next_order(&mut self, random: &mut Random) -> i64 {
        let jump = if random.below(JUMP_EVERY) == 0 { JUMP } else { 1.0 };
        let move_ = self.variance.sqrt() * random.bell() * jump;
        // A jump is news, not unrest: it counts as the move that it would have been without.
        let calm = move_ / jump;
        let next = (1.0 - OF_LAST - OF_BEFORE) + OF_LAST * calm * calm + OF_BEFORE * self.variance;
        self.variance = next.min(VARIANCE_MAX);
        self.middle *= 1.0 + MOVE * move_ + PULL * (self.opening - self.middle) / self.opening;
        if random.below(SIDE_CHANGES_EVERY) == 0 {
            self.side = -self.side;
        }
        self.cents = (self.middle + self.side as f64 * self.half_spread).round() as i64;
        self.cents
    }

    /// The price of another trade of the same order.
    pub(super) fn next_cents(&mut self, random: &mut Random) -> i64 {
        if random.below(NEXT_LEVEL_EVERY) == 0 {
            self.cents += self.side;
        }
        self.cents
    }
}

/// How many trades the next order has, at most `most`.
pub(super) fn trades_of_order(random: &mut Random, most: u64) -> u64 {
    let mut trades = 1;
    while trades < most && random.unit() < GOES_ON {
        trades += 1;
    }
    trades
}

/// Stretches of a day, within each of which trades come at one rate: eleven seconds of a trading day.
const STRETCHES: usize = 2_048;

/// How much busier or calmer one stretch is than the one before, by its deviation, and how much of that lasts.
const UNREST: f64 = 0.42;
const LASTS: f64 = 0.92;

/// Event times of orders: busy and calm stretches follow on each other, and open and close are busier than midday.
#[derive(Debug, Clone)]
pub(super) struct LivelyClock {
    start_us: i64,
    span_us: f64,
    /// When this part of all trades has passed, as a part of the day: of each stretch the part of trades before it.
    before_stretch: Vec<f64>,
    ticks: u64,
    /// Trades before the order at hand, and when it began.
    before: u64,
    last_us: i64,
    /// Trades left in the order at hand.
    left: u64,
}

impl LivelyClock {
    pub(super) fn new(start_us: i64, span: Duration, ticks: u64, random: &mut Random) -> Self {
        let (mut rate, mut sum) = (1.0, 0.0);
        let mut before_stretch = Vec::with_capacity(STRETCHES + 1);
        for _ in 0..STRETCHES {
            before_stretch.push(sum);
            sum += rate;
            rate = (1.0 + LASTS * (rate * (1.0 + UNREST * random.bell()) - 1.0)).clamp(0.2, 4.0);
        }
        before_stretch.push(sum);
        for before in &mut before_stretch {
            *before /= sum;
        }
        let (span_us, ticks) = (span.as_micros() as f64, ticks.max(1));
        Self { start_us, span_us, before_stretch, ticks, before: 0, last_us: start_us, left: 0 }
    }

    /// When this part of the trades has passed, as a part of the day.
    fn when(&self, part: f64) -> f64 {
        let stretch = self.before_stretch.partition_point(|before| *before <= part).clamp(1, STRETCHES) - 1;
        let (from, to) = (self.before_stretch[stretch], self.before_stretch[stretch + 1]);
        when((stretch as f64 + (part - from) / (to - from)) / STRETCHES as f64)
    }

    /// No further trade comes before it.
    pub(super) fn now_us(&self) -> i64 {
        self.last_us
    }

    /// Whether another trade of the same order is next.
    pub(super) fn goes_on(&self) -> bool {
        self.left > 0
    }

    /// The time of the next trade.
    pub(super) fn tick(&mut self, random: &mut Random) -> i64 {
        let at_us = if self.left > 0 {
            self.left -= 1;
            self.last_us + random.below(WITHIN_US) as i64
        } else {
            let trades = trades_of_order(random, self.ticks - self.before.min(self.ticks - 1));
            let place = self.before as f64 + random.unit() * trades as f64;
            self.before += trades;
            self.left = trades - 1;
            self.start_us + (self.when(place / self.ticks as f64) * self.span_us) as i64
        };
        // An order that takes longer than until the next one is followed at once; none goes on after the end.
        let end_us = self.start_us + self.span_us as i64 - 1;
        self.last_us = at_us.max(self.last_us).min(end_us);
        self.last_us
    }
}

/// When this part of the trades has passed, as a part of the day: the inverse of the integral of `(1 + 2 (2t - 1)^2)
/// 3/5`, in which open and close are three times as busy as midday.
fn when(part: f64) -> f64 {
    let passed = |t: f64| {
        let u = 2.0 * t - 1.0;
        (t + (u * u * u + 1.0) / 3.0) * 0.6
    };
    // Bisection: a few steps of plain arithmetic are the same everywhere, which a root is not.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..30 {
        let middle = (low + high) * 0.5;
        if passed(middle) < part { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_and_close_are_three_times_as_busy_as_midday() {
        let share = |from: f64, to: f64| {
            let trades = (0..100_000).filter(|at| (from..to).contains(&when(f64::from(*at) / 1e5))).count();
            trades as f64 / 1e5 / (to - from)
        };
        let (open, noon, close) = (share(0.0, 0.02), share(0.49, 0.51), share(0.98, 1.0));
        assert!((open / noon - 2.9).abs() < 0.2 && (close / noon - 2.9).abs() < 0.2, "{open} {noon} {close}");
        assert!(when(0.0) < 1e-6 && when(1.0 - 1e-12) > 0.999);
    }

    #[test]
    fn orders_are_of_many_trades_and_no_more_than_there_are() {
        let mut random = Random::new(1, 1);
        let sum: u64 = (0..100_000).map(|_| trades_of_order(&mut random, u64::MAX)).sum();
        assert!((sum as f64 / 1e5 - 3.57).abs() < 0.05, "{sum}");
        assert!((0..1_000).all(|_| trades_of_order(&mut random, 3) <= 3));
    }
}
