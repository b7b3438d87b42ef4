//! The local endpoint in a process of its own: its start, its CPU time and memory, its stop.

use std::{
    io::{self, BufRead as _, Write as _},
    path::Path,
    process::Stdio,
};

use anyhow::Context as _;
use localaws::{Fault, Faults, LocalAws, Options};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
};

/// The seed that decides which requests meet which faults.
const SEED: u64 = 7;

/// A server process. It ends when its standard input ends, so it ends with this process too.
pub(crate) struct Served {
    pub(crate) url: String,
    child: Child,
    /// The server's standard input and output.
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    pid: Pid,
    /// The server's data.
    dir: TempDir,
}

impl Served {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let dir = TempDir::new().context("failed to make a folder for the server's data")?;
        let program = std::env::current_exe().context("failed to find this program")?;
        let mut child = Command::new(program)
            .args(["serve-local-aws".as_ref(), dir.path().as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start the server's process")?;
        let stdin = child.stdin.take().context("the server has no input")?;
        let mut stdout = BufReader::new(child.stdout.take().context("the server has no output")?).lines();
        let url = stdout.next_line().await?.context("the server ended before it listened")?;
        let pid = Pid::from_u32(child.id().context("the server ended before it was asked for anything")?);
        Ok(Self { url, child, pipes: Mutex::new((stdin, stdout)), pid, dir })
    }

    /// The folder whose folders are its buckets.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server's CPU time during `work`, in microseconds.
    pub(crate) async fn cpu_of(&self, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<f64> {
        let before = self.look(sysinfo::Process::accumulated_cpu_time)?;
        work.await?;
        let after = self.look(sysinfo::Process::accumulated_cpu_time)?;
        Ok((after - before) as f64 * 1000.0)
    }

    /// The server's resident memory, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.look(sysinfo::Process::memory)
    }

    /// Replaces the server's faults with these, in the syntax of `localaws/README.md`.
    pub(crate) async fn set_faults(&self, faults: &[&str]) -> anyhow::Result<()> {
        let said = self.ask(&faults.join(" ")).await?;
        anyhow::ensure!(said == FAULTS_SET, "the server refuses the faults: {said}");
        Ok(())
    }

    /// How many requests of `action` the server got.
    pub(crate) async fn calls(&self, action: &str) -> anyhow::Result<u64> {
        let said = self.ask(&format!("{CALLS}{action}")).await?;
        said.parse().with_context(|| format!("the server does not count {action}: {said}"))
    }

    async fn ask(&self, line: &str) -> anyhow::Result<String> {
        let (stdin, stdout) = &mut *self.pipes.lock().await;
        stdin.write_all(format!("{line}\n").as_bytes()).await.context("the server has ended")?;
        stdout.next_line().await?.context("the server has ended")
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.pipes);
        let status = self.child.wait().await.context("failed to wait for the server")?;
        anyhow::ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    fn look<T>(&self, figure: impl Fn(&sysinfo::Process) -> T) -> anyhow::Result<T> {
        let mut system = System::new().context("failed to ask the system for processes")?;
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), false, what);
        system.process(self.pid).map(figure).context("the server's process is gone")
    }
}

/// The prefix of a question for a number of requests.
const CALLS: &str = "calls ";

/// The server's answer after it has set the faults.
const FAULTS_SET: &str = "faults set";

/// The server process's side: serves below `dir` until standard input ends. Every input line is either the new list of
/// faults or a question.
pub fn serve(dir: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the server's runtime")?;
    runtime.block_on(async {
        let local = LocalAws::start(Options::new(dir)).await?;
        writeln!(io::stdout().lock(), "{}", local.url()).context("failed to tell the address")?;
        let faults = local.faults().clone();
        let obeying = tokio::task::spawn_blocking(move || obey(&faults));
        obeying.await.context("failed to wait")??;
        local.shutdown().await;
        Ok(())
    })
}

fn obey(faults: &Faults) -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("failed to read what to do")?;
        if let Some(action) = line.strip_prefix(CALLS) {
            writeln!(io::stdout().lock(), "{}", faults.calls(action)).context("failed to answer")?;
            continue;
        }
        let parsed: Result<Vec<Fault>, _> = line.split_whitespace().map(str::parse).collect();
        let said = match parsed {
            Ok(parsed) => {
                faults.set(parsed, SEED);
                FAULTS_SET.to_owned()
            }
            Err(error) => error.to_string(),
        };
        writeln!(io::stdout().lock(), "{said}").context("failed to answer")?;
    }
    Ok(())
}
