//! `check localaws`: what the local endpoint costs, in CPU time and memory of the process that serves it.
//!
//! The server runs in a process of its own, so that its CPU time and memory are the server's alone. The requests come
//! from the official SDK in this process. This file does *not* own the measured process, which is in `served`, nor the
//! requests of one workload, which are in `load`.

mod load;
pub(crate) mod served;

use std::io;
use std::time::{Duration, Instant};

use anyhow::Context as _;

pub use self::served::serve;
use self::{load::Load, served::Served};
use crate::figure::Figure;

/// Batches of one measurement of SQS.
const BATCHES: usize = 5_000;

/// How often each figure is measured. The lowest value counts, because other work on the machine is not the server's.
const ROUNDS: usize = 3;

/// Messages of a full batch.
const BATCH: usize = 10;

/// The limit of messages in flight, less those that a measurement itself has in flight.
const IN_FLIGHT: usize = 110_000;

/// Messages of a deep queue.
const DEEP: usize = 1_000_000;

/// Size of a large object.
const LARGE_BYTES: usize = 64 * 1024 * 1024;

/// Number of open long polls.
const POLLS: usize = 500;

/// Measures every figure, one after the other, each on its own server.
pub fn figures(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime of the clients")?;
    runtime.block_on(async {
        report(start().await?)?;
        for figure in sqs().await? {
            report(figure)?;
        }
        for figure in deep().await? {
            report(figure)?;
        }
        for figure in large_object().await? {
            report(figure)?;
        }
        for figure in polls().await? {
            report(figure)?;
        }
        Ok(())
    })
}

/// The time from the start of the process until it listens. The best of several runs counts, because the machine's own
/// pauses are not the server's.
async fn start() -> anyhow::Result<Figure> {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let before = Instant::now();
        let served = Served::start().await?;
        best = best.min(before.elapsed());
        served.stop().await?;
    }
    Ok(Figure { name: "start of the process until it listens, ms".into(), measured: milliseconds(best), at_most: 50.0 })
}

/// Sends, receives and deletes, first with nothing in flight and then with nearly all that the limit allows.
async fn sqs() -> anyhow::Result<[Figure; 4]> {
    let served = Served::start().await?;
    let load = Load::new(&served.url, "small").await?;
    // This warms connections, pages and branch predictors.
    load.send(BATCHES / 10).await?;
    load.drain(BATCHES / 10).await?;

    // The two take turns, because a drain takes what the send before it left.
    let (mut send, mut drain) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        send = send.min(served.cpu_of(load.send(BATCHES)).await? / BATCHES as f64);
        drain = drain.min(served.cpu_of(load.drain(BATCHES)).await? / (2 * BATCHES) as f64);
    }

    load.send(IN_FLIGHT / BATCH).await?;
    load.hold(IN_FLIGHT / BATCH).await?;
    let (mut send_beside, mut drain_beside) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        send_beside = send_beside.min(served.cpu_of(load.send(BATCHES)).await? / BATCHES as f64);
        drain_beside = drain_beside.min(served.cpu_of(load.drain(BATCHES)).await? / (2 * BATCHES) as f64);
    }
    served.stop().await?;
    Ok([
        Figure {
            name: "CPU per SendMessageBatch of 10 messages of 200 bytes, us".into(),
            measured: send,
            at_most: 75.0,
        },
        Figure { name: "CPU per request while draining by tens, us".into(), measured: drain, at_most: 65.0 },
        Figure {
            name: "the same sends with 110,000 in flight, as a multiple".into(),
            measured: send_beside / send,
            at_most: 1.3,
        },
        Figure {
            name: "the same drain with 110,000 in flight, as a multiple".into(),
            measured: drain_beside / drain,
            at_most: 1.3,
        },
    ])
}

/// Memory per message of a deep queue, and the cost of sends and drains while a million messages are queued.
async fn deep() -> anyhow::Result<[Figure; 3]> {
    touch_memory();
    let served = Served::start().await?;
    let load = Load::new(&served.url, "deep").await?;
    load.send(BATCHES).await?;
    let memory = served.memory()?;
    let first = least(&served, async || load.send(BATCHES).await).await?;
    let more = DEEP / BATCH - (1 + 2 * ROUNDS) * BATCHES;
    load.send(more).await?;
    let last = least(&served, async || load.send(BATCHES).await).await?;
    let bytes = (served.memory()? - memory) as f64 / ((more + 2 * ROUNDS * BATCHES) * BATCH) as f64;
    let drain = least(&served, async || load.drain(BATCHES).await).await? / (2 * BATCHES) as f64;
    served.stop().await?;
    Ok([
        Figure { name: "memory per queued message of 200 bytes, bytes".into(), measured: bytes, at_most: 700.0 },
        Figure {
            name: "sends at 1,000,000 queued, as a multiple of those at 50,000".into(),
            measured: last / first,
            at_most: 1.3,
        },
        Figure { name: "CPU per request while draining 1,000,000, us".into(), measured: drain, at_most: 65.0 },
    ])
}

/// Uses as much memory once as a deep queue will, so that the process and the system have touched these pages before.
/// On a virtual machine that has just started, the first use of a page makes the host find it. The guest counts that as
/// CPU time of the process that touched the page. A deep queue would look 1.5 times as expensive as a small one.
fn touch_memory() {
    const BYTES: usize = 4 << 30;
    drop(std::hint::black_box(vec![1_u8; BYTES]));
}

/// The lowest CPU time of [`ROUNDS`] runs of the same work, in microseconds.
async fn least(served: &Served, work: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        least = least.min(served.cpu_of(work()).await?);
    }
    Ok(least)
}

/// A large object. S3 makes every server digest it: MD5 for the entity tag, and the checksum that the SDK sends.
async fn large_object() -> anyhow::Result<[Figure; 2]> {
    let served = Served::start().await?;
    let load = Load::new(&served.url, "large").await?;
    let object = vec![0x5A; LARGE_BYTES];
    let (mut cpu, mut digest) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        cpu = cpu.min(served.cpu_of(load.put(&object, 2)).await? / 2.0);
        let before = Instant::now();
        std::hint::black_box(fast_md5::digest(&object));
        digest = digest.min(before.elapsed().as_secs_f64() * 1e6);
    }
    served.stop().await?;
    Ok([
        Figure { name: "CPU per PutObject of 64 MiB, ms".into(), measured: cpu / 1000.0, at_most: 150.0 },
        Figure { name: "the same, as a multiple of its MD5 alone".into(), measured: cpu / digest, at_most: 2.0 },
    ])
}

/// What 500 open long polls cost while no message comes, and how fast the server stops while they are open.
async fn polls() -> anyhow::Result<[Figure; 2]> {
    const WATCHED: Duration = Duration::from_secs(5);
    let served = Served::start().await?;
    let load = Load::new(&served.url, "idle").await?;
    let polls = load.open_polls(POLLS);
    // By then, all polls have arrived.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pause = async {
        tokio::time::sleep(WATCHED).await;
        Ok(())
    };
    let idle = served.cpu_of(pause).await? / WATCHED.as_secs_f64();
    anyhow::ensure!(polls.len() == POLLS, "a long poll of 20 s ended within 7 s");
    let before = Instant::now();
    served.stop().await?;
    let stop = before.elapsed();
    Ok([
        // A hundredth of a core. The system's clock ticks at that rate, so it cannot tell less from nothing.
        Figure { name: "CPU of 500 idle long polls, ms per second".into(), measured: idle / 1000.0, at_most: 10.0 },
        Figure {
            name: "stop of the process with 500 long polls open, ms".into(),
            measured: milliseconds(stop),
            at_most: 250.0,
        },
    ])
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
