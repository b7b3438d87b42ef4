//! `check sqs-edge`: what draining a queue costs, beside the plainest consumer that the SDK offers, and which failures
//! it survives.
//!
//! Endpoint, engine and plain consumer each have a process, so that CPU time and memory belong to one of them. The
//! endpoint makes latency and faults: it delays and spoils its answers. A proxy makes the endpoint unreachable.

pub mod plain;

use std::io;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::figure::Figure;
use crate::fleet::process::{Ended, Process};
use crate::fleet::proxy::Proxy;
use crate::fleet::scene::Scene;
use crate::localaws::served::Served;

/// Number of single-tick messages.
const SINGLE: u64 = 50_000;

/// Number of single-tick messages from a distant endpoint.
const FAR: u64 = 100_000;

/// Number of ticks in packed messages.
const PACKED: u64 = 1_000_000;

/// Ticks per packed message.
const PER_MESSAGE: usize = 500;

/// How often a figure is measured, in turn with the figure that it is compared with. The lowest value counts, because
/// other work on the machine belongs to neither.
const ROUNDS: usize = 3;

/// Ticks sent through the faulty endpoint, and ticks per message.
const FAULTY: (u64, usize) = (200_000, 10);

/// Each fault strikes a fiftieth of all calls. A stall lasts longer than an attempt may take.
const FAULTS: [&str; 13] = [
    "sqs:*=status:500@2%",
    "sqs:*=status:503@2%",
    "sqs:*=throttle@2%",
    "sqs:*=reset@2%",
    "sqs:*=lose-answer@2%",
    "sqs:*=cut-answer@2%",
    "sqs:*=delay:3s@2%",
    "sqs:*=fail-entries@2%",
    "s3:*=status:500@2%",
    "s3:*=slow-down@2%",
    "s3:*=reset@2%",
    "s3:*=lose-answer@2%",
    "s3:*=delay:3s@2%",
];

/// How long the endpoint is unreachable.
const AWAY: Duration = Duration::from_secs(20);

/// Starts and stops under load.
const STOPS: u32 = 10;

/// The configured deadline of a stop.
const DEADLINE: Duration = Duration::from_secs(25);

/// Measures every figure, one after the other, each on its own server.
pub fn figures(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime of the clients")?;
    runtime.block_on(async {
        single().await?.into_iter().try_for_each(&mut *report)?;
        packed().await?.into_iter().try_for_each(&mut *report)?;
        far().await?.into_iter().try_for_each(&mut *report)?;
        faulty().await?.into_iter().try_for_each(&mut *report)?;
        away().await?.into_iter().try_for_each(&mut *report)?;
        long_epochs().await?.into_iter().try_for_each(&mut *report)?;
        stops().await?.into_iter().try_for_each(&mut *report)?;
        Ok(())
    })
}

/// One tick per message: the engine, which decodes, detects and stores, beside the plain consumer, which does nothing
/// with them.
async fn single() -> anyhow::Result<[Figure; 1]> {
    let served = Served::start().await?;
    let (mut engine, mut plain) = (f64::MAX, f64::MAX);
    for round in 0..ROUNDS {
        let scene = Scene::new(&served, &format!("engine-{round}")).await?;
        engine = engine.min(drain(&scene, SINGLE, 1).await?.cpu_us / SINGLE as f64);

        let scene = Scene::new(&served, &format!("plain-{round}")).await?;
        let sent = scene.send(SINGLE, 1, None).await?;
        let used = Process::start(scene.plain_consumer(sent.messages)?)?.ended().await?;
        plain = plain.min(used.cpu_us / SINGLE as f64);
    }
    served.stop().await?;
    let name = format!(
        "CPU per single-tick message ({engine:.1} us), as a share of a plain SDK loop that discards it ({plain:.1} us)"
    );
    Ok([Figure { name: name.into(), measured: engine / plain, at_most: 0.6 }])
}

/// Many ticks per message: CPU and memory of the engine.
async fn packed() -> anyhow::Result<[Figure; 2]> {
    let served = Served::start().await?;
    let (mut cpu, mut memory) = (f64::MAX, 0);
    for round in 0..ROUNDS {
        let scene = Scene::new(&served, &format!("packed-{round}")).await?;
        let used = drain(&scene, PACKED, PER_MESSAGE).await?;
        cpu = cpu.min(used.cpu_us / PACKED as f64);
        memory = memory.max(used.memory);
    }
    served.stop().await?;
    let name = format!("engine CPU per tick at {PER_MESSAGE} per message, us");
    Ok([
        Figure { name: name.into(), measured: cpu, at_most: 0.8 },
        Figure { name: "its peak memory, MB".into(), measured: memory as f64 / 1e6, at_most: 200.0 },
    ])
}

/// An endpoint that is 5 ms away. The engine drains, so that the last messages do not wait for the age of their epoch.
async fn far() -> anyhow::Result<[Figure; 1]> {
    let served = Served::start().await?;
    let scene = Scene::new(&served, "far").await?;
    let sent = scene.send(FAR, 1, None).await?;
    served.set_faults(&["sqs:*=delay:5ms", "s3:*=delay:5ms"]).await?;
    let mut command = scene.engine()?;
    command.arg("--drain");
    let (engine, started) = (Process::start(command)?, Instant::now());
    scene.drained().await?;
    let each = started.elapsed().as_secs_f64() / FAR as f64;
    engine.ended().await?;
    clean(&scene, sent).await?;
    served.stop().await?;
    let name = format!(
        "time per single-tick message received, stored and deleted 5 ms away, us ({:.0} per second)",
        1.0 / each
    );
    Ok([Figure { name: name.into(), measured: each * 1e6, at_most: 100.0 }])
}

/// An endpoint that fails in every way.
async fn faulty() -> anyhow::Result<[Figure; 2]> {
    let served = Served::start().await?;
    let scene = Scene::new(&served, "faulty").await?;
    let sent = scene.send(FAULTY.0, FAULTY.1, None).await?;
    served.set_faults(&FAULTS).await?;
    let mut command = scene.engine()?;
    command.env("TICKLAKE_QUEUE__WAIT", "1s").env("TICKLAKE_AWS__ATTEMPT_TIMEOUT", "2s");
    command.env("TICKLAKE_QUEUE__VISIBILITY_TIMEOUT", "30s").env("TICKLAKE_EPOCH__ROWS_MAX", "20000");
    let engine = Process::start(command)?;
    scene.drained().await?;
    served.set_faults(&[]).await?;
    finish(engine).await?;
    let audit = scene.audit(sent).await?;
    served.stop().await?;
    let name = format!("ticks lost of {} where 2 % each of all calls fail in {} ways", FAULTY.0, FAULTS.len());
    Ok([
        Figure { name: name.into(), measured: audit.lost as f64, at_most: 0.0 },
        Figure { name: "ticks of these that are there twice".into(), measured: audit.duplicate as f64, at_most: 0.0 },
    ])
}

/// An endpoint that is unreachable for some time.
async fn away() -> anyhow::Result<[Figure; 2]> {
    let served = Served::start().await?;
    let scene = Scene::new(&served, "away").await?;
    let proxy = Proxy::open(&served.url)?;
    let mut command = scene.engine_at(&proxy.url())?;
    command.env("TICKLAKE_EPOCH__AGE_MAX", "1s");
    let engine = Process::start(command)?;
    // By then, the engine polls.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let work = async {
        let before = engine.cpu()?;
        tokio::time::sleep(AWAY).await;
        Ok(engine.cpu()?.saturating_sub(before))
    };
    let (proxy, cpu) = proxy.shut_during(work).await?;
    let sent = scene.send(2_000, 10, None).await?;
    scene.drained().await?;
    finish(engine).await?;
    drop(proxy);
    let audit = scene.audit(sent).await?;
    served.stop().await?;
    let share = cpu.as_secs_f64() / AWAY.as_secs_f64();
    Ok([
        Figure {
            name: "CPU while the endpoint is away for 20 s, % of a core".into(),
            measured: share * 100.0,
            at_most: 1.0,
        },
        Figure { name: "ticks lost that were sent after that".into(), measured: audit.lost as f64, at_most: 0.0 },
    ])
}

/// Epochs that stay open three times as long as the visibility timeout.
async fn long_epochs() -> anyhow::Result<[Figure; 2]> {
    let served = Served::start().await?;
    let scene = Scene::new(&served, "long-epochs").await?;
    let sent = scene.send(200_000, 10, None).await?;
    let mut command = scene.engine()?;
    command.env("TICKLAKE_QUEUE__VISIBILITY_TIMEOUT", "10s").env("TICKLAKE_EPOCH__AGE_MAX", "30s");
    command.env("TICKLAKE_QUEUE__WAIT", "5s");
    let engine = Process::start(command)?;
    scene.drained().await?;
    anyhow::ensure!(engine.age() > Duration::from_secs(30), "the epoch was closed before its time");
    let ended = finish(engine).await?;
    let audit = scene.audit(sent).await?;
    served.stop().await?;
    anyhow::ensure!(audit.lost == 0, "ticks were lost:\n{audit}");
    let redelivered = ended.count("messages_redelivered")? as f64;
    Ok([
        Figure {
            name: "messages redelivered, hidden for 10 s and held for 30".into(),
            measured: redelivered,
            at_most: 0.0,
        },
        Figure { name: "ticks of these that are there twice".into(), measured: audit.duplicate as f64, at_most: 0.0 },
    ])
}

/// Starts and stops at random moments under load.
async fn stops() -> anyhow::Result<[Figure; 3]> {
    let served = Served::start().await?;
    let scene = Scene::new(&served, "stops").await?;
    let stopping = async {
        let mut longest = Duration::ZERO;
        for _ in 0..STOPS {
            let mut command = scene.engine()?;
            command.env("TICKLAKE_SHUTDOWN__DEADLINE", format!("{}s", DEADLINE.as_secs()));
            let engine = Process::start(command)?;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(100..2_500))).await;
            let asked = Instant::now();
            finish(engine).await?;
            longest = longest.max(asked.elapsed());
        }
        anyhow::Ok(longest)
    };
    // More messages than ten runs need.
    let (sent, longest) = tokio::try_join!(scene.send(600_000, 10, Some(30_000)), stopping)?;
    let mut command = scene.engine()?;
    command.arg("--drain");
    Process::start(command)?.ended().await?;
    let audit = scene.audit(sent).await?;
    served.stop().await?;
    let name = format!("ticks lost over {STOPS} starts and stops under load");
    Ok([
        Figure { name: name.into(), measured: audit.lost as f64, at_most: 0.0 },
        Figure { name: "ticks of these that are there twice".into(), measured: audit.duplicate as f64, at_most: 0.0 },
        Figure {
            name: "the longest of these stops, as a share of its deadline".into(),
            measured: longest.as_secs_f64() / DEADLINE.as_secs_f64(),
            at_most: 1.0,
        },
    ])
}

/// Sends, drains with the engine, and audits.
async fn drain(scene: &Scene, ticks: u64, per_message: usize) -> anyhow::Result<Ended> {
    let sent = scene.send(ticks, per_message, None).await?;
    let mut command = scene.engine()?;
    command.arg("--drain");
    let used = Process::start(command)?.ended().await?;
    clean(scene, sent).await?;
    Ok(used)
}

/// Asks an engine to stop, and waits for its end.
async fn finish(engine: Process) -> anyhow::Result<Ended> {
    engine.signal("-TERM")?;
    engine.ended().await
}

/// Checks that the lake holds exactly what was sent.
async fn clean(scene: &Scene, sent: loadgen::Sent) -> anyhow::Result<()> {
    let audit = scene.audit(sent).await?;
    anyhow::ensure!(audit.is_clean(), "the lake is not what was sent:\n{audit}");
    Ok(())
}
