//! The data directory: its buckets, and where scratch files go. This file does *not* own what is in a bucket.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::UNIX_EPOCH,
};

use super::{bucket::Bucket, error::S3Error, journal::Paths, keys, scratch::Scratch};
use crate::clock::{Clock, Millis};

/// The folder, beside the buckets, of everything that a user should not see.
pub(crate) const HIDDEN: &str = ".localaws";

/// The buckets below a folder.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    clock: Clock,
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
}

impl Store {
    /// Opens the folder, or creates it. Removes half-written files of an earlier run.
    pub(crate) fn open(root: PathBuf, clock: Clock) -> io::Result<Self> {
        let store = Self { root, clock, buckets: RwLock::default() };
        for folder in ["journal", "aside"] {
            fs::create_dir_all(store.hidden(folder))?;
        }
        let scratch = store.hidden("scratch");
        if scratch.exists() {
            fs::remove_dir_all(&scratch)?;
        }
        fs::create_dir(&scratch)?;
        let mut buckets = BTreeMap::new();
        for entry in fs::read_dir(&store.root)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if entry.file_type()?.is_dir() && keys::check_bucket(&name).is_ok() {
                let file = entry.metadata()?;
                let created = file.created().or_else(|_| file.modified())?;
                let created = Millis(created.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64);
                buckets.insert(name.clone(), store.bucket_at(name, created));
            }
        }
        Ok(Self { buckets: RwLock::new(buckets), ..store })
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    pub(crate) fn create(&self, name: &str) -> Result<(), S3Error> {
        keys::check_bucket(name)?;
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        if buckets.contains_key(name) {
            return Err(S3Error::bucket_owned());
        }
        fs::create_dir_all(self.root.join(name))?;
        buckets.insert(name.to_owned(), self.bucket_at(name.to_owned(), self.now()));
        Ok(())
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), S3Error> {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        buckets.get(name).ok_or_else(S3Error::no_such_bucket)?.remove()?;
        buckets.remove(name);
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Bucket>, S3Error> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.get(name).cloned().ok_or_else(S3Error::no_such_bucket)
    }

    /// All buckets, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Bucket>> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A file to write to.
    pub(crate) fn scratch(&self) -> io::Result<Scratch> {
        Scratch::create(&self.hidden("scratch"))
    }

    /// A folder beside the buckets that no request reaches.
    pub(crate) fn hidden(&self, folder: &str) -> PathBuf {
        self.root.join(HIDDEN).join(folder)
    }

    fn bucket_at(&self, name: String, created: Millis) -> Arc<Bucket> {
        let paths = Paths {
            plain: self.root.join(&name),
            aside: self.hidden("aside").join(&name),
            journal: self.hidden("journal").join(Path::new(&format!("{name}.jsonl"))),
        };
        Arc::new(Bucket::new(name, created, paths))
    }
}
