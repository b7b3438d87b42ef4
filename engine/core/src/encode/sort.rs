//! The order of an epoch's ticks: by partition, then symbol, then time, then arrival.
//!
//! Partitions and symbols are few and interned. A counting sort brings the ticks of each pair of them together in two
//! passes. Within a pair, most ticks arrived in order. The sort moves whole ticks, not row numbers: reading columns in
//! the order of the symbols would fetch a cache line for each value, and cost more than all the rest.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use ticklake_schemas::Table;

use crate::lake::Partition;
use crate::names::{Hold, NameId, Names};
use crate::tick::{Tick, TickBatch};

/// The alphabetical rank of every symbol. Ranks are kept until a new symbol appears.
#[derive(Debug, Default)]
struct Ranks {
    /// The names that the table keeps, in order.
    sorted: Vec<(Arc<str>, NameId)>,
    /// The rank at index [`NameId::index`](crate::names::NameId::index). The rank of no name is 0 and is never used.
    /// There are at least as many entries as ranks.
    by_id: Vec<u32>,
    /// Whether guests have some of the ranks. Their ids may stand for other names in the next epoch.
    has_guests: bool,
}

impl Ranks {
    /// Takes in the names that were interned since the last call, and the guests that the epoch holds.
    fn update(&mut self, names: &Names, holds: &[Arc<Hold>]) {
        let guests = holds.iter().flat_map(|hold| hold.guests_of(names));
        let mut guests: Vec<(Arc<str>, NameId)> = guests.map(|(id, name)| (name.clone(), *id)).collect();
        let is_known = !self.by_id.is_empty() && self.sorted.len() == names.len();
        if is_known && guests.is_empty() && !self.has_guests {
            return;
        }
        if !is_known {
            self.sorted = names.numbered().map(|(id, name)| (name, id)).collect();
            self.sorted.sort_unstable();
        }
        guests.sort_unstable();
        guests.dedup();
        self.has_guests = !guests.is_empty();
        self.number(&guests);
    }

    /// Numbers all names. The kept names are already sorted, so it searches the place of each guest among them.
    fn number(&mut self, guests: &[(Arc<str>, NameId)]) {
        let Self { sorted, by_id, .. } = self;
        let last = sorted.iter().chain(guests).map(|(_, id)| id.index()).max();
        by_id.clear();
        by_id.resize(last.unwrap_or(0) + 1, 0);
        let mut ranks = 0..;
        let mut rank = |id: NameId| by_id[id.index()] = ranks.next().unwrap_or_default();
        let mut rest = sorted.as_slice();
        for guest in guests {
            let (before, after) = rest.split_at(rest.partition_point(|kept| kept < guest));
            for (_, id) in before {
                rank(*id);
            }
            rank(guest.1);
            rest = after;
        }
        for (_, id) in rest {
            rank(*id);
        }
    }

    fn of(&self, symbol: NameId) -> u32 {
        self.by_id[symbol.index()]
    }
}

/// Sorts the rows of an epoch, and keeps its buffers between epochs.
#[derive(Debug, Default)]
pub struct Sorter {
    ranks: Ranks,
    hours: Hours,
    /// By hour as it was found, then by rank: the number of ticks, then where they begin, then where they end.
    ends: Vec<u32>,
    partitions: Vec<(Partition, usize)>,
    sorted: Vec<Tick>,
    /// Keep the guests of the ticks that were sorted last. The columns of these ticks may be gone.
    guests: Vec<Arc<Hold>>,
}

impl Sorter {
    /// Copies the ticks of all `batches` into their order. `symbols` is the table of their symbols. Keeps their guests
    /// until [`Sorter::let_guests_go`].
    pub fn sort(&mut self, batches: &[TickBatch], symbols: &Names) {
        self.guests.clear();
        self.guests.extend(batches.iter().flat_map(|batch| &batch.guests).cloned());
        self.ranks.update(symbols, &self.guests);
        self.hours.find(batches);
        let rows = batches.iter().map(TickBatch::len).sum();
        // The old contents of the buffer do not matter, because every place is written below.
        let filler = batches.iter().flat_map(TickBatch::rows).next();
        self.sorted.truncate(rows);
        self.sorted.extend(std::iter::repeat_n(filler, rows - self.sorted.len()).flatten());
        if self.hours.found.len() * self.ranks.by_id.len() <= rows {
            self.count(batches);
        } else {
            self.compare(batches);
        }
    }

    /// Tells the sorter that nobody needs the names of the last sorted ticks any more.
    pub fn let_guests_go(&mut self) {
        self.guests.clear();
    }

    /// The partitions of the ticks that were sorted last, in order, each with its ticks in order.
    pub fn partitions(&self) -> impl Iterator<Item = (Partition, &[Tick])> {
        let mut sorted = self.sorted.as_slice();
        self.partitions.iter().map(move |&(partition, rows)| {
            let here;
            (here, sorted) = sorted.split_at(rows);
            (partition, here)
        })
    }

    /// With many hours or symbols of few ticks each, a counting sort would touch more places than there are ticks.
    fn compare(&mut self, batches: &[TickBatch]) {
        for (to, tick) in self.sorted.iter_mut().zip(batches.iter().flat_map(TickBatch::rows)) {
            *to = tick;
        }
        let partition = |tick: &Tick| Partition::of(Table::Ticks, tick.ts_us);
        self.sorted.sort_by_cached_key(|tick| (partition(tick), self.ranks.of(tick.symbol), tick.ts_us));
        let partitions = self.sorted.chunk_by(|a, b| partition(a) == partition(b));
        self.partitions.clear();
        self.partitions.extend(partitions.map(|ticks| (partition(&ticks[0]), ticks.len())));
    }

    fn count(&mut self, batches: &[TickBatch]) {
        let Self { ranks, hours, ends, partitions, sorted, .. } = self;
        let symbols = ranks.by_id.len();
        ends.clear();
        ends.resize(hours.found.len() * symbols, 0);
        for batch in batches {
            for (&symbol, &ts_us) in batch.symbol.iter().zip(&batch.ts_us) {
                ends[hours.index_of(ts_us) * symbols + ranks.of(symbol) as usize] += 1;
            }
        }
        partitions.clear();
        let mut start = 0;
        for hour in hours.in_order() {
            let first = start;
            for end in &mut ends[hour * symbols..][..symbols] {
                start += std::mem::replace(end, start);
            }
            partitions.push((hours.found[hour], (start - first) as usize));
        }
        for tick in batches.iter().flat_map(TickBatch::rows) {
            let end = &mut ends[hours.index_of(tick.ts_us) * symbols + ranks.of(tick.symbol) as usize];
            sorted[*end as usize] = tick;
            *end += 1;
        }
        let mut start = 0;
        for hour in hours.in_order() {
            for &end in &ends[hour * symbols..][..symbols] {
                let symbol = &mut sorted[start..end as usize];
                start = end as usize;
                if !symbol.is_sorted_by_key(|tick| tick.ts_us) {
                    // This sort is stable, and fast on the runs that messages make.
                    symbol.sort_by_key(|tick| tick.ts_us);
                }
            }
        }
    }
}

/// The partitions of an epoch's ticks, which are hours.
#[derive(Debug, Default)]
struct Hours {
    /// In the order in which they were found.
    found: Vec<Partition>,
    places: FxHashMap<Partition, usize>,
    /// The times and place of the last hour that was asked for. Neighbouring ticks nearly always have the same hour.
    last: (Range<i64>, usize),
}

impl Hours {
    /// Forgets the hours of the last epoch, and finds those of `batches`.
    fn find(&mut self, batches: &[TickBatch]) {
        self.found.clear();
        self.places.clear();
        self.last = (0..0, 0);
        for &ts_us in batches.iter().flat_map(|batch| &batch.ts_us) {
            self.index_of(ts_us);
        }
    }

    /// The place of the hour of a tick at `ts_us`.
    #[inline]
    fn index_of(&mut self, ts_us: i64) -> usize {
        if self.last.0.contains(&ts_us) { self.last.1 } else { self.change(ts_us) }
    }

    fn change(&mut self, ts_us: i64) -> usize {
        let partition = Partition::of(Table::Ticks, ts_us);
        let index = *self.places.entry(partition).or_insert(self.found.len());
        if index == self.found.len() {
            self.found.push(partition);
        }
        self.last = (partition.times_us(), index);
        index
    }

    /// The places of the hours in the order of time.
    fn in_order(&self) -> impl Iterator<Item = usize> + use<> {
        let mut places: Vec<usize> = (0..self.found.len()).collect();
        places.sort_unstable_by_key(|&place| self.found[place]);
        places.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    /// Rows with sequence numbers from `first` on.
    fn batch(first: usize, ticks: &[(String, i64)], names: &Names) -> TickBatch {
        let mut batch = TickBatch::default();
        for ((symbol, ts_us), row) in ticks.iter().zip(first..) {
            batch.push(Tick {
                symbol: names.intern(symbol).unwrap().0,
                ts_us: *ts_us,
                price: 1.0,
                volume: 1.0,
                seq: Some(row as i64),
                venue: NameId::NONE,
                conditions: NameId::NONE,
                received_at_us: 0,
            });
        }
        batch
    }

    /// Few different values, so that partitions and symbols have many ticks, and times are often equal.
    fn ticks() -> impl Strategy<Value = Vec<(String, i64)>> {
        let ts_us = (-1..3_i64, 0..5_i64).prop_map(|(hour, us)| hour * HOUR_US + us);
        prop::collection::vec(("[A-C]{1,2}", ts_us), 0..300)
    }

    proptest! {
        #[test]
        fn order_is_that_of_a_plain_stable_sort(epochs in prop::collection::vec(ticks(), 1..3)) {
            let names = Names::new(100);
            let mut sorter = Sorter::default();
            // Two epochs: the second one uses the buffers and the ranks of the first one.
            for ticks in epochs {
                let (first, second) = ticks.split_at(ticks.len() / 3);
                let batches = [batch(0, first, &names), batch(first.len(), second, &names)];
                sorter.sort(&batches, &names);
                let found: Vec<_> = sorter
                    .partitions()
                    .flat_map(|(partition, rows)| rows.iter().map(move |row| (partition, row.ts_us, row.seq)))
                    .collect();
                let mut rows: Vec<_> = (0..ticks.len()).collect();
                let partition = |row: usize| Partition::of(Table::Ticks, ticks[row].1);
                rows.sort_by_key(|&row| (partition(row), &ticks[row].0, ticks[row].1));
                let expected: Vec<_> =
                    rows.into_iter().map(|row| (partition(row), ticks[row].1, Some(row as i64))).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
