//! Decodes message bodies into columns.
//!
//! A body is one tick object, a JSON array of ticks, or several ticks on lines or joined. It is plain text, or base64
//! of gzip or zstd. [`Decoder`] takes a body apart and sends every part to one of two places: good ticks to the batch,
//! everything else with its bytes to the rejects. Neither waits for the other.
//!
//! simd-json and `decode/reader.rs` decide what a body, a tick and a value must look like. The ticks of a producer are
//! alike, so most of them need neither. `decode/shape.rs` reads them by the shape of a tick that was accepted, with the
//! same result. This file does *not* own what happens to ticks and rejects afterwards.

mod config;
mod guess;
mod only;
mod path;
mod preset;
mod reject;
mod share;

mod envelope;
mod wrap;

mod body;
mod sorter;

mod scan;
mod shape;
mod speculation;
mod tokens;

mod document;
mod fields;
mod filter;
mod mapping;
mod nodes;
mod number;
mod reader;
mod split;
mod ts;
mod unreadable;
mod walk;

#[cfg(test)]
mod tests;

pub use config::{DecodeConfig, DecodeConfigError, FieldNames, TsMin, TsUnit, Wrap};
pub use guess::{Guess, guess};
pub use only::{Only, Wanted};
pub use path::{PathError, TicksPath};
pub use preset::Preset;
pub use reject::{Reason, Reject};
pub use share::{RejectShare, Share, Verdict};
pub use unreadable::UnreadableFields;

use body::BodyReader;
use envelope::Envelope;
use filter::LeftOutId;
use sorter::{Sorter, Spread};
use split::RECORD_SEPARATOR;

use crate::tick::{Dictionaries, TickBatch};

pub use sorter::REJECTS_PER_MESSAGE_MAX;

/// A message as the queue delivered it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The queue's id.
    pub id: &'a str,
    /// The body as it was received.
    pub body: &'a [u8],
    /// The message attribute `content-encoding`, in upper or lower case: `gzip` or `zstd` for base64 of these,
    /// `base64`, or `identity`. Without it, the decoder recognizes base64 of gzip and zstd by the first bytes.
    pub content_encoding: Option<&'a str>,
    /// When the queue took the message, microseconds since the Unix epoch, UTC. It replaces a missing event time.
    pub sent_at_us: Option<i64>,
    /// When the engine received it, microseconds since the Unix epoch, UTC.
    pub received_at_us: i64,
}

/// Decodes message bodies into ticks. Each thread has its own decoder, which keeps its buffers and its view of the
/// names between messages.
///
/// A body is an array if it begins with `[`. Otherwise it is one document, or one document per line if it has several
/// lines that together are not one value. Blank lines do not count. A body, line or array element that is not JSON is
/// one reject, and so is a tick that is not acceptable. The empty array is a message without ticks, and an empty body
/// is a reject. Unknown keys are skipped. Null is the same as a missing key. A key that fills a column must not occur
/// twice. An event that [`DecodeConfig::only`] does not choose is neither a tick nor a reject.
pub struct Decoder {
    envelope: Envelope,
    wrap: Wrap,
    bodies: BodyReader,
    left_out: Vec<(u32, Option<LeftOutId>)>,
    unreadable: UnreadableFields,
    spread: Spread,
}

impl Decoder {
    /// A decoder for feeds that `config` describes. `config` must be valid.
    #[must_use]
    pub fn new(config: &DecodeConfig, names: &Dictionaries) -> Self {
        Self {
            envelope: Envelope::new(config.decompressed_max_bytes),
            wrap: config.envelope,
            bodies: BodyReader::new(config, names),
            left_out: Vec::new(),
            unreadable: UnreadableFields::default(),
            spread: Spread::new(config.partitions_per_message_max),
        }
    }

    /// Like [`Decoder::new`], but every tick goes through simd-json. [`Decoder::new`] is measured against this decoder,
    /// and must agree with it on every tick and reject. If a body turns out not to be JSON, one of them may have
    /// interned its names and the other one not.
    #[must_use]
    pub fn without_speculation(config: &DecodeConfig, names: &Dictionaries) -> Self {
        let mut decoder = Self::new(config, names);
        decoder.bodies.stop_speculating();
        decoder
    }

    /// Adds the good ticks of `message` to `ticks`, in their order, and everything else to `rejects`. Events that are
    /// not meant to be ticks go to neither: [`Decoder::left_out`] has their positions. A new name that finds its table
    /// full makes a tick like any other, and `ticks` keeps the name.
    pub fn decode(&mut self, message: &Message<'_>, ticks: &mut TickBatch, rejects: &mut Vec<Reject>) {
        let Self { envelope, wrap, bodies, left_out, unreadable, spread } = self;
        let mut sorter = Sorter::new(message, ticks, rejects, left_out, spread);
        match envelope.open(message.body, message.content_encoding).map(without_mark) {
            Ok(text) if *wrap == Wrap::None => bodies.read(text.trim_ascii(), &mut sorter),
            Ok(text) => read_wrapped(*wrap, text.trim_ascii(), bodies, &mut sorter),
            Err(refusal) => sorter.refuse_body(refusal),
        }
        unreadable.add(sorter.unreadable());
        envelope.shrink();
        for value in left_out.iter().filter_map(|(_, value)| *value) {
            bodies.filter().count(value);
        }
        bodies.hand_over_guests(ticks);
    }

    /// The positions of those events in the last message that are not meant to be ticks ([`DecodeConfig::only`]).
    #[must_use]
    pub fn left_out(&self) -> impl ExactSizeIterator<Item = u32> {
        self.left_out.iter().map(|(position, _)| *position)
    }

    /// How many values of optional fields were not readable since the last call.
    pub fn take_unreadable(&mut self) -> UnreadableFields {
        std::mem::take(&mut self.unreadable)
    }

    /// Reports the events that were left out since the last call: a field, its value, and the number of events with it.
    pub fn take_left_out(&mut self, tell: impl FnMut(&str, &str, u64)) {
        self.bodies.filter().take(tell);
    }
}

/// Reads the messages that are inside of the envelope `wrap`.
// Apart, so that a message without an envelope does not pay for it.
#[inline(never)]
fn read_wrapped(wrap: Wrap, text: &[u8], bodies: &mut BodyReader, sorter: &mut Sorter<'_>) {
    if text.is_empty() {
        return bodies.read(text, sorter);
    }
    wrap.each(text, |body| {
        if wrap == Wrap::Kinesis {
            sorter.begin_part(body.text);
        }
        match body.message {
            Ok(message) => bodies.read(message.trim_ascii(), sorter),
            Err(refusal) => sorter.refuse_body(refusal),
        }
    });
}

/// The text without the byte order mark and the record separator (RFC 7464) with which some producers begin.
fn without_mark(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.strip_prefix(&[RECORD_SEPARATOR]).unwrap_or(text)
}
