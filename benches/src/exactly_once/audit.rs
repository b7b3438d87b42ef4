//! Whether a lake holds what a round has sent: every tick once, every reject once, every published alert once.
//!
//! If workers decode in different ways, a tick counts as stored in three cases. It is in `ticks`. Or it was rejected.
//! Or it stands in the body of a message that was quarantined as a whole because its deliveries were decoded
//! differently. A tick in none of these places is lost. This file does *not* own how tables are read (`tables`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

use super::feed::{Feed, Message, Tick, parse};
use super::findings::{Fault, Findings};
use super::scenario::{Scenario, What};
use super::tables::{self, RejectRow, TickRow};

/// The reason of a whole body whose ticks two deliveries decoded differently. These ticks may be in `ticks`, too.
const DECODED_DIFFERENTLY: &str = "decoded_differently";

/// What a round has sent, and what the audit compares it with.
pub(super) struct Audit<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) feed: &'a Feed,
    /// When the queue took the messages, microseconds since the Unix epoch.
    pub(super) sent_us: Range<i64>,
    /// The ids of the alerts that the topic got.
    pub(super) published: &'a BTreeSet<String>,
    /// The ids of the alerts that an undisturbed run stored.
    pub(super) undisturbed: Option<&'a BTreeSet<String>>,
}

/// How often a tick was found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    rows: u64,
    rejects: u64,
    /// Whether a quarantined whole body holds this tick.
    is_covered: bool,
}

/// Symbol and sequence number.
type Key = (String, i64);

impl Audit<'_> {
    /// Compares the lake in the folder `lake` with what was sent.
    pub(super) fn of(&self, lake: &Path) -> anyhow::Result<Findings> {
        let alerts = tables::alerts(lake)?;
        let mut findings = self.judge(&tables::ticks(lake)?, &tables::rejects(lake)?, &alerts);
        findings.add(Fault::AlertClaimed, tables::unstored(lake, alerts.keys())?);
        Ok(findings)
    }

    /// Compares the rows of the tables with what was sent. `alerts` has the number of rows per id.
    fn judge(&self, ticks: &[TickRow], rejects: &[RejectRow], alerts: &BTreeMap<String, u64>) -> Findings {
        let mut findings = Findings::default();
        let mut found: HashMap<Key, Found> = HashMap::new();
        self.ticks(ticks, &mut found, &mut findings);
        self.rejects(rejects, &mut found, &mut findings);
        self.every_tick(&found, &mut findings);
        self.alerts(alerts, &mut findings);
        findings
    }

    /// Whether the message's ticks may be nowhere, because its queue was deleted.
    fn may_be_gone(&self, message: &Message) -> bool {
        message.queue > 0 && self.scenario.has(|what| matches!(what, What::DeleteQueue))
    }

    fn sent(&self) -> HashMap<(&str, i64), &Tick> {
        let ticks = self.feed.messages.iter().flat_map(|message| &message.ticks);
        ticks.map(|tick| ((&*tick.symbol, tick.seq), tick)).collect()
    }

    fn ticks(&self, rows: &[TickRow], found: &mut HashMap<Key, Found>, findings: &mut Findings) {
        let sent = self.sent();
        for row in rows {
            let Some(tick) = row.seq.and_then(|seq| sent.get(&(&*row.symbol, seq))) else {
                findings.find(Fault::TickAltered, || format!("{row:?} was never sent"));
                continue;
            };
            let is_moved = self.scenario.may_move() && self.sent_us.contains(&row.ts_us);
            let is_as_sent =
                row.price == tick.price && row.volume == tick.volume && (row.ts_us == tick.ts_us || is_moved);
            if !is_as_sent || !row.is_in_place {
                findings.find(Fault::TickAltered, || format!("{row:?} was sent as {tick:?}"));
            }
            let found = found.entry((tick.symbol.clone(), tick.seq)).or_default();
            found.rows += 1;
            if found.rows > 1 {
                findings.find(Fault::TickDoubled, || {
                    format!("{} {} is also in {}", tick.symbol, tick.seq, row.file.display())
                });
            }
        }
    }

    /// A reject is a malformed body, a tick, or a whole message.
    fn rejects(&self, rows: &[RejectRow], found: &mut HashMap<Key, Found>, findings: &mut Findings) {
        let mut malformed: BTreeMap<&str, u64> = self.feed.malformed().map(|message| (&*message.body, 0)).collect();
        let mut whole: BTreeSet<&str> = BTreeSet::new();
        for row in rows {
            if let Some(count) = malformed.get_mut(&*row.body) {
                *count += 1;
                if *count > 1 {
                    findings.find(Fault::RejectDoubled, || format!("{row:?}"));
                }
                continue;
            }
            let Ok(ticks) = parse(&row.body) else {
                findings.find(Fault::TickAltered, || format!("{row:?} was never sent"));
                continue;
            };
            if !self.scenario.may_reject() {
                findings.find(Fault::TickAltered, || format!("{row:?}, though all workers can read it"));
            }
            let stands_for_some = row.is_whole && row.reason == DECODED_DIFFERENTLY;
            if row.is_whole && !whole.insert(&row.body) {
                findings.find(Fault::RejectDoubled, || format!("{row:?}"));
            }
            for tick in ticks {
                let key = (tick.symbol, tick.seq);
                let found = found.entry(key.clone()).or_default();
                found.is_covered |= stands_for_some;
                found.rejects += u64::from(!stands_for_some);
                if !stands_for_some && found.rows + found.rejects > 1 {
                    findings.find(Fault::TickDoubled, || {
                        format!("{} {} is also in {} as {}", key.0, key.1, row.file.display(), row.reason)
                    });
                }
            }
        }
        for message in self.feed.malformed().filter(|message| !self.may_be_gone(message)) {
            if malformed.get(&*message.body) == Some(&0) {
                findings.find(Fault::RejectLost, || message.body.clone());
            }
        }
    }

    fn every_tick(&self, found: &HashMap<Key, Found>, findings: &mut Findings) {
        for message in self.feed.messages.iter().filter(|message| !self.may_be_gone(message)) {
            for tick in &message.ticks {
                let found = found.get(&(tick.symbol.clone(), tick.seq)).copied().unwrap_or_default();
                if found.rows + found.rejects == 0 && !found.is_covered {
                    findings.find(Fault::TickLost, || format!("{tick:?}"));
                }
            }
        }
    }

    fn alerts(&self, stored: &BTreeMap<String, u64>, findings: &mut Findings) {
        for (id, rows) in stored {
            if *rows > 1 {
                findings.find(Fault::AlertDoubled, || format!("{id} {rows} times"));
            }
            if !self.published.contains(id) {
                findings.find(Fault::AlertUnpublished, || id.clone());
            }
        }
        for id in self.published.iter().filter(|id| !stored.contains_key(*id)) {
            findings.find(Fault::AlertUnstored, || id.clone());
        }
        let Some(undisturbed) = self.undisturbed else { return };
        for id in stored.keys().filter(|id| !undisturbed.contains(*id)) {
            findings.find(Fault::AlertOther, || format!("{id} is not there when nothing happens"));
        }
        for id in undisturbed.iter().filter(|id| !stored.contains_key(*id)) {
            findings.find(Fault::AlertOther, || format!("{id} is there when nothing happens"));
        }
    }
}

#[cfg(test)]
mod tests;
