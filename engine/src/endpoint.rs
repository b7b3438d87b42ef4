//! The HTTP endpoint of a running engine: `/metrics`, `/healthz`, `/readyz`, and `/alerts`, a stream.
//!
//! It does *not* own what is counted or raised. It binds loopback unless configured otherwise, because it has no
//! authentication.

mod answer;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::info;

use self::answer::answer;
use crate::exporter::Exporter;

/// Connections at once: Prometheus needs one, and so does each listener to alerts. One more replaces the oldest.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take to send its request and to read an answer that is no stream.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound endpoint.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    exporter: Arc<Exporter>,
}

impl Endpoint {
    /// Binds `address`. With port 0 the system chooses one.
    pub async fn bind(address: SocketAddr, exporter: Exporter) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, exporter: Arc::new(exporter) })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        if let Ok(address) = self.address() {
            info!(%address, "metrics at /metrics, health at /healthz and /readyz, alerts at /alerts");
        }
        let mut connections = JoinSet::new();
        // Open connections in the order in which they came.
        let mut open = VecDeque::new();
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // The process may be out of file descriptors. That may pass, and the engine does not depend on it.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            open.retain(|connection: &AbortHandle| !connection.is_finished());
            // Slow clients keep nobody out: a new client replaces the oldest one.
            if open.len() >= CONNECTIONS_MAX
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            open.push_back(connections.spawn(serve(stream, self.exporter.clone())));
        }
    }
}

/// Answers one request. Otherwise a client that sends many and reads no answer would hold its connection for ever.
async fn serve(stream: TcpStream, exporter: Arc<Exporter>) {
    let is_stream = AtomicBool::new(false);
    let answers = service_fn(|request| {
        let answer = answer(&request, &exporter);
        is_stream.store(answer.is_stream, Ordering::Relaxed);
        std::future::ready(Ok::<_, Infallible>(answer.response))
    });
    let mut connection = pin!(http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answers));
    // If a client hangs up, there is nothing to do.
    if timeout(CONNECTION_TIMEOUT, connection.as_mut()).await.is_err() && is_stream.load(Ordering::Relaxed) {
        let _ = connection.await;
    }
}
