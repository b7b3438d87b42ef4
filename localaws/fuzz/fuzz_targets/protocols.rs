//! Sends any bytes as requests of SQS, SNS and S3. Each request must get an answer that is no server error, and nothing
//! may panic.
//!
//! Run it with `cargo +nightly fuzz run protocols` in the folder `localaws`. As libFuzzer sets it up, a panic on any
//! thread ends the process. On every run, the test `fuzz::corpus_and_its_mutations_get_answers` sends the corpus in the
//! same way.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use libfuzzer_sys::fuzz_target;
use localaws::{LocalAws, Options};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::Runtime,
};

#[path = "../request.rs"]
mod request;

struct Target {
    runtime: Runtime,
    server: LocalAws,
    _dir: tempfile::TempDir,
}

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = runtime.block_on(LocalAws::start(Options::new(dir.path()))).unwrap();
    Target { runtime, server, _dir: dir }
});

fuzz_target!(|data: &[u8]| {
    let (mut client, stream) = duplex(1 << 20);
    TARGET.server.attach(stream);
    let answer = TARGET.runtime.block_on(async {
        let mut answer = Vec::new();
        // The server may hang up on a nonsense request before it has read all of it.
        if client.write_all(&request::request(data)).await.is_ok() {
            // The timeout ends long polls, and requests that promise more bytes than they hold.
            let _ended = tokio::time::timeout(Duration::from_millis(20), client.read_to_end(&mut answer)).await;
        }
        answer
    });
    let text = String::from_utf8_lossy(&answer);
    // The answer 501 is right. An internal error is not.
    assert!(!text.starts_with("HTTP/1.1 500"), "{text}");
});
