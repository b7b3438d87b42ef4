//! The command: what it refuses, and the round from sending to the audit.

use std::process::{Command, Output};

use tempfile::TempDir;

use crate::{lake, queue::Queue};

/// Runs `loadgen` without any AWS settings of the environment.
async fn loadgen(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(args);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_passes_the_audit_until_a_row_is_missing() {
    let queue = Queue::start().await;
    let folder = TempDir::new().unwrap();
    let (sent, truth) = (folder.path().join("sent.json"), folder.path().join("truth.ndjson"));
    let (sent, truth) = (sent.to_str().unwrap(), truth.to_str().unwrap());
    let to = ["send", "--queue-url", &queue.url, "--sent", sent, "--truth", truth];
    let size = ["--ticks", "20000", "--symbols", "20", "--spikes", "5", "--zstd"];
    let output = loadgen(&[to.as_slice(), size.as_slice()].concat()).await;
    assert!(output.status.success(), "{}", text(&output));
    assert!(output.stderr.is_empty(), "progress is for terminals: {}", text(&output));
    assert_eq!(std::fs::read_to_string(truth).unwrap().lines().count(), 5);

    let mut rows = queue.drain().await;
    let audit = |lake: &TempDir| ["audit", "--lake", lake.path().to_str().unwrap(), "--sent", sent].map(str::to_owned);
    let whole = audit(&lake::write(&rows)).to_vec();
    assert_eq!(whole.len(), 5);
    let lake = lake::write(&rows);
    let output = loadgen(&audit(&lake).each_ref().map(String::as_str)).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    rows.pop();
    let lake = lake::write(&rows);
    let output = loadgen(&audit(&lake).each_ref().map(String::as_str)).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("lost       1"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_file_is_replayed_with_its_columns_mapped() {
    let queue = Queue::start().await;
    let folder = TempDir::new().unwrap();
    let (file, sent) = (folder.path().join("trades.csv"), folder.path().join("sent.json"));
    std::fs::write(&file, "id,when,sym,px,qty\n7,1381152600,AAPL,489.5,100\n8,1381152601,MSFT,33.25,200\n").unwrap();
    let (file, sent) = (file.to_str().unwrap(), sent.to_str().unwrap());
    let map = ["--map", "symbol=sym,ts=when,price=px,volume=qty,seq=id", "--ts-unit", "s"];
    let output =
        loadgen(&[&["replay", file, "--queue-url", &queue.url, "--sent", sent], map.as_slice()].concat()).await;
    assert!(output.status.success(), "{}", text(&output));
    let rows = queue.drain().await;
    let found: Vec<_> =
        rows.iter().map(|row| (row.symbol.as_str(), row.ts_us, row.price, row.volume, row.seq)).collect();
    let expected = [("AAPL", 1_381_152_600_000_000, 489.5, 100.0, 7), ("MSFT", 1_381_152_601_000_000, 33.25, 200.0, 8)];
    assert_eq!(found, expected);
    let lake = lake::write(&rows);
    let output = loadgen(&["audit", "--lake", lake.path().to_str().unwrap(), "--sent", sent]).await;
    assert!(output.status.success(), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn distant_endpoints_are_refused_before_anything_is_sent() {
    let queue = Queue::start().await;
    for args in [
        ["send", "--queue-url", "https://sqs.example.com/1/q", "--ticks", "1"].as_slice(),
        &["send", "--queue-url", &queue.url, "--endpoint-url", "https://sqs.example.com"],
        &["replay", "nothing.csv", "--preset", "binance-trades", "--queue-url", "https://sqs.example.com/1/q"],
    ] {
        let output = loadgen(args).await;
        assert!(!output.status.success());
        assert!(text(&output).contains("--yes-send-to"), "{}", text(&output));
    }
    assert!(queue.drain().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_that_holds_messages_is_refused_unless_told_and_the_cost_is_shown() {
    let queue = Queue::start().await;
    let send = ["send", "--queue-url", &queue.url, "--ticks", "1000", "--pack", "1"];
    let output = loadgen(&send).await;
    assert!(
        output.status.success() && text(&output).contains("300 requests to send, receive and delete"),
        "{}",
        text(&output)
    );
    let output = loadgen(&send).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("it holds 1000 messages") && text(&output).contains("--add"), "{}", text(&output));
    assert!(loadgen(&[send.as_slice(), &["--add"]].concat()).await.status.success());
    let other = queue.url.clone() + "-that-is-new";
    assert!(loadgen(&["send", "--queue-url", &other, "--ticks", "10"]).await.status.success(), "it is created");
    assert_eq!(queue.drain().await.len(), 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupt_ends_a_run_with_what_was_sent_and_its_report() {
    let queue = Queue::start().await;
    let folder = TempDir::new().unwrap();
    let sent = folder.path().join("sent.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    // A closed loop, because a busy machine may keep the generator of an open loop from its schedule.
    command.args(["send", "--queue-url", &queue.url, "--ticks", "100000000"]);
    command.arg("--sent").arg(&sent).arg("--report").arg(folder.path().join("report"));
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    while queue.is_empty().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("stopped    before everything was sent"), "{}", text(&output));
    let lake = lake::write(&queue.drain().await);
    let audit = loadgen(&["audit", "--lake", lake.path().to_str().unwrap(), "--sent", sent.to_str().unwrap()]).await;
    assert!(audit.status.success(), "{}", text(&audit));
    let report = std::fs::read_to_string(folder.path().join("report/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["is_whole"], &report["is_valid"]), (&false.into(), &true.into()));
    let plot = std::fs::read_to_string(folder.path().join("report/send.hgrm")).unwrap();
    assert!(plot.contains("1/(1-Percentile)") && plot.contains("#[Max"), "{plot}");
}

/// Moves what a queue holds into a lake, again and again.
async fn consume(queue: &Queue, lake: &std::path::Path) {
    let hour = lake.join("ticks/dt=2026-06-01/hour=13");
    std::fs::create_dir_all(&hour).unwrap();
    for file in 0.. {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let written = lake::write(&queue.drain().await);
        let (from, part) = (written.path().join("ticks/dt=2026-06-01/hour=13/w-1.parquet"), hour.join(".part"));
        std::fs::copy(from, &part).unwrap();
        std::fs::rename(part, hour.join(format!("{file}.parquet"))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_is_searched_up_to_the_highest_rate_and_the_curve_is_written() {
    let queue = Queue::start().await;
    let folder = TempDir::new().unwrap();
    let (lake, report) = (folder.path().join("lake"), folder.path().join("report"));
    let (lake_arg, report_arg) = (lake.to_str().unwrap(), report.to_str().unwrap());
    let find = ["find-limit", "--queue-url", &queue.url, "--lake", lake_arg, "--report", report_arg];
    let rates = ["--from", "500", "--to", "1000", "--trial", "4s", "--latency-max", "1m"];
    let find = [find.as_slice(), &rates].concat();
    let output = tokio::select! {
        output = loadgen(&find) => output,
        () = consume(&queue, &lake) => unreachable!("it goes on for ever"),
    };
    let said = text(&output);
    if said.contains("the generator cannot") {
        // The machine is too busy to keep a schedule, and the command says so.
        return;
    }
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("  sustained").count(), 2, "{said}");
    assert!(said.contains("limit        above 1000 ticks/s"), "{said}");
    let trials = std::fs::read_to_string(report.join("limit.json")).unwrap();
    let trials: serde_json::Value = serde_json::from_str(&trials).unwrap();
    assert_eq!((trials.as_array().unwrap().len(), &trials[1]["asked_per_s"]), (2, &1_000.into()));
    assert!(std::fs::read_to_string(report.join("limit.html")).unwrap().contains("1k ticks/s are sustained"));

    let output = loadgen(&["find-limit", "--queue-url", &queue.url]).await;
    assert!(text(&output).contains("--lake says where ticks are to appear"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn run_is_looked_at_from_all_sides_and_its_page_is_written() {
    let queue = Queue::start().await;
    let folder = TempDir::new().unwrap();
    let (lake, report) = (folder.path().join("lake"), folder.path().join("report"));
    let (lake_arg, report_arg) = (lake.to_str().unwrap(), report.to_str().unwrap());
    let alerts = queue.another("alerts").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = format!("http://{}/metrics", listener.local_addr().unwrap());
    let send = ["send", "--queue-url", &queue.url, "--ticks", "3000", "--live", "--report", report_arg];
    let looks = ["--lake", lake_arg, "--alerts-queue-url", &alerts, "--metrics-url", &metrics];
    // The alert is about a tick that the default market sends.
    let alert = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let (symbol, ts) = first_tick();
        let body = serde_json::json!({"symbol": symbol, "ts": ts, "state": "open"}).to_string();
        queue.client.send_message().queue_url(&alerts).message_body(body).send().await.unwrap();
    };
    let send = [send.as_slice(), &looks].concat();
    let output = tokio::select! {
        (output, ()) = async { tokio::join!(loadgen(&send), alert) } => output,
        () = consume(&queue, &lake) => unreachable!("it goes on for ever"),
        () = count_up(&listener) => unreachable!("it goes on for ever"),
    };
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("messages/s  backlog") && said.contains("in lake    3000 ticks, p50"), "{said}");
    assert!(said.contains("alerts     1, p50"), "{said}");
    let figures = std::fs::read_to_string(report.join("report.json")).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    assert_eq!((&figures["lake"]["ticks"], &figures["alerts"]["count"]), (&3_000.into(), &1.into()));
    assert_eq!((&figures["lake"]["missing_messages"], &figures["alerts"]["unmatched"]), (&0.into(), &0.into()));
    let counted: Vec<f64> = figures["seconds"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|at| at["metrics"]["asked_total"]["value"].as_f64())
        .collect();
    assert!(!counted.is_empty() && counted.is_sorted(), "{counted:?}");
    for file in ["send.hgrm", "lake.hgrm", "alerts.hgrm", "report.html"] {
        assert!(report.join(file).exists(), "{file}");
    }
    let held = ["send", "--queue-url", &queue.url, "--alerts-queue-url", &alerts];
    queue.client.send_message().queue_url(&alerts).message_body("{}").send().await.unwrap();
    assert!(text(&loadgen(&held).await).contains("it holds some already"));
    let missing = ["send", "--queue-url", &queue.url, "--alerts-queue-url", &(alerts + "-gone")];
    assert!(text(&loadgen(&missing).await).contains("NonExistentQueue"));
}

/// Answers in the format of Prometheus how often it was asked.
async fn count_up(listener: &tokio::net::TcpListener) {
    for asked in 0_u64.. {
        let (stream, _) = listener.accept().await.unwrap();
        let page = format!("# TYPE asked_total counter\nasked_total {asked}\n");
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}", page.len());
        stream.readable().await.unwrap();
        let _ = stream.try_read(&mut [0; 4_096]);
        stream.writable().await.unwrap();
        stream.try_write(answer.as_bytes()).unwrap();
    }
}

/// Symbol and time of a tick that the default market of 3,000 ticks sends.
fn first_tick() -> (String, String) {
    let config = ::loadgen::MarketConfig { ticks: 3_000, ..::loadgen::MarketConfig::default() };
    let market = ::loadgen::market::Market::new(config).unwrap();
    let trade = market.lane(0).next().unwrap();
    let ts = jiff::Timestamp::from_microsecond(trade.ts_us).unwrap();
    (market.name(trade.symbol).to_string(), ts.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn search_that_is_interrupted_says_what_it_has_found_and_judges_nothing_by_it() {
    let queue = Queue::start().await;
    let folder = TempDir::new().unwrap();
    let lake = folder.path().join("lake");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["find-limit", "--queue-url", &queue.url, "--from", "500", "--trial", "1h", "--lake"]).arg(&lake);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    while queue.is_empty().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // Once while it sends, and once while it waits for the ticks, which nobody consumes.
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("limit        not found") && !said.contains("ticks are missing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lake_in_s3_is_audited_like_a_folder() {
    let queue = Queue::start().await;
    let folder = TempDir::new().unwrap();
    let sent = folder.path().join("sent.json");
    let sent = sent.to_str().unwrap();
    let send = ["send", "--queue-url", &queue.url, "--sent", sent, "--ticks", "1000", "--spikes", "0"];
    let output = loadgen(&send).await;
    assert!(output.status.success(), "{}", text(&output));
    let lake = lake::write(&queue.drain().await);

    let s3 = queue.s3();
    s3.create_bucket().bucket("market").send().await.unwrap();
    let mut folders = vec![lake.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = format!("eu/{}", path.strip_prefix(lake.path()).unwrap().to_str().unwrap());
            let body = std::fs::read(&path).unwrap().into();
            s3.put_object().bucket("market").key(key).body(body).send().await.unwrap();
        }
    }
    for (place, code) in [("s3://market/eu", 0), ("s3://market/eu/", 0), ("s3://market/us", 1)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args(["audit", "--lake", place, "--sent", sent]).env("AWS_ENDPOINT_URL", queue.server.url());
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("AWS_REGION", "us-east-1");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(code == 0 || text(&output).contains("no ticks below s3://market/us/ticks/"), "{}", text(&output));
    }
}
