//! Tests the command on a bucket, with files that the engine's own encoder wrote.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use localaws::{LocalAws, Options};
use ticklake_core::batch::Contents;
use ticklake_core::decode::{DecodeConfig, Decoder, Message};
use ticklake_core::encode::{EncodeConfig, Encoder};
use ticklake_core::lake::EpochId;
use ticklake_core::tick::{Dictionaries, TickBatch};

use crate::fixture::MIDNIGHT_US;

const TICKS: i64 = 3_000;

/// Writes an epoch into the bucket that `folder` is: two symbols over three hours, and one reject.
fn write_epoch(folder: &Path) {
    let config = DecodeConfig::default();
    let names = Dictionaries::new(config.names_max);
    let tick = |seq: i64| {
        let (symbol, ts) = (["AAPL", "MSFT"][seq as usize % 2], MIDNIGHT_US + seq * 3_600_000);
        format!(r#"{{"symbol":"{symbol}","price":{}.5,"volume":2,"ts":{ts},"seq":{seq}}}"#, 100 + seq % 2)
    };
    let body: Vec<String> = (0..TICKS).map(tick).chain(["{}".to_owned()]).collect();
    let body = body.join("\n");
    let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
    let received_at_us = MIDNIGHT_US + 24 * 3_600_000_000;
    let message =
        Message { id: "m-1", body: body.as_bytes(), content_encoding: None, sent_at_us: None, received_at_us };
    Decoder::new(&config, &names).decode(&message, &mut ticks, &mut rejects);
    let contents = Contents { messages: vec![()], ticks: vec![ticks], rejects, ..Contents::default() };
    let epoch = EpochId::new("worker".into(), 0);
    for file in Encoder::new(&EncodeConfig::default(), names).unwrap().encode(&epoch, &contents).unwrap() {
        let path = folder.join(file.partition.key("lake", &epoch));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.bytes).unwrap();
    }
}

async fn athena(endpoint: String, lake: &'static str, sql: &'static str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_athena"));
    command.args(["--lake", lake, "-c", sql]).env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_engine_are_read_from_a_bucket() {
    let data = tempfile::tempdir().unwrap();
    write_epoch(&data.path().join("market"));
    let local = LocalAws::start(Options::new(data.path())).await.unwrap();
    let sql =
        "SELECT symbol, sum(price * volume) AS notional, max(seq) AS last FROM ticks GROUP BY symbol ORDER BY symbol";
    let output = athena(local.url(), "s3://market/lake", sql).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Vec<&str>> =
        text.lines().map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    for expected in [["AAPL", "301500.0", "2998"], ["MSFT", "304500.0", "2999"]] {
        assert!(rows.iter().any(|row| row[..] == expected), "{text}");
    }
    assert!(text.contains("from 3 files"), "one per hour: {text}");
    let output = athena(local.url(), "s3://market/lake", "SELECT reason, body FROM quarantine").await;
    assert!(String::from_utf8(output.stdout).unwrap().contains("missing_symbol"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bucket_that_is_not_there_is_an_error_with_its_name() {
    let data = tempfile::tempdir().unwrap();
    let local = LocalAws::start(Options::new(data.path())).await.unwrap();
    let output = athena(local.url(), "s3://no-such-bucket/lake", "SELECT sum(price) FROM ticks").await;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no-such-bucket"), "{text}");
}
