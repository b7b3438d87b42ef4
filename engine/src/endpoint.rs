//! The HTTP endpoint that monitoring asks: `/metrics`, `/healthz` and `/readyz`.
//!
//! It does *not* own what is counted. It binds loopback unless configured otherwise, for it asks nobody who they are.

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
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::info;

use crate::metrics::Exporter;

/// Connections at once: Prometheus needs one.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

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
        loop {
            while connections.len() >= CONNECTIONS_MAX {
                let _ = connections.join_next().await;
            }
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors, say: it may pass, and the engine does not depend on it.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let exporter = self.exporter.clone();
            let answers =
                service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&request, &exporter))));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            // A client that hangs up is no business of the engine.
            connections.spawn(async move { drop(http.serve_connection(TokioIo::new(stream), answers).await) });
            while connections.try_join_next().is_some() {}
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
        "/readyz" if exporter.is_receiving() => text(StatusCode::OK, "receiving\n"),
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
