//! The price of one symbol: a geometric random walk, seen through a bid and an ask in whole pennies.
//!
//! The walk is calm: within 50 ticks it strays about 0.1 % of the price, so that a planted jump of 3 % stands out and
//! nothing else does. A weak pull towards the opening price keeps it within about 10 % of there however long it runs.

use crate::random::Random;

/// Standard deviation of one move, relative to the price.
const STEP: f64 = 1.5e-4;

/// The part of the distance from the opening price that one move takes back.
const PULL: f64 = 1e-5;

/// The cheapest opening price, in cents. Below about 10.00 one penny is so large a part of the price that a jump of 3 %
/// is only a few of them.
const CENTS_MIN: f64 = 1_200.0;

/// The dearest opening price above [`CENTS_MIN`], in cents.
const CENTS_RANGE: f64 = 60_000.0;

/// The state of a walk.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// The bid, unrounded, in cents.
    bid: f64,
    opening: f64,
    /// Ask minus bid, in whole cents.
    spread: i64,
    at_ask: bool,
}

impl Walk {
    /// A walk that opens at a random price; cheap symbols are commoner than dear ones.
    pub(super) fn new(random: &mut Random) -> Self {
        let u = random.unit();
        let opening = CENTS_MIN + CENTS_RANGE * u * u * u;
        Self { bid: opening, opening, spread: 1 + (opening / 15_000.0) as i64, at_ask: false }
    }

    /// Where it opened, in cents.
    pub(super) fn opening(&self) -> f64 {
        self.opening
    }

    /// The price of the next trade, in cents. Half of the trades move the quote and two in five change sides; the rest
    /// repeat the price before, as real ones do.
    pub(super) fn next_cents(&mut self, random: &mut Random) -> i64 {
        let bits = random.bits();
        if bits & 1 == 0 {
            let pull = PULL * (self.opening - self.bid) / self.opening;
            self.bid *= 1.0 + STEP * random.bell() + pull;
        }
        if (bits >> 1) % 5 < 2 {
            self.at_ask = !self.at_ask;
        }
        let bid = self.bid.round() as i64;
        if self.at_ask { bid + self.spread } else { bid }
    }
}
