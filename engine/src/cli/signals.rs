//! SIGTERM and SIGINT: the first begins the shutdown, the second ends the process at once.

use std::future::Future;
use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::EXIT_INTERRUPTED;

/// Listens from now on. The future is ready at the first signal; the second one ends the process with
/// [`EXIT_INTERRUPTED`], whatever it is doing.
#[expect(clippy::disallowed_methods, reason = "a second signal ends the process whatever the run does")]
pub fn shutdown() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "shutting down");
        tokio::spawn(async move {
            let name = either(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = name, "ending without waiting for the drain");
            process::exit(i32::from(EXIT_INTERRUPTED));
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
