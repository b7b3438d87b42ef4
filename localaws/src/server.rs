//! The listener: accepts connections, hands each request to the service that its headers name, and stops in order.
//!
//! This file does *not* know what a request means, except which service it is for.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::{
    Method, Request, Response, body::Incoming, header::DATE, http::request::Parts, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
};

use crate::{
    admin,
    body::{BodyError, ReplyBody, Reset, read_body},
    clock::{Clock, Millis},
    faults::Faults,
    hex::hex,
    query::Form,
    s3::{HIDDEN, S3, Store},
    scope,
    sigv4::{self, Refusal},
    sns::{self, Sns},
    sqs::Sqs,
    sts,
};

/// How long running requests may take to finish after the server begins to stop.
const STOP_GRACE: Duration = Duration::from_millis(150);

/// How often, and with which pause, the server tries to lock a folder that another server uses.
const LOCK_ATTEMPTS: usize = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The longest request of SQS or SNS: a batch of 1 MiB in which every character is escaped, and room for the rest.
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The three services behind the listener.
#[derive(Debug)]
pub(crate) struct Services {
    sqs: Arc<Sqs>,
    sns: Sns,
    s3: S3,
    region: String,
    credentials: BTreeMap<String, String>,
    faults: Faults,
    /// How far the clock of signatures is ahead of the system's, in seconds.
    clock_ahead: AtomicI64,
    /// Locks the data directory for as long as it is in use.
    _lock: File,
}

impl Services {
    /// Opens the services with their data below `data_dir`.
    pub(crate) fn open(
        endpoint: &str,
        data_dir: &Path,
        region: String,
        credentials: BTreeMap<String, String>,
        faults: Faults,
    ) -> io::Result<Self> {
        let clock = Clock::start();
        let lock = lock(data_dir)?;
        let store = Store::open(data_dir.to_owned(), clock.clone())?;
        let sqs = Sqs::open(store.hidden("queues"), endpoint.to_owned(), clock.clone(), faults.clone())?;
        let sns = Sns::open(store.hidden("topics.json"), endpoint.to_owned(), sqs.clone(), clock, faults.clone())?;
        let s3 = S3::new(store, faults.clone(), region.clone(), !credentials.is_empty());
        Ok(Self { sqs, sns, s3, region, credentials, faults, clock_ahead: AtomicI64::new(0), _lock: lock })
    }

    pub(crate) fn set_clock_ahead(&self, seconds: i64) {
        self.clock_ahead.store(seconds, Ordering::Relaxed);
    }

    /// The time by which signatures are checked.
    fn now(&self) -> SystemTime {
        let seconds = self.clock_ahead.load(Ordering::Relaxed);
        let (now, by) = (SystemTime::now(), Duration::from_secs(seconds.unsigned_abs()));
        if seconds < 0 { now - by } else { now + by }
    }

    /// Adds the date of the clock to `answer`. Without it, hyper adds the system's date.
    fn dated(&self, mut answer: Response<ReplyBody>) -> Response<ReplyBody> {
        if self.clock_ahead.load(Ordering::Relaxed) != 0 {
            let unix = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if let Ok(date) = Millis(unix.as_millis() as u64).http_date().parse() {
                answer.headers_mut().insert(DATE, date);
            }
        }
        answer
    }

    /// Checks that the sender of this request may use one of these services. Without credentials, everybody may.
    fn admit(&self, head: &Parts, body: &[u8], services: &[&str]) -> Result<(), Refusal> {
        if self.credentials.is_empty() {
            return Ok(());
        }
        sigv4::verify(head, &hex(&Sha256::digest(body)), services, &self.credentials, self.now())
    }
}

/// Makes sure that no other server uses the folder. Waits for a server that is about to end.
fn lock(data_dir: &Path) -> io::Result<File> {
    let folder = data_dir.join(HIDDEN);
    fs::create_dir_all(&folder)?;
    let file = File::create(folder.join("lock"))?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another server uses it"))
}

/// Serves until `stopped` becomes true or its sender is dropped.
pub(crate) async fn run(listener: TcpListener, services: Arc<Services>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "failed to set TCP_NODELAY");
                    }
                    connections.spawn(serve(stream, services.clone(), stopped.clone()));
                }
                Err(error) => {
                    // The process most likely has no file descriptors left. A pause lets connections end; a loop would
                    // burn a core.
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

/// Serves one connection until it ends or the server stops.
pub(crate) async fn serve<S>(stream: S, services: Arc<Services>, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| {
        let services = services.clone();
        async move { answer(&services, request).await.map(|answer| services.dated(answer)) }
    });
    // Idle connections have no timeout. A timeout could close a connection while a client reuses it, a fault that no
    // test wants.
    let mut http = http1::Builder::new();
    // Answers are small: one buffer costs less than a list of buffers.
    http.writev(false);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Clients often hang up. A test that needs to see it can switch debug logs on.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Which service a request is for.
enum Target {
    Admin,
    Sqs,
    /// SNS or STS, with a form.
    Form,
    /// SNS, with a link that somebody follows, for example to confirm a subscription.
    Link,
    S3,
}

impl Target {
    /// Decides by method, path and headers alone.
    fn of(head: &Parts) -> Self {
        let has =
            |name: &str, start: &[u8]| head.headers.get(name).is_some_and(|value| value.as_bytes().starts_with(start));
        let query = head.uri.query().unwrap_or_default();
        match head.uri.path() {
            path if path.starts_with(admin::PREFIX) => Self::Admin,
            _ if has("x-amz-target", b"AmazonSQS.") => Self::Sqs,
            "/" if has("content-type", b"application/x-www-form-urlencoded") => Self::Form,
            "/" if head.method == Method::GET && query.starts_with("Action=") => Self::Link,
            _ => Self::S3,
        }
    }
}

/// Hands one request to its service.
async fn answer(services: &Services, request: Request<Incoming>) -> Result<Response<ReplyBody>, Reset> {
    let (head, mut body) = request.into_parts();
    let region = scope::region(&head.headers, head.uri.query()).unwrap_or(&services.region).to_owned();
    let target = Target::of(&head);
    if let Target::S3 = target {
        return match services.admit(&head, b"", &["s3"]) {
            Ok(()) => services.s3.serve(head, body, &region).await,
            Err(refusal) => Ok(services.s3.refuse(&head, body, &refusal).await),
        };
    }
    let limit = if let Target::Admin = target { admin::BODY_BYTES_MAX } else { REQUEST_BYTES_MAX };
    let bytes = match read_body(&mut body, limit).await {
        Ok(bytes) => bytes,
        Err(BodyError::Broken) => return Err(Reset),
        Err(error @ BodyError::TooLong { .. }) => {
            return Ok(if let Target::Sqs = target { Sqs::too_long(&error) } else { sns::too_long(&error) });
        }
    };
    match target {
        Target::Admin => Ok(match services.admit(&head, &bytes, &[]) {
            Ok(()) => admin::answer(&head, &bytes, &services.faults),
            Err(refusal) => admin::refuse(&refusal),
        }),
        Target::Sqs => match services.admit(&head, &bytes, &["sqs"]) {
            Ok(()) => services.sqs.serve(&head.headers, &bytes, &region).await,
            Err(refusal) => Ok(Sqs::refuse(&refusal)),
        },
        Target::Form | Target::Link | Target::S3 => {
            let is_link = matches!(target, Target::Link);
            let query = head.uri.query().unwrap_or_default().as_bytes();
            let form = Form::parse(if is_link { query } else { &bytes });
            // These links carry their own secret, and a browser that follows one signs nothing.
            let is_free = is_link && matches!(form.get("Action"), Some("ConfirmSubscription" | "Unsubscribe"));
            if !is_free && let Err(refusal) = services.admit(&head, &bytes, &["sns", "sts"]) {
                return Ok(sns::refuse(&refusal));
            }
            if form.get("Action") == Some("GetCallerIdentity") {
                return Ok(sts::caller_identity());
            }
            services.sns.serve(&form, &region).await
        }
    }
}
