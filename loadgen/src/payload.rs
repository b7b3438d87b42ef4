//! From ticks to message bodies.
//!
//! A [`MessageWriter`] takes ticks one by one and gives back a [`Message`] whenever one is full: by number of ticks, or
//! because the next tick would not fit into what SQS takes. This file owns packing and compression; it does *not* own the
//! JSON of a tick (`json`) or how messages are grouped for sending ([`crate::batch`]).

mod json;

use std::io;

use base64::{Engine, prelude::BASE64_STANDARD};
use zstd::bulk::Compressor;

use crate::tick::Tick;

/// The most bytes that SQS takes in one message, attributes included, and in all messages of a batch.
pub const MESSAGE_BYTES_MAX: usize = 1_048_576;

/// The message attribute that marks a compressed body: its name, type and value all count as bytes of the message.
pub const ENCODING_ATTRIBUTE: [&str; 3] = ["content-encoding", "String", "zstd"];

/// What [`ENCODING_ATTRIBUTE`] adds to a message.
const ATTRIBUTE_BYTES: usize = ENCODING_ATTRIBUTE[0].len() + ENCODING_ATTRIBUTE[1].len() + ENCODING_ATTRIBUTE[2].len();

/// The most JSON that is put into one compressed message: base64 takes 4 bytes for 3, and even what does not compress
/// grows by less than 1 part in 256 and 64 bytes (`ZSTD_compressBound`).
const COMPRESSED_TEXT_MAX: usize = (MESSAGE_BYTES_MAX - ATTRIBUTE_BYTES) / 4 * 3 / 257 * 256 - 128;

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
    /// `{"e":"trade","s":"AAPL","p":"189.37","q":"200","T":1795442400000,"t":7}`: like the trades of Binance, numbers as
    /// strings, `T` in milliseconds, without venue.
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
}

impl Packing {
    /// One canonical object per message, as plain producers send it.
    pub const SINGLE: Self =
        Self { ticks_per_message: 1, layout: Layout::Object, dialect: Dialect::Canonical, zstd_level: None };

    /// At most `ticks_per_message` ticks in each message; fewer where they would exceed [`MESSAGE_BYTES_MAX`].
    pub fn new(ticks_per_message: usize, layout: Layout, dialect: Dialect) -> Result<Self, PackingError> {
        match (ticks_per_message, layout) {
            (0, _) => Err(PackingError::NoTicks),
            (2.., Layout::Object) => Err(PackingError::ObjectOfMany(ticks_per_message)),
            _ => Ok(Self { ticks_per_message, layout, dialect, zstd_level: None }),
        }
    }

    /// The same packing, with bodies as base64 of a zstd frame of that level.
    #[must_use]
    pub fn compressed(self, zstd_level: i32) -> Self {
        Self { zstd_level: Some(zstd_level), ..self }
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
    /// How many ticks it holds.
    pub ticks: u64,
    /// Whether the body is compressed and the message needs [`ENCODING_ATTRIBUTE`].
    pub is_compressed: bool,
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

/// Packs ticks into messages.
pub struct MessageWriter {
    packing: Packing,
    compressor: Option<Compressor<'static>>,
    text_max: usize,
    /// The body so far, without its closing bracket.
    text: Vec<u8>,
    /// The newest tick, until it is known whether it still fits.
    tick: Vec<u8>,
    ticks: usize,
}

impl MessageWriter {
    /// A writer with nothing in it.
    pub fn new(packing: Packing) -> Result<Self, PayloadError> {
        let compressor = packing.zstd_level.map(Compressor::new).transpose()?;
        let text_max = if compressor.is_some() { COMPRESSED_TEXT_MAX } else { MESSAGE_BYTES_MAX };
        Ok(Self { packing, compressor, text_max, text: Vec::new(), tick: Vec::new(), ticks: 0 })
    }

    /// Adds a tick. A message comes back when it is full with this tick, or was full without it.
    pub fn push(&mut self, tick: &Tick<'_>) -> Result<Option<Message>, PayloadError> {
        self.tick.clear();
        json::write_tick(&mut self.tick, tick, self.packing.dialect);
        // Two brackets, or a separator and a bracket.
        if self.tick.len() + 2 > self.text_max {
            let (seq, symbol_bytes) = (tick.seq, tick.symbol.len());
            return Err(PayloadError::TickTooLarge { seq, symbol_bytes, bytes: self.tick.len() });
        }
        let full = if self.text.len() + self.tick.len() + 2 > self.text_max { self.finish()? } else { None };
        match (self.packing.layout, self.ticks) {
            (Layout::Array, 0) => self.text.push(b'['),
            (Layout::Array, _) => self.text.push(b','),
            (Layout::Object | Layout::Lines, 0) => {}
            (Layout::Object | Layout::Lines, _) => self.text.push(b'\n'),
        }
        self.text.extend_from_slice(&self.tick);
        self.ticks += 1;
        // A message that was cut off by its size leaves one tick here, and it was to have more than one.
        if full.is_none() && self.ticks == self.packing.ticks_per_message { self.finish() } else { Ok(full) }
    }

    /// The message begun so far, if any.
    pub fn finish(&mut self) -> Result<Option<Message>, PayloadError> {
        if self.ticks == 0 {
            return Ok(None);
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
            let text = std::mem::replace(&mut self.text, next);
            String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        };
        let ticks = std::mem::take(&mut self.ticks) as u64;
        Ok(Some(Message { body, ticks, is_compressed: self.compressor.is_some() }))
    }
}

#[cfg(test)]
mod tests;
