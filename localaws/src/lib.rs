//! SQS, SNS and S3 on loopback over their real protocols, for tests, demos and measurements.
//!
//! One HTTP/1.1 listener serves all three: SQS speaks its JSON protocol, SNS and STS the query protocol, S3 is REST with
//! the bucket in the path. Queues and topics live in memory; buckets are folders below the data directory and objects
//! are plain files in them. Account `000000000000`; signatures are accepted unseen, but the region that a request is
//! signed for counts, and [`Faults`] make the services as rude as a test wants.
//!
//! This file owns starting and stopping. It does *not* own any protocol.

mod body;
mod clock;
mod faults;
mod hex;
mod scope;
mod server;
mod xml;

mod query;
mod s3;
mod sns;
mod sqs;
mod sts;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use faults::{FaultKind, Faults};

/// The account that owns everything.
pub const ACCOUNT: &str = "000000000000";

/// Where to listen, where to keep objects, and which region to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to bind; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder of buckets. It is created where missing, as is a hidden `.localaws` folder in it.
    pub data_dir: PathBuf,
    /// The region whose queues, topics and buckets live here.
    pub region: String,
}

impl Options {
    /// A free port on loopback, `us-east-1`.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir: data_dir.into(),
            region: "us-east-1".to_owned(),
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("failed to listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory cannot be created or read.
    #[error("failed to open the data directory {}", path.display())]
    DataDir {
        /// The directory asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A running server. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct LocalAws {
    addr: SocketAddr,
    faults: Faults,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl LocalAws {
    /// Binds the address, opens the data directory and serves from a task on the current tokio runtime.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let Options { listen, data_dir, region } = options;
        let listen_error = |source| Error::Listen { addr: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(listen_error)?;
        let addr = listener.local_addr().map_err(listen_error)?;
        let faults = Faults::default();
        let clock = clock::Clock::start();
        let store = s3::Store::open(data_dir.clone(), clock.clone());
        let store = store.map_err(|source| Error::DataDir { path: data_dir, source })?;
        let sqs = sqs::Sqs::new(format!("http://{addr}"), clock.clone(), faults.clone());
        let services = server::Services {
            sns: sns::Sns::new(sqs.clone(), clock, faults.clone()),
            s3: s3::S3::new(store, faults.clone(), region.clone()),
            sqs,
            region,
        };
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(server::run(listener, Arc::new(services), stopped));
        Ok(Self { addr, faults, stop, server })
    }

    /// The address that is listened on.
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

    /// Stops listening, answers open long polls with nothing, and gives requests under way a moment to finish.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.server.await {
            tracing::warn!(%error, "the server did not stop cleanly");
        }
    }
}
