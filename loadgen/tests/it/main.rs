//! The load generator against a queue: what `run` says it has sent is what the queue holds, whatever the queue does
//! meanwhile; and the command around it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod command;
mod lake;
mod queue;

use std::{
    num::NonZeroU64,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use loadgen::{
    Dialect, Error, Layout, MarketConfig, Packing, Plan, Progress, Recording, Sent, Source, audit, run,
    send::DeliveryError,
};
use queue::Queue;

fn market(ticks: u64) -> Source {
    Source::Market(MarketConfig { symbols: 20, ticks, ..MarketConfig::default() })
}

fn arrays(pack: usize) -> Packing {
    Packing::new(pack, Layout::Array, Dialect::Canonical).unwrap()
}

async fn send(queue: &Queue, plan: Plan) -> Result<Sent, Error> {
    run(queue.client.clone(), &queue.url, plan, Arc::new(Progress::default())).await
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
        let sent = run(queue.client.clone(), &queue.url, plan, progress.clone()).await.unwrap();
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
    let error = run(queue.client.clone(), &format!("{}-gone", queue.url), plan(), progress).await.unwrap_err();
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
    let rate = NonZeroU64::new(10_000);
    let paced = Plan { rate, ..Plan::new(market(5_000), arrays(10)) };
    let sent = send(&queue, paced.clone()).await.unwrap();
    let elapsed = sent.elapsed.as_secs_f64();
    assert!((0.45..2.0).contains(&elapsed), "5,000 ticks at 10,000 a second took {elapsed} s");

    // Each call takes 40 ms and only one is under way, where the schedule asks for one each 10 ms: the last is late by
    // about 50 times 30 ms, which a latency from the time of sending would not show.
    queue.server.faults().add("sqs:SendMessage=delay:40ms".parse().unwrap());
    let sent = send(&queue, Plan { senders: 1, ..paced }).await.unwrap();
    let (p50, max) = (sent.latency_us.value_at_quantile(0.5), sent.latency_us.max());
    assert!(p50 > 400_000 && max > 1_200_000, "p50 {p50} us, max {max} us");
}

/// Invariant of a manifest: it lists what is in the queue, also where the run was stopped in the midst of it.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_run_has_sent_exactly_what_it_says() {
    let queue = Queue::start().await;
    // Messages cut by the number of their ticks, and by their size, where what did not fit waits for the next one.
    for (rate, pack) in [(NonZeroU64::new(20_000), 10), (None, 10), (None, 1_000_000)] {
        let progress = Arc::new(Progress::default());
        let plan = Plan { rate, threads: 3, ..Plan::new(market(1_000_000_000), arrays(pack)) };
        let stop = async {
            while progress.messages.load(Ordering::Relaxed) < 10 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            progress.stop.store(true, Ordering::Relaxed);
        };
        let (sent, ()) = tokio::join!(run(queue.client.clone(), &queue.url, plan, progress.clone()), stop);
        let sent = sent.unwrap();
        assert!(!sent.is_whole && sent.ticks >= 100, "{sent}");
        assert_delivered(&queue, &sent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ramp_takes_as_long_as_its_integral() {
    let queue = Queue::start().await;
    // From 2,000 to 6,000 ticks per second within a second: 4,000 ticks, and 3,000 more in half a second.
    let plan = Plan {
        rate: NonZeroU64::new(2_000),
        shape: "ramp:6000/1s".parse().unwrap(),
        ..Plan::new(market(7_000), arrays(10))
    };
    let sent = send(&queue, plan).await.unwrap();
    let elapsed = sent.elapsed.as_secs_f64();
    assert!(elapsed >= 1.45, "{elapsed} s: {sent}");
    assert!(sent.to_string().contains("ramp:6000/1s"), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_and_batches_stay_within_the_limits_of_the_queue() {
    let queue = Queue::start().await;
    // One symbol is one lane, and a lane's messages are as large as they can be; the queue refuses what exceeds its limits.
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
            // Not by `println!`, which a test that passes keeps to itself.
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
