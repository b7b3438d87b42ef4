//! Multipart uploads: their parts until they are completed or aborted. Kept in memory; the parts' bytes are scratch files.
//!
//! It does *not* own the object that an upload becomes.

use std::{
    collections::BTreeMap,
    io::{self, Seek, SeekFrom},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use md5::{Digest, Md5};
use uuid::Uuid;

use super::{
    error::S3Error,
    ingest::Ingested,
    object::{Description, Object},
    scratch::Scratch,
};
use crate::{clock::Millis, hex::hex};

/// The smallest part, unless it is the last: 5 MiB.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

/// The uploads under way.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<BTreeMap<String, Arc<Upload>>>);

/// One upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) initiated: Millis,
    description: Description,
    parts: Mutex<BTreeMap<u32, Part>>,
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
}

impl Uploads {
    /// Begins an upload and returns its id.
    pub(crate) fn create(&self, bucket: &str, key: &str, description: Description, now: Millis) -> String {
        let id = Uuid::now_v7().simple().to_string();
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let upload = Upload { bucket, key, initiated: now, description, parts: Mutex::default() };
        self.lock().insert(id.clone(), Arc::new(upload));
        id
    }

    pub(crate) fn get(&self, id: &str, bucket: &str, key: &str) -> Result<Arc<Upload>, S3Error> {
        let uploads = self.lock();
        let upload = uploads.get(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.cloned().ok_or_else(S3Error::no_such_upload)
    }

    /// Forgets an upload; its parts go when the last request on them is done.
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
    /// Takes a part in, over an earlier one of the same number.
    pub(crate) fn put(&self, number: u32, part: Part) {
        self.parts().insert(number, part);
    }

    /// The parts by number.
    pub(crate) fn parts(&self) -> MutexGuard<'_, BTreeMap<u32, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the named parts one after the other into `whole`, and describes the object they make.
    pub(crate) fn assemble(&self, named: &[Named], whole: &mut Scratch, now: Millis) -> Result<Object, S3Error> {
        let mut parts = self.parts();
        check(&parts, named)?;
        let (mut digests, mut size) = (Md5::new(), 0);
        for name in named {
            let part = parts.get_mut(&name.number).ok_or_else(S3Error::invalid_part)?;
            digests.update(part.ingested.md5);
            size += part.ingested.size;
            let bytes = part.ingested.bytes.file();
            bytes.seek(SeekFrom::Start(0))?;
            io::copy(bytes, whole.file())?;
        }
        let etag = format!("{}-{}", hex(&digests.finalize()), named.len());
        Ok(Object { size, etag, modified_ms: now.0, checksum: None, description: self.description.clone() })
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
        let part = part.ok_or_else(S3Error::invalid_part)?;
        if part.ingested.size < PART_BYTES_MIN && index + 1 < named.len() {
            return Err(S3Error::part_too_small());
        }
    }
    Ok(())
}
