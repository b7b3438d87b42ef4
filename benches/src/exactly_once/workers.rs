//! The engine's processes of a round: who lives, who is frozen, who is leaving, and how the next one is set up.
//!
//! It does *not* own what happens to them when.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;

use super::VISIBILITY;
use super::findings::{Fault, Findings};
use super::scenario::{Decoding, Scenario};
use super::site::Site;
use crate::fleet::process::Process;

/// After how long a worker takes over what a dead one has noted.
pub(super) const ADOPT_AFTER_S: u64 = 2;

/// The program that is put to the test.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    /// A `ticklake`; without one, the engine that is part of this program.
    pub program: Option<PathBuf>,
}

impl Engine {
    fn command(&self) -> anyhow::Result<Command> {
        let Some(program) = &self.program else {
            let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
            command.arg("engine");
            return Ok(command);
        };
        let mut command = Command::new(program);
        command.arg("run");
        Ok(command)
    }
}

/// The processes.
pub(super) struct Workers {
    engine: Engine,
    decodings: Vec<Decoding>,
    age_max_ms: u64,
    /// Whether there is one poll at a time and one decoder, so that ticks keep their order.
    is_in_order: bool,
    running: Vec<Process>,
    /// By the number of the event that has frozen it.
    frozen: BTreeMap<usize, Process>,
    /// Asked to end.
    leaving: Vec<Process>,
    /// Asked to end, and another one starts when it has.
    giving_way: Vec<Process>,
    started: usize,
    /// When one was last killed, or frozen: what it has noted, others may take over some time later.
    pub(super) last_loss: Instant,
    /// Where logs go, if they are wanted.
    logs: Option<PathBuf>,
    pub(super) findings: Findings,
}

impl Workers {
    pub(super) fn new(engine: Engine, scenario: &Scenario, logs: Option<PathBuf>) -> Self {
        Self {
            engine,
            decodings: scenario.decodings.clone(),
            age_max_ms: scenario.age_max_ms,
            is_in_order: scenario.has_certain_alerts(),
            running: Vec::new(),
            frozen: BTreeMap::new(),
            leaving: Vec::new(),
            giving_way: Vec::new(),
            started: 0,
            last_loss: Instant::now(),
            logs,
            findings: Findings::default(),
        }
    }

    /// Starts one more, for the queues that there are.
    pub(super) fn start(&mut self, site: &Site) -> anyhow::Result<()> {
        let worker = self.start_for(site, &site.queues, false)?;
        self.running.push(worker);
        Ok(())
    }

    /// One that ends when `queues` are empty.
    pub(super) async fn drain(&mut self, site: &Site, queues: &[String]) -> anyhow::Result<()> {
        let worker = self.start_for(site, queues, true)?;
        self.end(worker).await;
        Ok(())
    }

    fn start_for(&mut self, site: &Site, queues: &[String], drain: bool) -> anyhow::Result<Process> {
        let mut command = self.engine.command()?;
        site.set_up(&mut command);
        if drain {
            command.arg("--drain");
        }
        command.env("TICKLAKE_QUEUES", serde_json::to_string(queues)?);
        command.env("TICKLAKE_QUEUE__VISIBILITY_TIMEOUT", format!("{}s", VISIBILITY.as_secs()));
        command.env("TICKLAKE_QUEUE__WAIT", "1s").env("TICKLAKE_AWS__ATTEMPT_TIMEOUT", "3s");
        command.env("TICKLAKE_EPOCH__AGE_MAX", format!("{}ms", self.age_max_ms)).env("TICKLAKE_THREADS__DECODE", "1");
        command.env("TICKLAKE_SHUTDOWN__DEADLINE", "10s");
        if has_setting("alerts", "adopt_after") {
            command.env("TICKLAKE_ALERTS__ADOPT_AFTER", format!("{ADOPT_AFTER_S}s"));
        }
        if self.is_in_order {
            command.env("TICKLAKE_QUEUE__RECEIVERS_MAX", "1");
            // A silence is told by the clock of the worker, and depends on how busy the machine is.
            command.env("TICKLAKE_DETECT__GAP__ENABLED", "false");
        }
        decode(&mut command, self.decodings[self.started % self.decodings.len()]);
        self.started += 1;
        match &self.logs {
            Some(logs) => Process::start_with_log(command, logs.join(format!("worker-{:02}.log", self.started))),
            None => Process::start(command),
        }
    }

    /// The worker that is meant, and no more among those that run.
    fn take(&mut self, worker: usize) -> Option<Process> {
        let of = self.running.len();
        (of > 0).then(|| self.running.swap_remove(worker % of))
    }

    pub(super) fn kill(&mut self, worker: usize, site: &Site) -> anyhow::Result<()> {
        if let Some(victim) = self.take(worker) {
            victim.kill();
            self.last_loss = Instant::now();
        }
        self.start(site)
    }

    /// Freezes it until [`Self::thaw`] with the same number.
    pub(super) fn freeze(&mut self, number: usize, worker: usize, replaced_at: Option<&Site>) -> anyhow::Result<()> {
        if let Some(victim) = self.take(worker) {
            victim.signal("-STOP")?;
            self.frozen.insert(number, victim);
            self.last_loss = Instant::now();
        }
        replaced_at.map_or(Ok(()), |site| self.start(site))
    }

    pub(super) fn thaw(&mut self, number: usize) -> anyhow::Result<()> {
        let Some(worker) = self.frozen.remove(&number) else { return Ok(()) };
        worker.signal("-CONT")?;
        self.running.push(worker);
        Ok(())
    }

    /// SIGTERM, and another one: at once, or when the old one has ended.
    pub(super) fn restart(&mut self, worker: usize, overlap: bool, site: &Site) -> anyhow::Result<()> {
        let Some(old) = self.take(worker) else { return self.start(site) };
        // One that has ended by itself is found later.
        let _ = old.signal("-TERM");
        if !overlap {
            self.giving_way.push(old);
            return Ok(());
        }
        self.leaving.push(old);
        self.start(site)
    }

    /// Puts others in the place of those that have ended: because they were asked to, or by themselves.
    pub(super) fn replace_ended(&mut self, site: &Site) -> anyhow::Result<()> {
        for worker in extract_ended(&mut self.giving_way) {
            self.leaving.push(worker);
            self.start(site)?;
        }
        for worker in extract_ended(&mut self.running) {
            let last_words = worker.last_words();
            if !site.explains(&last_words) {
                self.findings.find(Fault::WorkerEnded, || last_words);
            }
            self.start(site)?;
        }
        Ok(())
    }

    /// Ends all of them.
    pub(super) async fn end_all(&mut self) {
        for worker in std::mem::take(&mut self.running) {
            let _ = worker.signal("-TERM");
            self.leaving.push(worker);
        }
        self.leaving.append(&mut self.giving_way);
        for worker in std::mem::take(&mut self.leaving) {
            self.end(worker).await;
        }
    }

    /// Waits for the end of one, which has to be in order. A worker that has said nothing was not listening yet when it
    /// got the signal, and held nothing.
    async fn end(&mut self, worker: Process) {
        let has_begun = !worker.last_words().is_empty();
        if let Err(error) = worker.ended().await
            && has_begun
        {
            self.findings.find(Fault::WorkerEnded, || format!("{error:#}"));
        }
    }
}

fn extract_ended(workers: &mut Vec<Process>) -> Vec<Process> {
    workers.extract_if(.., |worker| worker.has_ended()).collect()
}

/// Whether this program's engine has that setting; another program is taken for one of the same version.
fn has_setting(section: &str, key: &str) -> bool {
    let settings = serde_json::to_value(ticklake::config::Settings::default());
    settings.is_ok_and(|settings| settings[section].get(key).is_some())
}

fn decode(command: &mut Command, decoding: Decoding) {
    match decoding {
        Decoding::Default => command,
        Decoding::NamesMax(names) => command.env("TICKLAKE_DECODE__NAMES_MAX", names.to_string()),
        Decoding::NumbersAsStrings => command.env("TICKLAKE_DECODE__NUMBERS_AS_STRINGS", "true"),
        Decoding::SymbolMaxBytes(bytes) => command.env("TICKLAKE_DECODE__SYMBOL_MAX_BYTES", bytes.to_string()),
        Decoding::OtherTs => command.env("TICKLAKE_DECODE__FIELDS__TS", "time"),
    };
}
