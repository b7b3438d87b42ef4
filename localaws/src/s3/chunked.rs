//! The `aws-chunked` encoding: chunks with their sizes (and signatures, which are skipped), then trailers.
//!
//! The S3 API reference describes it under "Signature calculations for the Authorization header: transferring payload
//! in multiple chunks". The decoder gets bytes as they arrive, in any pieces. This file does *not* own what the
//! trailers mean.

use super::error::S3Error;

/// The longest line. A chunk header is a hex size and a signature; a trailer line is a name and a checksum or
/// signature.
const LINE_BYTES_MAX: usize = 1024;

/// The most trailer lines that are kept.
const TRAILERS_MAX: usize = 16;

/// The decoder of one body.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    line: Vec<u8>,
    trailers: Vec<(String, String)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Data {
        remaining: u64,
    },
    /// The line end after a chunk's data.
    DataEnd,
    Trailer,
    Done,
}

impl Decoder {
    /// Takes encoded bytes, and passes the decoded data on to `sink`.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), S3Error>,
    ) -> Result<(), S3Error> {
        while !bytes.is_empty() {
            if let State::Data { remaining } = &mut self.state {
                let (data, rest) = bytes.split_at(bytes.len().min((*remaining).min(usize::MAX as u64) as usize));
                *remaining -= data.len() as u64;
                if *remaining == 0 {
                    self.state = State::DataEnd;
                }
                sink(data)?;
                bytes = rest;
                continue;
            }
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let (piece, rest) = bytes.split_at(newline.map_or(bytes.len(), |at| at + 1));
            self.line.extend_from_slice(piece);
            bytes = rest;
            if self.line.len() > LINE_BYTES_MAX {
                return Err(malformed());
            }
            if newline.is_some() {
                self.end_line()?;
            }
        }
        Ok(())
    }

    /// The trailers, after the whole body was fed.
    pub(crate) fn finish(mut self) -> Result<Vec<(String, String)>, S3Error> {
        // Some clients omit the empty line that ends the trailers.
        if self.state == State::Trailer && !self.line.is_empty() {
            self.end_line()?;
        }
        match self.state {
            State::Trailer | State::Done => Ok(self.trailers),
            _ => Err(S3Error::incomplete_body()),
        }
    }

    fn end_line(&mut self) -> Result<(), S3Error> {
        let line = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&line).map_err(|_| malformed())?.trim_end();
        self.state = match self.state {
            State::Header => {
                let digits = line.split(';').next().unwrap_or_default();
                match u64::from_str_radix(digits, 16).map_err(|_| malformed())? {
                    0 => State::Trailer,
                    remaining => State::Data { remaining },
                }
            }
            State::DataEnd if line.is_empty() => State::Header,
            State::Trailer if line.is_empty() => State::Done,
            State::Trailer if self.trailers.len() < TRAILERS_MAX => {
                let (name, value) = line.split_once(':').ok_or_else(malformed)?;
                self.trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                State::Trailer
            }
            _ => return Err(malformed()),
        };
        Ok(())
    }
}

fn malformed() -> S3Error {
    S3Error::invalid_request("The aws-chunked body is malformed.")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Decoded = (Vec<u8>, Vec<(String, String)>);

    fn decode(encoded: &[u8], piece: usize) -> Result<Decoded, S3Error> {
        let (mut decoder, mut data) = (Decoder::default(), Vec::new());
        for bytes in encoded.chunks(piece) {
            decoder.feed(bytes, |bytes| {
                data.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        Ok((data, decoder.finish()?))
    }

    #[test]
    fn any_split_of_the_bytes_decodes_to_the_same() {
        let encoded = b"5;chunk-signature=ab\r\nhe\r\no\r\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAA==\r\n\r\n";
        for piece in 1..=encoded.len() {
            let (data, trailers) = decode(encoded, piece).unwrap();
            assert_eq!(data, b"he\r\noabc");
            assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "AAAA==".to_owned())]);
        }
    }

    #[test]
    fn truncated_bodies_are_incomplete() {
        let encoded = b"5\r\nhello\r\n0\r\n\r\n";
        for length in 0..encoded.len() - 4 {
            assert!(decode(&encoded[..length], 64).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn malformed_bodies_are_rejected() {
        let long = [b'a'; 2000];
        for encoded in [&b"zz\r\n"[..], b"2\r\nabc\r\n0\r\n\r\n", b"0\r\nno colon\r\n\r\n", &long] {
            assert!(decode(encoded, 64).is_err());
        }
    }
}
