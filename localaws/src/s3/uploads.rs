//! Multipart uploads: their parts until they are completed or aborted. Uploads are kept in memory; the parts' bytes are
//! scratch files.
//!
//! This file does *not* own the object that an upload becomes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use fast_md5::Md5;
use hyper::HeaderMap;

use super::{
    checksum::{Algorithm, Checksum, Hasher},
    error::S3Error,
    ingest::Ingested,
    object::{Description, Object},
    scratch::Scratch,
};
use crate::{clock::Millis, hex::hex};

/// The smallest part, unless it is the last: 5 MiB.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

/// The uploads in progress.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<BTreeMap<String, Arc<Upload>>>);

/// One upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) initiated: Millis,
    description: Description,
    pub(crate) checksum: WholeChecksum,
    parts: Mutex<BTreeMap<u32, Part>>,
}

/// The checksum that the finished object gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WholeChecksum {
    pub(crate) algorithm: Algorithm,
    /// Whether it covers the checksums of the parts, and not the bytes.
    composite: bool,
}

impl WholeChecksum {
    /// Reads the headers of the request that begins an upload. The allowed combinations are in the user guide under
    /// "Checking object integrity".
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let algorithm = match text("x-amz-checksum-algorithm") {
            Some(name) => Algorithm::from_name(name)
                .ok_or_else(|| S3Error::invalid_request("Checksum algorithm provided is unsupported."))?,
            None => Algorithm::Crc64Nvme,
        };
        let composite = match (text("x-amz-checksum-type"), algorithm) {
            (Some("COMPOSITE"), Algorithm::Crc64Nvme) | (Some("FULL_OBJECT"), Algorithm::Sha1 | Algorithm::Sha256) => {
                return Err(S3Error::invalid_request("The checksum type cannot be used with the checksum algorithm."));
            }
            (Some("FULL_OBJECT"), _) | (None, Algorithm::Crc64Nvme) => false,
            (Some("COMPOSITE") | None, _) => true,
            (Some(_), _) => return Err(S3Error::invalid_request("Value for x-amz-checksum-type header is invalid.")),
        };
        Ok(Self { algorithm, composite })
    }
}

/// One part.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) ingested: Ingested,
    pub(crate) modified: Millis,
}

/// A part as the client names it on completion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) number: u32,
    /// Without quotes.
    pub(crate) etag: String,
    /// The checksum of the part, if the client names it again.
    pub(crate) checksum: Option<Checksum>,
}

impl Uploads {
    /// Begins an upload and returns its id.
    pub(crate) fn create(
        &self,
        bucket: &str,
        key: &str,
        (description, checksum): (Description, WholeChecksum),
        now: Millis,
    ) -> String {
        let id = crate::unique::id().simple().to_string();
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let upload = Upload { bucket, key, initiated: now, description, checksum, parts: Mutex::default() };
        self.lock().insert(id.clone(), Arc::new(upload));
        id
    }

    pub(crate) fn get(&self, id: &str, bucket: &str, key: &str) -> Result<Arc<Upload>, S3Error> {
        let uploads = self.lock();
        let upload = uploads.get(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.cloned().ok_or_else(S3Error::no_such_upload)
    }

    /// Forgets an upload. Its parts are removed when the last request that uses them is done.
    pub(crate) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// The uploads of a bucket, with their ids.
    pub(crate) fn of_bucket(&self, bucket: &str) -> Vec<(String, Arc<Upload>)> {
        let uploads = self.lock();
        let own = uploads.iter().filter(|(_, upload)| upload.bucket == bucket);
        own.map(|(id, upload)| (id.clone(), upload.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Upload>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    /// Checks that a part has the kind of checksum that the upload began with.
    pub(crate) fn check(&self, ingested: &Ingested) -> Result<(), S3Error> {
        if self.checksum.composite && ingested.checksum.algorithm != self.checksum.algorithm {
            return Err(S3Error::invalid_request("Checksum Type mismatch occurred between the upload and its part."));
        }
        Ok(())
    }

    /// Adds a part. It replaces an earlier part with the same number.
    pub(crate) fn put(&self, number: u32, part: Part) {
        self.parts().insert(number, part);
    }

    /// The parts by number.
    pub(crate) fn parts(&self) -> MutexGuard<'_, BTreeMap<u32, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the named parts one after the other into `whole`. Returns the description of the object.
    pub(crate) fn assemble(&self, named: &[Named], whole: &mut Scratch, now: Millis) -> Result<Object, S3Error> {
        let mut parts = self.parts();
        check(&parts, named)?;
        let (mut digests, mut size) = (Md5::new(), 0);
        let mut hasher = Hasher::new(self.checksum.algorithm);
        for name in named {
            let part = parts.get_mut(&name.number).ok_or_else(S3Error::invalid_part)?;
            digests.update(&part.ingested.md5);
            size += part.ingested.size;
            let bytes = part.ingested.bytes.file();
            bytes.seek(SeekFrom::Start(0))?;
            if self.checksum.composite {
                io::copy(bytes, whole.file())?;
                hasher.update(&BASE64.decode(&part.ingested.checksum.value).map_err(io::Error::other)?);
            } else {
                copy_hashed(bytes, whole.file(), &mut hasher)?;
            }
        }
        let mut checksum = hasher.finish();
        if self.checksum.composite {
            checksum.value = format!("{}-{}", checksum.value, named.len());
        }
        let etag = format!("{}-{}", hex(&digests.finalize()), named.len());
        Ok(Object { size, etag, modified_ms: now.0, checksum: Some(checksum), description: self.description.clone() })
    }
}

fn copy_hashed(from: &mut File, to: &mut File, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}

fn check(parts: &BTreeMap<u32, Part>, named: &[Named]) -> Result<(), S3Error> {
    if named.is_empty() {
        return Err(S3Error::malformed_xml());
    }
    if !named.is_sorted_by(|a, b| a.number < b.number) {
        return Err(S3Error::invalid_part_order());
    }
    for (index, name) in named.iter().enumerate() {
        let part = parts.get(&name.number).filter(|part| hex(&part.ingested.md5) == name.etag);
        let same = |part: &&Part| name.checksum.as_ref().is_none_or(|named| *named == part.ingested.checksum);
        let part = part.filter(same).ok_or_else(S3Error::invalid_part)?;
        if part.ingested.size < PART_BYTES_MIN && index + 1 < named.len() {
            return Err(S3Error::part_too_small());
        }
    }
    Ok(())
}
