//! Incoming bytes: decoded, digested, checked against what the client promised, and written to a scratch file.
//!
//! The async side reads the socket. Everything else happens on blocking threads, a megabyte at a time. This file does
//! *not* own what happens to the file.

use std::{
    fs::File,
    io::{Read, Write},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use fast_md5::Md5;
use http_body_util::BodyExt;
use hyper::{HeaderMap, body::Incoming};
use sha2::{Digest, Sha256};

use super::{
    checksum::{Algorithm, Checksum, Hasher},
    chunked::Decoder,
    error::S3Error,
    scratch::Scratch,
};
use crate::hex::hex;

/// How many bytes are gathered before a blocking thread gets them.
const STEP_BYTES: usize = 1024 * 1024;

/// The block size of MD5 and of SHA-256.
const BLOCK_BYTES: usize = 64;

/// The largest object or part that one request may carry: 5 GiB.
const UPLOAD_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// What the headers promise about a body.
#[derive(Debug)]
pub(crate) struct Promise {
    chunked: bool,
    length: Option<u64>,
    md5: Option<Vec<u8>>,
    /// The signed SHA-256 of the body, in hexadecimal.
    signed_sha256: Option<String>,
    /// A checksum in a header.
    checksum: Option<Checksum>,
    /// The algorithm of a checksum that comes as a trailer.
    trailer: Option<Algorithm>,
    /// The checksum that is computed if the client promises none.
    default: Algorithm,
}

/// A body that has arrived whole and as promised.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) bytes: Scratch,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksum: Checksum,
}

struct Ingest {
    scratch: Scratch,
    decoder: Option<Decoder>,
    digest: Digests,
    promise: Promise,
}

struct Digests {
    size: u64,
    md5: Md5,
    /// Present only if the request has a signed digest and signatures are verified.
    sha256: Option<Sha256>,
    checksum: Hasher,
}

impl Promise {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let signed = text("x-amz-content-sha256");
        let streaming = signed.is_some_and(|value| value.starts_with("STREAMING-"));
        let is_digest = |value: &&str| value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        let signed_sha256 = signed.filter(is_digest).map(str::to_ascii_lowercase);
        let chunked = streaming || text("content-encoding").is_some_and(|value| value.contains("aws-chunked"));
        let length = text(if chunked { "x-amz-decoded-content-length" } else { "content-length" });
        let md5 = text("content-md5").map(|value| BASE64.decode(value).map_err(|_| S3Error::invalid_digest()));
        let trailer = text("x-amz-trailer").and_then(Algorithm::from_header);
        let mut checksums = Algorithm::ALL.iter().filter_map(|algorithm| {
            Some(Checksum { algorithm: *algorithm, value: text(algorithm.header())?.to_owned() })
        });
        let checksum = checksums.next();
        if checksums.next().is_some() {
            return Err(S3Error::invalid_request("Expecting a single x-amz-checksum- header."));
        }
        let length = length.and_then(|text| text.parse().ok());
        if length.is_some_and(|length| length > UPLOAD_BYTES_MAX) {
            return Err(S3Error::too_large());
        }
        let md5 = md5.transpose()?;
        if md5.as_ref().is_some_and(|md5| md5.len() != 16) {
            return Err(S3Error::invalid_digest());
        }
        // S3 computes this one if the client asks for no other.
        let default = Algorithm::Crc64Nvme;
        Ok(Self { chunked, length, md5, signed_sha256, checksum, trailer, default })
    }
}

impl Promise {
    /// Checks that a body in memory is the promised one.
    pub(crate) fn check_whole(self, bytes: &[u8]) -> Result<(), S3Error> {
        if self.md5.is_some_and(|promised| promised[..] != fast_md5::digest(bytes)) {
            return Err(S3Error::bad_digest());
        }
        if self.signed_sha256.is_some_and(|promised| promised != hex(&Sha256::digest(bytes))) {
            return Err(S3Error::content_mismatch());
        }
        let Some(promised) = self.checksum else { return Ok(()) };
        let mut hasher = Hasher::new(promised.algorithm);
        hasher.update(bytes);
        if hasher.finish() == promised { Ok(()) } else { Err(S3Error::bad_digest()) }
    }

    /// The same promise without the signed digest.
    pub(crate) fn unsigned(self) -> Self {
        Self { signed_sha256: None, ..self }
    }

    /// The same promise, with this algorithm if the client promises none.
    pub(crate) fn by_default(self, default: Algorithm) -> Self {
        Self { default, ..self }
    }
}

/// Reads a body into `scratch`, and hands it to `then` on a blocking thread.
pub(crate) async fn ingest<T: Send + 'static>(
    body: &mut Incoming,
    scratch: Scratch,
    promise: Promise,
    then: impl FnOnce(Ingested) -> Result<T, S3Error> + Send + 'static,
) -> Result<T, S3Error> {
    let mut ingest = Ingest::new(scratch, promise);
    let (mut gathered, mut gathered_bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        // If the client has disconnected, the bytes received so far are dropped.
        let frame = frame.map_err(|_| S3Error::incomplete_body())?;
        let Ok(data) = frame.into_data() else { continue };
        gathered_bytes += data.len();
        gathered.push(data);
        if gathered_bytes >= STEP_BYTES {
            let step = std::mem::take(&mut gathered);
            gathered_bytes = 0;
            ingest = super::blocking(move || {
                ingest.feed(&step)?;
                Ok(ingest)
            })
            .await?;
        }
    }
    super::blocking(move || {
        ingest.feed(&gathered)?;
        then(ingest.finish()?)
    })
    .await
}

/// Copies a file into `scratch`, with the digests that an upload of it would get.
pub(crate) fn ingest_file(mut file: File, scratch: Scratch) -> Result<Ingested, S3Error> {
    let promise = Promise::from_headers(&HeaderMap::new())?;
    let mut ingest = Ingest::new(scratch, promise);
    loop {
        let mut step = vec![0; STEP_BYTES];
        let read = file.read(&mut step)?;
        if read == 0 {
            return ingest.finish();
        }
        step.truncate(read);
        ingest.feed(&[step.into()])?;
    }
}

impl Ingest {
    fn new(scratch: Scratch, promise: Promise) -> Self {
        let promised = promise.checksum.as_ref().map(|checksum| checksum.algorithm).or(promise.trailer);
        let algorithm = promised.unwrap_or(promise.default);
        let digest = Digests {
            size: 0,
            md5: Md5::new(),
            sha256: promise.signed_sha256.is_some().then(Sha256::new),
            checksum: Hasher::new(algorithm),
        };
        Self { scratch, decoder: promise.chunked.then(Decoder::default), digest, promise }
    }

    fn feed(&mut self, pieces: &[Bytes]) -> Result<(), S3Error> {
        let (scratch, digest) = (&mut self.scratch, &mut self.digest);
        let mut sink = |data: &[u8]| {
            digest.update(data)?;
            scratch.file().write_all(data).map_err(S3Error::from)
        };
        for piece in pieces {
            match &mut self.decoder {
                Some(decoder) => decoder.feed(piece, &mut sink)?,
                None => sink(piece)?,
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Ingested, S3Error> {
        let trailers = self.decoder.map(Decoder::finish).transpose()?.unwrap_or_default();
        let Digests { size, md5, sha256, checksum } = self.digest;
        if self.promise.length.is_some_and(|length| length != size) {
            return Err(S3Error::incomplete_body());
        }
        let md5: [u8; 16] = md5.finalize();
        if self.promise.md5.is_some_and(|promised| promised != md5) {
            return Err(S3Error::bad_digest());
        }
        if sha256.map(|digest| hex(&digest.finalize())) != self.promise.signed_sha256 {
            return Err(S3Error::content_mismatch());
        }
        let checksum = checksum.finish();
        let trailer = trailers.iter().find(|(name, _)| Algorithm::from_header(name) == Some(checksum.algorithm));
        if trailer.is_none() && self.promise.trailer.is_some() {
            return Err(S3Error::invalid_request("The trailer that x-amz-trailer promises is missing."));
        }
        let promised =
            self.promise.checksum.map(|promised| promised.value).or_else(|| trailer.map(|(_, value)| value.clone()));
        if promised.is_some_and(|promised| promised != checksum.value) {
            return Err(S3Error::bad_digest());
        }
        Ok(Ingested { bytes: self.scratch, size, md5, checksum })
    }
}

impl Digests {
    fn update(&mut self, data: &[u8]) -> Result<(), S3Error> {
        self.size += data.len() as u64;
        if self.size > UPLOAD_BYTES_MAX {
            return Err(S3Error::too_large());
        }
        self.checksum.update(data);
        match &mut self.sha256 {
            // Each step of MD5 waits for the one before, which leaves most of a core idle. The SHA-256, block by block,
            // fills these gaps. Both together cost a fifth less than one after the other.
            Some(sha256) => data.chunks(BLOCK_BYTES).for_each(|block| {
                self.md5.update(block);
                sha256.update(block);
            }),
            None => self.md5.update(data),
        }
        Ok(())
    }
}
