//! The engine's processes of a round: which ones run, are frozen or leave, and how the next one is set up.
//!
//! It does *not* own what happens to them and when.

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

/// After this many seconds, a worker takes over the notes of a dead one.
pub(super) const ADOPT_AFTER_S: u64 = 2;

/// The program to test.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    /// A `ticklake`. Without one, the engine that is part of this program.
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
    /// Whether each worker has one poll at a time and one decoder, so that ticks keep their order.
    is_in_order: bool,
    running: Vec<Process>,
    /// Frozen processes, by the number of the event that froze them.
    frozen: BTreeMap<usize, Process>,
    /// Processes that were asked to end.
    leaving: Vec<Process>,
    /// Processes that were asked to end. Another one starts after each end.
    giving_way: Vec<Process>,
    started: usize,
    /// When a worker was last killed or frozen. Some time later, others may take over its notes.
    pub(super) last_loss: Instant,
    /// The folder for logs, if the caller wants them.
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

    /// Starts one more worker for the present queues.
    pub(super) fn start(&mut self, site: &Site) -> anyhow::Result<()> {
        let worker = self.start_for(site, &site.queues, false)?;
        self.running.push(worker);
        Ok(())
    }

    /// Starts a worker that ends when `queues` are empty, and waits for its end.
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
            // A worker's own clock decides about a gap, so the result depends on how busy the machine is.
            command.env("TICKLAKE_DETECT__GAP__ENABLED", "false");
        }
        decode(&mut command, self.decodings[self.started % self.decodings.len()]);
        self.started += 1;
        match &self.logs {
            Some(logs) => Process::start_with_log(command, logs.join(format!("worker-{:02}.log", self.started))),
            None => Process::start(command),
        }
    }

    /// Takes the worker at this place out of those that run.
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

    /// Freezes a worker until [`Self::thaw`] with the same number.
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

    /// Sends SIGTERM to a worker. Starts another one at once, or when the old one has ended.
    pub(super) fn restart(&mut self, worker: usize, overlap: bool, site: &Site) -> anyhow::Result<()> {
        let Some(old) = self.take(worker) else { return self.start(site) };
        // The signal fails if the worker has already ended. The harness finds that later.
        let _ = old.signal("-TERM");
        if !overlap {
            self.giving_way.push(old);
            return Ok(());
        }
        self.leaving.push(old);
        self.start(site)
    }

    /// Starts new workers in place of those that ended, on request or by themselves.
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

    /// Ends all workers.
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

    /// Waits for the end of a worker, which must be a success. If the log is empty, the worker was not listening yet
    /// when it got the signal, and held nothing.
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

/// Whether this program's engine has that setting. The harness assumes that another program has the same version.
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
