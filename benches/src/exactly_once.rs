//! `check exactly-once`: the model of the protocol is searched; then fleets of real engine processes are killed, frozen for
//! longer than the visibility timeout, and cut off, at random moments, and the lake is compared with what was sent.

mod search;
mod tables;

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;
use tokio::task::JoinSet;

use crate::figure::Figure;
use crate::fleet::callgrind;
use crate::fleet::process::Process;
use crate::fleet::proxy::Proxy;
use crate::fleet::scene::{SPIKES, Scene, Topic};
use crate::localaws::served::Served;

use self::tables::Tables;

/// Rounds at a time: most of a round is waiting for messages of killed workers to come back.
const TOGETHER: u64 = 4;

/// Ticks of a round, to a message, and per second.
const TICKS: u64 = 20_000;
const PER_MESSAGE: usize = 10;
const RATE: u64 = 5_000;

/// The shortest that SQS's clients may ask for here.
const VISIBILITY: Duration = Duration::from_secs(5);

/// Messages of a round that cannot be decoded.
const MALFORMED: usize = 200;

/// How long a round sends.
const SPAN: Duration = Duration::from_secs(TICKS / RATE);

/// SQS may honour a delete or a visibility change by the receipt of an earlier receive.
const OLD_RECEIPTS: [&str; 2] =
    ["sqs:DeleteMessageBatch=old-receipts@50%", "sqs:ChangeMessageVisibilityBatch=old-receipts@50%"];

/// What happens to the workers of a round, besides what happens to the network.
const KILLS: usize = 4;
const FREEZES: usize = 1;
const CUTS: usize = 1;

/// What all rounds came to.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    /// Workers killed.
    kills: usize,
    /// Workers frozen for longer than the visibility timeout, which then went on.
    freezes: usize,
    /// Ticks that were sent and are not in the lake.
    lost: u64,
    /// Ticks that are there more than once.
    duplicate: u64,
    /// Symbols whose ticks are not as they were sent, and rows of nothing that was sent.
    altered: u64,
    tables: Tables,
}

/// Measures every figure. Without a seed one is taken from the system, and printed.
pub fn figures(
    rounds: u64,
    seed: Option<u64>,
    report: &mut impl FnMut(Figure) -> io::Result<()>,
) -> anyhow::Result<()> {
    search::figures(report)?;
    harass_figures(rounds, seed, report)?;
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime of the clients")?;
    runtime.block_on(cost())?.into_iter().try_for_each(report).context("failed to report")
}

/// What is lost and doubled over some rounds.
pub fn harass_figures(
    rounds: u64,
    seed: Option<u64>,
    report: &mut impl FnMut(Figure) -> io::Result<()>,
) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime of the clients")?;
    let Outcome { kills, freezes, lost, duplicate, altered, tables } = runtime.block_on(harass(rounds, seed))?;
    let name = format!("ticks lost in {rounds} rounds, {kills} kills and {freezes} freezes, seed {seed}");
    report(Figure { name: name.into(), measured: lost as f64, at_most: 0.0 })?;
    report(Figure { name: "ticks there more than once".into(), measured: duplicate as f64, at_most: 0.0 })?;
    report(Figure { name: "symbols altered".into(), measured: altered as f64, at_most: 0.0 })?;
    let name = format!("rejects lost of {}", rounds * MALFORMED as u64);
    report(Figure { name: name.into(), measured: tables.rejects_lost as f64, at_most: 0.0 })?;
    let name = format!("alerts of {} stored that were not published", tables.alerts);
    report(Figure { name: name.into(), measured: tables.alerts_lost as f64, at_most: 0.0 })?;
    report(Figure {
        name: "alerts claimed that are not stored".into(),
        measured: tables.alerts_unstored as f64,
        at_most: 0.0,
    })?;
    for (what, measured) in [("rejects", tables.rejects_duplicate), ("alerts", tables.alerts_duplicate)] {
        let name = format!("{what} there more than once");
        report(Figure { name: name.into(), measured: measured as f64, at_most: 0.0 })?;
    }
    Ok(())
}

/// Goes through `rounds` rounds, each of its own seed.
async fn harass(rounds: u64, seed: u64) -> anyhow::Result<Outcome> {
    let mut total = Outcome::default();
    for first in (0..rounds).step_by(TOGETHER as usize) {
        // A server each time: what earlier rounds have left does not slow the later ones down.
        let served = Served::start().await?;
        served.set_faults(&OLD_RECEIPTS).await?;
        let mut together = JoinSet::new();
        for round in first..(first + TOGETHER).min(rounds) {
            let url = served.url.clone();
            let dir = served.dir().to_owned();
            together.spawn(async move {
                one_round(Scene::at(&url, &dir, &format!("round-{round}")).await?, seed + round).await
            });
        }
        while let Some(ended) = together.join_next().await {
            let one = ended.context("a round broke")??;
            total.kills += one.kills;
            total.freezes += one.freezes;
            total.lost += one.lost;
            total.duplicate += one.duplicate;
            total.altered += one.altered;
            total.tables.rejects_lost += one.tables.rejects_lost;
            total.tables.alerts += one.tables.alerts;
            total.tables.alerts_unstored += one.tables.alerts_unstored;
            total.tables.alerts_lost += one.tables.alerts_lost;
            total.tables.rejects_duplicate += one.tables.rejects_duplicate;
            total.tables.alerts_duplicate += one.tables.alerts_duplicate;
        }
        served.stop().await?;
    }
    Ok(total)
}

/// The workers of a round, behind a door that can be shut.
struct Fleet {
    scene: Scene,
    url: String,
    topic: Topic,
    workers: Vec<Process>,
}

impl Fleet {
    fn start_worker(&mut self) -> anyhow::Result<()> {
        let mut command = self.scene.engine_at(&self.url)?;
        command.env("TICKLAKE_QUEUE__VISIBILITY_TIMEOUT", format!("{}s", VISIBILITY.as_secs()));
        command.env("TICKLAKE_QUEUE__WAIT", "1s").env("TICKLAKE_AWS__ATTEMPT_TIMEOUT", "3s");
        command.env("TICKLAKE_EPOCH__AGE_MAX", "200ms").env("TICKLAKE_THREADS__DECODE", "1");
        command.env("TICKLAKE_SHUTDOWN__DEADLINE", "10s").env("TICKLAKE_ALERTS__TOPIC_ARN", self.topic.arn());
        self.workers.push(Process::start(command)?);
        Ok(())
    }
}

async fn one_round(scene: Scene, seed: u64) -> anyhow::Result<Outcome> {
    let mut rng = Rng::with_seed(seed);
    let mut proxy = Proxy::open(scene.url())?;
    let url = proxy.url();
    let topic = scene.topic().await?;
    let mut fleet = Fleet { scene, url, topic, workers: Vec::new() };
    for _ in 0..rng.usize(2..=4) {
        fleet.start_worker()?;
    }
    let sender = fleet.scene.clone();
    let sending = tokio::spawn(async move { sender.send(TICKS, PER_MESSAGE, Some(RATE)).await });
    let (sender, bodies) = (fleet.scene.clone(), malformed());
    let spoiling = tokio::spawn(async move { sender.send_bodies(bodies, SPAN).await });

    let mut events: Vec<Event> = [(Event::Kill, KILLS), (Event::Freeze, FREEZES), (Event::Cut, CUTS)]
        .into_iter()
        .flat_map(|(event, times)| std::iter::repeat_n(event, times))
        .collect();
    rng.shuffle(&mut events);
    let mut frozen = JoinSet::new();
    for event in events {
        tokio::time::sleep(Duration::from_millis(rng.u64(50..1_200))).await;
        let victim = rng.usize(..fleet.workers.len());
        match event {
            Event::Kill => {
                fleet.workers.swap_remove(victim).kill();
                fleet.start_worker()?;
            }
            Event::Freeze => {
                let worker = fleet.workers.swap_remove(victim);
                worker.signal("-STOP")?;
                let pause = VISIBILITY + Duration::from_millis(rng.u64(500..3_000));
                frozen.spawn(async move {
                    tokio::time::sleep(pause).await;
                    worker.signal("-CONT").map(|()| worker)
                });
                fleet.start_worker()?;
            }
            Event::Cut => {
                let away = Duration::from_millis(rng.u64(100..2_000));
                let wait = async {
                    tokio::time::sleep(away).await;
                    Ok(())
                };
                (proxy, ()) = proxy.shut_during(wait).await?;
            }
        }
    }
    while let Some(thawed) = frozen.join_next().await {
        fleet.workers.push(thawed??);
    }
    let sent = sending.await??;
    spoiling.await??;
    fleet.scene.drained().await?;
    for worker in fleet.workers {
        worker.signal("-TERM")?;
        worker.ended().await?;
    }
    let audit = fleet.scene.audit(sent).await?;
    let published = fleet.topic.published().await?;
    let tables = tables::compare(&fleet.scene.lake(), &malformed().collect(), &published)?;
    if !audit.is_clean() {
        tell(seed, &audit);
    }
    drop(proxy);
    Ok(Outcome {
        kills: KILLS,
        freezes: FREEZES,
        lost: audit.lost,
        duplicate: audit.duplicate,
        altered: audit.altered + audit.unknown,
        tables,
    })
}

/// Bodies that are no ticks.
fn malformed() -> impl Iterator<Item = String> {
    (0..MALFORMED).map(|number| format!("no tick, but number {number}"))
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Kill,
    Freeze,
    Cut,
}

/// What was found, for whoever has to find out why.
fn tell(seed: u64, audit: &loadgen::Report) {
    use std::io::Write as _;
    // With stderr gone there is nobody to tell; the figures still do.
    let _ = writeln!(io::stderr(), "round of seed {seed}:\n{audit}");
}

/// Single-tick messages of one measurement of the cost.
const SINGLE: u64 = 50_000;

/// PUTs by which a worker proves at its start that the store honours conditions.
const PROOF: f64 = 2.0;

/// The cost where nothing happens, beside at-least-once: instructions per message and objects per epoch; and what each alert costs more.
/// CPU time says the same, but it varies by more than what is to be seen.
async fn cost() -> anyhow::Result<[Figure; 3]> {
    let served = Served::start().await?;
    let [calm, at_least] = [Cost::of(&served, "exactly-once", 0).await?, Cost::of(&served, "at-least-once", 0).await?];
    let [spiky, at_least_spiky] =
        [Cost::of(&served, "exactly-once", SPIKES).await?, Cost::of(&served, "at-least-once", SPIKES).await?];
    served.stop().await?;
    let per_message = |cost: &Cost| cost.instructions / SINGLE as f64;
    let (exactly, at_least) = (per_message(&calm), per_message(&at_least));
    let name = format!(
        "instructions per single-tick message ({exactly:.0}, without SHA-256), beside at-least-once ({at_least:.0})"
    );
    let alerts = spiky.alerts as f64 - calm.alerts as f64;
    anyhow::ensure!(alerts > 0.0, "no alert was raised");
    let per_alert =
        (per_message(&spiky) - per_message(&at_least_spiky) - (exactly - at_least)) * SINGLE as f64 / alerts;
    let of_alert = format!("instructions per alert ({per_alert:.0}, of {alerts}) beside those of a message");
    Ok([
        Figure { name: name.into(), measured: exactly / at_least, at_most: 1.03 },
        Figure { name: of_alert.into(), measured: per_alert / exactly, at_most: 30.0 },
        Figure { name: "PUTs per epoch besides its files and alerts".into(), measured: spiky.puts, at_most: 1.0 },
    ])
}

/// What one run took.
struct Cost {
    instructions: f64,
    /// PUTs per epoch, besides its files and a claim of each alert.
    puts: f64,
    /// Claimed ones.
    alerts: usize,
}

impl Cost {
    /// Drains [`SINGLE`] messages.
    async fn of(served: &Served, delivery: &str, spikes: u32) -> anyhow::Result<Self> {
        let scene = Scene::new(served, &format!("{delivery}-{spikes}")).await?;
        let sent = scene.send_with_spikes(spikes, SINGLE, 1, None).await?;
        let counts = tempfile::NamedTempFile::new().context("failed to make a file for counts")?;
        let mut command = scene.engine()?;
        command.arg("--drain").env("TICKLAKE_LAKE__DELIVERY", delivery);
        let before = served.calls("s3:PutObject").await?;
        let ended = Process::start(callgrind::counted(&command, counts.path()))?.ended().await?;
        let audit = scene.audit(sent).await?;
        anyhow::ensure!(audit.is_clean(), "the lake is not what was sent:\n{audit}");
        let is_exact = delivery == "exactly-once";
        let alerts = scene.objects("ledger-alerts/").await?;
        // Entries are gone by now, claims stay.
        let others = scene.objects("").await? as f64 + if is_exact { PROOF } else { 0.0 };
        let puts = (served.calls("s3:PutObject").await? - before) as f64 - others;
        let instructions = callgrind::instructions(counts.path())? as f64;
        Ok(Self { instructions, puts: puts / ended.count("epochs_stored")? as f64, alerts })
    }
}
