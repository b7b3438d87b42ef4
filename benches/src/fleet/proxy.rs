//! A proxy ("door") in front of the endpoint. A shut door breaks connections and refuses new ones. A narrow door passes
//! slowly what clients send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// The step in which a narrow door passes bytes.
const STEP: Duration = Duration::from_millis(50);

/// The door.
pub(crate) struct Proxy {
    address: SocketAddr,
    to: String,
    /// Bytes a second of each connection; 0 means no bound.
    width: Arc<AtomicU64>,
    /// None while it is shut.
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Proxy {
    /// Opens a door in front of the endpoint at `url`.
    pub(crate) fn open(url: &str) -> anyhow::Result<Self> {
        let to = url.strip_prefix("http://").context("the endpoint has no plain URL")?.trim_end_matches('/').to_owned();
        let (address, width) = (SocketAddr::from(([127, 0, 0, 1], 0)), Arc::default());
        let mut proxy = Self { address, to, width, serving: None };
        proxy.reopen()?;
        Ok(proxy)
    }

    /// The URL to use in place of the endpoint's.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Shuts the door. Its connections break.
    pub(crate) async fn shut(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Connections end with the task that serves them.
            let _ = serving.await;
        }
    }

    /// Opens the door again at the same address, unless it is open.
    pub(crate) fn reopen(&mut self) -> anyhow::Result<()> {
        if self.serving.is_some() {
            return Ok(());
        }
        let socket = TcpSocket::new_v4().context("failed to make a socket")?;
        socket.set_reuseaddr(true).context("failed to set up a socket")?;
        socket.bind(self.address).with_context(|| format!("failed to bind {}", self.address))?;
        let listener = socket.listen(1_024).with_context(|| format!("failed to listen on {}", self.address))?;
        self.address = listener.local_addr().context("the listener has no address")?;
        self.serving = Some(tokio::spawn(serve(listener, self.to.clone(), self.width.clone())));
        Ok(())
    }

    /// Lets this many bytes a second pass from each client, or as many as come.
    pub(crate) fn narrow(&self, bytes_per_s: Option<u64>) {
        self.width.store(bytes_per_s.unwrap_or(0), Ordering::Relaxed);
    }

    /// Shuts the door for as long as `work` takes.
    pub(crate) async fn shut_during<T>(
        mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Self, T)> {
        self.shut().await;
        let done = work.await?;
        self.reopen()?;
        Ok((self, done))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, to: String, width: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let (to, width) = (to.clone(), width.clone());
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(to).await {
                let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
                let unbounded = AtomicU64::new(0);
                // Either side may hang up at any time.
                let _ =
                    tokio::try_join!(pass(from_client, to_server, &width), pass(from_server, to_client, &unbounded));
            }
        });
        // Removes the connections that have ended.
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes on, no more than `width` bytes a second.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    width: &AtomicU64,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let step = match width.load(Ordering::Relaxed) {
            0 => bytes.len(),
            width => ((width as usize * STEP.as_millis() as usize) / 1_000).clamp(1, bytes.len()),
        };
        let passed = from.read(&mut bytes[..step]).await?;
        if passed == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..passed]).await?;
        if width.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(STEP).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        url
    }

    async fn ask(proxy: &Proxy, bytes: usize) -> std::io::Result<usize> {
        let mut client = TcpStream::connect(proxy.url().trim_start_matches("http://")).await?;
        client.write_all(&vec![7; bytes]).await?;
        client.shutdown().await?;
        let mut back = Vec::new();
        client.read_to_end(&mut back).await
    }

    #[tokio::test]
    async fn shut_door_refuses_and_is_at_the_same_place_when_it_opens() {
        let mut proxy = Proxy::open(&echo().await).unwrap();
        let url = proxy.url();
        assert_eq!(ask(&proxy, 9).await.unwrap(), 9);
        proxy.shut().await;
        assert!(ask(&proxy, 9).await.is_err());
        proxy.reopen().unwrap();
        assert_eq!((ask(&proxy, 9).await.unwrap(), proxy.url()), (9, url));
    }

    #[tokio::test]
    async fn narrow_door_lets_no_more_pass_than_it_is_wide() {
        let proxy = Proxy::open(&echo().await).unwrap();
        proxy.narrow(Some(20_000));
        let began = Instant::now();
        assert_eq!(ask(&proxy, 10_000).await.unwrap(), 10_000);
        assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
        proxy.narrow(None);
        let began = Instant::now();
        assert_eq!(ask(&proxy, 10_000).await.unwrap(), 10_000);
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    }
}
