//! What a newcomer waits for: the CPU time of a clean release build, beside that of an earlier commit, and the size and
//! the start of the built program. It takes long, because it makes two builds from nothing. This file does *not* own
//! other rules.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use wait4::Wait4 as _;

use super::root;
use crate::figure::Figure;

/// The earlier commit that the build is compared with.
const BEFORE: &str = "4ec3dca";

/// The largest CPU time of the build, as a share of that of [`BEFORE`].
const BUILD_MAX: f64 = 0.6;

/// The most megabytes of the stripped program.
const SIZE_MAX: f64 = 25.0;

/// The most milliseconds of CPU that `ticklake --version` may take.
const VERSION_MAX: f64 = 5.0;

/// Builds both from nothing, one after the other, and removes their folders afterwards.
pub fn figures(report: &mut impl FnMut(Figure) -> std::io::Result<()>) -> anyhow::Result<()> {
    let dir = tempfile::tempdir().context("failed to make a folder for the builds")?;
    let before = dir.path().join("before");
    run(Command::new("git").arg("worktree").args(["add", "--detach"]).arg(&before).arg(BEFORE))?;
    let built = built_before(&before, dir.path());
    run(Command::new("git").args(["worktree", "remove", "--force"]).arg(&before))?;
    let before_s = built?;
    let target = dir.path().join("now");
    let now_s = build(root(), &target)?;
    let name = format!("CPU of a clean release build ({now_s:.0} s), beside that of {BEFORE} ({before_s:.0} s)");
    report(Figure { name: name.into(), measured: now_s / before_s, at_most: BUILD_MAX })?;
    let program = target.join("release/ticklake");
    let stripped = dir.path().join("stripped");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(&program))?;
    let bytes = stripped.metadata().context("failed to look at the program")?.len();
    report(Figure { name: "MB of ticklake, stripped".into(), measured: bytes as f64 / 1e6, at_most: SIZE_MAX })?;
    let times = (0..20).map(|_| cpu_s(Command::new(&stripped).arg("--version"))).collect::<Result<Vec<_>, _>>()?;
    let least_ms = times.into_iter().fold(f64::INFINITY, f64::min) * 1e3;
    report(Figure { name: "ms of CPU of `ticklake --version`".into(), measured: least_ms, at_most: VERSION_MAX })?;
    Ok(())
}

fn built_before(before: &Path, dir: &Path) -> anyhow::Result<f64> {
    let target = dir.join("before-target");
    let seconds = build(before, &target)?;
    std::fs::remove_dir_all(&target).context("failed to remove a build")?;
    Ok(seconds)
}

/// Seconds of CPU that a build of the sources in `folder` takes.
fn build(folder: &Path, target: &Path) -> anyhow::Result<f64> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--locked", "-p", "ticklake"]);
    cpu_s(cargo.arg("--target-dir").arg(target).current_dir(folder))
}

/// Seconds of CPU that `command` and its child processes take.
fn cpu_s(command: &mut Command) -> anyhow::Result<f64> {
    let name = format!("{command:?}");
    let child = command.stdout(std::process::Stdio::null()).spawn().with_context(|| format!("failed to run {name}"))?;
    let ended = child.wait4().with_context(|| format!("failed to wait for {name}"))?;
    anyhow::ensure!(ended.status.success(), "{name} ended with {}", ended.status);
    Ok((ended.rusage.utime + ended.rusage.stime).as_secs_f64())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    cpu_s(command.current_dir(root())).map(drop)
}
