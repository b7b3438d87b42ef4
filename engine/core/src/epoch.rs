//! The epoch: the set of whole messages that is committed together, with the rows, alerts and rejects they gave.
//!
//! [`EpochBuilder`] takes decoded messages in and hands a full [`Epoch`] out; it decides *when* an epoch rolls. It does
//! *not* own how rows are encoded or stored, and reads no clock: times are durations since any fixed moment.

use std::time::Duration;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use ticklake_schemas::Table;

use crate::alert::Alert;
use crate::commit::{Layout, Remaining, kept_rows};
use crate::decode::Reject;
use crate::detect::Raised;
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
    /// The alerts that their ticks made certain, or the clock while they were seen.
    pub alerts: Vec<Raised>,
}

impl<M> Default for Decoded<M> {
    fn default() -> Self {
        Self { messages: Vec::new(), ticks: TickBatch::default(), rejects: Vec::new(), alerts: Vec::new() }
    }
}

impl<M> Decoded<M> {
    /// Drops what the lake holds already of each message: `remaining` says of each what is left to store. `yielded`
    /// says what a message gave, and `give` is told what it gives from then on. `whole` makes the reject that stands
    /// for a whole body in doubt.
    pub fn take_over(
        &mut self,
        remaining: &[Remaining],
        yielded: impl Fn(&M) -> Yield,
        whole: impl Fn(&M) -> Reject,
        give: impl Fn(&mut M, Yield, Layout),
    ) {
        let mut keep = Vec::with_capacity(self.ticks.len());
        let mut rejects = Vec::with_capacity(self.rejects.len());
        let mut before = std::mem::take(&mut self.rejects).into_iter();
        for (message, remaining) in self.messages.iter_mut().zip(remaining) {
            let Yield { ticks, rejects: refused } = yielded(message);
            let times_us = &self.ticks.ts_us[keep.len()..keep.len() + ticks];
            let mut own: Vec<Reject> = before.by_ref().take(refused).collect();
            let layout = match remaining {
                Remaining::Everything => {
                    keep.resize(keep.len() + ticks, true);
                    Layout::of(times_us, &own)
                }
                Remaining::Except(stored) => {
                    let is_left = |position| !stored.contains(position);
                    let layout = Layout::of_kept(times_us, &own, is_left);
                    let (of_ticks, of_rejects) = kept_rows(ticks, &own, is_left);
                    keep.extend(of_ticks);
                    let mut of_rejects = of_rejects.into_iter();
                    own.retain(|_| of_rejects.next().unwrap_or(true));
                    layout
                }
                Remaining::Nothing => {
                    keep.resize(keep.len() + ticks, false);
                    own.clear();
                    Layout::nothing()
                }
                Remaining::InDoubt => {
                    keep.resize(keep.len() + ticks, false);
                    own = vec![whole(message)];
                    Layout::of(&[], &own)
                }
            };
            let kept = keep[keep.len() - ticks..].iter().filter(|keep| **keep).count();
            give(message, Yield { ticks: kept, rejects: own.len() }, layout);
            rejects.append(&mut own);
        }
        self.ticks.retain(&keep);
        self.rejects = rejects;
    }
}

/// What many such batches gave, in their order.
#[derive(Debug)]
pub struct Contents<M> {
    /// The messages.
    pub messages: Vec<M>,
    /// Their good ticks. Large batches stay as they were decoded, small ones are gathered into larger ones.
    pub ticks: Vec<TickBatch>,
    /// Their bad ticks and bodies.
    pub rejects: Vec<Reject>,
    /// The alerts that their ticks raised.
    pub alerts: Vec<Alert>,
}

// Derived, this would ask for a default message.
impl<M> Default for Contents<M> {
    fn default() -> Self {
        Self { messages: Vec::new(), ticks: Vec::new(), rejects: Vec::new(), alerts: Vec::new() }
    }
}

impl<M> Contents<M> {
    /// How many good ticks there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ticks.iter().map(TickBatch::len).sum()
    }
}

/// How many ticks and rejects one message gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Yield {
    /// Good ticks.
    pub ticks: usize,
    /// Bad ticks and bodies.
    pub rejects: usize,
}

impl<M> Contents<M> {
    /// Takes the messages out that are not to be kept, with their ticks and rejects, and returns them. `yielded` says
    /// of each message what it gave: ticks and rejects are in the order of the messages.
    ///
    /// Alerts stay, for what raised them was seen.
    pub fn retain(&mut self, keep: impl Fn(&M) -> bool, yielded: impl Fn(&M) -> Yield) -> Vec<M> {
        // Asked once: what the answer depends on may change from one moment to the next.
        let kept: Vec<bool> = self.messages.iter().map(keep).collect();
        if kept.iter().all(|&kept| kept) {
            return Vec::new();
        }
        let (mut rows, mut rejects) = (Vec::with_capacity(self.rows()), Vec::with_capacity(self.rejects.len()));
        for (message, &kept) in self.messages.iter().zip(&kept) {
            let Yield { ticks, rejects: rejected } = yielded(message);
            rows.extend(std::iter::repeat_n(kept, ticks));
            rejects.extend(std::iter::repeat_n(kept, rejected));
        }
        let mut rows = rows.as_slice();
        for batch in &mut self.ticks {
            let kept = rows.split_off(..batch.len()).unwrap_or_default();
            batch.retain(kept);
        }
        let mut rejects = rejects.into_iter();
        self.rejects.retain(|_| rejects.next().unwrap_or(true));
        let mut kept = kept.into_iter();
        self.messages.extract_if(.., |_| kept.next() == Some(false)).collect()
    }
}

impl<M> From<Decoded<M>> for Contents<M> {
    fn from(batch: Decoded<M>) -> Self {
        let Decoded { messages, ticks, rejects, alerts } = batch;
        let alerts = alerts.into_iter().map(|raised| raised.alert).collect();
        Self { messages, ticks: vec![ticks], rejects, alerts }
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
    pub contents: Contents<M>,
}

/// Rows up to which a batch is copied to the end of the one before, so that an epoch of single ticks is not made of as
/// many batches. A larger one is moved as it is.
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
    /// Columns without rows, to be filled again.
    spare: Vec<TickBatch>,
    /// For how many rows these have room.
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

    /// Adds alerts, which came at `now`. They are stored whatever becomes of the messages.
    pub fn add_alerts(&mut self, now: Duration, alerts: &[Alert]) {
        if !alerts.is_empty() {
            self.opened_at.get_or_insert(now);
            self.bytes += size_of_val(alerts);
            self.contents.alerts.extend_from_slice(alerts);
        }
    }

    /// Takes the columns of an earlier epoch, which has been encoded, to be filled again. Their rows are forgotten.
    ///
    /// Of columns no more are kept than the bounds of an epoch call for, and none that is far larger than most: one
    /// message of a million ticks would hold on to its memory for good.
    pub fn reuse(&mut self, columns: Vec<TickBatch>) {
        // A vector that grows doubles: what holds as many rows as the bounds allow may have room for twice as many.
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

    /// Moves whole messages, which arrived at `now`, into the epoch. `batch` is left empty, with its own capacity or
    /// that of columns to be used again. The epoch may exceed its bounds by this one batch.
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
        self.contents.alerts.extend(batch.alerts.drain(..).map(|raised| raised.alert));
    }

    fn add_ticks(&mut self, ticks: &mut TickBatch) {
        if ticks.is_empty() {
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

    /// Closes the open epoch; `None` if it is empty.
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
        // Neighbouring ticks nearly always share their hour: a look at its limits saves the division and the hash.
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::decode::Reason;
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

    fn reject(message: u64) -> Reject {
        let (message_id, detail) = (message.to_string(), String::new());
        Reject {
            message_id,
            index: None,
            reason: Reason::NotJson,
            detail,
            body: Vec::new(),
            received_at_us: 0,
            message_us: 0,
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

    proptest! {
        #[test]
        fn messages_leave_with_what_they_gave_and_with_nothing_else(
            messages in prop::collection::vec((0..5_usize, 0..3_usize, any::<bool>()), 0..40),
            cut in 0..200_usize,
        ) {
            // Each row and reject carries the number of its message.
            let mut ticks = TickBatch::default();
            let mut contents = Contents::default();
            for (number, &(rows, rejected, kept)) in (0_u64..).zip(&messages) {
                let of = |_| Tick { seq: Some(number as i64), ..batch(1, &[0]).ticks.rows().next().unwrap() };
                (0..rows).map(of).for_each(|tick| ticks.push(tick));
                contents.rejects.extend((0..rejected).map(|_| reject(number)));
                contents.messages.push((number, Yield { ticks: rows, rejects: rejected }, kept));
            }
            // Batches end anywhere.
            let rows: Vec<Tick> = ticks.rows().collect();
            let (first, second) = rows.split_at(cut.min(rows.len()));
            contents.ticks = [first, second].map(|rows| {
                let mut batch = TickBatch::default();
                batch.assign(rows);
                batch
            }).into();
            let lost = contents.retain(|message| message.2, |message| message.1);
            let expected = |pick: fn(&(usize, usize, bool)) -> usize| -> Vec<u64> {
                let numbered = (0_u64..).zip(&messages).filter(|(_, message)| message.2);
                numbered.flat_map(|(number, message)| std::iter::repeat_n(number, pick(message))).collect()
            };
            let seqs: Vec<u64> = contents.ticks.iter().flat_map(|batch| &batch.seq).map(|seq| seq.unwrap() as u64).collect();
            prop_assert_eq!(seqs, expected(|message| message.0));
            let rejects: Vec<u64> = contents.rejects.iter().map(|reject| reject.message_id.parse().unwrap()).collect();
            prop_assert_eq!(rejects, expected(|message| message.1));
            prop_assert!(lost.iter().all(|message| !message.2) && contents.messages.iter().all(|message| message.2));
            prop_assert_eq!(lost.len() + contents.messages.len(), messages.len());
        }
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

    /// Of each element its hour, or that it is refused.
    fn decoded(messages: &[Vec<Option<i64>>]) -> (Decoded<u32>, Vec<Yield>) {
        let mut decoded = batch(0, &[]);
        let mut yields = Vec::new();
        for (number, elements) in (0_u32..).zip(messages) {
            let hours: Vec<i64> = elements.iter().flatten().copied().collect();
            decoded.ticks.append(&mut batch(0, &hours).ticks);
            let refused = (0_u32..).zip(elements).filter(|(_, element)| element.is_none());
            let rejects = refused.map(|(at, _)| Reject { index: Some(at), ..reject(u64::from(number)) });
            let before = decoded.rejects.len();
            decoded.rejects.extend(rejects);
            decoded.messages.push(number);
            yields.push(Yield { ticks: hours.len(), rejects: decoded.rejects.len() - before });
        }
        (decoded, yields)
    }

    fn elements() -> impl Strategy<Value = Vec<Option<i64>>> {
        prop::collection::vec(prop::option::weighted(0.7, 0..3_i64), 0..6)
    }

    fn remainings() -> impl Strategy<Value = Remaining> {
        let stored = prop::collection::btree_set(0..6_u32, 1..5).prop_map(|set| set.into_iter().collect());
        prop_oneof![
            Just(Remaining::Everything),
            Just(Remaining::Nothing),
            Just(Remaining::InDoubt),
            stored.prop_map(Remaining::Except),
        ]
    }

    proptest! {
        /// The twin goes through the elements one by one.
        #[test]
        fn takeover_keeps_the_elements_that_are_left_and_says_where_they_lie(
            messages in prop::collection::vec((elements(), remainings()), 0..5),
        ) {
            let (messages, remaining): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
            let (mut batch, yields) = decoded(&messages);
            let given = std::cell::RefCell::new(Vec::new());
            let whole = |message: &u32| Reject { reason: Reason::DecodedDifferently, ..reject(u64::from(*message)) };
            batch.take_over(&remaining, |message| yields[*message as usize], whole, |_, yielded, layout| {
                given.borrow_mut().push((yielded, layout));
            });
            let (mut hours, mut rejects) = (Vec::new(), Vec::new());
            for ((number, elements), (remaining, (yielded, layout))) in
                messages.iter().enumerate().zip(remaining.iter().zip(given.into_inner()))
            {
                let is_left = |at: u32| match remaining {
                    Remaining::Everything => true,
                    Remaining::Except(stored) => !stored.contains(at),
                    Remaining::Nothing | Remaining::InDoubt => false,
                };
                let left = (0_u32..).zip(elements).filter(|(at, _)| is_left(*at));
                let mut expected: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
                let before = (hours.len(), rejects.len());
                for (at, element) in left {
                    let hour = |hour: &i64| Partition::of(Table::Ticks, hour * 3_600_000_000);
                    expected.entry(element.as_ref().map_or(quarantine(), hour)).or_default().push(at);
                    match element {
                        Some(hour) => hours.push(hour * 3_600_000_000),
                        None => rejects.push((number.to_string(), Some(at))),
                    }
                }
                if *remaining == Remaining::InDoubt {
                    rejects.push((number.to_string(), None));
                    expected.insert(quarantine(), Vec::new());
                }
                let given = Yield { ticks: hours.len() - before.0, rejects: rejects.len() - before.1 };
                prop_assert_eq!(yielded, given);
                let files: Vec<Partition> = expected.keys().copied().collect();
                let mut parts = layout.shape(&files).unwrap().parts;
                parts.sort_by_key(|(file, _)| *file);
                let expected = (0..).zip(expected.into_values().map(|held| held.into_iter().collect()));
                prop_assert_eq!(parts, expected.collect::<Vec<_>>());
                let is_whole = *remaining == Remaining::Nothing || layout.elements() == Some(elements.len() as u32);
                prop_assert!(is_whole || *remaining == Remaining::InDoubt);
            }
            prop_assert_eq!(batch.ticks.ts_us, hours);
            let found: Vec<_> = batch.rejects.into_iter().map(|reject| (reject.message_id, reject.index)).collect();
            prop_assert_eq!(found, rejects);
        }
    }

    fn quarantine() -> Partition {
        Partition::of(Table::Quarantine, 0)
    }
}
