//! The epoch: the set of whole messages that is committed together, with the rows, alerts and rejects they gave.
//!
//! [`EpochBuilder`] takes decoded messages in and hands a full [`Epoch`] out; it decides *when* an epoch rolls. It does
//! *not* own how rows are encoded or stored, and reads no clock: times are durations since any fixed moment.

use std::time::Duration;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use ticklake_schemas::Table;

use crate::alert::Alert;
use crate::decode::Reject;
use crate::lake::Partition;
use crate::tick::TickBatch;

/// When an epoch rolls: at whichever bound it reaches first.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct EpochLimits {
    /// Ticks.
    pub rows_max: usize,
    /// Bytes of decoded columns, alerts and rejects.
    pub bytes_max: usize,
    /// Messages. SQS allows 120,000 in flight per queue, over all consumers.
    pub messages_max: usize,
    /// Partitions, and so files, of ticks.
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
    /// Nothing more is coming, or nothing more can come before this epoch's messages are released.
    Flush,
}

/// What one batch of whole messages gave. `M` is whatever the caller needs to delete those messages.
#[derive(Debug)]
pub struct Decoded<M> {
    /// The messages, all of whose ticks and rejects are below.
    pub messages: Vec<M>,
    /// Their good ticks.
    pub ticks: TickBatch,
    /// Their bad ticks and bodies.
    pub rejects: Vec<Reject>,
    /// The alerts that their ticks raised.
    pub alerts: Vec<Alert>,
}

impl<M> Default for Decoded<M> {
    fn default() -> Self {
        Self { messages: Vec::new(), ticks: TickBatch::default(), rejects: Vec::new(), alerts: Vec::new() }
    }
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
    /// Everything in it.
    pub contents: Decoded<M>,
}

/// Gathers decoded messages into epochs.
#[derive(Debug)]
pub struct EpochBuilder<M> {
    limits: EpochLimits,
    next_number: u64,
    opened_at: Option<Duration>,
    contents: Decoded<M>,
    bytes: usize,
    partitions: FxHashSet<Partition>,
}

impl<M> EpochBuilder<M> {
    /// A builder whose first epoch has number 0.
    #[must_use]
    pub fn new(limits: EpochLimits) -> Self {
        Self {
            limits,
            next_number: 0,
            opened_at: None,
            contents: Decoded::default(),
            bytes: 0,
            partitions: FxHashSet::default(),
        }
    }

    /// Whether no epoch is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened_at.is_none()
    }

    /// Lets the next epoch fill the columns of an earlier one, which has been encoded. Their rows are forgotten.
    ///
    /// It does nothing while an epoch is open. Columns with far more room than the bounds call for are not kept: one large
    /// batch would hold on to that memory for good.
    pub fn reuse(&mut self, mut columns: TickBatch) {
        // A vector that grows doubles: what holds as many rows as the bounds allow may have room for twice as many.
        let rows_max = self.limits.rows_max.min(self.limits.bytes_max / TickBatch::ROW_BYTES);
        if self.is_empty() && columns.capacity() <= rows_max.saturating_mul(2) {
            columns.clear();
            self.contents.ticks = columns;
        }
    }

    /// Moves whole messages, which arrived at `now`, into the epoch. `batch` is left empty and keeps its capacity. The epoch
    /// may exceed its bounds by this one batch.
    pub fn add(&mut self, now: Duration, batch: &mut Decoded<M>) {
        if batch.messages.is_empty() {
            return;
        }
        self.opened_at.get_or_insert(now);
        self.bytes += bytes_of(batch);
        self.note_partitions(&batch.ticks);
        self.contents.messages.append(&mut batch.messages);
        self.contents.ticks.append(&mut batch.ticks);
        self.contents.rejects.append(&mut batch.rejects);
        self.contents.alerts.append(&mut batch.alerts);
    }

    /// Which bound the open epoch has reached, if any.
    #[must_use]
    pub fn due(&self, now: Duration) -> Option<RollReason> {
        let limits = &self.limits;
        let opened_at = self.opened_at?;
        [
            (self.contents.ticks.len() >= limits.rows_max, RollReason::Rows),
            (self.bytes >= limits.bytes_max, RollReason::Bytes),
            (self.contents.messages.len() >= limits.messages_max, RollReason::Messages),
            (self.partitions.len() >= limits.partitions_max, RollReason::Partitions),
            (now.saturating_sub(opened_at) >= limits.age_max, RollReason::Age),
        ]
        .into_iter()
        .find_map(|(reached, reason)| reached.then_some(reason))
    }

    /// Closes the open epoch; `None` if it is empty.
    pub fn roll(&mut self, now: Duration, reason: RollReason) -> Option<Epoch<M>> {
        let opened_at = self.opened_at.take()?;
        let number = self.next_number;
        self.next_number += 1;
        self.bytes = 0;
        self.partitions.clear();
        let contents = std::mem::take(&mut self.contents);
        Some(Epoch { number, reason, age: now.saturating_sub(opened_at), contents })
    }

    fn note_partitions(&mut self, ticks: &TickBatch) {
        // Neighbouring ticks nearly always share their hour: one comparison saves the hash.
        let mut last = None;
        for &ts_us in &ticks.ts_us {
            let partition = Partition::of(Table::Ticks, ts_us);
            if last != Some(partition) {
                self.partitions.insert(partition);
                last = Some(partition);
            }
        }
    }
}

fn bytes_of<M>(batch: &Decoded<M>) -> usize {
    let rejects: usize = batch.rejects.iter().map(Reject::bytes).sum();
    batch.ticks.len() * TickBatch::ROW_BYTES + batch.alerts.len() * size_of::<Alert>() + rejects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::NameId;
    use crate::tick::Tick;

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

    fn batch(messages: usize, hours: &[i64]) -> Decoded<u32> {
        let mut ticks = TickBatch::default();
        for hour in hours {
            ticks.push(Tick {
                symbol: NameId::NONE,
                ts_us: hour * 3_600_000_000,
                price: 1.0,
                volume: 1.0,
                seq: None,
                venue: NameId::NONE,
                conditions: NameId::NONE,
                received_at_us: 0,
            });
        }
        Decoded { messages: vec![0; messages], ticks, ..Decoded::default() }
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
        assert_eq!((first.number, first.contents.messages.len(), first.contents.ticks.len()), (0, 2, 2));
        assert_eq!(builder.due(NOW), None);
        builder.add(NOW + Duration::from_mins(1), &mut batch(1, &[0]));
        assert_eq!(builder.due(NOW + Duration::from_secs(61)), None, "age counts from the new epoch's first message");
        let second = builder.roll(NOW + Duration::from_secs(62), RollReason::Age).unwrap();
        assert_eq!((second.number, second.contents.messages.len()), (1, 1));
        assert_eq!(second.age, Duration::from_secs(2));
    }
    #[test]
    fn columns_of_an_earlier_epoch_are_filled_again_without_their_rows() {
        let mut builder = EpochBuilder::new(EpochLimits { bytes_max: 64 * TickBatch::ROW_BYTES, ..limits() });
        let columns = |rows: usize| batch(1, &vec![7; rows]).ticks;
        builder.reuse(columns(4));
        builder.add(NOW, &mut batch(1, &[0]));
        builder.reuse(columns(1));
        let epoch = builder.roll(NOW, RollReason::Flush).unwrap();
        assert_eq!(
            epoch.contents.ticks,
            batch(1, &[0]).ticks,
            "no row of the columns, and no column while one is open"
        );
        assert!(epoch.contents.ticks.capacity() >= 4);
        builder.reuse(columns(9));
        builder.add(NOW, &mut batch(1, &[0]));
        assert!(builder.roll(NOW, RollReason::Flush).unwrap().contents.ticks.capacity() < 9, "far beyond the bounds");
    }
}
