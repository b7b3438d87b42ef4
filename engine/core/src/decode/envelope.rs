//! Undoes the content encoding of a body, within a bound.
//!
//! This file owns base64, gzip and zstd. It does *not* know what the text means.

use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{DCtx, DParameter};

use super::reject::{Reason, Refusal};

/// The first step of the output's growth.
const GROWTH_MIN_BYTES: usize = 64 << 10;

/// A larger buffer is freed after use.
const RETAINED_MAX_BYTES: usize = 4 << 20;

/// RFC 8878 asks every decoder for windows of 8 MiB, so that a compressor does not have to know its decoder.
const WINDOW_LOG_MIN: u32 = 23;

/// The largest window that zstd knows.
const WINDOW_LOG_MAX: u32 = 31;

/// Undoes content encodings. It uses its buffers again for the next body.
pub(super) struct Envelope {
    decompressed_max_bytes: usize,
    context: DCtx<'static>,
    compressed: Vec<u8>,
    text: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(decompressed_max_bytes: usize) -> Self {
        let mut context = DCtx::create();
        // A larger window has no use within the bound, and zstd would allocate it on request.
        let window_log = decompressed_max_bytes.checked_next_power_of_two().map_or(WINDOW_LOG_MAX, usize::ilog2);
        // It fails only for values outside of zstd's range, and the clamp excludes these.
        let _ = context.set_parameter(DParameter::WindowLogMax(window_log.clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX)));
        Self { decompressed_max_bytes, context, compressed: Vec::new(), text: Vec::new() }
    }

    /// The text inside `body`: the body itself, or its decoded content. Without an encoding, the first bytes decide.
    pub(super) fn open<'a>(&'a mut self, body: &'a [u8], encoding: Option<&str>) -> Result<&'a [u8], Refusal> {
        let encoding = match encoding.unwrap_or_default() {
            "" => Encoding::by_magic(body),
            name => Encoding::named(name).ok_or_else(|| {
                let name: String = name.chars().take(64).collect();
                let detail = format!("unknown content encoding `{name}`: use identity, base64, gzip or zstd");
                Refusal::new(Reason::UnknownEncoding, detail)
            })?,
        };
        match encoding {
            Encoding::Identity => Ok(body),
            Encoding::Base64 => {
                self.decode_base64(body, "text")?;
                Ok(&self.compressed)
            }
            Encoding::Gzip => {
                self.decode_base64(body, "gzip stream")?;
                // A gzip file may have several members (RFC 1952, section 2.2).
                let members = flate2::read::MultiGzDecoder::new(self.compressed.as_slice());
                let read = read_at_most(self.decompressed_max_bytes, members, &mut self.text);
                self.within_bound(read, "gzip")?;
                Ok(&self.text)
            }
            Encoding::Zstd => {
                self.decode_base64(body, "zstd frame")?;
                let frames = zstd::stream::read::Decoder::with_context(self.compressed.as_slice(), &mut self.context);
                let read = read_at_most(self.decompressed_max_bytes, frames, &mut self.text);
                self.within_bound(read, "zstd")?;
                Ok(&self.text)
            }
        }
    }

    /// Frees the memory that an unusually large body needed.
    pub(super) fn shrink(&mut self) {
        for buffer in [&mut self.compressed, &mut self.text] {
            if buffer.capacity() > RETAINED_MAX_BYTES {
                *buffer = Vec::new();
            }
        }
    }

    /// Undoes the base64 of `body`. `what` names its expected contents.
    fn decode_base64(&mut self, body: &[u8], what: &str) -> Result<(), Refusal> {
        self.compressed.clear();
        // Command-line encoders end their output with a line feed.
        if let Err(error) = STANDARD_PAD_INDIFFERENT.decode_vec(body.trim_ascii(), &mut self.compressed) {
            return Err(Refusal::new(Reason::BadEncoding, format!("body is not base64: {error}")));
        }
        if self.compressed.is_empty() {
            return Err(Refusal::new(Reason::EmptyBody, format!("body holds no {what}")));
        }
        Ok(())
    }

    /// Checks that the whole body was `read` within the bound.
    fn within_bound(&self, read: io::Result<bool>, name: &str) -> Result<(), Refusal> {
        match read {
            Ok(true) => Ok(()),
            Ok(false) => {
                let detail = format!("body decompresses to more than {} bytes", self.decompressed_max_bytes);
                Err(Refusal::new(Reason::TooLarge, detail))
            }
            Err(error) if asks_for_too_large_a_window(&error) => {
                Err(Refusal::new(Reason::TooLarge, "body needs a larger zstd window than the bound allows"))
            }
            Err(error) => Err(Refusal::new(Reason::BadEncoding, format!("body is not {name}: {error}"))),
        }
    }
}

/// How the text of a body is encoded. SQS takes only text, so compressed bytes come as base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Base64,
    Gzip,
    Zstd,
}

impl Encoding {
    fn named(name: &str) -> Option<Self> {
        let names = [
            ("identity", Self::Identity),
            ("base64", Self::Base64),
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("zstd", Self::Zstd),
        ];
        names.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, encoding)| encoding)
    }

    /// The encoding of a body that names none. A gzip stream (RFC 1952) and a zstd frame (RFC 8878) begin with fixed
    /// bytes. No JSON begins with the base64 of these bytes.
    fn by_magic(body: &[u8]) -> Self {
        match body {
            [b'H', b'4', b's', b'I', ..] => Self::Gzip,
            [b'K', b'L', b'U', b'v', b'/', ..] => Self::Zstd,
            _ => Self::Identity,
        }
    }
}

fn asks_for_too_large_a_window(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<zstd::Error>());
    error.is_some_and(|error| error.is(ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge))
}

/// Replaces `text` with all bytes of `source`. Returns `false` if there are more than `max` bytes.
///
/// `read_to_end` would grow the buffer to twice the bound.
fn read_at_most(max: usize, mut source: impl Read, text: &mut Vec<u8>) -> io::Result<bool> {
    text.clear();
    let mut filled = 0;
    loop {
        if filled == max {
            return Ok(source.read(&mut [0])? == 0);
        }
        if filled == text.len() {
            let len = (filled * 2).max(text.capacity()).max(GROWTH_MIN_BYTES).min(max);
            text.reserve_exact(len - filled);
            text.resize(len, 0);
        }
        match source.read(&mut text[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    text.truncate(filled);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    const MAX: usize = 1 << 20;

    fn open(body: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut envelope = Envelope::new(MAX);
        let opened = envelope.open(body, Some("zstd")).map(<[u8]>::to_vec).map_err(|refusal| refusal.reason);
        assert!(envelope.text.capacity() <= MAX, "{}", envelope.text.capacity());
        opened
    }

    fn packed(text: &[u8]) -> String {
        STANDARD.encode(zstd::bulk::compress(text, 3).unwrap())
    }

    #[test]
    fn body_of_exactly_the_bound_passes_and_one_byte_more_does_not() {
        let text = vec![b'x'; MAX + 1];
        assert_eq!(open(packed(&text[..MAX]).as_bytes()).unwrap().len(), MAX);
        assert_eq!(open(packed(&text).as_bytes()), Err(Reason::TooLarge));
    }

    #[test]
    fn bomb_is_too_large_and_the_bound_is_not_exceeded() {
        let bomb = packed(&vec![0; 32 << 20]);
        assert!(bomb.len() < 64 << 10, "{}", bomb.len());
        assert_eq!(open(bomb.as_bytes()), Err(Reason::TooLarge));
    }

    #[test]
    fn frame_with_a_huge_window_is_too_large() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, b"[]").unwrap();
        assert_eq!(open(STANDARD.encode(encoder.finish().unwrap()).as_bytes()), Err(Reason::TooLarge));
    }

    #[test]
    fn concatenated_frames_are_one_text() {
        let frames = [zstd::bulk::compress(b"one ", 3).unwrap(), zstd::bulk::compress(b"two", 3).unwrap()].concat();
        assert_eq!(open(STANDARD.encode(&frames).as_bytes()).unwrap(), b"one two");
    }

    #[test]
    fn padding_and_trailing_line_feed_do_not_matter() {
        for text in ["a", "ab", "abc"] {
            let body = packed(text.as_bytes());
            assert_eq!(open(body.trim_end_matches('=').as_bytes()).unwrap(), text.as_bytes());
            assert_eq!(open(format!("{body}\n").as_bytes()).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn cut_or_foreign_bytes_are_a_bad_encoding() {
        let frame = zstd::bulk::compress(&[7; 1000], 3).unwrap();
        for len in 1..frame.len() {
            assert_eq!(open(STANDARD.encode(&frame[..len]).as_bytes()), Err(Reason::BadEncoding), "{len}");
        }
        assert_eq!(open(b"{\"symbol\":1}"), Err(Reason::BadEncoding));
        assert_eq!(open(STANDARD.encode("no frame").as_bytes()), Err(Reason::BadEncoding));
        assert_eq!(open(b" \n"), Err(Reason::EmptyBody));
    }

    #[test]
    fn bad_body_leaves_no_trace_in_the_next() {
        let mut envelope = Envelope::new(MAX);
        let good = packed(b"good");
        assert!(envelope.open(&good.as_bytes()[..8], Some("zstd")).is_err());
        assert_eq!(envelope.open(good.as_bytes(), Some("ZSTD")), Ok(b"good".as_slice()));
        assert_eq!(envelope.open(b"plain", Some("identity")), Ok(b"plain".as_slice()));
        assert_eq!(envelope.open(b"plain", Some("br")).unwrap_err().reason, Reason::UnknownEncoding);
    }
}
