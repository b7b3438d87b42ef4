//! Answers each path of the endpoint: with a text, or with a stream of events.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use crate::exporter::Exporter;
use crate::listeners::{Heard, Listener};

/// How long a stream may be silent. Proxies close a connection that is silent for too long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer, and whether its body goes on for as long as the client listens.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) is_stream: bool,
}

/// The answer to `request`.
pub(super) fn answer(request: &Request<Incoming>, exporter: &Exporter) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
    }
    let meters = exporter.meters();
    match request.uri().path() {
        "/metrics" => whole(StatusCode::OK, "text/plain; version=0.0.4", exporter.render()),
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if meters.is_receiving() => {
            let gone = meters.queues_gone().map(|queue| format!("not receiving: {queue} is gone\n"));
            text(StatusCode::OK, format!("receiving\n{}", gone.collect::<String>()))
        }
        "/readyz" => {
            let why = meters.rejects.halted().map(|why| format!(": {why}")).unwrap_or_default();
            text(StatusCode::SERVICE_UNAVAILABLE, format!("not receiving{why}\n"))
        }
        // A HEAD asks only for the headers. The body of a stream would never end.
        "/alerts" if request.method() == Method::HEAD => whole(StatusCode::OK, EVENT_STREAM, ""),
        "/alerts" => events(meters.listeners.listen()),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz, /readyz and /alerts\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    whole(status, "text/plain; charset=utf-8", body)
}

/// An answer with a complete body.
fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Answer { response, is_stream: false }
}

const EVENT_STREAM: &str = "text/event-stream";

/// Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>): an `alert` for each alert,
/// with the JSON that subscribers of the topic get, and `missed` with the number of alerts that the client was too slow
/// for.
fn events(listener: Listener) -> Answer {
    let mut response = Response::new(StreamBody::new(frames(listener)).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Answer { response, is_stream: true }
}

fn frames(listener: Listener) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    unfold(listener, |mut listener| async {
        let event = match timeout(KEEP_ALIVE, listener.next()).await {
            Err(_) => ": nothing new\n\n".to_owned(),
            Ok(Some(Heard::Alert(alert))) => format!("event: alert\ndata: {}\n\n", alert.to_json()),
            Ok(Some(Heard::Missed(missed))) => format!("event: missed\ndata: {missed}\n\n"),
            Ok(None) => return None,
        };
        Some((Ok(Frame::data(event.into())), listener))
    })
}
