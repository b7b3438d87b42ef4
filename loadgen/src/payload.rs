//! From ticks to message bodies.
//!
//! A [`MessageWriter`] takes ticks one by one and puts out a [`Message`] whenever one is full: by number of ticks, or
//! because the next tick would not fit into what SQS takes. This file owns packing and compression; it does *not* own
//! the JSON of a tick (`json`) or how messages are grouped for sending ([`crate::batch`]).

mod json;
mod malformed;

use std::{collections::VecDeque, io, mem, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use zstd::bulk::Compressor;

pub use malformed::Malformed;

use crate::tick::{SymbolHash, Tick};

/// The most bytes that SQS takes in one message, attributes included, and in all messages of a batch.
pub const MESSAGE_BYTES_MAX: usize = 1_048_576;

/// The message attribute that marks a compressed body: its name, type and value all count as bytes of the message.
pub const ENCODING_ATTRIBUTE: [&str; 3] = ["content-encoding", "String", "zstd"];

/// What [`ENCODING_ATTRIBUTE`] adds to a message.
const ATTRIBUTE_BYTES: usize = ENCODING_ATTRIBUTE[0].len() + ENCODING_ATTRIBUTE[1].len() + ENCODING_ATTRIBUTE[2].len();

/// The least that a message can be filled up to: a tick or two.
pub const FILL_BYTES_MIN: usize = 1_024;

/// The most JSON that is put into one compressed message: base64 takes 4 bytes for 3, and even what does not compress
/// grows by less than 1 part in 256 and 64 bytes (`ZSTD_compressBound`).
const fn compressed_text_max(bytes_max: usize) -> usize {
    (bytes_max - ATTRIBUTE_BYTES) / 4 * 3 / 257 * 256 - 128
}

/// How the ticks of a message are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One tick, as a JSON object.
    Object,
    /// A JSON array of ticks.
    Array,
    /// One JSON object per line.
    Lines,
}

/// The field names and types of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"symbol":"AAPL","price":189.37,"volume":200,"ts":1795442400000001,"seq":7,"venue":"XNAS"}`, `ts` in
    /// microseconds.
    Canonical,
    /// `{"e":"trade","s":"AAPL","p":"189.37","q":"200","T":1795442400000,"t":7}`: like the trades of Binance, numbers
    /// as strings, `T` in milliseconds, without venue.
    Binance,
}

impl Dialect {
    /// The event time that the dialect can carry, of a tick at `ts_us`: it has no finer units.
    #[must_use]
    pub fn carried_ts_us(self, ts_us: i64) -> i64 {
        match self {
            Self::Canonical => ts_us,
            Self::Binance => ts_us.div_euclid(1_000) * 1_000,
        }
    }
}

/// How ticks are packed into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    ticks_per_message: usize,
    bytes_max: usize,
    layout: Layout,
    dialect: Dialect,
    zstd_level: Option<i32>,
}

/// Why a [`Packing`] cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackingError {
    /// A message of no ticks.
    #[error("failed to pack 0 ticks into a message: at least 1 is needed")]
    NoTicks,
    /// An object is one tick.
    #[error("failed to pack {0} ticks into a single object: use an array or lines")]
    ObjectOfMany(usize),
    /// An object is one tick, of whatever size.
    #[error("failed to fill messages with single objects: use an array or lines")]
    FillObject,
    /// A size that no message can have.
    #[error("failed to fill messages up to {0} bytes: it can be {FILL_BYTES_MIN} to {MESSAGE_BYTES_MAX}")]
    Fill(usize),
}

impl Packing {
    /// One canonical object per message, as plain producers send it.
    pub const SINGLE: Self = Self {
        ticks_per_message: 1,
        bytes_max: MESSAGE_BYTES_MAX,
        layout: Layout::Object,
        dialect: Dialect::Canonical,
        zstd_level: None,
    };

    /// At most `ticks_per_message` ticks in each message; fewer where they would exceed [`MESSAGE_BYTES_MAX`].
    pub fn new(ticks_per_message: usize, layout: Layout, dialect: Dialect) -> Result<Self, PackingError> {
        match (ticks_per_message, layout) {
            (0, _) => Err(PackingError::NoTicks),
            (2.., Layout::Object) => Err(PackingError::ObjectOfMany(ticks_per_message)),
            _ => Ok(Self { ticks_per_message, layout, dialect, ..Self::SINGLE }),
        }
    }

    /// As many ticks in each message as fit into `bytes_max`, attributes included. Where bodies are compressed, as many
    /// as would fit even if they did not get smaller.
    pub fn filling(bytes_max: usize, layout: Layout, dialect: Dialect) -> Result<Self, PackingError> {
        if !(FILL_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&bytes_max) {
            return Err(PackingError::Fill(bytes_max));
        }
        if layout == Layout::Object {
            return Err(PackingError::FillObject);
        }
        Ok(Self { bytes_max, ..Self::new(usize::MAX, layout, dialect)? })
    }

    /// The same packing, with bodies as base64 of a zstd frame of that level.
    #[must_use]
    pub fn compressed(self, zstd_level: i32) -> Self {
        Self { zstd_level: Some(zstd_level), ..self }
    }

    /// How the ticks of a message are arranged.
    #[must_use]
    pub fn layout(self) -> Layout {
        self.layout
    }

    /// The field names and types of its ticks.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        self.dialect
    }
}

/// A message, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The body.
    pub body: String,
    /// How many good ticks it holds.
    pub ticks: u64,
    /// Whether the body is compressed and the message needs [`ENCODING_ATTRIBUTE`].
    pub is_compressed: bool,
    /// By what its ticks are known again, for a writer that marks them.
    pub marks: Vec<Mark>,
    /// When it is due after the beginning, where the source says so.
    pub due: Option<Duration>,
    /// The number of its queue.
    pub queue: usize,
}

/// The ticks of one symbol in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The symbol.
    pub symbol: SymbolHash,
    /// The sequence number of the first.
    pub seq: i64,
    /// The least and the greatest of their event times.
    pub ts_us: (i64, i64),
}

impl Mark {
    fn of(tick: &Tick<'_>) -> Self {
        Self { symbol: SymbolHash::of(tick.symbol), seq: tick.seq, ts_us: (tick.ts_us, tick.ts_us) }
    }
}

impl Message {
    /// What the message counts against the limits of SQS.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len() + if self.is_compressed { ATTRIBUTE_BYTES } else { 0 }
    }
}

/// Why a tick cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// A tick that no message can hold.
    #[error("failed to write tick {seq} of a symbol of {symbol_bytes} bytes: {bytes} bytes exceed a message")]
    TickTooLarge {
        /// Its sequence number.
        seq: i64,
        /// The size of its symbol; the name itself may be what is too large.
        symbol_bytes: usize,
        /// Its size as JSON.
        bytes: usize,
    },
    /// The compressor gave up.
    #[error("failed to compress a message body")]
    Compress(#[from] io::Error),
}

/// Packs ticks into messages of one queue. What is full goes to the end of a list that the caller owns: handing it back
/// would move a message for every tick.
pub struct MessageWriter {
    packing: Packing,
    queue: usize,
    compressor: Option<Compressor<'static>>,
    text_max: usize,
    /// The body so far, without its closing bracket.
    text: Vec<u8>,
    /// The newest tick, until it is known whether it still fits.
    tick: Vec<u8>,
    /// Of these `ticks` are good.
    items: usize,
    ticks: u64,
    /// `None` where nobody asks for them.
    marks: Option<Vec<Mark>>,
}

impl MessageWriter {
    /// A writer for queue 0 with nothing in it, whose messages have no marks.
    pub fn new(packing: Packing) -> Result<Self, PayloadError> {
        let compressor = packing.zstd_level.map(Compressor::new).transpose()?;
        let text_max = if compressor.is_some() { compressed_text_max(packing.bytes_max) } else { packing.bytes_max };
        let (text, tick) = (Vec::new(), Vec::new());
        Ok(Self { packing, queue: 0, compressor, text_max, text, tick, items: 0, ticks: 0, marks: None })
    }

    /// The same writer, for that queue.
    #[must_use]
    pub fn for_queue(self, queue: usize) -> Self {
        Self { queue, ..self }
    }

    /// The same writer; its messages have marks.
    #[must_use]
    pub fn marking(self) -> Self {
        Self { marks: Some(Vec::new()), ..self }
    }

    /// Adds a tick. A message goes to `full` when it is with this tick, or was without it.
    pub fn push(&mut self, tick: &Tick<'_>, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        self.write(tick, full)?;
        if let Some(marks) = &mut self.marks {
            add_mark(marks, Mark::of(tick));
        }
        self.finish_if_full(full)
    }

    /// Adds a tick that was sent before: its message is known again by others, for this one could be taken for the
    /// first.
    pub fn push_again(&mut self, tick: &Tick<'_>, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        self.write(tick, full)?;
        self.finish_if_full(full)
    }

    /// Adds something that is no tick, made from one.
    pub fn push_malformed(
        &mut self,
        how: Malformed,
        tick: &Tick<'_>,
        full: &mut VecDeque<Message>,
    ) -> Result<(), PayloadError> {
        self.tick.clear();
        malformed::write(&mut self.tick, how, tick, self.packing.dialect);
        self.append(tick, full)?;
        self.finish_if_full(full)
    }

    fn write(&mut self, tick: &Tick<'_>, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        self.tick.clear();
        json::write_tick(&mut self.tick, tick, self.packing.dialect);
        self.append(tick, full)?;
        self.ticks += 1;
        Ok(())
    }

    /// Appends what is in `self.tick` to the text, after what it does not fit beside.
    fn append(&mut self, tick: &Tick<'_>, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        // Two brackets, or a separator and a bracket.
        if self.tick.len() + 2 > self.text_max {
            let (seq, symbol_bytes) = (tick.seq, tick.symbol.len());
            return Err(PayloadError::TickTooLarge { seq, symbol_bytes, bytes: self.tick.len() });
        }
        if self.text.len() + self.tick.len() + 2 > self.text_max {
            self.finish(full)?;
        }
        match (self.packing.layout, self.items) {
            (Layout::Array, 0) => self.text.push(b'['),
            (Layout::Array, _) => self.text.push(b','),
            (Layout::Object | Layout::Lines, 0) => {}
            (Layout::Object | Layout::Lines, _) => self.text.push(b'\n'),
        }
        self.text.extend_from_slice(&self.tick);
        self.items += 1;
        Ok(())
    }

    fn finish_if_full(&mut self, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        if self.items == self.packing.ticks_per_message { self.finish(full) } else { Ok(()) }
    }

    /// Ends the message begun so far, if any.
    pub fn finish(&mut self, full: &mut VecDeque<Message>) -> Result<(), PayloadError> {
        if self.items == 0 {
            return Ok(());
        }
        if self.packing.layout == Layout::Array {
            self.text.push(b']');
        }
        let body = if let Some(compressor) = &mut self.compressor {
            let body = BASE64_STANDARD.encode(compressor.compress(&self.text)?);
            self.text.clear();
            body
        } else {
            // The next body is about as long as this one.
            let next = Vec::with_capacity(self.text.len() + self.text.len() / 16);
            let text = mem::replace(&mut self.text, next);
            String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        };
        self.items = 0;
        full.push_back(Message {
            body,
            ticks: mem::take(&mut self.ticks),
            is_compressed: self.compressor.is_some(),
            marks: self.marks.as_mut().map(mem::take).unwrap_or_default(),
            due: None,
            queue: self.queue,
        });
        Ok(())
    }
}

/// Widens the mark of the same symbol, or adds one. A message holds few symbols.
fn add_mark(marks: &mut Vec<Mark>, new: Mark) {
    match marks.iter_mut().find(|mark| mark.symbol == new.symbol) {
        Some(mark) => mark.ts_us = (mark.ts_us.0.min(new.ts_us.0), mark.ts_us.1.max(new.ts_us.1)),
        None => marks.push(new),
    }
}

#[cfg(test)]
pub(crate) mod tests;
