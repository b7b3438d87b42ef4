//! The trades of one symbol in the order of event time. A file may have them in another order.

use super::Trades;

/// One symbol's trades, ascending by event time. Trades of the same time stay in the order of the file.
pub(super) struct Lane<'a> {
    trades: &'a Trades,
    name: &'a str,
    rows: Vec<usize>,
}

impl<'a> Lane<'a> {
    /// The lanes of all symbols, in the order of `trades.symbols`.
    pub(super) fn all(trades: &'a Trades) -> Vec<Self> {
        let mut lanes: Vec<Self> = trades.symbols.iter().map(|name| Self { trades, name, rows: Vec::new() }).collect();
        for (row, &symbol) in trades.symbol.iter().enumerate() {
            lanes[symbol as usize].rows.push(row);
        }
        for lane in &mut lanes {
            lane.rows.sort_by_key(|&row| trades.ts_us[row]);
        }
        lanes
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row in the file of trade number `at`.
    pub(super) fn row(&self, at: usize) -> usize {
        self.rows[at]
    }

    pub(super) fn ts_us(&self, at: usize) -> i64 {
        self.trades.ts_us[self.rows[at]]
    }

    pub(super) fn price(&self, at: usize) -> f64 {
        self.trades.price[self.rows[at]]
    }

    pub(super) fn volume(&self, at: usize) -> f64 {
        self.trades.volume[self.rows[at]]
    }

    /// The first trade that is not before `ts_us`.
    pub(super) fn find(&self, ts_us: i64) -> usize {
        self.rows.partition_point(|&row| self.trades.ts_us[row] < ts_us)
    }
}
