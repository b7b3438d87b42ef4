//! `check exactly-once`: it searches the model of the protocol, plays scenarios, and measures the cost.
//!
//! In a scenario, real engine processes are killed, frozen, cut off, configured differently and given copies. Then the
//! check compares the lake with the sent messages.

mod search;

mod draw;
mod scenario;

mod feed;
mod site;
mod workers;

mod round;

mod audit;
mod findings;
mod tables;

pub mod harass;

use std::io;
use std::time::Duration;

use anyhow::Context as _;

use crate::figure::Figure;
use crate::fleet::callgrind;
use crate::fleet::process::Process;
use crate::fleet::scene::{SPIKES, Scene};
use crate::localaws::served::Served;

pub use self::round::Options;
pub use self::site::Endpoints;
pub use self::workers::Engine;

/// The shortest visibility timeout that SQS's clients may ask for here.
const VISIBILITY: Duration = Duration::from_secs(5);

/// Measures every figure. Without a seed it takes one from the system. It prints the seed.
pub fn figures(
    rounds: u64,
    seed: Option<u64>,
    report: &mut impl FnMut(Figure) -> io::Result<()>,
) -> anyhow::Result<()> {
    search::figures(report)?;
    crate::simulation::figures(report)?;
    harass::figures(&harass::Rounds::Many { rounds, seed }, &Options::default(), true, report)?;
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime of the clients")?;
    runtime.block_on(cost())?.into_iter().try_for_each(report).context("failed to report")
}

/// Single-tick messages of the two runs that give a cost. Both contain what a worker does once, at its start.
const FEW: u64 = 10_000;
const MANY: u64 = 50_000;

/// PUTs with which a worker proves at its start that the store honours conditions.
const PROOF: f64 = 32.0;

/// PUTs with which a worker stores the list of its entries at its end.
const LIST: f64 = 1.0;

/// The cost of exactly-once beside at-least-once when nothing happens: instructions of the start and per message, PUTs
/// per epoch, and the extra cost of each alert. Instructions are counted because CPU time varies by more than the
/// difference.
async fn cost() -> anyhow::Result<[Figure; 4]> {
    let served = Served::start().await?;
    let of = async |delivery, messages, spikes| Cost::of(&served, delivery, messages, spikes).await;
    let [exactly_few, exactly_many] = [of("exactly-once", FEW, 0).await?, of("exactly-once", MANY, 0).await?];
    let [at_least_few, at_least_many] = [of("at-least-once", FEW, 0).await?, of("at-least-once", MANY, 0).await?];
    let [spiky, at_least_spiky] = [of("exactly-once", MANY, SPIKES).await?, of("at-least-once", MANY, SPIKES).await?];
    served.stop().await?;
    let per_message = |few: &Cost, many: &Cost| (many.instructions - few.instructions) / (MANY - FEW) as f64;
    let exactly = per_message(&exactly_few, &exactly_many);
    let at_least = per_message(&at_least_few, &at_least_many);
    let name = format!(
        "instructions per single-tick message ({exactly:.0}, without SHA-256), beside at-least-once ({at_least:.0})"
    );
    let start = exactly_few.instructions - at_least_few.instructions - (exactly - at_least) * FEW as f64;
    let of_start = format!("instructions of a worker's start and end ({start:.0}) beside those of a message");
    let alerts = spiky.alerts as f64 - exactly_many.alerts as f64;
    anyhow::ensure!(alerts > 0.0, "no alert was raised");
    let [calm, at_least_calm] = [exactly_many.instructions, at_least_many.instructions];
    let per_alert = (spiky.instructions - at_least_spiky.instructions - (calm - at_least_calm)) / alerts;
    let of_alert = format!("instructions per alert ({per_alert:.0}, of {alerts}) beside those of a message");
    let of_epoch =
        format!("PUTs per epoch ({} in {}) besides its files, claims and notes of alerts", spiky.puts, spiky.epochs);
    Ok([
        Figure { name: name.into(), measured: exactly / at_least, at_most: 1.03 },
        Figure { name: of_start.into(), measured: start / exactly, at_most: 2_500.0 },
        Figure { name: of_alert.into(), measured: per_alert / exactly, at_most: 30.0 },
        Figure { name: of_epoch.into(), measured: spiky.puts / spiky.epochs, at_most: 1.0 },
    ])
}

/// What one run took.
struct Cost {
    instructions: f64,
    /// PUTs of entries: all PUTs except those of files, claims, notes, the proof and the list.
    puts: f64,
    epochs: f64,
    /// Claimed alerts.
    alerts: usize,
}

impl Cost {
    /// Drains `messages` messages.
    async fn of(served: &Served, delivery: &str, messages: u64, spikes: u32) -> anyhow::Result<Self> {
        let scene = Scene::new(served, &format!("{delivery}-{messages}-{spikes}")).await?;
        let sent = scene.send_with_spikes(spikes, messages, 1, None).await?;
        let counts = tempfile::NamedTempFile::new().context("failed to make a file for counts")?;
        let mut command = scene.engine()?;
        command.arg("--drain").env("TICKLAKE_LAKE__DELIVERY", delivery);
        let before = served.calls("s3:PutObject").await?;
        let ended = Process::start(callgrind::counted(&command, counts.path()))?.ended().await?;
        let audit = scene.audit(sent).await?;
        anyhow::ensure!(audit.is_clean(), "the lake is not what was sent:\n{audit}");
        let is_exact = delivery == "exactly-once";
        let alerts = scene.objects("ledger-alerts/").await?;
        // Only PUTs of entries are measured. A worker that ends leaves its entries, and a list of them.
        let others = scene.objects("").await? as f64 - scene.objects("ledger/").await? as f64;
        let others = others + if is_exact { PROOF + LIST } else { 0.0 } + ended.count("alert_notes")? as f64;
        let puts = (served.calls("s3:PutObject").await? - before) as f64 - others;
        let instructions = callgrind::instructions(counts.path())? as f64;
        Ok(Self { instructions, puts, epochs: ended.count("epochs_stored")? as f64, alerts })
    }
}
