//! Looks into a lake for the ticks that are expected there.
//!
//! A tick can be read from when a listing has its file, so what is measured is late by up to [`EVERY`]. This file owns the listings and the
//! reading of what is new; it does *not* own what is expected.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    lake::{Lake, LakeError, rows},
    send::Progress,
    tick::SymbolHash,
};

/// How often the files are listed.
pub const EVERY: Duration = Duration::from_millis(100);

/// Files that wait to be read. When there are more, the next listing waits.
const WAITING_MAX: usize = 1_000;

/// How often a file is read again, with [`EVERY`] between, where it cannot be: in a folder it may be listed before it is whole.
const READS_MAX: u32 = 20;

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

    /// Tells the watch of `progress` about every tick that appears. Goes on until an error, or until it is dropped.
    pub async fn run(&mut self, progress: Arc<Progress>) -> Result<(), LakeError> {
        let (to_reader, listed) = mpsc::channel(WAITING_MAX);
        let reading = read_all(self.lake.clone(), listed, progress);
        tokio::try_join!(self.list(to_reader), reading).map(|((), ())| ())
    }

    async fn list(&mut self, to_reader: mpsc::Sender<(String, Instant)>) -> Result<(), LakeError> {
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let files = self.lake.files(TICKS).await?;
            let at = Instant::now();
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

async fn read_all(
    lake: Lake,
    mut listed: mpsc::Receiver<(String, Instant)>,
    progress: Arc<Progress>,
) -> Result<(), LakeError> {
    while let Some((file, at)) = listed.recv().await {
        let mut reads = 1;
        while let Err(error) = read(&lake, &file, at, &progress).await {
            if reads == READS_MAX {
                return Err(error);
            }
            reads += 1;
            tokio::time::sleep(EVERY).await;
        }
    }
    Ok(())
}

async fn read(lake: &Lake, file: &str, at: Instant, progress: &Arc<Progress>) -> Result<(), LakeError> {
    let (bytes, progress) = (lake.read(file).await?, progress.clone());
    let reading = task::spawn_blocking(move || {
        let Some(watch) = &progress.watch else { return Ok(()) };
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
