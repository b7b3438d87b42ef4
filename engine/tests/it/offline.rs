//! Tests `ticklake detect`, which runs the detectors over a file.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

fn detect(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticklake"));
    command.env_clear().arg("detect").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One tick a second of each of two symbols. A has a bad print after 100 s, and B is silent from 400 s on.
fn ticks() -> impl Iterator<Item = (&'static str, i64, f64)> {
    (0..600_i64).flat_map(|second| {
        let price = if second == 100 { 150.0 } else { 100.0 + (second % 3) as f64 / 100.0 };
        let both = [("A", second, price), ("B", second, 50.0)];
        both.into_iter().filter(|(symbol, second, _)| *symbol == "A" || *second < 400)
    })
}

fn kinds(alerts: &Path) -> Vec<(String, String)> {
    let alerts = std::fs::read_to_string(alerts).unwrap();
    let field = |alert: &serde_json::Value, name: &str| alert[name].as_str().unwrap().to_owned();
    let alert = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let opened = |alert: &serde_json::Value| field(alert, "state") == "open";
    alerts.lines().map(alert).filter(opened).map(|alert| (field(&alert, "kind"), field(&alert, "id"))).collect()
}

#[test]
fn columns_and_lines_give_the_same_alerts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut columns, mut lines) = ("time,sym,p,size\n".to_owned(), String::new());
    for (symbol, second, price) in ticks() {
        let ts = 1_795_442_400 + second;
        writeln!(columns, "{ts},{symbol},{price},100").unwrap();
        writeln!(lines, r#"{{"symbol":"{symbol}","ts":{ts}000000,"price":{price},"volume":100}}"#).unwrap();
    }
    lines.push_str("no tick\n");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("ticks.csv"), columns).unwrap();
    std::fs::write(path("ticks.ndjson"), lines).unwrap();
    let [csv, ndjson, one, other] =
        ["ticks.csv", "ticks.ndjson", "1", "2"].map(|name| path(name).to_string_lossy().into_owned());
    let map = "symbol=sym,ts=time,price=p,volume=size";
    let of_columns = detect(&["--input", &csv, "--map", map, "--ts-unit", "s", "--alerts", &one]);
    assert!(of_columns.status.success(), "{}", text(&of_columns.stderr));
    let of_lines = detect(&["--input", &ndjson, "--alerts", &other]);
    assert!(of_lines.status.success(), "{}", text(&of_lines.stderr));
    let alerts = kinds(one.as_ref());
    assert_eq!(alerts, kinds(other.as_ref()));
    let ids: Vec<&str> = alerts.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, ["spike-up-A-1795442500000000", "gap-down-B-1795442815000000"]);
    let summary = text(&of_lines.stdout);
    assert!(
        summary.contains("1000 of 2 symbols")
            && summary.contains("1 gap, 1 spike\nalerts     3, 1 events are open still"),
        "{summary}"
    );
    assert!(summary.contains("rejects    1, the first: line 1001: "), "{summary}");

    let plot = path("A.svg").to_string_lossy().into_owned();
    let drawn = detect(&["--input", &ndjson, "--explain", "A", "--plot", &plot]);
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    let svg = std::fs::read_to_string(&plot).unwrap();
    for shown in ["price", "expected: the median of the last prices", "not far", "spike (1)"] {
        assert!(svg.contains(shown), "{shown}");
    }
    assert!(!svg.contains("gap ("), "that is another symbol's");

    let quiet =
        detect(&["--input", &ndjson, "--set", "detect.gap.enabled=false", "--set", "detect.spike.threshold=1e9"]);
    assert!(text(&quiet.stdout).contains("events     none"), "{}", text(&quiet.stdout));
}

#[test]
fn what_cannot_be_read_is_named() {
    for (args, wanted) in [
        (&["--input", "/nowhere/ticks.ndjson"][..], "/nowhere/ticks.ndjson"),
        (&["--input", "/nowhere/ticks.parquet"], "/nowhere/ticks.parquet"),
        (&["--input", "ticks.parquet", "--preset", "none"], "no preset \"none\""),
        (&["--input", "ticks.ndjson", "--set", "detect.gap.probability=2"], "gap.probability"),
    ] {
        let failed = detect(args);
        let said = text(&failed.stderr);
        assert!(!failed.status.success() && said.contains(wanted), "{args:?}: {said}");
    }
}
