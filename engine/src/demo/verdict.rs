//! The summary of the demo: what it found, and whether it passed.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loadgen::{Anomaly, Report, Sent};

use super::Alerts;
use crate::stats::Stats;

/// The summary that the demo prints.
pub(super) struct Verdict {
    ticks: u64,
    messages: u64,
    elapsed: Duration,
    lake: PathBuf,
    files: u64,
    tick_bytes: u64,
    lost: u64,
    duplicate: u64,
    altered: u64,
    audit: Option<String>,
    alert_latency_us: Option<(u64, u64)>,
    expected: usize,
    found: usize,
    others: usize,
    repeated: usize,
}

impl Verdict {
    pub(super) fn new(
        sent: &Sent,
        report: &Report,
        alerts: &Alerts,
        stats: &Stats,
        elapsed: Duration,
        lake: &Path,
    ) -> Self {
        let planted: BTreeSet<String> = sent.truth.iter().map(alert_id).collect();
        let found = planted.iter().filter(|id| alerts.contains_key(*id)).count();
        Self {
            ticks: sent.ticks,
            messages: sent.messages,
            elapsed,
            lake: lake.to_owned(),
            files: stats.files_stored.get(),
            tick_bytes: stats.tick_bytes_stored.get(),
            lost: report.lost,
            duplicate: report.duplicate,
            altered: report.altered,
            audit: (!report.is_clean()).then(|| report.to_string()),
            alert_latency_us: stats
                .alert_latency()
                .map(|latency| (latency.value_at_quantile(0.5), latency.value_at_quantile(0.99))),
            expected: planted.len(),
            found,
            others: alerts.len() - found,
            repeated: alerts.values().filter(|count| **count > 1).count(),
        }
    }

    /// Whether every tick is in the lake once, with the time, price, volume and number that were sent, and whether
    /// every planted spike was alerted.
    pub(super) fn passed(&self) -> bool {
        self.audit.is_none() && self.found == self.expected
    }
}

/// The id of the alert about a planted spike. It follows from the direction, the symbol and the time.
fn alert_id(anomaly: &Anomaly) -> String {
    format!("spike-{}-{}-{}", if anomaly.is_up() { "up" } else { "down" }, anomaly.symbol, anomaly.ts_us)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = self.ticks as f64 / seconds;
        let lake = self.lake.display();
        writeln!(
            f,
            "ticks      {} in {} messages, sent and drained in {seconds:.1} s: {rate:.0} ticks/s",
            self.ticks, self.messages
        )?;
        let per_tick = self.tick_bytes as f64 / self.ticks.max(1) as f64;
        writeln!(f, "lake       {} files, {per_tick:.2} bytes per tick, in {lake}", self.files)?;
        writeln!(f, "audit      {} lost, {} duplicate, {} altered", self.lost, self.duplicate, self.altered)?;
        write!(f, "alerts     {} of {} planted spikes found, {} other", self.found, self.expected, self.others)?;
        writeln!(f, ", {} repeated", self.repeated)?;
        if let Some((p50, p99)) = self.alert_latency_us {
            let ms = |us: u64| us as f64 / 1e3;
            writeln!(f, "latency    receipt to published alert: p50 {:.1} ms, p99 {:.1} ms", ms(p50), ms(p99))?;
        }
        if let Some(audit) = &self.audit {
            write!(f, "\n{audit}")?;
        }
        writeln!(
            f,
            "\n{}",
            match (self.passed(), self.expected) {
                (false, _) => "FAILED",
                (true, 0) => "passed: every tick is in the lake once; there are too few ticks for planted spikes",
                (true, _) => "passed: every tick is in the lake once, every planted spike was alerted",
            }
        )?;
        writeln!(f, "\nnext:")?;
        writeln!(f, "  cargo run --release -p athena -- ohlcv_bars --lake {lake}")?;
        writeln!(f, "  cargo run --release -p athena -- alerts_with_ticks --lake {lake}")?;
        writeln!(f, "  cargo run --release -- check --print")
    }
}
