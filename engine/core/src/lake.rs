//! The layout of the lake: which partition a row belongs to, and the key of every object.
//!
//! Keys of data files are `PREFIX/TABLE/dt=YYYY-MM-DD[/hour=HH]/EPOCH.parquet`, in UTC. They follow only from a row's
//! time and its epoch, so a data file's name is known before its bytes exist. Objects that are not part of a table lie
//! in `ledger/` (entries), `ledger-alerts/` (claims) and `ledger-notes/` (alerts that were raised and may not be stored
//! yet). This file does *not* own the contents of the objects.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::Offset;
use sha2::{Digest as _, Sha256};
use ticklake_schemas::Table;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// The unique name of an epoch: the worker's id, unique per process start, and the epoch's number within the worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EpochId {
    worker: Arc<str>,
    number: u64,
}

impl EpochId {
    /// Epoch `number` of `worker`.
    ///
    /// `worker` becomes part of object keys. So it must consist of ASCII letters, digits and `-`, and must not begin
    /// with `_` or `.`, because Athena hides such files.
    #[must_use]
    pub fn new(worker: Arc<str>, number: u64) -> Self {
        Self { worker, number }
    }

    /// The epoch's number within its worker, from 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker, self.number)
    }
}

/// One partition of one table: an hour of ticks, a day of alerts or of rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    table: Table,
    /// Hours or days since the Unix epoch, depending on how the table is partitioned.
    slot: i64,
}

impl Partition {
    /// The partition of `table` that holds a row of time `ts_us` (microseconds since the Unix epoch, UTC).
    #[must_use]
    pub fn of(table: Table, ts_us: i64) -> Self {
        Self { table, slot: ts_us.div_euclid(slot_us(table)) }
    }

    /// The partition of `table` at `slot`, in hours or days since the Unix epoch, as the table is partitioned.
    #[must_use]
    pub fn at(table: Table, slot: i64) -> Self {
        Self { table, slot }
    }

    /// Hours or days since the Unix epoch, depending on how the table is partitioned.
    #[must_use]
    pub fn slot(self) -> i64 {
        self.slot
    }

    /// The table.
    #[must_use]
    pub fn table(self) -> Table {
        self.table
    }

    /// The range of times of its rows, in microseconds since the Unix epoch, UTC.
    #[must_use]
    pub fn times_us(self) -> Range<i64> {
        let length_us = slot_us(self.table);
        let start_us = self.slot.saturating_mul(length_us);
        start_us..start_us.saturating_add(length_us)
    }

    /// The key of the file that holds this partition's rows of `epoch`, below `prefix` (which may be empty).
    #[must_use]
    pub fn key(self, prefix: &str, epoch: &impl fmt::Display) -> String {
        below(prefix, format_args!("{self}/{epoch}.parquet"))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The decoder accepts only times far inside the range of a calendar, so this conversion does not fail.
        let start_us = self.slot.saturating_mul(slot_us(self.table));
        let start = Offset::UTC.to_datetime(Timestamp::from_microsecond(start_us).unwrap_or(Timestamp::UNIX_EPOCH));
        let name = self.table.name();
        write!(f, "{name}/dt={:04}-{:02}-{:02}", start.year(), start.month(), start.day())?;
        match self.table {
            Table::Ticks => write!(f, "/hour={:02}", start.hour()),
            Table::Alerts | Table::Quarantine => Ok(()),
        }
    }
}

/// The folder of a row of `table` at `ts_us`, below the lake's prefix: `ticks/dt=2026-11-23/hour=04`.
#[must_use]
pub fn partition_path(table: Table, ts_us: i64) -> String {
    Partition::of(table, ts_us).to_string()
}

/// The key of the ledger entry of `epoch`. With an empty name, the folder of all entries.
#[must_use]
pub fn entry_key(prefix: &str, epoch: &str) -> String {
    below(prefix, format_args!("ledger/{epoch}"))
}

/// The key of the object that decides turn `turn` of the alert `id`. An id contains a symbol, and a symbol may contain
/// characters that a key must not have. So the name is the start of the SHA-256 of the id.
#[must_use]
pub fn claim_key(prefix: &str, id: &str, turn: u32) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(36);
    for byte in Sha256::digest(id).iter().take(16) {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    below(prefix, format_args!("ledger-alerts/{name}-{turn}"))
}

/// The key of the note `name`. With an empty name, the folder of all notes.
#[must_use]
pub fn note_key(prefix: &str, name: &str) -> String {
    below(prefix, format_args!("ledger-notes/{name}"))
}

fn below(prefix: &str, path: fmt::Arguments<'_>) -> String {
    let separator = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
    format!("{prefix}{separator}{path}")
}

fn slot_us(table: Table) -> i64 {
    match table {
        Table::Ticks => HOUR_US,
        Table::Alerts | Table::Quarantine => DAY_US,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T14:00:00Z.
    const AFTERNOON_US: i64 = 1_795_442_400_000_000;

    #[test]
    fn key_names_table_date_hour_and_epoch() {
        let epoch = EpochId::new(Arc::from("w1"), 7);
        let key = |table, ts| Partition::of(table, ts).key("lake/prod", &epoch);
        assert_eq!(key(Table::Ticks, AFTERNOON_US), "lake/prod/ticks/dt=2026-11-23/hour=14/w1-7.parquet");
        assert_eq!(key(Table::Ticks, AFTERNOON_US - 1), "lake/prod/ticks/dt=2026-11-23/hour=13/w1-7.parquet");
        assert_eq!(key(Table::Alerts, AFTERNOON_US), "lake/prod/alerts/dt=2026-11-23/w1-7.parquet");
        assert_eq!(key(Table::Quarantine, AFTERNOON_US), "lake/prod/quarantine/dt=2026-11-23/w1-7.parquet");
    }

    #[test]
    fn prefix_may_be_empty_or_end_with_a_slash() {
        let epoch = EpochId::new(Arc::from("w"), 0);
        let partition = Partition::of(Table::Alerts, 0);
        assert_eq!(partition.key("", &epoch), "alerts/dt=1970-01-01/w-0.parquet");
        assert_eq!(partition.key("a/", &epoch), "a/alerts/dt=1970-01-01/w-0.parquet");
    }

    #[test]
    fn claims_are_of_one_alert_and_turn_and_fit_into_a_key() {
        let ids = ["spike-up-A/../B-1", "spike-up-A-1", "spike-down-A-1"];
        let keys: std::collections::BTreeSet<_> =
            ids.iter().flat_map(|id| (0..3).map(|turn| claim_key("", id, turn))).collect();
        assert_eq!(keys.len(), 9);
        let name = |key: &str| key.strip_prefix("ledger-alerts/").unwrap().to_owned();
        assert!(keys.iter().all(|key| name(key).bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')));
        // Workers of different versions must agree on this key.
        assert_eq!(claim_key("lake", "spike-up-A-1", 2), "lake/ledger-alerts/a857071057e5ecffde54124664ded149-2");
    }

    #[test]
    fn objects_that_are_no_tables_lie_in_folders_of_their_own() {
        assert_eq!(entry_key("lake", "w-1"), "lake/ledger/w-1");
        assert_eq!(entry_key("", ""), "ledger/");
        assert_eq!(note_key("lake/", "n"), "lake/ledger-notes/n");
    }

    #[test]
    fn times_before_1970_round_towards_the_past() {
        assert_eq!(partition_path(Table::Ticks, -1), "ticks/dt=1969-12-31/hour=23");
    }
}
