//! Detection over a file, in the order of its rows, with the detectors that [`crate::detectors`] runs. It needs neither
//! a queue nor a lake.
//!
//! This file owns the way from rows to batches, and the tally. It does *not* own the formats of recordings:
//! [`ticklake_reader`] does.

pub mod picture;
pub mod plot;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ticklake_core::alert::{Alert, State};
use ticklake_core::decode::{DecodeConfig, Decoder, Message};
use ticklake_core::detect::{DetectConfig, Detectors, Raised};
use ticklake_core::names::{NameCache, NameId};
use ticklake_core::tick::{Dictionaries, Tick, TickBatch};
use ticklake_reader::Recording;

use self::picture::Picture;
use crate::clock::now_us;

/// Ticks that are judged at a time.
const BATCH_ROWS: usize = 8_192;

/// Where ticks are read from.
#[derive(Debug, Clone)]
pub enum Input {
    /// A file of columns, and what they hold.
    Columns(Recording),
    /// A file with one tick or one array of ticks per line, in the form of a message body.
    Lines(PathBuf),
}

/// The result of a run over a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Ticks judged.
    pub ticks: u64,
    /// Lines and ticks that could not be decoded, and rows whose event time `[decode]` refuses.
    pub rejects: u64,
    /// The first of these: where it is, and what is wrong with it.
    pub first_reject: Option<String>,
    /// Events that are not meant to be ticks.
    pub left_out: u64,
    /// Symbols seen.
    pub symbols: usize,
    /// The first and the last event time, microseconds since the Unix epoch, UTC.
    pub times_us: Option<(i64, i64)>,
    /// Events, by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Events that were not over at the end.
    pub open: u64,
    /// Alerts about these events.
    pub alerts: u64,
    /// Anomalies that did not become alerts, because their event had one already.
    pub suppressed: u64,
    /// Ticks not judged, because their sale conditions are skipped.
    pub skipped: u64,
    /// Ticks not judged, because the watch list or the table of names was full.
    pub unwatched: u64,
}

/// The detectors, and the ticks that wait to be judged.
struct Desk<'a> {
    detectors: Detectors,
    names: Dictionaries,
    ticks: TickBatch,
    raised: Vec<Raised>,
    summary: Summary,
    /// The picture of one symbol, if one is wanted. `part` has the ticks up to the next one of that symbol.
    picture: Option<&'a mut Picture>,
    part: TickBatch,
    take: &'a mut dyn FnMut(&Alert) -> io::Result<()>,
}

/// Runs the detectors of `detect` over a file and hands every alert to `take`, in their order. An alert counts as
/// detected at the event time that made it certain. `picture` shows one symbol.
pub fn detect(
    input: &Input,
    detect: &DetectConfig,
    decode: &DecodeConfig,
    picture: Option<&mut Picture>,
    take: &mut dyn FnMut(&Alert) -> io::Result<()>,
) -> anyhow::Result<Summary> {
    let names = Dictionaries::new(decode.names_max);
    let detectors = Detectors::new(detect);
    let (ticks, part, raised, summary) = Default::default();
    let mut desk = Desk { detectors, names, ticks, raised, summary, picture, part, take };
    match input {
        Input::Columns(recording) => desk.columns(recording, decode)?,
        Input::Lines(path) => desk.lines(path, decode)?,
    }
    desk.judge()?;
    desk.detectors.finish(None, &mut desk.raised);
    desk.judge()?;
    let Desk { detectors, names, mut summary, .. } = desk;
    (summary.suppressed, summary.unwatched) = (detectors.suppressed(), detectors.unwatched());
    summary.skipped = detectors.skipped();
    summary.symbols = names.symbols.len();
    Ok(summary)
}

/// Judges the ticks. After each tick of the picture's symbol, it adds the tick and the detectors' band to the picture.
fn look(
    detectors: &mut Detectors,
    names: &Dictionaries,
    ticks: &TickBatch,
    part: &mut TickBatch,
    picture: &mut Picture,
    raised: &mut Vec<Raised>,
) {
    for tick in ticks.rows() {
        part.push(tick);
        if names.symbols.get(tick.symbol).is_some_and(|symbol| *symbol == *picture.symbol) {
            detectors.observe(part, names, None, raised);
            part.clear();
            picture.tick(tick.ts_us, tick.price, detectors.band(tick.symbol));
        }
    }
    detectors.observe(part, names, None, raised);
    part.clear();
}

impl Summary {
    fn note(&mut self, alert: &Alert) {
        self.alerts += 1;
        match alert.state {
            State::Open => {
                *self.events.entry(alert.kind.as_str()).or_default() += 1;
                self.open += 1;
            }
            State::Update => {}
            State::Close => self.open -= 1,
        }
    }
}

impl Desk<'_> {
    fn columns(&mut self, recording: &Recording, decode: &DecodeConfig) -> anyhow::Result<()> {
        let latest_us = now_us().saturating_add(decode.ts_future_max.as_micros() as i64);
        let earliest_us = decode.ts_min.as_us();
        let mut symbols = NameCache::new(self.names.symbols.clone());
        let mut conditions = NameCache::new(self.names.conditions.clone());
        let mut failed = None;
        let read = recording.read(&mut |row| {
            if !(earliest_us..=latest_us).contains(&row.ts_us) {
                self.reject(|| format!("{} at {} us: `[decode]` refuses that time", row.symbol, row.ts_us));
                return true;
            }
            let done = {
                let tick = Tick {
                    symbol: symbols.intern(row.symbol),
                    ts_us: row.ts_us,
                    price: row.price.value(),
                    volume: row.volume.value(),
                    seq: row.seq,
                    venue: NameId::NONE,
                    conditions: row.conditions.map_or(NameId::NONE, |text| conditions.intern(text)),
                    received_at_us: row.ts_us,
                };
                self.ticks.push(tick);
                if self.ticks.len() == BATCH_ROWS {
                    self.ticks.guests.extend(symbols.take_hold().into_iter().chain(conditions.take_hold()));
                    self.judge()
                } else {
                    Ok(())
                }
            };
            let go_on = done.is_ok();
            failed = done.err();
            go_on
        });
        self.ticks.guests.extend(symbols.take_hold().into_iter().chain(conditions.take_hold()));
        let path = recording.path.display();
        failed.map_or(Ok(()), Err).with_context(|| format!("failed to judge the rows of {path}"))?;
        read.map(drop).with_context(|| format!("failed to read {path}"))
    }

    fn lines(&mut self, path: &Path, decode: &DecodeConfig) -> anyhow::Result<()> {
        let mut decoder = Decoder::new(decode, &self.names);
        let context = || format!("failed to read {}", path.display());
        let mut file = BufReader::new(File::open(path).with_context(context)?);
        let (mut line, mut number, mut rejects) = (Vec::new(), 0_u64, Vec::new());
        while file.read_until(b'\n', &mut line).with_context(context)? > 0 {
            let id = number.to_string();
            let (sent_at_us, received_at_us) = (None, now_us());
            let message = Message { id: &id, body: &line, content_encoding: None, sent_at_us, received_at_us };
            decoder.decode(&message, &mut self.ticks, &mut rejects);
            self.summary.left_out += decoder.left_out().len() as u64;
            for reject in rejects.drain(..) {
                self.reject(|| format!("line {}: {}: {}", number + 1, reject.reason.as_str(), reject.detail));
            }
            line.clear();
            number += 1;
            if self.ticks.len() >= BATCH_ROWS {
                self.judge()?;
            }
        }
        Ok(())
    }

    fn reject(&mut self, what: impl FnOnce() -> String) {
        self.summary.rejects += 1;
        self.summary.first_reject.get_or_insert_with(what);
    }

    /// Judges the waiting ticks.
    fn judge(&mut self) -> anyhow::Result<()> {
        let Self { detectors, names, ticks, raised, summary, picture, part, take } = self;
        match picture {
            None => detectors.observe(ticks, names, None, raised),
            Some(picture) => look(detectors, names, ticks, part, picture, raised),
        }
        summary.ticks += ticks.len() as u64;
        for &ts_us in &ticks.ts_us {
            let (first, last) = summary.times_us.get_or_insert((ts_us, ts_us));
            (*first, *last) = ((*first).min(ts_us), (*last).max(ts_us));
        }
        for Raised { alert, .. } in raised.drain(..) {
            summary.note(&alert);
            if let Some(picture) = picture {
                picture.alert(&alert);
            }
            take(&alert).context("failed to write an alert")?;
        }
        ticks.clear();
        Ok(())
    }
}
