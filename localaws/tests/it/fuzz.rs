//! Sends the corpus of the fuzz target, and seeded mutations of it, to a server. Whatever a fuzzer has found stays
//! found.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use localaws::{LocalAws, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

#[path = "../../fuzz/request.rs"]
mod request;

/// How long an answer may take, except for a long poll.
const PATIENCE: Duration = Duration::from_millis(500);

/// Panics on threads of servers.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics. A panic ends only a connection's task, so that otherwise nobody would notice it.
fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some(localaws::THREAD) {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        usual(panic);
    }));
}

/// Mutations per seed.
const MUTATIONS: usize = 60;

/// Flips, drops, repeats and exchanges bytes, and inserts odd ones.
fn mutate(seed: &[u8], dice: &mut fastrand::Rng) -> Vec<u8> {
    const ODD: [&[u8]; 12] = [
        b"\0",
        b"\xff",
        b"%",
        b"%2e%2e%2f",
        b"\"",
        b"{",
        b"-1",
        b"99999999999999999999",
        b"1e999",
        b"&",
        b"<",
        b"\n\n",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..dice.usize(1..6) {
        // The first two bytes choose the kind of request.
        let at = dice.usize(2.min(bytes.len())..=bytes.len());
        match dice.u8(..4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.u8(..8),
            1 if at < bytes.len() => drop(bytes.drain(at..(at + dice.usize(1..20)).min(bytes.len()))),
            2 => {
                let piece = bytes[at..(at + dice.usize(..30)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => drop(bytes.splice(at..at, ODD[dice.usize(..ODD.len())].iter().copied())),
        }
    }
    bytes
}

#[tokio::test]
async fn corpus_and_its_mutations_get_answers() {
    let dir = tempfile::tempdir().unwrap();
    let server = LocalAws::start(Options::new(dir.path())).await.unwrap();
    count_panics();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/protocols");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 30, "the corpus is there");
    let (mut dice, mut answered) = (fastrand::Rng::with_seed(7), 0);
    for round in 0..=MUTATIONS {
        for path in &paths {
            let seed = std::fs::read(path).unwrap();
            let sent = request::request(&if round == 0 { seed } else { mutate(&seed, &mut dice) });
            let (mut client, stream) = duplex(1 << 20);
            server.attach(stream);
            client.write_all(&sent).await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await;
            let shown = || format!("{}: {}", path.display(), String::from_utf8_lossy(&sent));
            match read {
                Ok(read) => drop(read.unwrap()),
                // For a long poll, or a request that promises more than it holds, the client goes away.
                Err(_) => client.shutdown().await.unwrap(),
            }
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{}", shown());
            assert!(!answer.starts_with(b"HTTP/1.1 500"), "{}", shown());
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "after {}", shown());
            answered += usize::from(!answer.is_empty());
        }
    }
    assert!(answered > paths.len() * MUTATIONS * 8 / 10, "{answered} were answered");
}
