//! Rejects: parts of messages that could not become ticks, as rows of the quarantine table with a reason.
//!
//! This file owns the words of the `reason` column. It does *not* own when something is rejected.

use std::fmt;

use ticklake_schemas::Table;

use crate::lake::Partition;

/// A tick or a whole message body that was refused, with the bytes as they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The queue's id of the message.
    pub message_id: String,
    /// The position of the tick in its message, from 0. Blank lines do not count. `None` if the whole body was refused.
    pub index: Option<u32>,
    /// The reason.
    pub reason: Reason,
    /// Details in words. Never longer than a few hundred bytes, whatever was sent.
    pub detail: String,
    /// With an index, the tick as it is in the decompressed text. Without one, the message body as it was received.
    pub body: Vec<u8>,
    /// When the engine received the message, microseconds since the Unix epoch, UTC.
    pub received_at_us: i64,
    /// When the message was sent, or received if that is not known. It decides the partition, because it is the same at
    /// every delivery.
    pub message_us: i64,
}

impl Reject {
    /// The partition of its row.
    #[must_use]
    pub fn partition(&self) -> Partition {
        Partition::of(Table::Quarantine, self.message_us)
    }

    /// How many bytes of memory this reject takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.message_id.len() + self.detail.len() + self.body.len()
    }
}

/// Why something was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The body holds nothing but white space.
    EmptyBody,
    /// The message names a content encoding that the engine does not know.
    UnknownEncoding,
    /// The body is not what its content encoding says.
    BadEncoding,
    /// The body is larger than allowed once it is decompressed.
    TooLarge,
    /// The body, the line or the element of an array is not JSON.
    NotJson,
    /// The value is JSON, but not an object.
    NotATick,
    /// The message has no ticks at the configured path.
    NoTicks,
    /// The message is in an envelope that is not configured, or it is not in the configured one.
    Envelope,
    /// A key that fills a column occurs twice in one tick.
    DuplicateField,
    /// No symbol, or null.
    MissingSymbol,
    /// No price, or null.
    MissingPrice,
    /// No volume, or null.
    MissingVolume,
    /// No event time, or null, although `decode.fields.ts` names its key.
    MissingTs,
    /// The symbol is not text, is blank or too long, or holds a control character.
    BadSymbol,
    /// The price is not a finite number of at least 0.
    BadPrice,
    /// The volume is not a finite number of at least 0.
    BadVolume,
    /// The event time is not of the configured unit.
    BadTs,
    /// The event time lies too far in the past or in the future.
    TsOutOfRange,
    /// The ticks of the message have more partitions than one message may have. Each of them would be a file.
    TooManyPartitions,
    /// The message was delivered before and decoded differently. Some of its elements are in the lake, and nobody can
    /// tell which ones are missing. The whole body stands for the missing ones.
    DecodedDifferently,
    /// The message had more bad ticks than are listed one by one. The whole body stands for the rest.
    TooManyRejects,
}

impl Reason {
    /// All of them. The index of each is its value as a number.
    pub const ALL: [Reason; 21] = [
        Reason::EmptyBody,
        Reason::UnknownEncoding,
        Reason::BadEncoding,
        Reason::TooLarge,
        Reason::NotJson,
        Reason::NotATick,
        Reason::NoTicks,
        Reason::Envelope,
        Reason::DuplicateField,
        Reason::MissingSymbol,
        Reason::MissingPrice,
        Reason::MissingVolume,
        Reason::MissingTs,
        Reason::BadSymbol,
        Reason::BadPrice,
        Reason::BadVolume,
        Reason::BadTs,
        Reason::TsOutOfRange,
        Reason::TooManyPartitions,
        Reason::DecodedDifferently,
        Reason::TooManyRejects,
    ];

    /// The word in the `reason` column of the quarantine table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::EmptyBody => "empty_body",
            Reason::UnknownEncoding => "unknown_encoding",
            Reason::BadEncoding => "bad_encoding",
            Reason::TooLarge => "too_large",
            Reason::NotJson => "not_json",
            Reason::NotATick => "not_a_tick",
            Reason::NoTicks => "no_ticks",
            Reason::Envelope => "envelope",
            Reason::DuplicateField => "duplicate_field",
            Reason::MissingSymbol => "missing_symbol",
            Reason::MissingPrice => "missing_price",
            Reason::MissingVolume => "missing_volume",
            Reason::MissingTs => "missing_ts",
            Reason::BadSymbol => "bad_symbol",
            Reason::BadPrice => "bad_price",
            Reason::BadVolume => "bad_volume",
            Reason::BadTs => "bad_ts",
            Reason::TsOutOfRange => "ts_out_of_range",
            Reason::TooManyPartitions => "too_many_partitions",
            Reason::DecodedDifferently => "decoded_differently",
            Reason::TooManyRejects => "too_many_rejects",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal without the bytes that were refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_its_own_word() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            assert_eq!(Reason::ALL.into_iter().filter(|other| other.as_str() == reason.as_str()).count(), 1);
        }
        assert_eq!(Reason::ALL.last(), Some(&Reason::TooManyRejects), "the last declared reason");
    }
}
