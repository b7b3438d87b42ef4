//! The epoch: a set of whole messages that is committed together, with their rows, alerts and rejects.
//!
//! [`EpochBuilder`] takes decoded messages and returns full [`Epoch`]s. It decides *when* an epoch rolls. It does *not*
//! own how rows are encoded or stored. It reads no clock: a time is a duration since any fixed moment.

use std::time::Duration;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use ticklake_schemas::Table;

use crate::alert::Alert;
use crate::batch::{Contents, Decoded};
use crate::decode::Reject;
use crate::lake::Partition;
use crate::tick::TickBatch;

/// The bounds of an epoch. It rolls as soon as it reaches one of them.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct EpochLimits {
    /// Ticks in an epoch.
    pub rows_max: usize,
    /// Bytes of decoded columns, alerts and rejects.
    pub bytes_max: usize,
    /// Messages. SQS allows 120,000 messages in flight per queue, counted over all consumers.
    pub messages_max: usize,
    /// Partitions of ticks. Each of them becomes a file.
    pub partitions_max: usize,
    /// Time since the first message of the epoch arrived at the builder.
    #[serde(with = "humantime_serde")]
    pub age_max: Duration,
}

impl Default for EpochLimits {
    fn default() -> Self {
        Self {
            rows_max: 1_000_000,
            bytes_max: 128 << 20,
            messages_max: 40_000,
            partitions_max: 256,
            age_max: Duration::from_secs(30),
        }
    }
}

/// Why an epoch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollReason {
    /// [`EpochLimits::rows_max`].
    Rows,
    /// [`EpochLimits::bytes_max`].
    Bytes,
    /// [`EpochLimits::messages_max`].
    Messages,
    /// [`EpochLimits::partitions_max`].
    Partitions,
    /// [`EpochLimits::age_max`].
    Age,
    /// No more messages are coming, or none can come before the messages of this epoch are released.
    Flush,
}

/// A closed set of whole messages, ready to be encoded and committed.
#[derive(Debug)]
pub struct Epoch<M> {
    /// The epoch's number within its worker, from 0.
    pub number: u64,
    /// Why it was closed.
    pub reason: RollReason,
    /// Time from its first message to its closing.
    pub age: Duration,
    /// Its messages, ticks, rejects and alerts.
    pub contents: Contents<M>,
}

/// A batch is copied to the end of the one before while both together have at most this many rows. So an epoch of
/// single ticks does not consist of as many batches. A larger batch is moved as it is.
pub const GATHERED_ROWS_MAX: usize = 8_192;

/// Gathers decoded messages into epochs.
#[derive(Debug)]
pub struct EpochBuilder<M> {
    limits: EpochLimits,
    next_number: u64,
    opened_at: Option<Duration>,
    contents: Contents<M>,
    rows: usize,
    bytes: usize,
    partitions: FxHashSet<Partition>,
    /// Empty columns that can be filled again.
    spare: Vec<TickBatch>,
    /// How many rows the spare columns have room for.
    spare_rows: usize,
}

impl<M> EpochBuilder<M> {
    /// A builder whose first epoch has number 0.
    #[must_use]
    pub fn new(limits: EpochLimits) -> Self {
        Self {
            limits,
            next_number: 0,
            opened_at: None,
            contents: Contents::default(),
            rows: 0,
            bytes: 0,
            partitions: FxHashSet::default(),
            spare: Vec::new(),
            spare_rows: 0,
        }
    }

    /// Ticks in the open epoch, if one is open.
    #[must_use]
    pub fn open_rows(&self) -> Option<usize> {
        self.opened_at.map(|_| self.rows)
    }

    /// How long the open epoch has been open at `now`, if one is open.
    #[must_use]
    pub fn age(&self, now: Duration) -> Option<Duration> {
        self.opened_at.map(|opened_at| now.saturating_sub(opened_at))
    }

    /// Whether no epoch is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened_at.is_none()
    }

    /// Adds alerts that came at `now`. They are stored, whatever happens to their messages.
    pub fn add_alerts(&mut self, now: Duration, alerts: &[Alert]) {
        if !alerts.is_empty() {
            self.opened_at.get_or_insert(now);
            self.bytes += size_of_val(alerts);
            self.contents.alerts.extend_from_slice(alerts);
        }
    }

    /// Takes back the columns of an epoch that has been encoded, drops their rows, and fills them again later.
    ///
    /// It keeps no more columns than the bounds of an epoch need. It keeps no columns that are far larger than most: a
    /// single message of a million ticks would occupy its memory for good.
    pub fn reuse(&mut self, columns: Vec<TickBatch>) {
        // A growing vector doubles, so columns for as many rows as the bounds allow may have room for twice as many.
        let rows_max = self.limits.rows_max.min(self.limits.bytes_max / TickBatch::ROW_BYTES).saturating_mul(2);
        for mut columns in columns {
            let rows = columns.capacity();
            if rows <= 4 * GATHERED_ROWS_MAX && self.spare_rows.saturating_add(rows) <= rows_max {
                columns.clear();
                self.spare_rows += rows;
                self.spare.push(columns);
            }
        }
    }

    /// Moves whole messages, which arrived at `now`, into the epoch. `batch` becomes empty. It keeps its capacity or
    /// gets that of spare columns. The epoch may exceed its bounds by this one batch.
    pub fn add(&mut self, now: Duration, batch: &mut Decoded<M>) {
        if batch.messages.is_empty() {
            return;
        }
        self.opened_at.get_or_insert(now);
        self.rows += batch.ticks.len();
        self.bytes += bytes_of(batch);
        self.note_partitions(&batch.ticks);
        self.contents.messages.append(&mut batch.messages);
        self.add_ticks(&mut batch.ticks);
        self.contents.rejects.append(&mut batch.rejects);
        // The layouts of the messages already contain them.
        batch.left_out.clear();
        self.contents.alerts.extend(batch.alerts.drain(..).map(|raised| raised.alert));
    }

    fn add_ticks(&mut self, ticks: &mut TickBatch) {
        if ticks.is_empty() {
            // A takeover may have removed all ticks. Then their guests are not needed either.
            ticks.clear();
            return;
        }
        match self.contents.ticks.last_mut() {
            Some(last) if last.len() + ticks.len() <= GATHERED_ROWS_MAX => last.append(ticks),
            _ => {
                let spare = self.spare.pop().unwrap_or_default();
                self.spare_rows -= spare.capacity();
                self.contents.ticks.push(std::mem::replace(ticks, spare));
            }
        }
    }

    /// Which bound the open epoch has reached, if any.
    #[must_use]
    pub fn due(&self, now: Duration) -> Option<RollReason> {
        let limits = &self.limits;
        let opened_at = self.opened_at?;
        [
            (self.rows >= limits.rows_max, RollReason::Rows),
            (self.bytes >= limits.bytes_max, RollReason::Bytes),
            (self.contents.messages.len() >= limits.messages_max, RollReason::Messages),
            (self.partitions.len() >= limits.partitions_max, RollReason::Partitions),
            (now.saturating_sub(opened_at) >= limits.age_max, RollReason::Age),
        ]
        .into_iter()
        .find_map(|(reached, reason)| reached.then_some(reason))
    }

    /// Closes the open epoch. Returns `None` if no epoch is open.
    pub fn roll(&mut self, now: Duration, reason: RollReason) -> Option<Epoch<M>> {
        let opened_at = self.opened_at.take()?;
        let number = self.next_number;
        self.next_number += 1;
        (self.rows, self.bytes) = (0, 0);
        self.partitions.clear();
        let contents = std::mem::take(&mut self.contents);
        Some(Epoch { number, reason, age: now.saturating_sub(opened_at), contents })
    }

    fn note_partitions(&mut self, ticks: &TickBatch) {
        // Neighbouring ticks nearly always have the same hour: a look at its limits saves the division and the hash.
        let mut hour = 0..0;
        for &ts_us in &ticks.ts_us {
            if !hour.contains(&ts_us) {
                let partition = Partition::of(Table::Ticks, ts_us);
                self.partitions.insert(partition);
                hour = partition.times_us();
            }
        }
    }
}

fn bytes_of<M>(batch: &Decoded<M>) -> usize {
    let rejects: usize = batch.rejects.iter().map(Reject::bytes).sum();
    let guests: usize = batch.ticks.guests.iter().map(|hold| hold.bytes()).sum();
    batch.ticks.len() * TickBatch::ROW_BYTES + guests + batch.alerts.len() * size_of::<Alert>() + rejects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch;

    const NOW: Duration = Duration::from_secs(100);

    fn limits() -> EpochLimits {
        EpochLimits {
            rows_max: 4,
            bytes_max: usize::MAX,
            messages_max: 3,
            partitions_max: 2,
            age_max: Duration::from_secs(5),
        }
    }

    #[test]
    fn alerts_without_a_message_are_an_epoch() {
        let mut builder = EpochBuilder::<u32>::new(limits());
        builder.add_alerts(NOW, &[]);
        assert!(builder.is_empty());
        builder.add_alerts(NOW, &[crate::alert::tests::alert()]);
        assert_eq!(builder.due(NOW + Duration::from_secs(5)), Some(RollReason::Age));
        let epoch = builder.roll(NOW, RollReason::Age).unwrap();
        assert_eq!((epoch.contents.messages.len(), epoch.contents.alerts.len()), (0, 1));
    }

    #[test]
    fn rolls_at_each_bound() {
        let cases: [(Decoded<u32>, Duration, Option<RollReason>); 6] = [
            (batch(1, &[0; 3]), NOW, None),
            (batch(1, &[0; 4]), NOW, Some(RollReason::Rows)),
            (batch(3, &[]), NOW, Some(RollReason::Messages)),
            (batch(1, &[0, 1, 0]), NOW, Some(RollReason::Partitions)),
            (batch(1, &[0]), NOW + Duration::from_secs(5), Some(RollReason::Age)),
            (batch(0, &[]), NOW + Duration::from_secs(500), None),
        ];
        for (mut batch, now, expected) in cases {
            let mut builder = EpochBuilder::new(limits());
            builder.add(NOW, &mut batch);
            assert_eq!(builder.due(now), expected);
        }
    }

    #[test]
    fn rolls_on_bytes() {
        let mut builder = EpochBuilder::new(EpochLimits { bytes_max: 2 * TickBatch::ROW_BYTES, ..limits() });
        builder.add(NOW, &mut batch(1, &[0]));
        assert_eq!(builder.due(NOW), None);
        builder.add(NOW, &mut batch(1, &[0]));
        assert_eq!(builder.due(NOW), Some(RollReason::Bytes));
    }

    #[test]
    fn epochs_are_numbered_and_share_nothing() {
        let mut builder = EpochBuilder::new(limits());
        assert!(builder.roll(NOW, RollReason::Flush).is_none());
        builder.add(NOW, &mut batch(2, &[0, 1]));
        let first = builder.roll(NOW, RollReason::Flush).unwrap();
        assert_eq!((first.number, first.contents.messages.len(), first.contents.rows()), (0, 2, 2));
        assert_eq!(builder.due(NOW), None);
        builder.add(NOW + Duration::from_mins(1), &mut batch(1, &[0]));
        assert_eq!(builder.due(NOW + Duration::from_secs(61)), None, "age counts from the new epoch's first message");
        let second = builder.roll(NOW + Duration::from_secs(62), RollReason::Age).unwrap();
        assert_eq!((second.number, second.contents.messages.len()), (1, 1));
        assert_eq!(second.age, Duration::from_secs(2));
    }

    #[test]
    fn small_batches_are_gathered_and_large_ones_moved_in_their_order() {
        let mut builder = EpochBuilder::new(EpochLimits { rows_max: usize::MAX, ..limits() });
        let sizes = [1, 2, GATHERED_ROWS_MAX, 3, 4, GATHERED_ROWS_MAX - 7, 1];
        let mut expected = TickBatch::default();
        for (hour, rows) in (0..).zip(sizes) {
            let hours = vec![hour; rows];
            expected.append(&mut batch(1, &hours).ticks);
            builder.add(NOW, &mut batch(1, &hours));
        }
        let contents = builder.roll(NOW, RollReason::Flush).unwrap().contents;
        let found: Vec<_> = contents.ticks.iter().map(TickBatch::len).collect();
        assert_eq!(found, [3, GATHERED_ROWS_MAX, GATHERED_ROWS_MAX, 1]);
        assert!(contents.ticks.iter().flat_map(TickBatch::rows).eq(expected.rows()));
    }

    #[test]
    fn columns_of_an_earlier_epoch_are_filled_again_without_their_rows() {
        let mut builder = EpochBuilder::new(EpochLimits { rows_max: 100, ..limits() });
        let columns = |rows: usize| {
            let mut columns = TickBatch::default();
            columns.append(&mut batch(1, &vec![7; rows]).ticks);
            columns
        };
        builder.reuse(vec![columns(64), columns(64), columns(128), columns(500)]);
        let mut moved = batch(1, &[0]);
        let mut left = Vec::new();
        for _ in 0..4 {
            builder.add(NOW, &mut moved);
            left.push(std::mem::take(&mut moved.ticks));
            moved = batch(1, &[0]);
            builder.roll(NOW, RollReason::Flush).unwrap();
        }
        let capacities: Vec<_> = left.iter().map(TickBatch::capacity).collect();
        assert_eq!(capacities, [64, 64, 0, 0], "as many as the bounds call for");
        assert!(left.iter().all(TickBatch::is_empty));
    }
    #[test]
    fn batch_whose_ticks_are_all_left_out_keeps_no_guests() {
        let names = crate::tick::Dictionaries::new(0);
        let mut decoder = crate::decode::Decoder::new(&crate::decode::DecodeConfig::default(), &names);
        let mut left_out = batch(1, &[]);
        let body = br#"{"symbol":"B","price":1,"volume":1}"#;
        let message = crate::decode::Message {
            id: "m",
            body,
            content_encoding: None,
            sent_at_us: None,
            received_at_us: 1_795_442_400_000_000,
        };
        decoder.decode(&message, &mut left_out.ticks, &mut Vec::new());
        left_out.ticks.retain(&[false]);
        assert_eq!(left_out.ticks.guests.len(), 1);
        let mut builder = EpochBuilder::new(limits());
        builder.add(NOW, &mut left_out);
        assert_eq!((left_out.ticks.guests.len(), names.symbols.guests()), (0, 0));
    }
}
