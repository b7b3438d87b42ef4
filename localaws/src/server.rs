//! The listener: accepts connections, hands each request to the service that its headers name, stops in order.
//!
//! It does *not* know what a request means beyond which service it is for.

use std::{sync::Arc, time::Duration};

use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{
    body::ReplyBody,
    query::Form,
    s3::S3,
    scope,
    sns::{self, Sns},
    sqs::Sqs,
    sts,
};

/// How long requests under way may take to finish once the server stops.
const STOP_GRACE: Duration = Duration::from_millis(150);

/// The longest form: 256 KiB of which every byte is escaped, ten times over for a batch that SNS itself is to refuse.
const FORM_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The three services behind the listener.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) sqs: Arc<Sqs>,
    pub(crate) sns: Sns,
    pub(crate) s3: S3,
    pub(crate) region: String,
}

/// The request gets no answer: its connection is dropped, because a fault says so.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped by a fault")]
pub(crate) struct Reset;

/// Serves until `stopped` says so or its sender is gone.
pub(crate) async fn run(listener: TcpListener, services: Arc<Services>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, services.clone(), stopped.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: a pause lets connections end, a loop would burn a core.
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    services.sqs.close();
    let finished = tokio::time::timeout(STOP_GRACE, async { while connections.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        tracing::debug!(connections = connections.len(), "connections were cut off at shutdown");
        connections.shutdown().await;
    }
}

async fn serve(stream: TcpStream, services: Arc<Services>, mut stopped: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let services = services.clone();
        async move { answer(&services, request).await }
    });
    // No timeout on idle connections: one that closes as a client reuses it would be a fault that nobody asked for.
    let http = http1::Builder::new();
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Clients that hang up are everyday; a test that wonders about one can switch debug logs on.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Routes one request by its headers alone.
async fn answer(services: &Services, request: Request<Incoming>) -> Result<Response<ReplyBody>, Reset> {
    let headers = request.headers();
    let region = scope::region(headers, request.uri().query()).unwrap_or(&services.region).to_owned();
    let is_sqs = headers.get("x-amz-target").is_some_and(|target| target.as_bytes().starts_with(b"AmazonSQS."));
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if is_sqs {
        services.sqs.serve(request, &region).await
    } else if is_form && request.uri().path() == "/" {
        let form = match read_body(&mut request.into_body(), FORM_BYTES_MAX).await {
            Ok(body) => Form::parse(&body),
            Err(BodyError::Broken) => return Err(Reset),
            Err(error @ BodyError::TooLong { .. }) => return Ok(sns::refuse(&error.to_string())),
        };
        if form.get("Action") == Some("GetCallerIdentity") {
            return Ok(sts::caller_identity());
        }
        services.sns.serve(&form, &region).await
    } else {
        services.s3.serve(request, &region).await
    }
}

/// Why a request's body could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is longer than the operation takes.
    #[error("the body is longer than {limit} bytes")]
    TooLong {
        /// The most that is taken.
        limit: usize,
    },
    /// The client went away in the middle.
    #[error("failed to read the body")]
    Broken,
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read_body(body: &mut Incoming, limit: usize) -> Result<bytes::Bytes, BodyError> {
    use http_body_util::{BodyExt, LengthLimitError, Limited};
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLong { limit }),
        Err(_) => Err(BodyError::Broken),
    }
}
