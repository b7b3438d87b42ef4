//! The HTTP endpoint that monitoring asks: `/metrics`, `/healthz` and `/readyz`.
//!
//! It does *not* own what is counted. It binds loopback unless configured otherwise, for it asks nobody who they are.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::info;

use crate::metrics::Exporter;

/// Connections at once: Prometheus needs one. The next one takes the place of the oldest.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take to send its request and to read the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound endpoint.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    exporter: Arc<Exporter>,
}

impl Endpoint {
    /// Binds `address`, of which port 0 is any.
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
            info!(%address, "metrics at /metrics, health at /healthz and /readyz");
        }
        let mut connections = JoinSet::new();
        // In the order in which they came.
        let mut open = VecDeque::new();
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors, say: it may pass, and the engine does not depend on it.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let exporter = self.exporter.clone();
            let answers =
                service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&request, &exporter))));
            while connections.try_join_next().is_some() {}
            open.retain(|connection: &AbortHandle| !connection.is_finished());
            // A slow client keeps nobody out: its place goes to the next one.
            if open.len() >= CONNECTIONS_MAX
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            // One request each: a client that sends many and reads no answer would hold its connection for ever.
            let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answers);
            // A client that hangs up is no business of the engine.
            let connection = async move { drop(timeout(CONNECTION_TIMEOUT, connection).await) };
            open.push_back(connections.spawn(connection));
        }
    }
}

fn answer(request: &Request<Incoming>, exporter: &Exporter) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let mut answer = text(StatusCode::OK, exporter.render());
            let format = HeaderValue::from_static("text/plain; version=0.0.4");
            answer.headers_mut().insert(CONTENT_TYPE, format);
            answer
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if exporter.is_receiving() => {
            let gone = exporter.queues_gone().map(|queue| format!("not receiving: {queue} is gone\n"));
            text(StatusCode::OK, format!("receiving\n{}", gone.collect::<String>()))
        }
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not receiving\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
