//! Tests which lakes can be opened, which statements may run on them, and how answers are reported.

use std::fs;

use athena::lake::Lake;
use athena::location::{Location, LocationError};
use athena::query::{Query, SHIPPED};
use athena::report::{athena_dollars, render};

use crate::fixture::{Cell, Fixture, cells, shipped};

#[tokio::test]
async fn empty_lake_answers_every_query_with_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&Location::parse(folder.path().to_str().unwrap()).unwrap()).unwrap();
    for (name, _) in SHIPPED {
        assert_eq!(shipped(&lake, name).await, Vec::<Vec<Cell>>::new(), "{name}");
    }
    assert_eq!(lake.newest_day().await.unwrap(), None);
    let answer = lake.run(&Query::load("vwap").unwrap().sql).await.unwrap();
    assert!(render(&answer, 40).unwrap().contains("| notional |"), "an empty answer still names its columns");
}

#[test]
fn missing_folder_is_an_error_that_names_it() {
    let error = Location::parse("/no/such/lake").unwrap_err();
    assert!(matches!(error, LocationError::NotAFolder(_)));
    assert!(error.to_string().contains("/no/such/lake"), "{error}");
}

#[test]
fn s3_location_needs_a_bucket() {
    assert!(matches!(Location::parse("s3:///prefix"), Err(LocationError::NotABucket(_))));
    assert!(matches!(Location::parse("s3://"), Err(LocationError::NotABucket(_))));
}

#[test]
fn unknown_query_is_an_error_that_lists_the_shipped_ones() {
    let error = Query::load("ohlvc_bars").unwrap_err().to_string();
    assert!(error.contains("\"ohlvc_bars\"") && error.contains("ohlcv_bars, vwap"), "{error}");
}

#[tokio::test]
async fn folder_with_spaces_and_wildcards_in_its_name_is_read() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("my lake [1] 100%");
    fs::create_dir_all(odd.join("alerts")).unwrap();
    let from = fixture.folder().join("alerts/dt=2026-11-23");
    fs::create_dir(odd.join("alerts/dt=2026-11-23")).unwrap();
    fs::copy(from.join("w1-7.parquet"), odd.join("alerts/dt=2026-11-23/w1-7.parquet")).unwrap();
    let lake = Lake::open(&Location::parse(odd.to_str().unwrap()).unwrap()).unwrap();
    let answer = lake.run("SELECT count(*) FROM alerts").await.unwrap();
    assert_eq!(cells(&answer), [[Cell::Number(5.0)]]);
}

#[tokio::test]
async fn statements_that_write_are_refused() {
    let fixture = Fixture::new();
    let target = fixture.folder().join("stolen.parquet");
    for sql in [
        format!("COPY ticks TO '{}'", target.display()),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "DROP TABLE ticks".to_owned(),
        "INSERT INTO ticks SELECT * FROM ticks".to_owned(),
    ] {
        assert!(fixture.lake().run(&sql).await.is_err(), "{sql}");
    }
    assert!(!target.exists());
}

#[tokio::test]
async fn time_literals_compare_with_event_times_as_on_athena() {
    let sql = "SELECT count(*) FROM ticks WHERE ts >= timestamp '2026-11-23 04:00:00' AND ts < timestamp '2026-11-23 04:10:00'";
    let fixture = Fixture::new();
    let from = crate::fixture::MIDNIGHT_US + 4 * crate::fixture::HOUR_US;
    let until = from + 10 * crate::fixture::MINUTE_US;
    let naive = fixture.ticks.iter().filter(|tick| (from..until).contains(&tick.ts)).count();
    assert!(naive > 0);
    assert_eq!(cells(&fixture.lake().run(sql).await.unwrap()), [[Cell::from(naive)]]);
}

#[tokio::test]
async fn report_shows_no_more_rows_than_asked_for_and_says_how_many_there_are() {
    let fixture = Fixture::new();
    let answer = fixture.lake().run("SELECT symbol FROM ticks ORDER BY symbol").await.unwrap();
    let text = render(&answer, 3).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("AAPL")).count(), 3, "{text}");
    assert!(text.contains(&format!("{} rows, the first 3 shown", fixture.ticks.len())), "{text}");
    assert!(text.contains("from 5 files; on Athena $0.000050 "), "{text}");
}

#[test]
fn athena_bills_ten_megabytes_at_least() {
    assert_eq!(athena_dollars(0), 0.000_05);
    assert_eq!(athena_dollars(2_000_000_000_000), 10.0);
}

#[tokio::test]
async fn today_must_be_a_date() {
    let error = Fixture::new().lake().set_today("yesterday").unwrap_err();
    assert!(error.to_string().contains("\"yesterday\""), "{error}");
}
