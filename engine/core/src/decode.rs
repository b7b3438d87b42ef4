//! Message bodies to columns.
//!
//! A body is one tick object, a JSON array of them, or one per line, plain or as base64 of zstd. [`Decoder`] takes a body
//! apart and sends every part to one of two places: good ticks to the batch, all else to the rejects, with its bytes.
//! Neither waits for the other. What a tick must look like is in `decode/reader.rs`; this file does *not* own it, nor what
//! happens to ticks and rejects afterwards.

mod config;
mod document;
mod envelope;
mod fields;
mod number;
mod reader;
mod reject;
mod split;
mod ts;

#[cfg(test)]
mod tests;

pub use config::{DecodeConfig, DecodeConfigError, FieldNames, TsMin, TsUnit};
pub use reject::{Reason, Reject};

use document::Documents;
use envelope::Envelope;
use fields::split_value;
use reader::{MessageTimes, TickReader};
use reject::Refusal;
use split::{Form, elements, is_array_of_parts, lines};

use rustc_hash::FxHashSet;
use ticklake_schemas::Table;

use crate::lake::Partition;
use crate::tick::{Dictionaries, Tick, TickBatch};

/// Bad ticks of one message that are listed one by one. Beyond it one reject with the whole body stands for the rest, so
/// that a body of a million bad ticks does not become a million rows.
pub const REJECTS_PER_MESSAGE_MAX: usize = 1000;

/// A message as the queue delivered it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The queue's id.
    pub id: &'a str,
    /// The body as it was received.
    pub body: &'a [u8],
    /// The message attribute `content-encoding`: `zstd` for base64 of zstd; none, empty or `identity` for plain text.
    pub content_encoding: Option<&'a str>,
    /// When the queue took the message, microseconds since the Unix epoch, UTC. Stands in for a missing event time.
    pub sent_at_us: Option<i64>,
    /// When the engine received it, microseconds since the Unix epoch, UTC.
    pub received_at_us: i64,
}

/// Makes ticks of message bodies; one per thread. It keeps its buffers and its view of the names between messages.
///
/// A body is an array if it begins with `[`. Else it is one document, or one document per line where there are several
/// lines that are not one value together; blank lines do not count. Where a body, a line or an element of an array is not
/// JSON, it is one reject; where a tick is not acceptable, that tick is. The empty array is a message of no ticks; an empty body is a reject.
/// Unknown keys are skipped, null is the same as a missing key, and a key that fills a column may not occur twice.
pub struct Decoder {
    envelope: Envelope,
    documents: Documents,
    reader: TickReader,
    spread: Spread,
}

impl Decoder {
    /// A decoder for feeds as `config`, which must be valid, describes them.
    #[must_use]
    pub fn new(config: &DecodeConfig, names: &Dictionaries) -> Self {
        Self {
            envelope: Envelope::new(config.decompressed_max_bytes),
            documents: Documents::new(),
            reader: TickReader::new(config, names),
            spread: Spread { partitions: FxHashSet::default(), last: None, max: config.partitions_per_message_max },
        }
    }

    /// Adds the good ticks of `message` to `ticks`, in their order, and everything else to `rejects`.
    pub fn decode(&mut self, message: &Message<'_>, ticks: &mut TickBatch, rejects: &mut Vec<Reject>) {
        let Self { envelope, documents, reader, spread } = self;
        spread.clear();
        let mut sorter = Sorter { message, ticks, rejects, refused: 0, spread };
        match envelope.open(message.body, message.content_encoding) {
            Ok(text) => decode_text(text.trim_ascii(), documents, reader, &mut sorter),
            Err(refusal) => sorter.refuse_body(refusal),
        }
        envelope.shrink();
    }
}

fn decode_text(text: &[u8], documents: &mut Documents, reader: &mut TickReader, sorter: &mut Sorter<'_>) {
    if text.is_empty() {
        return sorter.refuse_body(Refusal::new(Reason::EmptyBody, "body holds nothing but white space"));
    }
    let times = sorter.times();
    match Form::of(text) {
        Form::Array => decode_array(text, documents, reader, sorter),
        Form::Document => match documents.parse(text, |nodes| reader.read(nodes, times)) {
            Ok(read) => sorter.sort(read, 0, || text),
            Err(error) => sorter.refuse_body(not_json(&error)),
        },
        Form::Lines => decode_parts(lines(text), documents, reader, sorter),
    }
}

/// Each part is a document of its own: one that is damaged does not touch the others.
fn decode_parts<'t>(
    parts: impl Iterator<Item = &'t [u8]>,
    documents: &mut Documents,
    reader: &mut TickReader,
    sorter: &mut Sorter<'_>,
) {
    let times = sorter.times();
    for (index, part) in parts.enumerate() {
        let read = documents.parse(part, |nodes| reader.read(nodes, times));
        sorter.sort(read.unwrap_or_else(|error| Err(not_json(&error))), index, || part);
    }
}

fn decode_array(text: &[u8], documents: &mut Documents, reader: &mut TickReader, sorter: &mut Sorter<'_>) {
    let times = sorter.times();
    // The tape does not say where a value stood; the bytes of a bad tick are looked up, which good ticks need not pay.
    let mut originals = elements(text).enumerate();
    let visited = documents.parse(text, |nodes| {
        let mut rest = nodes.get(1..).unwrap_or_default();
        let mut index = 0;
        while let Some((element, tail)) = split_value(rest) {
            let bytes = || originals.find(|(at, _)| *at == index).map(|(_, bytes)| bytes).unwrap_or_default();
            sorter.sort(reader.read(element, times), index, bytes);
            rest = tail;
            index += 1;
        }
    });
    match visited {
        Ok(()) => {}
        // One damaged element (a bare NaN, say) spoils the array as a document, and not the ticks beside it. Where even the
        // brackets and quotes do not match, nothing says where a tick begins.
        Err(_) if is_array_of_parts(text) => decode_parts(elements(text), documents, reader, sorter),
        Err(error) => sorter.refuse_body(not_json(&error)),
    }
}

fn not_json(error: &simd_json::Error) -> Refusal {
    Refusal::new(Reason::NotJson, error.to_string())
}

/// Sends what a message holds to the ticks or to the rejects.
struct Sorter<'a> {
    message: &'a Message<'a>,
    ticks: &'a mut TickBatch,
    rejects: &'a mut Vec<Reject>,
    /// Ticks of this message refused so far.
    refused: usize,
    spread: &'a mut Spread,
}

/// The partitions in which the good ticks of one message lie.
struct Spread {
    partitions: FxHashSet<Partition>,
    last: Option<Partition>,
    max: usize,
}

impl Spread {
    fn clear(&mut self) {
        self.partitions.clear();
        self.last = None;
    }

    fn admit(&mut self, tick: &Tick) -> Result<(), Refusal> {
        let partition = Partition::of(Table::Ticks, tick.ts_us);
        // Neighbouring ticks nearly always share their hour: one comparison saves the hash.
        if self.last != Some(partition) {
            if self.partitions.len() >= self.max && !self.partitions.contains(&partition) {
                let detail = format!("the ticks of the message lie in more than {} different hours", self.max);
                return Err(Refusal::new(Reason::TooManyPartitions, detail));
            }
            self.partitions.insert(partition);
            self.last = Some(partition);
        }
        Ok(())
    }
}

impl Sorter<'_> {
    fn times(&self) -> MessageTimes {
        MessageTimes { sent_at_us: self.message.sent_at_us, received_at_us: self.message.received_at_us }
    }

    fn sort<'t>(&mut self, read: Result<Tick, Refusal>, index: usize, bytes: impl FnOnce() -> &'t [u8]) {
        let admitted = read.and_then(|tick| self.spread.admit(&tick).map(|()| tick));
        let refusal = match admitted {
            Ok(tick) => return self.ticks.push(tick),
            Err(refusal) => refusal,
        };
        if self.refused < REJECTS_PER_MESSAGE_MAX {
            self.reject(Some(index as u32), refusal, bytes());
        } else if self.refused == REJECTS_PER_MESSAGE_MAX {
            let detail = format!("body holds more than {REJECTS_PER_MESSAGE_MAX} bad ticks");
            self.refuse_body(Refusal::new(Reason::TooManyRejects, detail));
        }
        self.refused += 1;
    }

    fn refuse_body(&mut self, refusal: Refusal) {
        self.reject(None, refusal, self.message.body);
    }

    fn reject(&mut self, index: Option<u32>, refusal: Refusal, body: &[u8]) {
        self.rejects.push(Reject {
            message_id: self.message.id.to_owned(),
            index,
            reason: refusal.reason,
            detail: refusal.detail,
            body: body.to_vec(),
            received_at_us: self.message.received_at_us,
        });
    }
}
