//! A seeded model market: symbols of unequal popularity, each with a price that wanders in pennies.
//!
//! The symbols are dealt to a fixed number of [`Lane`]s. A lane is one feed with its own clock and its own random
//! numbers, so its trades do not depend on which thread asks for them, nor on what other lanes do. That is what makes
//! the market the same for any number of threads. This file owns the configuration and the dealing; it does *not* own
//! how a price moves (`walk`) or where anomalies go (`spikes`).

mod lane;
mod lively;
mod names;
mod popularity;
mod spikes;
mod walk;

use std::{sync::Arc, time::Duration};

pub use lane::{Lane, Trade};
pub use popularity::{Zipf, ZipfError};
pub use spikes::SpikeConfig;

use crate::{
    random::Random,
    tick::{Number, Tick},
};
use walk::Walk;

/// The most lanes a market has, and so the most threads that can generate it.
pub const LANES: usize = 16;

/// 2026-06-01T13:30:00Z, a Monday, when the exchanges in New York open. A fixed day, for the same seed is to give the
/// same bytes tomorrow.
pub const DEFAULT_START_US: i64 = 1_780_320_600_000_000;

/// Codes of the venues that trades come from.
pub const VENUES: [&str; 8] = ["XNAS", "XNYS", "ARCX", "BATS", "EDGX", "IEXG", "XNGS", "MEMX"];

/// What market to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct MarketConfig {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many instruments are traded.
    pub symbols: usize,
    /// How unequal they are.
    pub zipf: Zipf,
    /// How many trades there are in all.
    pub ticks: u64,
    /// The sequence number of each symbol's first trade: markets with ranges of their own can be told apart in one
    /// lake.
    pub first_seq: i64,
    /// Event time of the opening, microseconds since the Unix epoch, UTC.
    pub start_us: i64,
    /// Event time from the opening to the end.
    pub span: Duration,
    /// How it behaves.
    pub character: Character,
    /// The anomalies to plant.
    pub spikes: SpikeConfig,
}

/// How a market behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Character {
    /// Trades at an even rate, and prices so calm that what is planted is all that stands out: for tests of the way
    /// from queue to lake.
    #[default]
    Calm,
    /// As recorded trades are: in bursts, with clustered volatility, jumps, a bid-ask bounce, and a busy open and
    /// close. For tests of what looks at prices.
    Lively,
}

impl Default for MarketConfig {
    /// A million ticks of 500 symbols over a trading day of six and a half hours.
    fn default() -> Self {
        Self {
            seed: 1,
            symbols: 500,
            zipf: Zipf::default(),
            ticks: 1_000_000,
            first_seq: 0,
            start_us: DEFAULT_START_US,
            span: Duration::from_mins(390),
            character: Character::Calm,
            spikes: SpikeConfig::default(),
        }
    }
}

/// Why a [`MarketConfig`] describes no market.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MarketError {
    /// No symbols, or more than there are names.
    #[error("failed to set up a market of {symbols} symbols: there can be 1 to {max}")]
    Symbols {
        /// What was asked for.
        symbols: usize,
        /// The number of names.
        max: usize,
    },
    /// A span of nothing, or one that ends beyond the calendar.
    #[error("failed to set up a market over a span of {0:?}: it must be positive and end before the year 10000")]
    Span(Duration),
    /// Sizes of spikes that are no range of positive fractions.
    #[error("failed to set up spikes of {low} to {high}: sizes are fractions with 0 < low <= high < 1")]
    SpikeSize {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
}

/// An instrument of the market.
#[derive(Debug, Clone)]
struct Symbol {
    name: Arc<str>,
    opening: Walk,
}

/// A validated market, ready to be generated.
#[derive(Debug, Clone)]
pub struct Market {
    config: MarketConfig,
    symbols: Arc<[Symbol]>,
    /// For each lane its symbols, most popular first.
    hands: Vec<Hand>,
}

/// What one lane was dealt.
#[derive(Debug, Clone, Default)]
struct Hand {
    symbols: Vec<u32>,
    weight: f64,
    ticks: u64,
    spikes: u64,
}

impl Market {
    /// Checks `config` and deals symbols, ticks and anomalies to the lanes.
    pub fn new(config: MarketConfig) -> Result<Self, MarketError> {
        validate(&config)?;
        let mut opening = Random::new(config.seed, u64::MAX);
        let symbols: Arc<[Symbol]> = names::tickers()
            .take(config.symbols)
            .map(|name| Symbol { name: name.into(), opening: Walk::new(&mut opening) })
            .collect();
        let mut hands = deal(symbols.len(), config.zipf);
        let weights: Vec<f64> = hands.iter().map(|hand| hand.weight).collect();
        let ticks = apportion(config.ticks, &weights);
        let spikes = apportion(u64::from(config.spikes.count), &weights);
        for (hand, (ticks, spikes)) in hands.iter_mut().zip(ticks.into_iter().zip(spikes)) {
            (hand.ticks, hand.spikes) = (ticks, spikes);
        }
        Ok(Self { config, symbols, hands })
    }

    /// What the market was made from.
    #[must_use]
    pub fn config(&self) -> &MarketConfig {
        &self.config
    }

    /// How many lanes there are, at least 1 and at most [`LANES`].
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.hands.len()
    }

    /// The trades of lane `index` from the beginning.
    ///
    /// # Panics
    /// Where `index` is not below [`Market::lanes`].
    #[must_use]
    pub fn lane(&self, index: usize) -> Lane {
        Lane::new(self, index)
    }

    /// How many symbols there are; [`Trade::symbol`] is below that.
    #[must_use]
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Never: a market has symbols.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The name of the symbol that a [`Trade`] refers to.
    #[must_use]
    pub fn name(&self, symbol: u32) -> &Arc<str> {
        &self.symbols[symbol as usize].name
    }

    /// A trade as a tick to send.
    #[must_use]
    pub fn tick(&self, trade: &Trade) -> Tick<'_> {
        Tick {
            symbol: self.name(trade.symbol),
            ts_us: trade.ts_us,
            price: Number::Cents(trade.cents),
            volume: Number::Whole(i64::from(trade.volume)),
            seq: trade.seq,
            venue: Some(VENUES[usize::from(trade.venue)]),
            conditions: None,
        }
    }
}

fn validate(config: &MarketConfig) -> Result<(), MarketError> {
    /// 9999-12-31T23:59:59Z.
    const END_US: i64 = 253_402_300_799_000_000;
    let max = names::COUNT;
    if config.symbols == 0 || config.symbols > max {
        return Err(MarketError::Symbols { symbols: config.symbols, max });
    }
    let end = i64::try_from(config.span.as_micros()).ok().and_then(|span| config.start_us.checked_add(span));
    if config.span.as_micros() == 0 || end.is_none_or(|end| end > END_US) {
        return Err(MarketError::Span(config.span));
    }
    let (low, high) = (config.spikes.size_min, config.spikes.size_max);
    if !(0.0 < low && low <= high && high < 1.0) {
        return Err(MarketError::SpikeSize { low, high });
    }
    Ok(())
}

/// Deals the symbols, most popular first, each to the lane that has the least so far: the lanes then carry about the
/// same number of ticks, and threads that take lanes about the same work.
fn deal(symbols: usize, zipf: Zipf) -> Vec<Hand> {
    let mut hands = vec![Hand::default(); LANES.min(symbols)];
    for symbol in 0..symbols {
        if let Some(hand) = hands.iter_mut().min_by(|a, b| a.weight.total_cmp(&b.weight)) {
            hand.symbols.push(symbol as u32);
            hand.weight += zipf.weight(symbol);
        }
    }
    hands
}

/// Splits `total` in proportion to `weights`, in whole numbers that add up to it.
fn apportion(total: u64, weights: &[f64]) -> Vec<u64> {
    let whole: f64 = weights.iter().sum();
    let mut given = 0;
    let mut seen = 0.0;
    weights
        .iter()
        .enumerate()
        .map(|(i, weight)| {
            seen += weight;
            // Rounding the running sum instead of each share keeps the total exact.
            let upto = if i + 1 == weights.len() { total } else { (total as f64 * (seen / whole)) as u64 };
            let share = upto.clamp(given, total) - given;
            given += share;
            share
        })
        .collect()
}

#[cfg(test)]
mod facts;
#[cfg(test)]
mod tests;
