//! Optional fields that cannot be read: the tick is stored without them, and they are counted.
//!
//! This file owns which fields these are. It does *not* own what is readable.

/// How many values of optional fields could not be read: the column is null there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnreadableFields(pub(super) [u64; 3]);

impl UnreadableFields {
    /// The columns, in the order of their counts.
    pub const COLUMNS: [&'static str; 3] = ["seq", "venue", "conditions"];

    /// Each column and its count.
    pub fn by_column(self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::COLUMNS.into_iter().zip(self.0)
    }
}

/// The optional fields that were there and could not be read, and are null for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Unreadable(u8);

impl Unreadable {
    pub(super) const NONE: Self = Self(0);
    pub(super) const SEQ: Self = Self(1);
    pub(super) const VENUE: Self = Self(2);
    pub(super) const CONDITIONS: Self = Self(4);

    /// The columns that [`UnreadableFields`] counts, in its order.
    const ALL: [Self; 3] = [Self::SEQ, Self::VENUE, Self::CONDITIONS];

    /// Adds each of these to its count.
    pub(super) fn count(self, counts: &mut [u64; 3]) {
        for (count, one) in counts.iter_mut().zip(Self::ALL) {
            *count += u64::from(self.0 & one.0 != 0);
        }
    }

    pub(super) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
