//! SQS, SNS and S3 on loopback over their real protocols, for tests, demos and measurements.
//!
//! One HTTP/1.1 listener serves all three: SQS speaks its JSON protocol, SNS and STS the query protocol, and S3 is REST
//! with the bucket in the path.
//!
//! Buckets are folders below the data directory, and objects are plain files in them. Queues and topics live in memory
//! and are kept beside the buckets. So a killed server comes back with everything that it had confirmed.
//!
//! The account is `000000000000`. The server checks the region that a request is signed for. It verifies signatures
//! only if there are [credentials](Options::credentials). [`Faults`] make the services as rude as a test wants.
//!
//! This file owns starting and stopping. It does *not* own any protocol.

mod admin;
mod body;
mod clock;
mod faults;
mod hex;
mod scope;
mod server;
mod sigv4;
mod unique;
mod xml;

pub mod cli;
mod query;
mod s3;
mod sns;
mod sqs;
mod sts;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    thread,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::{Handle, Runtime},
    sync::{oneshot, watch},
};

use server::Services;

pub use faults::{Effect, Fault, FaultError, FaultKind, Faults, HowOften, Repeat};

/// Every operation that this server has.
fn operations() -> impl Iterator<Item = faults::Operation> {
    let named = sqs::OPERATIONS.iter().chain(sns::OPERATIONS).map(|(_, operation)| *operation);
    named.chain(s3::OPERATIONS.iter().copied())
}

/// The name of every thread of a server.
pub const THREAD: &str = "localaws";

/// The account that owns everything.
pub const ACCOUNT: &str = "000000000000";

/// Where to listen, where to keep data, and the region.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to bind; port 0 takes a free one. It must be on loopback, unless [`Options::expose`] is set.
    pub listen: SocketAddr,
    /// Whether other machines may connect. Everyone who reaches the server may use all of it.
    pub expose: bool,
    /// The folder of buckets. The server creates it if it is missing. A hidden `.localaws` folder in it holds queues
    /// and topics.
    pub data_dir: PathBuf,
    /// The region whose queues, topics and buckets live here.
    pub region: String,
    /// Who may sign requests: secrets by access key id. If empty, the server accepts all signatures without a check.
    pub credentials: BTreeMap<String, String>,
    /// Threads that serve requests. Other threads write the bytes of objects.
    pub threads: usize,
}

impl Options {
    /// A free port on loopback, `us-east-1`, unchecked signatures, half of the machine's cores.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            expose: false,
            data_dir: data_dir.into(),
            region: "us-east-1".to_owned(),
            credentials: BTreeMap::new(),
            threads: (cores / 2).max(1),
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Other machines can reach the address.
    #[error(
        "failed to listen on {0}: it is not on loopback, so other machines could use the server; set `expose` to allow it"
    )]
    NotLoopback(SocketAddr),
    /// The region is not lower-case letters, digits and hyphens.
    #[error("failed to use the region `{0}`: it must look like us-east-1")]
    Region(String),
    /// The address is in use, or does not belong to this machine.
    #[error("failed to listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The data directory cannot be created or read.
    #[error("failed to open the data directory {}", path.display())]
    DataDir {
        /// The directory asked for.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The operating system gave no thread.
    #[error("failed to start a thread")]
    Thread(#[from] io::Error),
}

/// A running server on its own threads. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct LocalAws {
    addr: SocketAddr,
    faults: Faults,
    services: Arc<Services>,
    runtime: Handle,
    stop: watch::Sender<bool>,
    /// The sender of this channel is dropped when the server has ended.
    ended: oneshot::Receiver<()>,
}

impl LocalAws {
    /// Opens the data directory, binds the address and serves.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let faults = Faults::default();
        let (stop, stopped) = watch::channel(false);
        let (ready, started) = oneshot::channel();
        let (alive, ended) = oneshot::channel();
        let runtime = runtime(options.threads)?;
        let handle = runtime.handle().clone();
        let switches = faults.clone();
        // The server has its own runtime, so that its speed does not depend on what a test does with its threads.
        thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            runtime.block_on(serve(options, switches, ready, stopped));
            // An upload that is cut off must not delay the end.
            runtime.shutdown_background();
            drop::<oneshot::Sender<()>>(alive);
        })?;
        let (addr, services) =
            started.await.map_err(|_| io::Error::other("the server's thread ended before it listened"))??;
        Ok(Self { addr, faults, services, runtime: handle, stop, ended })
    }

    /// Serves one more connection over any stream of bytes, for tests that want no socket.
    pub fn attach(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.runtime.spawn(server::serve(stream, self.services.clone(), self.stop.subscribe()));
    }

    /// The address that the server listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The endpoint URL for all services, `http://HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The switches for faults, and the counts of calls.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Sets the clock ahead by this many seconds, or back if negative. It changes the `Date` of answers and the check
    /// of a signature's age. Messages and objects keep their times.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.services.set_clock_ahead(seconds);
    }

    /// Stops listening, answers open long polls with no message, and gives running requests a moment to finish.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        // Nothing is ever sent. The wait ends when the sender is dropped.
        let _ended = self.ended.await;
    }
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = match threads {
        // One thread avoids wake-ups from thread to thread.
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1)).thread_name(THREAD).enable_all().build()
}

async fn serve(
    options: Options,
    faults: Faults,
    ready: oneshot::Sender<Result<(SocketAddr, Arc<Services>), Error>>,
    stopped: watch::Receiver<bool>,
) {
    match open(options, faults).await {
        Ok((listener, services, addr)) => {
            // If nobody waits for the address any more, the stop switch is gone as well.
            let services = Arc::new(services);
            let _nobody = ready.send(Ok((addr, services.clone())));
            server::run(listener, services, stopped).await;
        }
        Err(error) => {
            let _nobody = ready.send(Err(error));
        }
    }
}

async fn open(options: Options, faults: Faults) -> Result<(TcpListener, Services, SocketAddr), Error> {
    let Options { listen, expose, data_dir, region, credentials, threads: _ } = options;
    if !expose && !listen.ip().is_loopback() {
        return Err(Error::NotLoopback(listen));
    }
    if !scope::is_region(&region) {
        return Err(Error::Region(region));
    }
    let listen_error = |source| Error::Listen { addr: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(listen_error)?;
    let addr = listener.local_addr().map_err(listen_error)?;
    // No client can call the "any address".
    let host = if addr.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port())) } else { addr };
    let services = Services::open(&format!("http://{host}"), &data_dir, region, credentials, faults);
    let services = services.map_err(|source| Error::DataDir { path: data_dir, source })?;
    Ok((listener, services, addr))
}
