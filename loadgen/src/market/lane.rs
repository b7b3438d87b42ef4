//! One lane of the market: the trades of its symbols in the order of event time.

use std::time::Duration;

use super::{
    Character, Market, VENUES,
    lively::{LivelyClock, LivelyWalk},
    popularity::Popularity,
    spikes::{Planter, Quiet},
    walk::Walk,
};
use crate::random::Random;

/// One trade, with its symbol and venue by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// See [`Market::name`].
    pub symbol: u32,
    /// Its number among the trades of its symbol, from [`MarketConfig::first_seq`](super::MarketConfig::first_seq).
    pub seq: i64,
    /// Event time, microseconds since the Unix epoch, UTC.
    pub ts_us: i64,
    /// The price, in cents.
    pub cents: i64,
    /// The price without a planted anomaly, in cents.
    pub expected_cents: i64,
    /// Units traded.
    pub volume: u32,
    /// Index into [`VENUES`].
    pub venue: u8,
}

impl Trade {
    /// Whether an anomaly was planted here.
    #[must_use]
    pub fn is_planted(&self) -> bool {
        self.cents != self.expected_cents
    }
}

/// The state of one symbol within its lane.
#[derive(Debug, Clone)]
struct Book {
    symbol: u32,
    walk: Price,
    next_seq: i64,
    quiet: Quiet,
}

/// How a price moves.
#[derive(Debug, Clone)]
enum Price {
    Calm(Walk),
    Lively(LivelyWalk),
}

/// The trades of a lane: an iterator whose items do not depend on any other lane.
#[derive(Debug, Clone)]
pub struct Lane {
    books: Vec<Book>,
    popularity: Popularity,
    planter: Planter,
    clock: LaneClock,
    /// The book that was traded last.
    last: usize,
    random: Random,
    first_seq: i64,
    next: u64,
    ticks: u64,
}

impl Lane {
    pub(super) fn new(market: &Market, index: usize) -> Self {
        let (config, hand) = (&market.config, &market.hands[index]);
        let stream = 2 * index as u64;
        let books = hand.symbols.iter().map(|&symbol| Book {
            symbol,
            walk: match (config.character, &market.symbols[symbol as usize].opening) {
                (Character::Calm, opening) => Price::Calm(opening.clone()),
                (Character::Lively, opening) => Price::Lively(LivelyWalk::new(opening.opening())),
            },
            next_seq: 0,
            quiet: Quiet { seq: 0, ts_us: config.start_us },
        });
        let mut random = Random::new(config.seed, stream);
        Self {
            books: books.collect(),
            popularity: Popularity::new(config.zipf, &hand.symbols),
            planter: Planter::new(
                &config.spikes,
                hand.spikes,
                hand.ticks,
                config.span,
                Random::new(config.seed, stream + 1),
            ),
            clock: match config.character {
                Character::Calm => LaneClock::Calm(Clock::new(config.start_us, config.span, hand.ticks)),
                Character::Lively => {
                    LaneClock::Lively(LivelyClock::new(config.start_us, config.span, hand.ticks, &mut random))
                }
            },
            last: 0,
            random,
            first_seq: config.first_seq,
            next: 0,
            ticks: hand.ticks,
        }
    }

    /// Event time before which no further trade of the lane lies; [`i64::MAX`] when there is none.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        match &self.clock {
            _ if self.next == self.ticks => i64::MAX,
            LaneClock::Calm(clock) => clock.now_us,
            LaneClock::Lively(clock) => clock.now_us(),
        }
    }
}

impl Iterator for Lane {
    type Item = Trade;

    fn next(&mut self) -> Option<Trade> {
        if self.next == self.ticks {
            return None;
        }
        let (ts_us, goes_on) = match &mut self.clock {
            LaneClock::Calm(clock) => (clock.tick(&mut self.random), false),
            LaneClock::Lively(clock) => {
                let goes_on = clock.goes_on();
                (clock.tick(&mut self.random), goes_on)
            }
        };
        if !goes_on {
            self.last = self.popularity.draw(&mut self.random);
        }
        let book = &mut self.books[self.last];
        let expected_cents = match &mut book.walk {
            Price::Calm(walk) => walk.next_cents(&mut self.random),
            Price::Lively(walk) if goes_on => walk.next_cents(&mut self.random),
            Price::Lively(walk) => walk.next_order(&mut self.random),
        };
        let (volume, venue) = size_and_venue(&mut self.random);
        let seq = book.next_seq;
        if seq == 0 {
            book.quiet.ts_us = ts_us;
        }
        let planted = self.planter.plant(self.next, seq, ts_us, book.quiet, expected_cents);
        if planted.is_some() {
            book.quiet = Quiet { seq, ts_us };
        }
        book.next_seq += 1;
        self.next += 1;
        let cents = planted.unwrap_or(expected_cents);
        let seq = self.first_seq + seq;
        Some(Trade { symbol: book.symbol, seq, ts_us, cents, expected_cents, volume, venue })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.ticks - self.next) as usize;
        (left, Some(left))
    }
}

/// Three of four trades are of whole lots, mostly few; the rest are odd lots.
fn size_and_venue(random: &mut Random) -> (u32, u8) {
    let bits = random.bits();
    let venue = (bits as usize % VENUES.len()) as u8;
    let size = (bits >> 8) as u32;
    let volume =
        if (bits >> 3).is_multiple_of(4) { 1 + size % 99 } else { 100 * (1 + (size & 15).min((size >> 4) & 15)) };
    (volume, venue)
}

/// When trades are.
#[derive(Debug, Clone)]
enum LaneClock {
    Calm(Clock),
    Lively(LivelyClock),
}

/// Event times: the span in equal steps, and each trade at a random place within its own, so that times never decrease.
#[derive(Debug, Clone)]
struct Clock {
    now_us: i64,
    step_us: u64,
    /// What the division of the span left over is handed out one microsecond at a time (Bresenham).
    rest: u64,
    owed: u64,
    ticks: u64,
}

impl Clock {
    fn new(start_us: i64, span: Duration, ticks: u64) -> Self {
        let span_us = span.as_micros() as u64;
        let ticks = ticks.max(1);
        Self { now_us: start_us, step_us: span_us / ticks, rest: span_us % ticks, owed: 0, ticks }
    }

    fn tick(&mut self, random: &mut Random) -> i64 {
        let ts_us = self.now_us + random.below(self.step_us) as i64;
        self.now_us += self.step_us as i64;
        self.owed += self.rest;
        if self.owed >= self.ticks {
            self.owed -= self.ticks;
            self.now_us += 1;
        }
        ts_us
    }
}
