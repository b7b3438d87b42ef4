//! What the load generator sees when a consumer stalls, and how fast it audits the lake of a consumer.

use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Command;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use loadgen::market::MarketConfig;
use loadgen::{Lake, Observer, Pace, Plan, Progress, Sent, Source};

use super::{ROUNDS, packing, sent};
use crate::figure::Figure;
use crate::fleet::process::Process;
use crate::fleet::scene::Scene;
use crate::localaws::served::Served;

/// How long the consumer is frozen, when that begins, and how long ticks are sent.
const STALL: Duration = Duration::from_secs(2);
const BEFORE: Duration = Duration::from_secs(6);
const SPAN: Duration = Duration::from_secs(14);

/// Ticks per second during that time, and ticks per message.
const RATE: u64 = 10_000;
const PER_MESSAGE: usize = 20;

/// Ticks of the small and the large lake to audit.
const AUDITED: [u64; 2] = [1_000_000, 4_000_000];

/// Freezes the engine during a run. The latencies of the lake, counted from when each tick was due, must show the
/// freeze.
pub(super) async fn stall(served: &Served, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let scene = Scene::new(served, "frozen").await?;
    let mut engine = scene.engine()?;
    engine.env("TICKLAKE_EPOCH__AGE_MAX", "1s");
    let engine = Process::start(engine)?;
    let observer = Observer::of(scene.sqs().clone(), from_ref(scene.queue()));
    let observer = observer.watching(Lake::Folder(scene.lake())).await?;
    let progress = Arc::new(Progress::watched(observer.watch()));
    let market = MarketConfig { ticks: RATE * SPAN.as_secs(), ..MarketConfig::default() };
    let pace = Pace::even(NonZeroU64::new(RATE).context("a rate of nothing")?);
    let plan = Plan { pace, ..Plan::new(Source::Market(market), packing(PER_MESSAGE)?) };
    let urls = from_ref(scene.queue());
    let run = loadgen::run(scene.sqs().clone(), urls, plan, progress.clone());
    let freeze = async {
        tokio::time::sleep(BEFORE).await;
        engine.signal("-STOP")?;
        tokio::time::sleep(STALL).await;
        engine.signal("-CONT")
    };
    let ((sent, observed), frozen) = tokio::join!(observer.observe(run, &progress, pace, |_| ()), freeze);
    let (sent, ()) = (sent?, frozen?);
    engine.signal("-TERM")?;
    engine.ended().await?;
    anyhow::ensure!(observed.is_whole() && sent.is_valid(), "the run says nothing: {sent}{observed}");
    let in_lake = observed.in_lake.context("the observer did not watch the lake")?;
    let before = observed.seconds.iter().filter(|second| second.at_s < BEFORE.as_secs_f64());
    let usual = before.filter_map(|second| second.lake).map(|lake| lake.max_ms / 1e3).fold(0.0, f64::max);
    let longest = in_lake.latency_us.max() as f64 / 1e6;
    let name = format!(
        "how far off two seconds the longest time into the lake ({longest:.2} s) is from the usual one ({usual:.2} s), as a share"
    );
    let measured = ((longest - usual) / STALL.as_secs_f64() - 1.0).abs();
    report(Figure { name: name.into(), measured, at_most: 0.25 })?;
    let late = 1.0 - in_lake.latency_us.percentile_below((usual * 1e6) as u64) / 100.0;
    let due = STALL.as_secs_f64() / SPAN.as_secs_f64();
    let name = format!(
        "share of the ticks due while the consumer was frozen that no latency shows ({late:.3} of all are late, {due:.3} were due)"
    );
    Ok(report(Figure { name: name.into(), measured: (1.0 - late / due).max(0.0), at_most: 0.25 })?)
}

/// CPU and memory of an audit, in a process of its own.
pub(super) async fn audit(served: &Served, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let (mut ns_per_tick, mut memory) = (f64::INFINITY, Vec::new());
    for ticks in AUDITED {
        let scene = Scene::new(served, &format!("audit-{ticks}")).await?;
        let sent = sent(&scene, ticks, 500, None).await?;
        let mut engine = scene.engine()?;
        engine.arg("--drain");
        Process::start(engine)?.ended().await?;
        let manifest = tempfile::NamedTempFile::new()?;
        serde_json::to_writer(&manifest, &sent)?;
        let mut least = u64::MAX;
        for _ in 0..ROUNDS {
            let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
            command.arg("audit-lake").arg(scene.lake()).arg(manifest.path());
            let ended = Process::start(command)?.ended().await?;
            ns_per_tick = ns_per_tick.min(ended.cpu_us * 1e3 / ticks as f64);
            least = least.min(ended.count("memory")?);
        }
        memory.push(least as f64);
    }
    report(Figure {
        name: "ns per tick that an audit takes of one core".into(),
        measured: ns_per_tick,
        at_most: 1_000.0,
    })?;
    let more = (AUDITED[1] - AUDITED[0]) as f64;
    let name = format!("bytes of memory that an audit takes for each further tick, beyond {:.1} MB", memory[0] / 1e6);
    Ok(report(Figure { name: name.into(), measured: ((memory[1] - memory[0]) / more).max(0.0), at_most: 2.0 })?)
}

/// The process whose audit is measured. It prints how much memory it took. It fails if the lake does not match the
/// manifest.
pub fn audit_lake(lake: &Path, sent: &Path) -> anyhow::Result<()> {
    let sent: Sent = serde_json::from_reader(io::BufReader::new(std::fs::File::open(sent)?))?;
    let report = loadgen::audit(lake, &sent)?;
    anyhow::ensure!(report.is_clean(), "the lake is not what was sent: {report}");
    // The system's own figure after the end also counts the memory of the process that this one was forked from.
    let status = std::fs::read_to_string("/proc/self/status").context("memory is measured on Linux only")?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let memory = peak.context("the system does not say how much memory was used")? * 1_024;
    writeln!(io::stderr(), "{}", serde_json::json!({ "memory": memory }))?;
    Ok(())
}
