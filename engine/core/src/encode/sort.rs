//! The order of an epoch's ticks: by partition, then symbol, then time, then arrival.
//!
//! It sorts row numbers and leaves the columns where they are.

use ticklake_schemas::Table;

use crate::lake::Partition;
use crate::tick::TickBatch;

/// Sorts the rows of a batch; keeps its buffer between batches.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    rows: Vec<SortRow>,
    order: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SortRow {
    partition: Partition,
    symbol_rank: u32,
    ts_us: i64,
    /// Arrival last: it makes the order total, and so an unstable sort stable.
    row: u32,
}

impl Sorter {
    /// The partitions of `ticks` in order, each with its sorted row numbers. `symbol_ranks` holds, by
    /// [`NameId::index`](crate::names::NameId::index), the alphabetical rank of each symbol.
    pub(super) fn sort<'a>(
        &'a mut self,
        ticks: &TickBatch,
        symbol_ranks: &[u32],
    ) -> impl Iterator<Item = (Partition, &'a [u32])> {
        self.rows.clear();
        self.rows.extend((0..ticks.len()).map(|row| SortRow {
            partition: Partition::of(Table::Ticks, ticks.ts_us[row]),
            symbol_rank: symbol_ranks[ticks.symbol[row].index()],
            ts_us: ticks.ts_us[row],
            row: row as u32,
        }));
        self.rows.sort_unstable();
        self.order.clear();
        self.order.extend(self.rows.iter().map(|row| row.row));

        let mut order = self.order.as_slice();
        self.rows.chunk_by(|a, b| a.partition == b.partition).map(move |rows| {
            let (chunk, rest) = order.split_at(rows.len());
            order = rest;
            (rows[0].partition, chunk)
        })
    }
}
