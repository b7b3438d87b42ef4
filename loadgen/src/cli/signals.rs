//! Ctrl-C and SIGTERM, for as long as a command runs: the first one ends sending, or the wait for what was sent; a
//! second one while still sending ends the process.
//!
//! It does *not* own what ends then ([`Progress`]).

use std::{
    io::{self, Write},
    process,
    sync::atomic::Ordering,
};

use anyhow::Context;
use indicatif::ProgressBar;
use loadgen::Progress;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for both.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    received: u32,
}

impl Signals {
    /// From now on neither ends the process by itself.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("failed to listen for signals");
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, received: 0 })
    }

    /// Waits for the next one; its exit status, which is 128 and its number, as a shell has it.
    pub(super) async fn next(&mut self) -> i32 {
        let status = tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        };
        self.received += 1;
        status
    }

    /// Ends what a run is at. Of a run that is ended while it sends nobody knows what it has sent.
    pub(super) fn act(&self, status: i32, progress: &Progress, bar: &ProgressBar) {
        if progress.is_sent.load(Ordering::Relaxed) {
            progress.hurry.store(true, Ordering::Relaxed);
        } else if self.received > 1 {
            bar.finish_and_clear();
            process::exit(status);
        } else {
            progress.stop.store(true, Ordering::Relaxed);
            let text = "stopping: what is prepared is sent; once more ends at once";
            bar.suspend(|| drop(writeln!(io::stderr(), "{text}")));
        }
    }

    /// Whether there was one.
    pub(super) fn any(&self) -> bool {
        self.received > 0
    }
}
