//! The order of an epoch's ticks: by partition, then symbol, then time, then arrival.
//!
//! Symbols are few and interned, so a counting sort puts each symbol's ticks together in two passes; within a symbol the
//! ticks mostly arrived in order. Whole ticks are moved, not row numbers: columns read in the order of the symbols would
//! fetch a cache line for each value, which costs more than all else here.

use ticklake_schemas::Table;

use crate::lake::Partition;
use crate::names::{NameId, Names};
use crate::tick::{Tick, TickBatch};

/// The alphabetical rank of every symbol, kept until a new symbol appears.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    /// By [`NameId::index`](crate::names::NameId::index); that of no name is 0 and never asked for.
    by_id: Vec<u32>,
}

impl Ranks {
    /// Takes in the names that were interned since the last call.
    pub(super) fn update(&mut self, names: &Names) {
        if self.by_id.len() == names.len() + 1 {
            return;
        }
        let mut sorted: Vec<_> = names.numbered().collect();
        sorted.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
        self.by_id.clear();
        self.by_id.resize(sorted.len() + 1, 0);
        for (rank, (id, _)) in sorted.iter().enumerate() {
            self.by_id[id.index()] = rank as u32;
        }
    }

    fn of(&self, symbol: NameId) -> u32 {
        self.by_id[symbol.index()]
    }
}

/// Sorts the rows of a batch; keeps its buffers between batches.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    ranks: Ranks,
    arrival: Vec<u32>,
    ends: Vec<u32>,
    partitions: Vec<(Partition, usize)>,
    sorted: Vec<Tick>,
}

impl Sorter {
    /// The partitions of `ticks` in order, each with its ticks in order. The ids in `ticks` are of `symbols`.
    pub(super) fn sort(&mut self, ticks: &TickBatch, symbols: &Names) -> impl Iterator<Item = (Partition, &[Tick])> {
        self.ranks.update(symbols);
        self.arrive_by_partition(ticks);
        // What the buffer held before does not matter: every place is written below.
        let filler = (!ticks.is_empty()).then(|| ticks.get(0));
        self.sorted.truncate(ticks.len());
        self.sorted.extend(std::iter::repeat_n(filler, ticks.len() - self.sorted.len()).flatten());
        let (mut arrival, mut sorted) = (self.arrival.as_slice(), self.sorted.as_mut_slice());
        for &(_, rows) in &self.partitions {
            let (arrival_here, sorted_here);
            (arrival_here, arrival) = arrival.split_at(rows);
            (sorted_here, sorted) = std::mem::take(&mut sorted).split_at_mut(rows);
            sort_partition(ticks, arrival_here, &self.ranks, &mut self.ends, sorted_here);
        }
        let mut sorted = self.sorted.as_slice();
        self.partitions.iter().map(move |&(partition, rows)| {
            let here;
            (here, sorted) = sorted.split_at(rows);
            (partition, here)
        })
    }

    /// Finds the partitions and how many rows each has, and orders the rows by partition, then arrival.
    fn arrive_by_partition(&mut self, ticks: &TickBatch) {
        self.partitions.clear();
        self.arrival.clear();
        self.arrival.extend(0..ticks.len() as u32);
        let partition = |ts_us: i64| Partition::of(Table::Ticks, ts_us);
        let (Some(&first), Some(&last)) = (ticks.ts_us.iter().min(), ticks.ts_us.iter().max()) else { return };
        if partition(first) == partition(last) {
            self.partitions.push((partition(first), ticks.len()));
            return;
        }
        let partition = |row: u32| partition(ticks.ts_us[row as usize]);
        // Stable, and fast on the few runs that an epoch across the full hour is made of.
        self.arrival.sort_by_key(|&row| partition(row));
        let partitions = self.arrival.chunk_by(|&a, &b| partition(a) == partition(b));
        self.partitions.extend(partitions.map(|rows| (partition(rows[0]), rows.len())));
    }
}

/// Sorts the rows `arrival` of one partition into `sorted`, which has as many.
fn sort_partition(ticks: &TickBatch, arrival: &[u32], ranks: &Ranks, ends: &mut Vec<u32>, sorted: &mut [Tick]) {
    if arrival.len() < ranks.by_id.len() {
        // Counting would touch more symbols than there are ticks: many hours of few ticks each.
        for (to, &row) in sorted.iter_mut().zip(arrival) {
            *to = ticks.get(row as usize);
        }
        sorted.sort_by_key(|tick| (ranks.of(tick.symbol), tick.ts_us));
        return;
    }
    ends.clear();
    ends.resize(ranks.by_id.len(), 0);
    for &row in arrival {
        ends[ranks.of(ticks.symbol[row as usize]) as usize] += 1;
    }
    let mut start = 0;
    for end in ends.iter_mut() {
        start += std::mem::replace(end, start);
    }
    for &row in arrival {
        let tick = ticks.get(row as usize);
        let end = &mut ends[ranks.of(tick.symbol) as usize];
        sorted[*end as usize] = tick;
        *end += 1;
    }
    let mut start = 0;
    for &end in ends.iter() {
        let symbol = &mut sorted[start..end as usize];
        start = end as usize;
        if !symbol.is_sorted_by_key(|tick| tick.ts_us) {
            // Stable, and fast on the runs that messages make.
            symbol.sort_by_key(|tick| tick.ts_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn batch(ticks: &[(String, i64)], names: &Names) -> TickBatch {
        let mut batch = TickBatch::default();
        for (row, (symbol, ts_us)) in ticks.iter().enumerate() {
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

    /// Few values each, so that partitions and symbols have many ticks, and times are often equal.
    fn ticks() -> impl Strategy<Value = Vec<(String, i64)>> {
        let ts_us = (-1..3_i64, 0..5_i64).prop_map(|(hour, us)| hour * HOUR_US + us);
        prop::collection::vec(("[A-C]{1,2}", ts_us), 0..300)
    }

    proptest! {
        #[test]
        fn order_is_that_of_a_plain_stable_sort(epochs in prop::collection::vec(ticks(), 1..3)) {
            let names = Names::new(100);
            let mut sorter = Sorter::default();
            // Two epochs: the second meets the buffers and the ranks of the first.
            for ticks in epochs {
                let found: Vec<_> = sorter
                    .sort(&batch(&ticks, &names), &names)
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
