//! A watched process: its signals, its end, its log and what it used.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};
use tempfile::NamedTempFile;
use wait4::Wait4 as _;

use super::PATIENCE;

/// A running process. Dropping it before its end kills it.
pub(crate) struct Process {
    child: Option<Child>,
    pid: u32,
    name: String,
    started: Instant,
    log: Log,
}

/// Where the process's log goes.
enum Log {
    /// Deleted with the process.
    Temporary(NamedTempFile),
    Kept(PathBuf),
}

/// A process that ended with success.
#[derive(Debug)]
pub(crate) struct Ended {
    /// CPU time, microseconds.
    pub(crate) cpu_us: f64,
    /// The most memory that was resident, bytes.
    pub(crate) memory: u64,
    /// The last line of JSON in its log.
    last: serde_json::Value,
}

impl Process {
    pub(crate) fn start(command: Command) -> anyhow::Result<Self> {
        let log = NamedTempFile::new().context("failed to make a file for a log")?;
        let file = log.reopen().context("failed to open the file for a log")?;
        Self::start_with(command, file, Log::Temporary(log))
    }

    /// Keeps the log, at `path`.
    pub(crate) fn start_with_log(command: Command, path: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Self::start_with(command, file, Log::Kept(path))
    }

    fn start_with(mut command: Command, file: File, log: Log) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stderr(file).spawn();
        let child = child.with_context(|| format!("failed to start {name}"))?;
        Ok(Self { pid: child.id(), child: Some(child), name, started: Instant::now(), log })
    }

    /// Whether the process has ended, by itself or on request. Only [`Process::ended`] may wait for the process, and
    /// only it says how the process ended.
    pub(crate) fn has_ended(&self) -> bool {
        let Ok(mut system) = System::new() else { return false };
        let pid = Pid::from_u32(self.pid);
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, ProcessRefreshKind::nothing());
        system.process(pid).is_none_or(|process| process.status() == ProcessStatus::Zombie)
    }

    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([signal, &self.pid.to_string()]).status();
        anyhow::ensure!(sent.context("failed to run kill")?.success(), "failed to send {signal} to {}", self.name);
        Ok(())
    }

    /// The process's CPU time so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut system = System::new().context("failed to ask the system for processes")?;
        let (pid, what) = (Pid::from_u32(self.pid), ProcessRefreshKind::nothing().with_cpu().without_tasks());
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        let process = system.process(pid).with_context(|| format!("{} has ended", self.name))?;
        Ok(Duration::from_millis(process.accumulated_cpu_time()))
    }

    /// The time since the start.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    fn log(&self) -> String {
        let path = match &self.log {
            Log::Temporary(file) => file.path(),
            Log::Kept(path) => path,
        };
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// The last line of the log that is no part of a backtrace. Empty if the log is empty.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log()).to_owned()
    }

    /// Kills the process at once.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Waits for the process's end, which must be a success.
    pub(crate) async fn ended(mut self) -> anyhow::Result<Ended> {
        let child = self.child.take().context("the process was waited for already")?;
        let (pid, name) = (self.pid, self.name.clone());
        let waiting = tokio::task::spawn_blocking(move || child.wait4());
        let Ok(ended) = tokio::time::timeout(PATIENCE, waiting).await else {
            // The waiter holds the child, and ends with it.
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            anyhow::bail!("{name} did not end within {PATIENCE:?}");
        };
        let ended = ended?.with_context(|| format!("failed to wait for {name}"))?;
        let log = self.log();
        anyhow::ensure!(ended.status.success(), "{name} ended with {}: {}", ended.status, last_words(&log));
        let cpu = ended.rusage.utime + ended.rusage.stime;
        let last = log.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        Ok(Ended { cpu_us: cpu.as_secs_f64() * 1e6, memory: ended.rusage.maxrss, last })
    }
}

fn last_words(log: &str) -> &str {
    let is_trace = |line: &&str| {
        line.is_empty()
            || line.starts_with([' ', '\t'])
            || ["note: ", "Stack "].iter().any(|start| line.starts_with(start))
    };
    log.lines().rev().find(|line| !is_trace(line)).unwrap_or_default()
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Ended {
    /// A number in the last line of the engine's log.
    pub(crate) fn count(&self, name: &str) -> anyhow::Result<u64> {
        let fields = self.last.get("fields").unwrap_or(&self.last);
        fields
            .get(name)
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("the log does not end with {name}"))
    }
}
