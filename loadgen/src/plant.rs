//! Known events in recorded trades, so that a detector can be measured on real prices.
//!
//! [`plant`] alters [`Trades`] in memory and lists what it did as [`Event`]s. Everything outside of these events stays
//! as it was. This file owns the configuration and the order of the work. It does *not* own where events fall
//! (`schedule`), what each of them does to the trades (`shape`), or how trades are stored (`trades`).

mod trades;

mod event;
mod lane;
mod price;
mod schedule;
mod shape;

use std::{num::NonZeroU64, time::Duration};

pub use event::{Direction, Event, EventKind, UnknownKind};
pub use price::PriceStep;
pub use schedule::DayHours;
pub use trades::{Trades, WriteError};

use lane::Lane;
use schedule::{Deck, Schedule};
use shape::Edits;

/// What to plant, and how densely.
#[derive(Debug, Clone, PartialEq)]
pub struct PlantConfig {
    /// All random choices follow from it and from the trades.
    pub seed: u64,
    /// The kinds to plant, in equal numbers. If it is empty, nothing is planted.
    pub kinds: Vec<EventKind>,
    /// The mean number of trades of a symbol between two of its events. There are more if `quiet` takes longer.
    pub every: NonZeroU64,
    /// The least event time between the last trace of an event and the next event of the same symbol.
    pub quiet: Duration,
    /// The time of day in which every event must lie as a whole. `None` is all day.
    pub hours: Option<DayHours>,
    /// Planted prices are multiples of this step.
    pub price_step: PriceStep,
}

impl Default for PlantConfig {
    /// Every kind, one event in 10,000 trades, with 5 minutes of quiet, at any time of the day, in steps of 0.01.
    fn default() -> Self {
        Self {
            seed: 1,
            kinds: EventKind::ALL.to_vec(),
            every: const { NonZeroU64::new(10_000).unwrap() },
            quiet: Duration::from_mins(5),
            hours: None,
            price_step: PriceStep::CENT,
        }
    }
}

/// Plants events and returns them in the order of event time. The same trades and configuration give the same events.
#[must_use]
pub fn plant(trades: &mut Trades, config: &PlantConfig) -> Vec<Event> {
    let mut deck = Deck::new(config);
    let mut drafts = Vec::new();
    let mut edits = Edits::default();
    for (symbol, lane) in Lane::all(trades).iter().enumerate() {
        Schedule::new(config, symbol as u64).run(lane, &mut deck, &mut |planted| {
            let first_row = planted.edits.first_row();
            edits.extend(planted.edits);
            drafts.push((first_row, planted.event));
        });
    }
    number(&mut drafts, trades, &edits);
    edits.apply(trades);
    let mut events: Vec<Event> = drafts.into_iter().map(|(_, event)| event).collect();
    events.sort_by(|a, b| (a.start_us, &a.symbol).cmp(&(b.start_us, &b.symbol)));
    events
}

/// Gives every event the sequence number of its first row in the planted file: the number of rows of its symbol that
/// come before it and stay. If the first row is removed, the next row of the symbol gets this number.
fn number(drafts: &mut [(usize, Event)], trades: &Trades, edits: &Edits) {
    drafts.sort_by_key(|&(first_row, _)| first_row);
    let removed = edits.removed_rows(trades.len());
    let mut next = vec![0_i64; trades.symbols.len()];
    let mut row = 0;
    for (first_row, event) in drafts {
        for row in row..*first_row {
            next[trades.symbol[row] as usize] += i64::from(!removed[row]);
        }
        row = *first_row;
        event.seq = next[trades.symbol[row] as usize];
    }
}

#[cfg(test)]
mod tests;
