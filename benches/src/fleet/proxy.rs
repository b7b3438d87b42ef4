//! A door before the endpoint that can be shut: connections break, and new ones are refused.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// The door, open.
pub(crate) struct Proxy {
    address: SocketAddr,
    to: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Before the endpoint at `url`.
    pub(crate) fn open(url: &str) -> anyhow::Result<Self> {
        let to = url.strip_prefix("http://").context("the endpoint has no plain URL")?.trim_end_matches('/').to_owned();
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), to)
    }

    fn at(address: SocketAddr, to: String) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4().context("failed to make a socket")?;
        socket.set_reuseaddr(true).context("failed to set up a socket")?;
        socket.bind(address).with_context(|| format!("failed to bind {address}"))?;
        let listener = socket.listen(1_024).with_context(|| format!("failed to listen on {address}"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let serving = tokio::spawn(serve(listener, to.clone()));
        Ok(Self { address, to, serving })
    }

    /// What to use in place of the endpoint's.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Shuts it for as long as `work` takes.
    pub(crate) async fn shut_during<T>(
        self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Self, T)> {
        self.serving.abort();
        // What it served ends with it.
        let _ = self.serving.await;
        let done = work.await?;
        Ok((Self::at(self.address, self.to)?, done))
    }
}

async fn serve(listener: TcpListener, to: String) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let to = to.clone();
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(to).await {
                // Either side may hang up at any time.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
