//! Looks into a lake for the ticks that are expected there.
//!
//! A tick can be read from when a listing has its file, so what is measured is late by up to the time between two
//! listings, which is [`EVERY`] or as long as a listing takes; the longest is part of the result. A lake that is away
//! is asked again, and what appears meanwhile is late. This file owns the listings and the reading of what is new; it
//! does *not* own what is expected.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use ticklake_reader::lake::{Lake, LakeError, rows};

use super::Watch;
use crate::tick::SymbolHash;

/// How often the files are listed.
pub const EVERY: Duration = Duration::from_millis(100);

/// Files that wait to be read. When there are more, the next listing waits.
const WAITING_MAX: usize = 1_000;

/// How often a file is read again, with [`EVERY`] between, where it cannot be: in a folder it may be listed before it
/// is whole.
const READS_MAX: u32 = 50;

/// How long a lake may be away.
const AWAY_MAX: Duration = Duration::from_mins(1);

/// Between two listings that fail.
const PAUSE: Duration = Duration::from_secs(1);

/// Rows that the watch is told of at once: senders wait for it meanwhile.
const TOGETHER: usize = 4_096;

/// The table that is watched.
const TICKS: &str = "ticks";

/// A lake, and what was in it before.
pub struct LakeWatch {
    lake: Lake,
    known: HashSet<String>,
}

impl LakeWatch {
    /// Remembers what is in the lake now.
    pub async fn start(lake: Lake) -> Result<Self, LakeError> {
        let known = lake.files(TICKS).await?.into_iter().collect();
        Ok(Self { lake, known })
    }

    /// Tells the watch about every tick that appears. Goes on until the lake is away for too long, or until it is
    /// dropped.
    pub async fn run(&mut self, watch: Arc<Watch>) -> Result<(), LakeError> {
        let (to_reader, listed) = mpsc::channel(WAITING_MAX);
        let reading = read_all(self.lake.clone(), listed, &watch);
        let (listed, ()) = tokio::join!(self.list(to_reader, &watch), reading);
        listed
    }

    async fn list(&mut self, to_reader: mpsc::Sender<(String, Instant)>, watch: &Watch) -> Result<(), LakeError> {
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            turns.tick().await;
            let files = match self.lake.files(TICKS).await {
                Ok(files) => files,
                Err(error) if looked.elapsed() > AWAY_MAX => return Err(error),
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let at = Instant::now();
            watch.was_blind(at - looked);
            looked = at;
            for file in files {
                if self.known.contains(&file) {
                    continue;
                }
                self.known.insert(file.clone());
                if to_reader.send((file, at)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

async fn read_all(lake: Lake, mut listed: mpsc::Receiver<(String, Instant)>, watch: &Arc<Watch>) {
    while let Some((file, mut at)) = listed.recv().await {
        let mut reads = 1;
        while let Err(error) = read(&lake, &file, at, watch).await {
            if reads == READS_MAX {
                watch.add_problem(format!("{file} is passed over: {}", super::with_causes(&error)));
                break;
            }
            reads += 1;
            sleep(EVERY).await;
            // It could not be read before.
            at = Instant::now();
        }
    }
}

async fn read(lake: &Lake, file: &str, at: Instant, watch: &Arc<Watch>) -> Result<(), LakeError> {
    let (bytes, watch) = (lake.read(file).await?, watch.clone());
    let reading = task::spawn_blocking(move || {
        let (mut rows, mut last) = (Vec::with_capacity(TOGETHER), (String::new(), SymbolHash::of("")));
        rows::read_keys(bytes, &mut |symbol, seq| {
            // Files are sorted by symbol.
            if last.0 != symbol {
                last = (symbol.to_owned(), SymbolHash::of(symbol));
            }
            rows.push((last.1, seq));
            if rows.len() == TOGETHER {
                watch.see_rows(&mut rows, at);
            }
        })
        .map(|()| watch.see_rows(&mut rows, at))
    });
    let read = reading.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    read.map_err(|error| error.in_file(file))
}
