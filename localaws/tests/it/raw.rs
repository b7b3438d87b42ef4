//! Requests byte by byte, for requests that the SDK would never send.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection on which a test writes any bytes.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    /// A server may refuse a request and hang up before it has read all of it. Its answer can still be read.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _hung_up = self.0.write_all(bytes.as_ref()).await;
    }

    /// Reads everything until the server closes the connection. The request must have asked the server to close it.
    pub(crate) async fn read(mut self) -> String {
        let mut answer = Vec::new();
        // A reset connection ends the answer as well.
        let _ended = self.0.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Sends one request, and reads its whole answer, with status line and headers.
pub(crate) async fn call(addr: SocketAddr, method: &str, target: &str, headers: &str, body: &[u8]) -> String {
    let mut raw = Raw::connect(addr).await;
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: local\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    raw.write([head.as_bytes(), body].concat()).await;
    raw.read().await
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// The body of an answer.
pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
