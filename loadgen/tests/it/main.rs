//! The load generator against a queue. `run` must say exactly what the queue holds, whatever the queue does meanwhile.
//! The command around it is tested, too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod lake;
mod queue;

use std::{
    num::NonZeroU64,
    path::Path,
    slice::from_ref,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use loadgen::{
    Dialect, Disturbance, Error, Lake, Layout, MarketConfig, Observer, Pace, Packing, Plan, Progress, Recording, Sent,
    Source, Speed, audit, run, send::DeliveryError,
};
use queue::Queue;
use tempfile::TempDir;
use ticklake_schemas::queue_of;

fn market(ticks: u64) -> Source {
    Source::Market(MarketConfig { symbols: 20, ticks, ..MarketConfig::default() })
}

fn arrays(pack: usize) -> Packing {
    Packing::new(pack, Layout::Array, Dialect::Canonical).unwrap()
}

async fn send(queue: &Queue, plan: Plan) -> Result<Sent, Error> {
    run(queue.client.clone(), from_ref(&queue.url), plan, Arc::new(Progress::default())).await
}

/// Drains the queue into a lake and audits it.
async fn assert_delivered(queue: &Queue, sent: &Sent) {
    let rows = queue.drain().await;
    assert_eq!(rows.len() as u64, sent.ticks);
    let report = audit(lake::write(&rows).path(), sent).unwrap();
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_holds_exactly_what_was_sent_in_every_packing() {
    let queue = Queue::start().await;
    let lines = Packing::new(7, Layout::Lines, Dialect::Canonical).unwrap();
    let binance = Packing::new(3, Layout::Array, Dialect::Binance).unwrap();
    for packing in [Packing::SINGLE, arrays(50), arrays(50).compressed(3), lines, lines.compressed(1), binance] {
        let progress = Arc::new(Progress::default());
        let plan = Plan::new(market(3_000), packing);
        let sent = run(queue.client.clone(), from_ref(&queue.url), plan, progress.clone()).await.unwrap();
        assert_eq!((sent.ticks, sent.retries, sent.unanswered_calls), (3_000, 0, 0));
        assert_eq!(progress.ticks.load(Ordering::Relaxed), sent.ticks);
        assert_eq!(progress.messages.load(Ordering::Relaxed), sent.messages);
        assert!(!sent.latency_us.is_empty());
        assert_delivered(&queue, &sent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_fail_are_sent_again_and_the_others_are_not() {
    let queue = Queue::start().await;
    queue.server.faults().add("sqs:SendMessage=fail-entries@1/7".parse().unwrap());
    let sent = send(&queue, Plan::new(market(1_000), Packing::SINGLE)).await.unwrap();
    assert!(sent.retries >= 1_000 / 7, "{}", sent.retries);
    assert_eq!(sent.messages, 1_000);
    assert_delivered(&queue, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_and_throttling_are_outlived_and_counted() {
    let queue = Queue::start().await;
    queue.server.faults().add("sqs:SendMessage=reset@1/5".parse().unwrap());
    queue.server.faults().add("sqs:SendMessage=throttle@1/7".parse().unwrap());
    let sent = send(&queue, Plan::new(market(1_000), Packing::SINGLE)).await.unwrap();
    assert!(sent.unanswered_calls > 0 && sent.calls > 100 && sent.throttled > 0, "{sent}");
    assert!(sent.to_string().contains(&format!(", {} throttled", sent.throttled)), "{sent}");
    assert_delivered(&queue, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_queue_and_missing_permission_end_the_run_at_once() {
    let queue = Queue::start().await;
    let plan = || Plan::new(market(100_000), arrays(10));
    let progress = Arc::new(Progress::default());
    let error = run(queue.client.clone(), &[format!("{}-gone", queue.url)], plan(), progress).await.unwrap_err();
    assert!(
        matches!(&error, Error::Delivery(DeliveryError::Call(text)) if text.contains("NonExistentQueue")),
        "{error}"
    );
    queue.server.faults().deny("sqs:SendMessage");
    let error = send(&queue, plan()).await.unwrap_err();
    assert!(matches!(&error, Error::Delivery(DeliveryError::Call(text)) if text.contains("AccessDenied")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_loop_keeps_its_rate_and_shows_a_stall_in_its_latency() {
    let queue = Queue::start().await;
    let paced = Plan { pace: Pace::even(NonZeroU64::new(10_000).unwrap()), ..Plan::new(market(5_000), arrays(10)) };
    let sent = send(&queue, paced.clone()).await.unwrap();
    let elapsed = sent.elapsed.as_secs_f64();
    assert!((0.45..2.0).contains(&elapsed), "5,000 ticks at 10,000 a second took {elapsed} s");

    // Each call takes 40 ms and only one is under way, but the schedule asks for one every 10 ms. So the last call is
    // late by about 50 times 30 ms. A latency from the time of sending would not show this.
    queue.server.faults().add("sqs:SendMessage=delay:40ms".parse().unwrap());
    let sent = send(&queue, Plan { senders: 1, ..paced }).await.unwrap();
    let (p50, max) = (sent.latency_us.value_at_quantile(0.5), sent.latency_us.max());
    assert!(p50 > 400_000 && max > 1_200_000, "p50 {p50} us, max {max} us");
}

/// Invariant of a manifest: it lists what is in the queue, even if the run was stopped midway.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_run_has_sent_exactly_what_it_says() {
    let queue = Queue::start().await;
    // Messages are cut by the number of ticks or by size. If by size, a tick that did not fit waits for the next one.
    let even = Pace::even(NonZeroU64::new(20_000).unwrap());
    for (pace, pack) in [(even, 10), (Pace::AsTaken, 10), (Pace::AsTaken, 1_000_000)] {
        let progress = Arc::new(Progress::default());
        let plan = Plan { pace, threads: 3, ..Plan::new(market(1_000_000_000), arrays(pack)) };
        let stop = async {
            while progress.messages.load(Ordering::Relaxed) < 10 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            progress.stop.store(true, Ordering::Relaxed);
        };
        let (sent, ()) = tokio::join!(run(queue.client.clone(), from_ref(&queue.url), plan, progress.clone()), stop);
        let sent = sent.unwrap();
        assert!(!sent.is_whole && sent.ticks >= 100, "{sent}");
        assert_delivered(&queue, &sent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ramp_takes_as_long_as_its_integral() {
    let queue = Queue::start().await;
    // The rate rises from 2,000 to 6,000 ticks/s within a second: 4,000 ticks, and 3,000 more in half a second.
    let plan = Plan {
        pace: Pace::Rate { ticks_per_s: NonZeroU64::new(2_000).unwrap(), shape: "ramp:6000/1s".parse().unwrap() },
        ..Plan::new(market(7_000), arrays(10))
    };
    let sent = send(&queue, plan).await.unwrap();
    let elapsed = sent.elapsed.as_secs_f64();
    assert!(elapsed >= 1.45, "{elapsed} s: {sent}");
    assert!(sent.to_string().contains("ramp:6000/1s"), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_are_spread_over_the_queues_and_what_happens_to_ticks_on_their_way_is_in_the_manifest() {
    let queue = Queue::start().await;
    let urls = [queue.url.clone(), queue.another("ticks-1").await, queue.another("ticks-2").await];
    let disturbance = Disturbance {
        seed: 1,
        late: "0.05/1h".parse().unwrap(),
        out_of_order: "0.1/1m".parse().unwrap(),
        duplicates: 0.03,
        malformed: 0.0,
    };
    let plan = Plan { disturbance, ..Plan::new(market(3_000), arrays(10)) };
    let sent = run(queue.client.clone(), &urls, plan, Arc::default()).await.unwrap();
    assert!((3_050..3_150).contains(&sent.ticks), "{sent}");
    let mut rows = Vec::new();
    for (number, url) in urls.iter().enumerate() {
        let of_queue = queue.drain_one(url).await;
        assert!(of_queue.len() > 300 && of_queue.iter().all(|row| queue_of(&row.symbol, 3) == number));
        rows.extend(of_queue);
    }
    let report = audit(lake::write(&rows).path(), &sent).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.rows, sent.ticks);
}

#[tokio::test(flavor = "multi_thread")]
async fn recording_is_replayed_by_its_own_clock() {
    let queue = Queue::start().await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("trades.csv");
    let rows = (0..200).map(|at| format!("AAPL,{},1.5,100", 1_700_000_000_000_i64 + at * 500));
    let lines: Vec<String> = std::iter::once("symbol,ts,price,volume".to_owned()).chain(rows).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let mapping = "symbol=symbol,ts=ts,price=price,volume=volume".parse().unwrap();
    let speed = Speed { factor: 100.0, linger: Duration::from_millis(20) };
    let recording = Source::Recording(Recording { path, mapping, limit: None });
    let plan = Plan { pace: Pace::EventTime(speed), ..Plan::new(recording, Packing::SINGLE) };
    let sent = send(&queue, plan.clone()).await.unwrap();
    // The recording takes 99.5 seconds and is replayed a hundred times as fast. Each linger holds five ticks.
    assert!(sent.elapsed >= Duration::from_millis(990) && sent.calls == 40, "{sent}");
    assert!(sent.to_string().contains("100 times as fast as it was recorded"), "{sent}");
    assert_delivered(&queue, &sent).await;
    let market = send(&queue, Plan { source: market(100), ..plan }).await.unwrap_err();
    assert!(matches!(market, Error::MarketPace), "{market}");
}

/// The consumer takes a while for each of its files.
#[tokio::test(flavor = "multi_thread")]
async fn ticks_are_seen_in_the_lake_late_by_what_the_consumer_takes_also_where_some_are_sent_twice() {
    let queue = Queue::start().await;
    let (lake, pause) = (TempDir::new().unwrap(), Duration::from_millis(700));
    let before = lake::write(&[]);
    std::fs::rename(before.path().join("ticks"), lake.path().join("ticks")).unwrap();
    let observer = Observer::of(queue.client.clone(), from_ref(&queue.url));
    let observer = observer.watching(Lake::Folder(lake.path().to_owned())).await.unwrap();
    let observer = observer.patient(Duration::from_mins(1));
    let progress = Arc::new(Progress::watched(observer.watch()));
    let pace = Pace::even(NonZeroU64::new(3_000).unwrap());
    let disturbance = Disturbance { duplicates: 0.1, ..Disturbance::default() };
    let plan = Plan { pace, disturbance, ..Plan::new(market(4_500), Packing::SINGLE) };
    let urls = [queue.url.clone()];
    let sending = run(queue.client.clone(), &urls, plan, progress.clone());
    let consumer = async {
        for file in 0.. {
            let rows = queue.drain().await;
            tokio::time::sleep(pause).await;
            let written = lake::write(&rows);
            let name = format!("ticks/dt=2026-06-01/hour=13/{file}.parquet");
            let from = written.path().join("ticks/dt=2026-06-01/hour=13/w-1.parquet");
            std::fs::copy(from, lake.path().join(name)).unwrap();
        }
    };
    let mut lines = 0;
    let observing = observer.observe(sending, &progress, pace, |_| lines += 1);
    let (sent, observed) = tokio::select! {
        observed = observing => observed,
        () = consumer => unreachable!("it goes on for ever"),
    };
    let seen = observed.in_lake.clone().unwrap();
    assert_eq!((seen.count, seen.latency_us.len()), (4_500, 4_500), "{observed}");
    assert!(observed.is_whole() && sent.unwrap().ticks > 4_600);
    assert!(seen.latency_us.min() >= 690_000, "{observed}");
    assert!(lines > 0 && observed.seconds.iter().any(|second| second.backlog.is_some()));
    let stored: Vec<u64> = observed.seconds.iter().map(|second| second.stored.unwrap()).collect();
    assert!(stored.is_sorted(), "{stored:?}");
    assert!(observed.to_string().contains("in lake    4500 ticks, p50"), "{observed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lake_that_is_away_for_a_while_is_looked_into_again_and_says_how_long_nobody_could() {
    let queue = Queue::start().await;
    let s3 = queue.s3();
    s3.create_bucket().bucket("market").send().await.unwrap();
    let observer = Observer::of(queue.client.clone(), from_ref(&queue.url));
    let observer = observer.watching(Lake::in_s3(queue.s3(), "market/eu")).await.unwrap();
    let progress = Arc::new(Progress::watched(observer.watch()));
    queue.server.faults().add("s3:ListBucket=status:503".parse().unwrap());
    let consumer = async {
        let mut rows = Vec::new();
        while rows.len() < 500 {
            rows.extend(queue.drain().await);
        }
        let written = lake::write(&rows);
        let body = std::fs::read(written.path().join("ticks/dt=2026-06-01/hour=13/w-1.parquet")).unwrap();
        let put = s3.put_object().bucket("market").key("eu/ticks/dt=2026-06-01/hour=13/w-1.parquet");
        put.body(body.into()).send().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        queue.server.faults().clear();
    };
    let plan = Plan::new(market(500), arrays(10));
    let sending = run(queue.client.clone(), from_ref(&queue.url), plan, progress.clone());
    let observing = observer.observe(sending, &progress, Pace::AsTaken, |_| ());
    let ((sent, observed), ()) = tokio::join!(observing, consumer);
    assert!(sent.is_ok() && observed.is_whole(), "{observed}");
    let seen = observed.in_lake.as_ref().unwrap();
    assert_eq!((seen.count, observed.not_in_lake), (500, 0));
    assert!(seen.latency_us.min() >= 2_000_000 && observed.blind_max >= Duration::from_secs(2), "{observed}");
    assert!(observed.to_string().contains("between two looks into the lake"), "{observed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_and_batches_stay_within_the_limits_of_the_queue() {
    let queue = Queue::start().await;
    // One symbol is one lane, and the messages of a lane are as large as they can be. The queue refuses messages and
    // batches above its limits.
    let one = Source::Market(MarketConfig { symbols: 1, ticks: 30_000, ..MarketConfig::default() });
    let sent = send(&queue, Plan::new(one, arrays(1_000_000))).await.unwrap();
    assert_eq!((sent.messages, sent.calls), (3, 3), "{sent}");
    assert_delivered(&queue, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_trades_arrive_as_they_stand_in_the_file() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("TICKLAKE_DATA").map_or(default, std::path::PathBuf::from);
    let files = [
        ("binance/cm_btcusd_perp_20240808_trades.csv.gz", "binance-trades", 2_286),
        ("us_equity_trades_20131007_08.parquet", "us-equity-trades", 5_000),
    ];
    for (file, preset, rows) in files {
        let path = data.join(file);
        if !path.exists() {
            // Not by `println!`, because a test that passes keeps that output to itself.
            let line = format!("skipped: there is no {}\n", path.display());
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            continue;
        }
        let mapping = loadgen::Mapping::preset(preset).unwrap();
        let recording = Recording { path, mapping, limit: Some(5_000) };
        let queue = Queue::start().await;
        let sent = send(&queue, Plan::new(Source::Recording(recording), arrays(500))).await.unwrap();
        assert_eq!(sent.ticks, rows);
        assert_delivered(&queue, &sent).await;
    }
}
