//! Recorded files: how their columns are mapped, and what is refused. It does *not* own sending them.

use std::{collections::VecDeque, fs::File, io::Write, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array, LargeStringArray,
        RecordBatch, StringArray, TimestampNanosecondArray,
    },
    datatypes::Int32Type,
};
use flate2::{Compression, write::GzEncoder};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::payload::{MessageWriter, Packing};

const MAP: &str = "symbol=sym,ts=t,price=p,volume=v,venue=x,conditions=c";

fn recording(dir: &TempDir, name: &str, mapping: &str) -> Recording {
    Recording { path: dir.path().join(name), mapping: mapping.parse().unwrap(), limit: None }
}

/// The bodies of single-tick messages, and the tallies.
fn replayed(recording: &Recording) -> Result<(Vec<String>, BTreeMap<String, Tally>), ReplayError> {
    let mut writer = MessageWriter::new(Packing::SINGLE)?;
    let mut messages = VecDeque::new();
    let tallies = replay(recording, Dialect::Canonical, &mut |tick| {
        writer.push(tick, &mut messages)?;
        Ok(true)
    })?;
    Ok((messages.into_iter().map(|message| message.body).collect(), tallies))
}

const CSV: &str = "t,sym,p,v,x,c,id\n\
    1000,AAPL,189.3700,100,N,@ T,50\n\
    1001,BTCUSDT,61837.63000000,0.00009,,,7\n\
    1001,AAPL,.5,1e3,Q,,49\n";

fn csv_bodies() -> Vec<String> {
    [
        r#"{"symbol":"AAPL","price":189.3700,"volume":100,"ts":1000000,"seq":0,"venue":"N","conditions":"@ T"}"#,
        r#"{"symbol":"BTCUSDT","price":61837.63000000,"volume":0.00009,"ts":1001000,"seq":0}"#,
        r#"{"symbol":"AAPL","price":0.5,"volume":1e3,"ts":1001000,"seq":1,"venue":"Q"}"#,
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn csv_rows_keep_their_order_and_their_digits() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("a.csv"), CSV).unwrap();
    let (bodies, tallies) = replayed(&recording(&dir, "a.csv", MAP)).unwrap();
    assert_eq!(bodies, csv_bodies());
    assert_eq!(tallies["AAPL"].count(), 2);
    assert_eq!(tallies["BTCUSDT"].count(), 1);
}

#[test]
fn gzip_makes_no_difference_even_in_several_members() {
    let dir = TempDir::new().unwrap();
    let mut file = File::create(dir.path().join("a.csv.gz")).unwrap();
    let (head, tail) = CSV.split_at(40);
    for part in [head, tail] {
        let mut encoder = GzEncoder::new(&mut file, Compression::default());
        encoder.write_all(part.as_bytes()).unwrap();
        encoder.finish().unwrap();
    }
    assert_eq!(replayed(&recording(&dir, "a.csv.gz", MAP)).unwrap().0, csv_bodies());
}

#[test]
fn limit_takes_rows_from_the_beginning() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("a.csv"), CSV).unwrap();
    for limit in 0..5 {
        let limited = Recording { limit: Some(limit as u64), ..recording(&dir, "a.csv", MAP) };
        assert_eq!(replayed(&limited).unwrap().0, csv_bodies()[..limit.min(3)]);
    }
}

#[test]
fn mapped_sequence_numbers_are_taken_and_must_not_repeat() {
    let dir = TempDir::new().unwrap();
    let mapping = "symbol=sym,ts=t,price=p,volume=v,seq=id";
    std::fs::write(dir.path().join("a.csv"), CSV).unwrap();
    let (bodies, _) = replayed(&recording(&dir, "a.csv", mapping)).unwrap();
    let seqs: Vec<Value> =
        bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()["seq"].take()).collect();
    assert_eq!(seqs, [json!(50), json!(7), json!(49)]);
    std::fs::write(dir.path().join("b.csv"), CSV.replace(",49\n", ",50\n")).unwrap();
    let error = replayed(&recording(&dir, "b.csv", mapping)).unwrap_err();
    assert!(matches!(&error, ReplayError::SeqRepeats { row: 3, symbol, seq: 50 } if symbol == "AAPL"), "{error}");
}

#[test]
fn bad_values_are_named_with_their_row() {
    let dir = TempDir::new().unwrap();
    for (good, bad, column) in
        [("1001,AAPL", "x,AAPL", "ts"), (".5", "NaN", "price"), ("1e3", "", "volume"), ("1001,AAPL", "1001,", "symbol")]
    {
        std::fs::write(dir.path().join("a.csv"), CSV.replace(good, bad)).unwrap();
        let error = replayed(&recording(&dir, "a.csv", MAP)).unwrap_err();
        assert!(
            matches!(error, ReplayError::Read(ReadError::Value { row: 3, column: c, .. }) if c == column),
            "{bad}: {error}"
        );
    }
}

#[test]
fn missing_columns_and_unknown_formats_are_named() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("a.csv"), CSV).unwrap();
    let error = replayed(&recording(&dir, "a.csv", "symbol=sym,ts=time,price=p,volume=v")).unwrap_err();
    assert!(error.to_string().contains("\"time\"") && error.to_string().contains("t, sym, p"), "{error}");
    assert!(matches!(replayed(&recording(&dir, "a.json", MAP)), Err(ReplayError::Read(ReadError::Format(_)))));
    assert!(matches!(replayed(&recording(&dir, "b.csv", MAP)), Err(ReplayError::Read(ReadError::Read { .. }))));
}

fn write_parquet(dir: &TempDir, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(dir.path().join(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_columns_of_many_types_give_the_same_ticks() {
    let dir = TempDir::new().unwrap();
    let plain: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(Int64Array::from(vec![1_000, 1_001]))),
        ("sym", Arc::new(StringArray::from(vec!["A", "B"]))),
        ("p", Arc::new(Float64Array::from(vec![0.1 + 0.2, 5.0]))),
        ("v", Arc::new(Int64Array::from(vec![9_007_199_254_740_993, 2]))),
        ("x", Arc::new(StringArray::from(vec![Some("N"), None]))),
        ("c", Arc::new(StringArray::from(vec!["", "@"]))),
    ];
    write_parquet(&dir, "plain.parquet", plain);
    let other: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(TimestampNanosecondArray::from(vec![1_000_000_000, 1_001_000_000]))),
        ("sym", Arc::new(LargeStringArray::from(vec!["A", "B"]))),
        ("p", Arc::new(StringArray::from(vec!["0.30000000000000004", "5.0"]))),
        ("v", Arc::new(Decimal128Array::from(vec![9_007_199_254_740_993, 2]).with_precision_and_scale(20, 0).unwrap())),
        ("x", Arc::new(["N", ""].into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("c", Arc::new(StringArray::from(vec![None, Some("@")]))),
    ];
    write_parquet(&dir, "other.parquet", other);
    let bodies = replayed(&recording(&dir, "plain.parquet", MAP)).unwrap().0;
    assert_eq!(
        bodies,
        [
            r#"{"symbol":"A","price":0.30000000000000004,"volume":9007199254740993,"ts":1000000,"seq":0,"venue":"N"}"#,
            r#"{"symbol":"B","price":5.0,"volume":2,"ts":1001000,"seq":0,"conditions":"@"}"#,
        ]
    );
    assert_eq!(replayed(&recording(&dir, "other.parquet", MAP)).unwrap().0, bodies);
}

#[test]
fn nulls_in_parquet_are_named_with_their_row() {
    let dir = TempDir::new().unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(Int32Array::from(vec![1, 2]))),
        ("sym", Arc::new(StringArray::from(vec!["A", "B"]))),
        ("p", Arc::new(Float64Array::from(vec![Some(1.0), None]))),
        ("v", Arc::new(Int64Array::from(vec![1, 2]))),
    ];
    write_parquet(&dir, "a.parquet", columns);
    let error = replayed(&recording(&dir, "a.parquet", "symbol=sym,ts=t,price=p,volume=v")).unwrap_err();
    assert!(matches!(error, ReplayError::Read(ReadError::Value { row: 2, column: "price", .. })), "{error}");
}
