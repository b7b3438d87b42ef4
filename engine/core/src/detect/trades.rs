//! The detectors on real trades of US equities: how often they alert, and how many bad prints they find.
//!
//! The trades lie outside the repository, in the folder that `TICKLAKE_DATA` names, else in `../shared/data` beside the
//! workspace. If they are absent, the tests say so and pass.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::alert::{Kind, State};
use crate::names::NameId;
use crate::tick::Tick;

/// Enough for stable rates, and few enough for an unoptimised build.
const ROWS: usize = 200_000;

/// The first trades of the file, in its order.
struct Trades {
    names: Dictionaries,
    ticks: TickBatch,
    /// Whether the exchange marked the trade as made away from the market.
    off_market: Vec<bool>,
}

impl Trades {
    fn read() -> Option<Self> {
        let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        let folder = std::env::var_os("TICKLAKE_DATA").map_or(default, PathBuf::from);
        let Ok(file) = File::open(folder.join("us_equity_trades_20131007_08.parquet")) else {
            // Not by `println!`: its output is hidden when the test passes.
            let folder = folder.display();
            let line = format!("skipped: no trades in {folder}, set TICKLAKE_DATA to the folder that has them\n");
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            return None;
        };
        let mut trades = Self { names: Dictionaries::new(10_000), ticks: TickBatch::default(), off_market: Vec::new() };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_limit(ROWS).build().unwrap();
        reader.for_each(|batch| trades.push(&batch.unwrap()));
        Some(trades)
    }

    fn push(&mut self, batch: &RecordBatch) {
        let column = |name, to| -> ArrayRef { cast(batch.column_by_name(name).unwrap(), &to).unwrap() };
        let (symbol, ts) = (column("symbol", DataType::Utf8), column("ts_ms", DataType::Int64));
        let (price, off_market) = (column("price", DataType::Float64), column("offmarket", DataType::Int64));
        for row in 0..batch.num_rows() {
            let ts_us = ts.as_primitive::<Int64Type>().value(row) * 1_000;
            self.ticks.push(Tick {
                symbol: self.names.symbols.intern(symbol.as_string::<i32>().value(row)).unwrap().0,
                ts_us,
                price: price.as_primitive::<Float64Type>().value(row),
                volume: 0.0,
                seq: None,
                venue: NameId::NONE,
                conditions: NameId::NONE,
                received_at_us: ts_us,
            });
            self.off_market.push(off_market.as_primitive::<Int64Type>().value(row) != 0);
        }
    }

    fn alerts(&self, config: &DetectConfig) -> Vec<Alert> {
        let mut raised = Vec::new();
        Detectors::new(config).observe(&self.ticks, &self.names, None, &mut raised);
        let mut alerts: Vec<Alert> = raised.into_iter().map(|raised| raised.alert).collect();
        alerts.retain(|alert| alert.kind == Kind::Spike && alert.state == State::Open);
        alerts
    }
}

#[test]
fn real_trades_raise_few_alerts() {
    let Some(trades) = Trades::read() else { return };
    let alerts = trades.alerts(&DetectConfig::default());
    let key = |row: usize| (trades.ticks.ts_us[row], trades.ticks.price[row].to_bits());
    let marked: HashSet<_> = (0..trades.ticks.len()).filter(|&row| trades.off_market[row]).map(key).collect();
    let unmarked = alerts.iter().filter(|alert| !marked.contains(&(alert.ts_us, alert.observed.to_bits()))).count();
    println!("{} alerts on {} trades, {unmarked} of them not marked as off-market", alerts.len(), trades.ticks.len());
    // Measured: 21 alerts, 12 of them unmarked. Most of these lie 10 cents or more from trades that differ by one.
    assert!(unmarked <= 20, "{alerts:#?}");
    assert!(alerts.len() > unmarked, "no marked trade was found: {alerts:#?}");
}

#[test]
fn bad_prints_planted_into_real_trades_are_found() {
    let Some(mut trades) = Trades::read() else { return };
    let planted: Vec<usize> = (5_000..trades.ticks.len()).step_by(997).collect();
    for (at, &row) in planted.iter().enumerate() {
        let factor = if at % 2 == 0 { 1.005 } else { 0.995 };
        trades.ticks.price[row] = (trades.ticks.price[row] * factor * 100.0).round() / 100.0;
    }
    // The planted prints are closer together than the usual cool-down.
    let alerts = trades.alerts(&DetectConfig { cool_down: Duration::ZERO, ..DetectConfig::default() });
    let key = |row: usize| (trades.ticks.ts_us[row], trades.ticks.price[row].to_bits());
    let alerted: HashSet<_> = alerts.iter().map(|alert| (alert.ts_us, alert.observed.to_bits())).collect();
    let found = planted.iter().filter(|&&row| alerted.contains(&key(row))).count();
    println!("{found} of {} prints found that are half a percent off", planted.len());
    assert!(found * 100 >= planted.len() * 98, "{found} of {}", planted.len());
}
