//! `check loadgen`: whether the load generator is fast enough not to be the bottleneck, keeps its schedule, and sees
//! what a queue does.
//!
//! The queue is the local endpoint in a process of its own, so that this process counts only the generator's cost.

mod consumer;

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU64;
use std::slice::from_ref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use loadgen::market::{Market, MarketConfig};
use loadgen::{Dialect, Layout, Pace, Packing, Plan, Sent, Source, produce};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

pub use consumer::audit_lake;

use crate::figure::Figure;
use crate::fleet::scene::Scene;
use crate::localaws::served::Served;

/// Ticks that are generated at a time, and the number of runs. The best run counts.
const TICKS: u64 = 1_000_000;
const ROUNDS: usize = 3;

/// How long the generator keeps a rate.
const SPAN: Duration = Duration::from_secs(30);

/// Single-tick messages of a comparison, and concurrent calls.
const MESSAGES: u64 = 20_000;
const CALLS: usize = 16;
/// Each round takes a second. With few rounds, the lowest value still varies by a tenth.
const COST_ROUNDS: usize = 10;

/// Measures every figure.
pub fn figures(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    generation(report)?;
    same_messages(report)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let served = Served::start().await?;
        rates(&served, report).await?;
        stall(&served, report).await?;
        cost(&served, report).await?;
        consumer::stall(&served, report).await?;
        consumer::audit(&served, report).await?;
        served.stop().await
    })
}

fn packing(per_message: usize) -> anyhow::Result<Packing> {
    let layout = if per_message == 1 { Layout::Object } else { Layout::Array };
    Ok(Packing::new(per_message, layout, Dialect::Canonical)?)
}

/// How long a tick takes from the market to its place in a message.
fn generation(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    for (per_message, at_most) in [(500, 200.0), (1, 500.0)] {
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let market = Market::new(MarketConfig { ticks: TICKS, ..MarketConfig::default() })?;
            let started = Instant::now();
            produce::market(&market, &packing(per_message)?.into(), 1, &|batch| {
                std::hint::black_box(batch);
                true
            })?;
            best = best.min(started.elapsed().as_secs_f64() * 1e9 / TICKS as f64);
        }
        let name = format!("ns per tick on one thread, {per_message} per message");
        report(Figure { name: name.into(), measured: best, at_most })?;
    }
    Ok(())
}

/// Counts the messages that one number of threads makes and another does not.
fn same_messages(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let messages = |threads| -> anyhow::Result<BTreeSet<String>> {
        let market = Market::new(MarketConfig { ticks: 100_000, ..MarketConfig::default() })?;
        let all = Mutex::new(BTreeSet::new());
        produce::market(&market, &packing(100)?.into(), threads, &|batch: loadgen::batch::Batch| {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(batch.into_messages().into_iter().map(|message| message.body));
            true
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    };
    let (one, two, seven) = (messages(1)?, messages(2)?, messages(7)?);
    let differ = one.symmetric_difference(&two).count() + one.symmetric_difference(&seven).count();
    let name = format!("messages that differ between 1, 2 and 7 threads, of {}", one.len());
    Ok(report(Figure { name: name.into(), measured: differ as f64, at_most: 0.0 })?)
}

/// Sends the default market at a rate.
async fn sent(scene: &Scene, ticks: u64, per_message: usize, rate: Option<u64>) -> anyhow::Result<Sent> {
    let market = MarketConfig { ticks, ..MarketConfig::default() };
    let pace = rate.and_then(NonZeroU64::new).map_or(Pace::AsTaken, Pace::even);
    let plan = Plan { pace, ..Plan::new(Source::Market(market), packing(per_message)?) };
    Ok(loadgen::run(scene.sqs().clone(), from_ref(scene.queue()), plan, Arc::default()).await?)
}

async fn rates(served: &Served, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    for (rate, per_message) in [(10_000, 10), (200_000, 500)] {
        let scene = Scene::new(served, &format!("rate-{rate}")).await?;
        let sent = sent(&scene, rate * SPAN.as_secs(), per_message, Some(rate)).await?;
        // The last batch is due before the end, by the length of one batch.
        let off = (sent.ticks as f64 / sent.elapsed.as_secs_f64() / rate as f64 - 1.0).abs();
        let name = format!("how far off {rate} ticks/s over {} s is, as a share", SPAN.as_secs());
        report(Figure { name: name.into(), measured: off, at_most: 0.005 })?;
        let name = format!("ms that the generator was behind its schedule then, {rate} ticks/s");
        report(Figure { name: name.into(), measured: sent.behind.as_secs_f64() * 1e3, at_most: 100.0 })?;
    }
    Ok(())
}

/// The queue does not answer for two of ten seconds. Every batch that was due in that time is late by the rest of it.
async fn stall(served: &Served, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    const STALL: Duration = Duration::from_secs(2);
    let scene = Scene::new(served, "stall").await?;
    let stall = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        served.set_faults(&["sqs:SendMessage=delay:2s"]).await?;
        // All calls are in progress by then, and no later call is delayed.
        tokio::time::sleep(Duration::from_millis(200)).await;
        served.set_faults(&[]).await
    };
    let (sent, stalled) = tokio::join!(sent(&scene, 200_000, 10, Some(20_000)), stall);
    stalled?;
    let latency = &sent?.latency_us;
    let max = Duration::from_micros(latency.max());
    let name = "how far off two seconds the longest latency of a stall of two seconds is, as a share";
    report(Figure {
        name: name.into(),
        measured: (max.as_secs_f64() / STALL.as_secs_f64() - 1.0).abs(),
        at_most: 0.15,
    })?;
    // A fifth of the batches is due in the stall, because all calls hang then. A batch that waited less than a tenth of
    // a second does not count as late.
    let late = 1.0 - latency.percentile_below(100_000) / 100.0;
    let name = format!(
        "share of the batches due in the stall that no latency shows ({late:.3} of all are late, 0.19 were due)"
    );
    Ok(report(Figure { name: name.into(), measured: (1.0 - late / 0.19).max(0.0), at_most: 0.15 })?)
}

/// CPU time of this process during `work`.
async fn cpu_of<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<f64> {
    let now = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
    let before = now();
    work.await?;
    Ok(now().saturating_sub(before).as_secs_f64() * 1e6)
}

/// What a single-tick message costs, beside a loop that calls `SendMessageBatch`.
async fn cost(served: &Served, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let bodies: Arc<Vec<String>> = Arc::new(crate::bodies(MESSAGES, 1)?);
    let (mut generator, mut plain) = (f64::INFINITY, f64::INFINITY);
    for round in 0..COST_ROUNDS {
        let scene = Scene::new(served, &format!("cost-{round}")).await?;
        generator = generator.min(cpu_of(sent(&scene, MESSAGES, 1, None)).await?);
        plain = plain.min(cpu_of(send_plainly(&scene, &bodies)).await?);
    }
    let each = MESSAGES as f64;
    let name = format!(
        "CPU per single-tick message ({:.1} us), beside the SDK's SendMessageBatch in a loop ({:.1} us)",
        generator / each,
        plain / each
    );
    Ok(report(Figure { name: name.into(), measured: generator / plain, at_most: 1.2 })?)
}

async fn send_plainly(scene: &Scene, bodies: &Arc<Vec<String>>) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for first in 0..CALLS {
        let (client, queue, bodies) = (scene.sqs().clone(), scene.queue().to_owned(), bodies.clone());
        tasks.spawn(async move {
            for batch in bodies.chunks(10).skip(first).step_by(CALLS) {
                let entry = |(id, body): (usize, &String)| {
                    SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build()
                };
                let entries = batch.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
                let answer = client.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await?;
                anyhow::ensure!(answer.failed().is_empty(), "a batch half-failed");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a sender panicked")??;
    }
    Ok(())
}
