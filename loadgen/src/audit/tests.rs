//! The audit: what it finds lost, duplicate, altered and unknown. It does *not* own the command, which `tests/it` runs.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use ticklake_schemas::Table;

use std::fs;

use super::*;
use crate::tick::{Number, SymbolHash, Tick};

/// A row to write: symbol, event time, price, sequence number.
type Written = (&'static str, i64, f64, Option<i64>);

/// Twenty ticks of each of two symbols, the sequence numbers of one with a gap.
fn rows() -> Vec<Written> {
    let seqs = |symbol: &str, i: i64| if symbol == "BBB" && i >= 10 { i + 1_000 } else { i };
    ["AAA", "BBB"]
        .into_iter()
        .flat_map(|symbol| (0..20).map(move |i| (symbol, 1_000 + i, 10.0 + i as f64, Some(seqs(symbol, i)))))
        .collect()
}

fn sent() -> Sent {
    let mut sent = Sent::nothing();
    for (symbol, ts_us, price, seq) in rows() {
        let (price, volume) = (Number::Float(price), Number::Whole(100));
        let tick = Tick { symbol, ts_us, price, volume, seq: seq.unwrap(), venue: None, conditions: None };
        assert!(sent.symbols.entry(symbol.to_owned()).or_default().add(SymbolHash::of(symbol), &tick));
        sent.ticks += 1;
    }
    sent
}

fn write(lake: &TempDir, name: &str, rows: &[Written]) {
    let path = lake.path().join("ticks").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let times = || TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1)).with_timezone("UTC");
    let nothing = || Arc::new(StringArray::new_null(rows.len()));
    let batch = RecordBatch::try_new(
        Table::Ticks.schema(),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(times()),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))),
            Arc::new(Float64Array::from_value(100.0, rows.len())),
            Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
            nothing(),
            nothing(),
            Arc::new(times()),
        ],
    );
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), Table::Ticks.schema(), None).unwrap();
    writer.write(&batch.unwrap()).unwrap();
    writer.close().unwrap();
}

fn lake_of(rows: &[Written]) -> TempDir {
    let lake = TempDir::new().unwrap();
    let (one, two) = rows.split_at(rows.len() / 3);
    write(&lake, "dt=2026-11-23/hour=13/w-1.parquet", one);
    write(&lake, "dt=2026-11-23/hour=14/w-1.parquet", two);
    lake
}

fn audited(rows: &[Written]) -> Report {
    audit(lake_of(rows).path(), &sent()).unwrap()
}

#[test]
fn lake_with_exactly_what_was_sent_is_clean() {
    let mut shuffled = rows();
    shuffled.reverse();
    for rows in [rows(), shuffled] {
        let report = audited(&rows);
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.rows, report.files), (40, 2));
        assert!(report.bytes > 0);
    }
}

#[test]
fn each_lost_row_is_reported_with_its_symbol() {
    for (at, seq) in [(0, 0), (39, 1_019), (31, 1_011), (25, 5)] {
        let mut rows = rows();
        let (symbol, ..) = rows.remove(at);
        let report = audited(&rows);
        assert!(!report.is_clean());
        let problem = Problem { lost: 1, first_lost: Some(seq), ..Problem::default() };
        assert_eq!((report.lost, report.duplicate, report.altered, report.unknown), (1, 0, 0, 0));
        assert_eq!(report.problems, BTreeMap::from([(symbol.to_owned(), problem)]));
    }
}

#[test]
fn each_duplicate_is_reported_with_its_files() {
    for at in [0, 19, 33] {
        let mut rows = rows();
        let copy = rows[at];
        rows.insert(if at == 0 { 40 } else { 0 }, copy);
        let report = audited(&rows);
        assert_eq!((report.lost, report.duplicate, report.altered, report.unknown), (0, 1, 0, 0), "{report}");
        let found = &report.duplicates[0];
        assert_eq!((found.symbol.as_str(), Some(found.seq)), (copy.0, copy.3));
        assert_eq!(found.files.len(), 2);
        assert_ne!(found.files[0], found.files[1]);
        assert!(report.to_string().contains(&found.files[1].display().to_string()));
    }
}

/// Two ticks of those that were sent were sent twice.
fn sent_with_repeats() -> Sent {
    let mut sent = sent();
    for (symbol, ts_us, price, seq) in [rows()[3], rows()[33]] {
        let (price, volume) = (Number::Float(price), Number::Whole(100));
        let tick = Tick { symbol, ts_us, price, volume, seq: seq.unwrap(), venue: None, conditions: None };
        sent.symbols.get_mut(symbol).unwrap().again(SymbolHash::of(symbol), &tick);
        sent.ticks += 1;
    }
    sent
}

#[test]
fn tick_that_was_sent_twice_is_to_be_there_twice() {
    let twice: Vec<Written> = rows().into_iter().chain([rows()[33], rows()[3]]).collect();
    let audited = |rows: &[Written]| audit(lake_of(rows).path(), &sent_with_repeats()).unwrap();
    let report = audited(&twice);
    assert!(report.is_clean() && report.rows == 42, "{report}");
    let once = audited(&rows());
    assert_eq!((once.lost, once.duplicate, once.altered), (2, 0, 0), "{once}");
    assert_eq!(once.problems["AAA"].first_lost, Some(3));
    let thrice: Vec<Written> = twice.iter().copied().chain([rows()[3]]).collect();
    let thrice = audited(&thrice);
    assert_eq!((thrice.lost, thrice.duplicate, thrice.altered), (0, 1, 0), "{thrice}");
    let mut altered = twice;
    altered[41].2 += 1.0;
    assert_eq!(audited(&altered).altered, 1, "the second one counts as well");
}

#[test]
fn malformed_ticks_are_to_be_in_quarantine() {
    let lake = lake_of(&rows());
    let expecting = |malformed| audit(lake.path(), &Sent { malformed, ..sent() }).unwrap();
    assert!(expecting(0).is_clean() && !expecting(3).is_clean());
    let folder = lake.path().join("quarantine/dt=2026-11-23");
    fs::create_dir_all(&folder).unwrap();
    let rejects: Int64Array = (0..3).collect();
    let batch = RecordBatch::try_from_iter([("index", Arc::new(rejects) as _)]).unwrap();
    let file = fs::File::create(folder.join("w-1.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(expecting(3).is_clean() && !expecting(4).is_clean());
    assert!(expecting(4).to_string().contains("malformed  4 sent, 3 in quarantine"));
}

#[test]
fn altered_price_or_time_is_reported() {
    let alter: [fn(&mut Written); 2] = [|row| row.1 += 1, |row| row.2 = row.2.next_up()];
    for alter in alter {
        let mut rows = rows();
        alter(&mut rows[7]);
        let report = audited(&rows);
        assert_eq!((report.lost, report.duplicate, report.altered, report.unknown), (0, 0, 1, 0));
        assert!(report.problems["AAA"].is_altered);
        assert!(!report.is_clean());
    }
}

#[test]
fn rows_that_were_never_sent_are_reported() {
    let strangers =
        [("ZZZ", 1, 1.0, Some(1)), ("AAA", 1, 1.0, Some(20)), ("BBB", 1, 1.0, Some(500)), ("AAA", 1, 1.0, None)];
    let rows: Vec<Written> = rows().into_iter().chain(strangers).collect();
    let report = audited(&rows);
    assert_eq!((report.lost, report.duplicate, report.altered, report.unknown), (0, 0, 0, 4));
    assert_eq!(report.unknown_examples.len(), 4);
    assert!(!report.is_clean());
}

#[test]
fn hidden_names_and_other_files_are_ignored() {
    let lake = lake_of(&rows());
    for name in ["_temporary.parquet", ".w-2.parquet", "_old/w-3.parquet", "dt=2026-11-23/.tmp/w-4.parquet"] {
        write(&lake, name, &rows());
    }
    fs::write(lake.path().join("ticks/note.txt"), "not Parquet").unwrap();
    let report = audit(lake.path(), &sent()).unwrap();
    assert!(report.is_clean() && report.files == 2, "{report}");
}

#[test]
fn empty_file_is_no_problem_and_missing_table_is_an_error() {
    let lake = lake_of(&rows());
    write(&lake, "dt=2026-11-23/hour=15/w-2.parquet", &[]);
    assert!(audit(lake.path(), &sent()).unwrap().is_clean());
    assert!(matches!(audit(&lake.path().join("nowhere"), &sent()), Err(LakeError::Read { .. })));
}

#[test]
fn file_that_is_no_parquet_is_named() {
    let lake = lake_of(&rows());
    fs::write(lake.path().join("ticks/broken.parquet"), "PAR1").unwrap();
    let error = audit(lake.path(), &sent()).unwrap_err();
    assert!(error.to_string().contains("broken.parquet"), "{error}");
}
