//! Ticks as columns: the form in which they travel from the decoder to the Parquet writer.
//!
//! This file owns the batch's layout. It does *not* own how ticks are parsed, judged or sorted.

use std::sync::Arc;

use crate::names::{Hold, NameId, Names};

/// A struct-of-arrays batch of ticks. All columns have the same length, and row `i` of each column belongs to tick `i`.
#[derive(Debug, Clone, Default)]
pub struct TickBatch {
    /// Interned symbol, never [`NameId::NONE`].
    pub symbol: Vec<NameId>,
    /// Event time, microseconds since the Unix epoch, UTC.
    pub ts_us: Vec<i64>,
    /// Finite and not negative.
    pub price: Vec<f64>,
    /// Finite and not negative.
    pub volume: Vec<f64>,
    /// The producer's sequence number.
    pub seq: Vec<Option<i64>>,
    /// Interned venue, or [`NameId::NONE`].
    pub venue: Vec<NameId>,
    /// Interned sale conditions, or [`NameId::NONE`].
    pub conditions: Vec<NameId>,
    /// When the engine received the message, microseconds since the Unix epoch, UTC.
    pub received_at_us: Vec<i64>,
    /// Keeps the guests that rows refer to: names beyond a table's bound. It may keep more than the rows need.
    pub guests: Vec<Arc<Hold>>,
}

/// One row of a [`TickBatch`].
#[derive(Debug, Clone, Copy, PartialEq)]
// One cache line. The sort moves each tick to another place, and half a cache line costs as much as a whole one.
#[repr(align(64))]
#[expect(missing_docs, reason = "each field is documented at the column of the same name")]
pub struct Tick {
    pub symbol: NameId,
    pub ts_us: i64,
    pub price: f64,
    pub volume: f64,
    pub seq: Option<i64>,
    pub venue: NameId,
    pub conditions: NameId,
    pub received_at_us: i64,
}

/// The tables of interned names that a batch refers to.
#[derive(Debug, Clone)]
pub struct Dictionaries {
    /// The names in [`TickBatch::symbol`].
    pub symbols: Arc<Names>,
    /// The names in [`TickBatch::venue`].
    pub venues: Arc<Names>,
    /// The names in [`TickBatch::conditions`].
    pub conditions: Arc<Names>,
}

impl Dictionaries {
    /// Empty tables that keep at most `max` names each.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let names = || Arc::new(Names::new(max));
        Self { symbols: names(), venues: names(), conditions: names() }
    }
}

impl TickBatch {
    /// The size that a row counts as, in bytes: the size of a [`Tick`]. The columns need a little less.
    pub const ROW_BYTES: usize = size_of::<Tick>();

    /// How many ticks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.symbol.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbol.is_empty()
    }

    /// How many ticks the batch can hold before a column allocates again.
    #[must_use]
    pub fn capacity(&self) -> usize {
        // All columns grow by the same rows. The allocator may round up each of them differently.
        self.received_at_us.capacity()
    }

    /// Makes room for `rows` more rows.
    pub fn reserve(&mut self, rows: usize) {
        self.symbol.reserve(rows);
        self.ts_us.reserve(rows);
        self.price.reserve(rows);
        self.volume.reserve(rows);
        self.seq.reserve(rows);
        self.venue.reserve(rows);
        self.conditions.reserve(rows);
        self.received_at_us.reserve(rows);
    }

    /// Adds one row.
    #[inline]
    pub fn push(&mut self, tick: Tick) {
        self.symbol.push(tick.symbol);
        self.ts_us.push(tick.ts_us);
        self.price.push(tick.price);
        self.volume.push(tick.volume);
        self.seq.push(tick.seq);
        self.venue.push(tick.venue);
        self.conditions.push(tick.conditions);
        self.received_at_us.push(tick.received_at_us);
    }

    /// Drops all rows except the first `len`. The guests stay.
    pub fn truncate(&mut self, len: usize) {
        self.symbol.truncate(len);
        self.ts_us.truncate(len);
        self.price.truncate(len);
        self.volume.truncate(len);
        self.seq.truncate(len);
        self.venue.truncate(len);
        self.conditions.truncate(len);
        self.received_at_us.truncate(len);
    }

    /// All rows.
    // Inlined, so that the fields go straight to their places. A returned tick would be written in halves and read as a
    // whole right after. The processor waits for such a read, which doubled the time of the sort.
    #[inline]
    pub fn rows(&self) -> impl Iterator<Item = Tick> {
        let names = self.symbol.iter().zip(&self.venue).zip(&self.conditions);
        let times = self.ts_us.iter().zip(&self.received_at_us);
        let numbers = self.price.iter().zip(&self.volume).zip(&self.seq);
        names.zip(times).zip(numbers).map(
            |((((&symbol, &venue), &conditions), (&ts_us, &received_at_us)), ((&price, &volume), &seq))| Tick {
                symbol,
                ts_us,
                price,
                volume,
                seq,
                venue,
                conditions,
                received_at_us,
            },
        )
    }

    /// Replaces all rows by `rows` and keeps the capacity. The caller must keep the guests among their names.
    pub fn assign(&mut self, rows: &[Tick]) {
        self.clear();
        // So few rows stay in the cache while the loop fills one column after the other.
        for rows in rows.chunks(256) {
            self.symbol.extend(rows.iter().map(|tick| tick.symbol));
            self.ts_us.extend(rows.iter().map(|tick| tick.ts_us));
            self.price.extend(rows.iter().map(|tick| tick.price));
            self.volume.extend(rows.iter().map(|tick| tick.volume));
            self.seq.extend(rows.iter().map(|tick| tick.seq));
            self.venue.extend(rows.iter().map(|tick| tick.venue));
            self.conditions.extend(rows.iter().map(|tick| tick.conditions));
            self.received_at_us.extend(rows.iter().map(|tick| tick.received_at_us));
        }
    }

    /// Drops the rows for which `keep` is false, and keeps the order of the others. `keep` is as long as the batch.
    pub fn retain(&mut self, keep: &[bool]) {
        fn retain<T>(column: &mut Vec<T>, keep: &[bool]) {
            let mut keep = keep.iter();
            column.retain(|_| keep.next() != Some(&false));
        }
        retain(&mut self.symbol, keep);
        retain(&mut self.ts_us, keep);
        retain(&mut self.price, keep);
        retain(&mut self.volume, keep);
        retain(&mut self.seq, keep);
        retain(&mut self.venue, keep);
        retain(&mut self.conditions, keep);
        retain(&mut self.received_at_us, keep);
    }

    /// Forgets all rows and guests, and keeps the capacity.
    pub fn clear(&mut self) {
        self.truncate(0);
        self.guests.clear();
    }

    /// Moves all rows of `other` to the end of this batch. `other` becomes empty and keeps its capacity.
    pub fn append(&mut self, other: &mut TickBatch) {
        self.symbol.append(&mut other.symbol);
        self.ts_us.append(&mut other.ts_us);
        self.price.append(&mut other.price);
        self.volume.append(&mut other.volume);
        self.seq.append(&mut other.seq);
        self.venue.append(&mut other.venue);
        self.conditions.append(&mut other.conditions);
        self.received_at_us.append(&mut other.received_at_us);
        self.guests.append(&mut other.guests);
    }
}
