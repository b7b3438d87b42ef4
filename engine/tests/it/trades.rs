//! Sends recorded trades through queue, engine and lake, and compares them row by row with the recording.
//!
//! The recordings are not part of the project. The tests look for them in the folder that `TICKLAKE_DATA` names, or in
//! `../shared/data`. If a recording is missing, its test says so and passes.

use std::fs::File;
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use loadgen::{Dialect, Layout, Packing, Plan, Progress, Recording, Source};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ticklake::sandbox::Sandbox;

use crate::{lake, local};

/// A comparable trade: symbol, time, bits of price and of volume, the recording's own number, venue, conditions.
type Trade = (String, i64, u64, u64, Option<i64>, Option<String>, Option<String>);

fn recording(name: &str) -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("TICKLAKE_DATA").map_or(default, PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        // Not by `println!`, because the output of a test that passes is not shown.
        let path = path.display();
        let line = format!("skipped: there is no {path}; TICKLAKE_DATA names the folder of recordings\n");
        stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    Some(path)
}

/// Sends the recording through a new local endpoint and a draining engine. Returns the trades in the lake, sorted.
async fn trades_in_the_lake(path: PathBuf, mapping: &str, per_message: usize) -> Vec<Trade> {
    // If the recording has no numbers, the load generator numbers the rows of each symbol.
    let numbered = mapping.contains("seq=");
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    let packing = Packing::new(per_message, Layout::Array, Dialect::Canonical).unwrap();
    let source = Source::Recording(Recording { path, mapping: mapping.parse().unwrap(), limit: None });
    let send = loadgen::run(
        sandbox.clients.sqs.clone(),
        std::slice::from_ref(&sandbox.queue_url),
        Plan::new(source, packing),
        Arc::new(Progress::default()),
    );
    let config = local::config(&sandbox, |_| {});
    let sent = send.await.unwrap();
    let (result, _) = local::drain(&sandbox, &config).await;
    result.unwrap();
    let report = loadgen::audit(&sandbox.lake, &sent).unwrap();
    assert!(report.is_clean(), "{report}");
    let rows = lake::ticks(&lake::objects_in(&sandbox.lake)).into_iter();
    sorted(rows.map(|row| {
        let (price, volume) = (row.price.to_bits(), row.volume.to_bits());
        (row.symbol, row.ts_us, price, volume, row.seq.filter(|_| numbered), row.venue, row.conditions)
    }))
}

fn sorted(trades: impl Iterator<Item = Trade>) -> Vec<Trade> {
    let mut trades: Vec<_> = trades.collect();
    trades.sort_unstable();
    trades
}

/// The rows of the recorded equity trades, read without the load generator.
fn equity_trades(path: &Path) -> Vec<Trade> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    sorted(reader.map(Result::unwrap).flat_map(|batch| {
        let text = |name: &str, row| {
            let column = batch[name].as_string::<i64>();
            column.is_valid(row).then(|| column.value(row)).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let integers = |name: &str| batch[name].as_primitive::<Int64Type>().clone();
        let (ts_ms, size) = (integers("ts_ms"), integers("size"));
        let price = batch["price"].as_primitive::<Float64Type>();
        (0..batch.num_rows())
            .map(|row| {
                let volume = (size.value(row) as f64).to_bits();
                let symbol = text("symbol", row).unwrap();
                let price = price.value(row).to_bits();
                (symbol, ts_ms.value(row) * 1_000, price, volume, None, text("exchange", row), text("cond", row))
            })
            .collect::<Vec<_>>()
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_equity_trades_are_in_the_lake_exactly() {
    let Some(path) = recording("us_equity_trades_20131007_08.parquet") else { return };
    let expected = equity_trades(&path);
    let mapping = "symbol=symbol,ts=ts_ms,price=price,volume=size,venue=exchange,conditions=cond";
    let found = trades_in_the_lake(path, mapping, 500).await;
    assert_eq!(found.len(), expected.len());
    let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert_eq!(differs, None);
}

/// The rows of recorded exchange trades, read without the load generator.
fn exchange_trades(path: &Path) -> Vec<Trade> {
    let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(File::open(path).unwrap())).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let at = |name| head.iter().position(|column| *column == name).unwrap();
    let (ts_ms, symbol, price, volume, id) = (at("trade_ms"), at("symbol"), at("price"), at("qty"), at("trade_id"));
    sorted(lines.map(|line| {
        let bits = |at: usize| line[at].parse::<f64>().unwrap().to_bits();
        let integer = |at: usize| line[at].parse::<i64>().unwrap();
        (line[symbol].to_owned(), integer(ts_ms) * 1_000, bits(price), bits(volume), Some(integer(id)), None, None)
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_exchange_trades_are_in_the_lake_exactly() {
    for (name, per_message) in [
        ("cm_btcusd_perp", 1),
        ("spot_btcusdt", 100),
        ("spot_ethusdt", 100),
        ("usdm_btcusdt", 500),
        ("usdm_ethusdt", 500),
    ] {
        let Some(path) = recording(&format!("binance/{name}_20240808_trades.csv.gz")) else { return };
        let expected = exchange_trades(&path);
        let mapping = "symbol=symbol,ts=trade_ms,price=price,volume=qty,seq=trade_id";
        let found = trades_in_the_lake(path, mapping, per_message).await;
        assert_eq!(found.len(), expected.len(), "{name}");
        let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        assert_eq!(differs, None, "{name}");
    }
}
