//! The local endpoint in a process of its own: its start, its CPU time and memory, its stop.

use std::{
    io::{self, Read as _, Write as _},
    path::Path,
    process::Stdio,
};

use anyhow::Context as _;
use localaws::{LocalAws, Options};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A server process. It ends when its standard input does, and so with this process too.
pub(super) struct Served {
    pub(super) url: String,
    child: Child,
    pid: Pid,
    /// Its data.
    _dir: TempDir,
}

impl Served {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let dir = TempDir::new().context("failed to make a folder for the server's data")?;
        let program = std::env::current_exe().context("failed to find this program")?;
        let mut child = Command::new(program)
            .args(["serve-local-aws".as_ref(), dir.path().as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start the server's process")?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let url = BufReader::new(stdout).lines().next_line().await?.context("the server ended before it listened")?;
        let pid = Pid::from_u32(child.id().context("the server ended before it was asked for anything")?);
        Ok(Self { url, child, pid, _dir: dir })
    }

    /// The server's CPU time over `work`, in microseconds.
    pub(super) async fn cpu_of(&self, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<f64> {
        let before = self.look(sysinfo::Process::accumulated_cpu_time)?;
        work.await?;
        let after = self.look(sysinfo::Process::accumulated_cpu_time)?;
        Ok((after - before) as f64 * 1000.0)
    }

    /// The server's resident memory, in bytes.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        self.look(sysinfo::Process::memory)
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
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

/// The process's side: serves below `dir` until standard input ends.
pub fn serve(dir: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start the server's runtime")?;
    runtime.block_on(async {
        let local = LocalAws::start(Options::new(dir)).await?;
        writeln!(io::stdout().lock(), "{}", local.url()).context("failed to tell the address")?;
        let waiting = tokio::task::spawn_blocking(|| io::stdin().lock().read_to_end(&mut Vec::new()));
        waiting.await.context("failed to wait")?.context("failed to wait for the end of standard input")?;
        local.shutdown().await;
        Ok(())
    })
}
