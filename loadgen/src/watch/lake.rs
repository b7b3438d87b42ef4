//! Watches a lake for the ticks that are expected there.
//!
//! A tick can be read once a listing has its file. So a measured time is late by up to the time between two listings,
//! which is [`EVERY`] or as long as a listing takes. The longest one is part of the result. If a lake is away, it is
//! asked again, and what appears meanwhile is late. This file owns the listings and the reading of new files. It does
//! *not* own which ticks are expected.

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

/// The most files that wait to be read. If there are more, the next listing waits.
const WAITING_MAX: usize = 1_000;

/// How often the watch tries to read a file, with [`EVERY`] between two tries. In a folder, a file may be listed before
/// it is whole.
const READS_MAX: u32 = 50;

/// The watch ends if the lake is away for longer than this.
const AWAY_MAX: Duration = Duration::from_mins(1);

/// The pause after a listing that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Rows that the watch learns of at once. Senders wait for it meanwhile.
const TOGETHER: usize = 4_096;

/// The table that is watched.
const TICKS: &str = "ticks";

/// A lake, and the files that are known in it.
pub struct LakeWatch {
    lake: Lake,
    known: HashSet<String>,
}

impl LakeWatch {
    /// Remembers which files are in the lake now.
    pub async fn start(lake: Lake) -> Result<Self, LakeError> {
        let known = lake.files(TICKS).await?.into_iter().collect();
        Ok(Self { lake, known })
    }

    /// Tells the watch about every tick that appears. It runs until the lake is away for too long, or until the caller
    /// drops it.
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
                watch.add_problem(format!("{file} is skipped: {}", super::with_causes(&error)));
                break;
            }
            reads += 1;
            sleep(EVERY).await;
            // The file could not be read before now.
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
