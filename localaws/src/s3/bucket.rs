//! One bucket: an index of its objects in memory, their bytes as files, and a journal that restores the index.
//!
//! All changes go through the lock on the index. So a condition is decided once, and a listing after an answered write
//! shows the write. Bytes are written elsewhere first, and moved into place here. This file does *not* own how bytes
//! arrive.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    error::S3Error,
    intent::{Intent, Intents},
    journal::{self, Journal, Paths, Stored},
    keys,
    object::Object,
    scratch::Scratch,
};
use crate::clock::Millis;

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) created: Millis,
    paths: Paths,
    intents: Intents,
    /// The index. It is read from the journal on first use, so that a start costs nothing per object.
    index: Mutex<Option<Index>>,
}

#[derive(Debug)]
struct Index {
    objects: BTreeMap<String, Stored>,
    journal: Journal,
}

/// A write in progress.
#[derive(Debug)]
pub(crate) struct Write {
    condition: Condition,
    intent: Option<Intent>,
}

/// What must hold for a write or a delete to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match`
    Matches(String),
}

impl Condition {
    fn check(&self, present: Option<&Stored>) -> Result<(), S3Error> {
        match (self, present) {
            (Self::Always, _) | (Self::Absent, None) => Ok(()),
            (Self::Matches(tags), Some(stored)) if stored.object.is_named_by(tags) => Ok(()),
            (Self::Matches(_), None) => Err(S3Error::no_such_key()),
            _ => Err(S3Error::precondition_failed()),
        }
    }
}

impl Bucket {
    pub(crate) fn new(name: String, created: Millis, paths: Paths) -> Self {
        Self { name, created, paths, intents: Intents::default(), index: Mutex::new(None) }
    }

    /// Begins a write of `key`. The condition is decided at the commit.
    pub(crate) fn begin(&self, key: &str, condition: Condition) -> Write {
        let intent = (condition != Condition::Always).then(|| self.intents.begin(key));
        Write { condition, intent }
    }

    /// Moves written bytes into place under `key`, if the condition holds.
    pub(crate) fn commit(
        &self,
        key: &str,
        bytes: Scratch,
        object: Object,
        write: &Write,
    ) -> Result<Arc<Object>, S3Error> {
        let mut guard = self.lock();
        let index = self.loaded(&mut guard)?;
        let present = index.objects.get(key);
        write.condition.check(present)?;
        if write.intent.as_ref().is_some_and(Intent::is_overtaken) {
            return Err(S3Error::conditional_conflict());
        }
        bytes.stamp(object.modified())?;
        let was_aside = present.map(|stored| stored.aside);
        let aside = self.place(key, bytes, write.condition == Condition::Absent)?;
        if was_aside.is_some_and(|before| before != aside) {
            remove_file(&self.path(key, !aside))?;
        }
        let stored = Stored { object: Arc::new(object), aside };
        index.journal.put(key, &stored)?;
        let object = stored.object.clone();
        index.objects.insert(key.to_owned(), stored);
        Ok(object)
    }

    /// An object and its bytes. They belong together, whatever happens to the key afterwards.
    pub(crate) fn open(&self, key: &str) -> Result<(Arc<Object>, File), S3Error> {
        let mut guard = self.lock();
        let index = self.loaded(&mut guard)?;
        let stored = index.objects.get(key).ok_or_else(S3Error::no_such_key)?;
        match File::open(self.path(key, stored.aside)) {
            Ok(file) => Ok((stored.object.clone(), file)),
            // If someone has removed the file by hand, the object is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                index.objects.remove(key);
                Err(S3Error::no_such_key())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The metadata of an object.
    pub(crate) fn head(&self, key: &str) -> Result<Arc<Object>, S3Error> {
        let mut guard = self.lock();
        let stored = self.loaded(&mut guard)?.objects.get(key);
        stored.map(|stored| stored.object.clone()).ok_or_else(S3Error::no_such_key)
    }

    /// Removes an object if the condition holds. A missing object alone is no error.
    pub(crate) fn delete(&self, key: &str, condition: &Condition) -> Result<(), S3Error> {
        let mut guard = self.lock();
        let index = self.loaded(&mut guard)?;
        condition.check(index.objects.get(key))?;
        let Some(stored) = index.objects.get(key) else { return Ok(()) };
        self.intents.deleted(key);
        remove_file(&self.path(key, stored.aside))?;
        if !stored.aside {
            self.prune(key);
        }
        index.journal.delete(key)?;
        index.objects.remove(key);
        Ok(())
    }

    /// Calls `visit` with the objects from `start` on, in order of their keys, until it says to stop. `visit` may
    /// return a key to skip ahead to.
    pub(crate) fn scan(&self, start: &str, mut visit: impl FnMut(&str, &Object) -> Scan) -> Result<(), S3Error> {
        let mut guard = self.lock();
        let index = self.loaded(&mut guard)?;
        let mut from = start.to_owned();
        'seek: loop {
            for (key, stored) in index.objects.range(from.clone()..) {
                match visit(key, &stored.object) {
                    Scan::Next => {}
                    Scan::Stop => return Ok(()),
                    Scan::SkipTo(next) => {
                        from = next;
                        continue 'seek;
                    }
                }
            }
            return Ok(());
        }
    }

    /// Removes the bucket's folders, if it holds no object.
    pub(crate) fn remove(&self) -> Result<(), S3Error> {
        let mut guard = self.lock();
        let index = self.loaded(&mut guard)?;
        if !index.objects.is_empty() {
            return Err(S3Error::bucket_not_empty());
        }
        // This fails if a user keeps own files in the folder. The server must not remove them.
        fs::remove_dir(&self.paths.plain).map_err(|_| S3Error::bucket_not_empty())?;
        remove_file(&self.paths.journal)?;
        if let Err(error) = fs::remove_dir_all(&self.paths.aside) {
            tracing::debug!(%error, "there was nothing aside to remove");
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Index>> {
        // The index is changed last, in one call, so that a panic leaves it whole.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loaded<'a>(&self, guard: &'a mut MutexGuard<'_, Option<Index>>) -> Result<&'a mut Index, S3Error> {
        if guard.is_none() {
            let (objects, journal) = journal::load(&self.paths)?;
            **guard = Some(Index { objects, journal });
        }
        guard.as_mut().ok_or_else(S3Error::no_such_bucket)
    }

    fn path(&self, key: &str, aside: bool) -> PathBuf {
        match keys::plain(key).filter(|_| !aside) {
            Some(path) => self.paths.plain.join(path),
            None => self.paths.aside.join(keys::aside(key)),
        }
    }

    /// Moves the bytes to the key's own path if possible, otherwise aside. Returns whether they went aside.
    fn place(&self, key: &str, bytes: Scratch, must_be_new: bool) -> Result<bool, S3Error> {
        let Some(relative) = keys::plain(key) else {
            self.place_aside(key, bytes)?;
            return Ok(true);
        };
        let path = self.paths.plain.join(relative);
        // S3 has no folders. If `a` is a file and `a/b` comes, or `a/` is a folder and `a` comes, the later goes aside.
        let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
        if parent.is_err() || path.is_dir() {
            self.prune(key);
            self.place_aside(key, bytes)?;
            return Ok(true);
        }
        if !must_be_new {
            bytes.rename(&path)?;
            return Ok(false);
        }
        // A link fails if there is already a file, even one that somebody else has put there.
        match bytes.link(&path) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(S3Error::precondition_failed()),
            // Some file systems have no links. A rename is safe: the index has no object here, and its lock is held.
            Err(_) => {
                bytes.rename(&path)?;
                Ok(false)
            }
        }
    }

    fn place_aside(&self, key: &str, bytes: Scratch) -> io::Result<()> {
        fs::create_dir_all(&self.paths.aside)?;
        bytes.rename(&self.path(key, true))
    }

    /// Removes the folders that the key's object leaves empty.
    fn prune(&self, key: &str) {
        let Some(relative) = keys::plain(key) else { return };
        for folder in relative.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            if fs::remove_dir(self.paths.plain.join(folder)).is_err() {
                break;
            }
        }
    }
}

/// How a scan continues.
#[derive(Debug)]
pub(crate) enum Scan {
    Next,
    SkipTo(String),
    Stop,
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
