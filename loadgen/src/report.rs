//! The report of a run for people and other tools: its figures as JSON, its latencies as percentile distributions, and
//! a page with plots.
//!
//! It does *not* own the list of what was sent. The manifest has it.

mod axis;
mod hgrm;
mod page;
mod plot;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    manifest::Sent,
    observe::{Observed, Second},
};

pub(crate) use axis::{Axis, Unit, count, duration};
pub(crate) use page::{escaped, frame, legend};
pub(crate) use plot::{BLUE, GREY, ORANGE, Plot, Series};

/// The percentiles that a report names.
const PERCENTILES: [f64; 7] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Whether the generator kept its own schedule.
    pub is_valid: bool,
    /// Whether everything that was asked for was sent.
    pub is_whole: bool,
    /// How far the generator was behind its schedule at worst, milliseconds.
    pub behind_ms: f64,
    /// Ticks per second that were asked for. `None` for a closed loop, or a replay by the clock of the recording.
    pub rate: Option<u64>,
    /// How the rate changed over time.
    pub shape: Option<String>,
    /// The speed of a replay: how many times as fast as recorded.
    pub speed: Option<f64>,
    /// Seconds from the first call to the last answer.
    pub elapsed_s: f64,
    /// Ticks that were sent, and per second.
    pub ticks: u64,
    /// See `ticks`.
    pub ticks_per_s: f64,
    /// Malformed ticks that were sent besides.
    pub malformed: u64,
    /// Messages, bytes and calls.
    pub messages: u64,
    /// See `messages`.
    pub bytes: u64,
    /// See `messages`.
    pub calls: u64,
    /// Messages sent again, and calls without an answer.
    pub retries: u64,
    /// See `retries`.
    pub unanswered_calls: u64,
    /// Messages that the queue did not take because it throttled the sender.
    pub throttled: u64,
    /// From when a batch was due until the queue had it, milliseconds, by percentile.
    pub latency_ms: Vec<(f64, f64)>,
    /// What appeared in the lake, if it was watched.
    pub lake: Option<InLake>,
    /// The alerts that arrived, if the run listened for alerts.
    pub alerts: Option<Alerts>,
    /// What could not be observed, and why.
    pub problems: Vec<String>,
    /// The state at the end of every second.
    pub seconds: Vec<Second>,
}

/// What appeared in the lake.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InLake {
    /// Ticks that appeared.
    pub ticks: u64,
    /// Messages that did not appear in time, and ticks that were not watched for.
    pub missing_messages: usize,
    /// See `missing_messages`.
    pub unwatched: u64,
    /// The longest time between two listings, milliseconds. Latencies may be too long by this time.
    pub blind_ms: f64,
    /// From when the batch of a tick was due until a listing had its file, milliseconds, by percentile.
    pub latency_ms: Vec<(f64, f64)>,
}

/// The alerts that arrived.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alerts {
    /// All alerts, and those about no tick that the watch remembers.
    pub count: u64,
    /// See `count`.
    pub unmatched: u64,
    /// From when the batch of an alert's tick was due until the alert arrived, milliseconds, by percentile.
    pub latency_ms: Vec<(f64, f64)>,
}

/// The percentiles that a report names. There are none if the histogram is empty.
fn percentiles(latency_us: &Histogram<u64>) -> Vec<(f64, f64)> {
    if latency_us.is_empty() {
        return Vec::new();
    }
    PERCENTILES.map(|percentile| (percentile, latency_us.value_at_percentile(percentile) as f64 / 1e3)).to_vec()
}

impl Figures {
    /// The figures of a run.
    #[must_use]
    pub fn of(sent: &Sent, observed: &Observed) -> Self {
        let elapsed_s = sent.elapsed.as_secs_f64();
        Self {
            is_valid: sent.is_valid(),
            is_whole: sent.is_whole,
            behind_ms: sent.behind.as_secs_f64() * 1e3,
            rate: sent.rate,
            shape: sent.shape.clone(),
            speed: sent.speed,
            elapsed_s,
            ticks: sent.ticks,
            ticks_per_s: sent.ticks as f64 / elapsed_s.max(1e-9),
            malformed: sent.malformed,
            messages: sent.messages,
            bytes: sent.bytes,
            calls: sent.calls,
            retries: sent.retries,
            unanswered_calls: sent.unanswered_calls,
            throttled: sent.throttled,
            latency_ms: percentiles(&sent.latency_us),
            lake: observed.in_lake.as_ref().map(|seen| InLake {
                ticks: seen.count,
                missing_messages: observed.not_in_lake,
                unwatched: observed.unwatched,
                blind_ms: observed.blind_max.as_secs_f64() * 1e3,
                latency_ms: percentiles(&seen.latency_us),
            }),
            alerts: observed.alerts.as_ref().map(|(seen, unmatched)| Alerts {
                count: seen.count,
                unmatched: *unmatched,
                latency_ms: percentiles(&seen.latency_us),
            }),
            problems: observed.problems.clone(),
            seconds: observed.seconds.clone(),
        }
    }
}

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write {}", path.display())]
pub struct ReportError {
    /// The file or folder.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// Writes the report of a run that ended at `at` into a folder, and creates the folder: `report.html`, `report.json`,
/// `send.hgrm`, and `lake.hgrm` and `alerts.hgrm` if the run observed these.
pub fn write(dir: &Path, title: &str, at: Timestamp, sent: &Sent, observed: &Observed) -> Result<(), ReportError> {
    let figures = Figures::of(sent, observed);
    let histograms = [
        ("send", Some(&sent.latency_us)),
        ("lake", observed.in_lake.as_ref().map(|seen| &seen.latency_us)),
        ("alerts", observed.alerts.as_ref().map(|(seen, _)| &seen.latency_us)),
    ];
    let histograms: Vec<_> = histograms.into_iter().filter_map(|(name, all)| Some((name, all?))).collect();
    let page = page::of(title, at, &figures, &histograms);
    write_file(&dir.join("report.html"), |file| file.write_all(page.as_bytes()))?;
    write_file(&dir.join("report.json"), |file| Ok(serde_json::to_writer_pretty(file, &figures)?))?;
    for (name, histogram) in histograms {
        write_file(&dir.join(format!("{name}.hgrm")), |file| hgrm::write(histogram, file))?;
    }
    Ok(())
}

/// Creates a file and its folder, and lets `write` fill the file.
pub fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), ReportError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = folder.and_then(|()| File::create(path)).map(BufWriter::new).and_then(|mut file| {
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|source| ReportError { path: path.to_owned(), source })
}
