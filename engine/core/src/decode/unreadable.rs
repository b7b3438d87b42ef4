//! Optional fields that cannot be read. The tick is stored without them, and they are counted.
//!
//! This file owns which fields these are. It does *not* own the rules for readable values.

/// How many values of optional fields could not be read. Their columns are null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnreadableFields(pub(super) [u64; 3]);

impl UnreadableFields {
    /// Adds `counts`, which are mostly zero.
    #[inline]
    pub(super) fn add(&mut self, counts: [u64; 3]) {
        if counts != [0; 3] {
            self.0.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    /// The columns, in the order of their counts.
    pub const COLUMNS: [&'static str; 3] = ["seq", "venue", "conditions"];

    /// Each column and its count.
    pub fn by_column(self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::COLUMNS.into_iter().zip(self.0)
    }
}

/// Those optional fields of a tick that were sent but could not be read. They are null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Unreadable(u8);

impl Unreadable {
    pub(super) const NONE: Self = Self(0);
    pub(super) const SEQ: Self = Self(1);
    pub(super) const VENUE: Self = Self(2);
    pub(super) const CONDITIONS: Self = Self(4);

    /// The columns that [`UnreadableFields`] counts, in its order.
    const ALL: [Self; 3] = [Self::SEQ, Self::VENUE, Self::CONDITIONS];

    /// Adds one to the count of each of these fields.
    pub(super) fn count(self, counts: &mut [u64; 3]) {
        for (count, one) in counts.iter_mut().zip(Self::ALL) {
            *count += u64::from(self.0 & one.0 != 0);
        }
    }

    pub(super) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
