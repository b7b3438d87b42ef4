//! `check exactly-once`: the model of the protocol is searched; then scenarios are drawn, in which real engine
//! processes are killed, frozen, cut off, configured differently and given copies, and the lake is compared with what
//! was sent; then it is measured what that costs.

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

/// The shortest that SQS's clients may ask for here.
const VISIBILITY: Duration = Duration::from_secs(5);

/// Measures every figure. Without a seed one is taken from the system, and printed.
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

/// Single-tick messages of one measurement of the cost.
const SINGLE: u64 = 50_000;

/// PUTs by which a worker proves at its start that the store honours conditions.
const PROOF: f64 = 32.0;

/// PUTs by which a worker leaves a list of its entries at its end.
const LIST: f64 = 1.0;

/// The cost where nothing happens, beside at-least-once: instructions per message and objects per epoch; and what
/// each alert costs more. CPU time says the same, but it varies by more than what is to be seen.
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
        Figure {
            name: "PUTs per epoch besides its files, claims and notes of alerts".into(),
            measured: spiky.puts,
            at_most: 1.0,
        },
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
        // Entries are what is measured. A worker that ends leaves them, and a list of them.
        let others = scene.objects("").await? as f64 - scene.objects("ledger/").await? as f64;
        let others = others + if is_exact { PROOF + LIST } else { 0.0 } + ended.count("alert_notes")? as f64;
        let puts = (served.calls("s3:PutObject").await? - before) as f64 - others;
        let instructions = callgrind::instructions(counts.path())? as f64;
        Ok(Self { instructions, puts: puts / ended.count("epochs_stored")? as f64, alerts })
    }
}
