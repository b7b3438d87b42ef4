//! One bucket: an index of its objects in memory, their bytes as files, and a journal from which the index comes back.
//!
//! All changes go through the lock on the index, so that a condition is decided once, and a listing after an answered
//! write shows it. Bytes are written elsewhere first and moved into place here. It does *not* own how bytes arrive.

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
    journal::{self, Journal, Stored},
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
    /// Read from the journal when it is first needed, so that a start costs nothing per object.
    index: Mutex<Option<Index>>,
}

/// Where a bucket's files are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Objects whose key is a path.
    pub(crate) plain: PathBuf,
    /// The others.
    pub(crate) aside: PathBuf,
    pub(crate) journal: PathBuf,
}

#[derive(Debug)]
struct Index {
    objects: BTreeMap<String, Stored>,
    journal: Journal,
}

/// A write under way.
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

    /// A write of `key` begins. Nothing is decided before it is committed.
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

    /// An object and its bytes, which belong together whatever happens to the key afterwards.
    pub(crate) fn open(&self, key: &str) -> Result<(Arc<Object>, File), S3Error> {
        let mut guard = self.lock();
        let index = self.loaded(&mut guard)?;
        let stored = index.objects.get(key).ok_or_else(S3Error::no_such_key)?;
        match File::open(self.path(key, stored.aside)) {
            Ok(file) => Ok((stored.object.clone(), file)),
            // Someone has taken the file away by hand; then the object is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                index.objects.remove(key);
                Err(S3Error::no_such_key())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is known of an object.
    pub(crate) fn head(&self, key: &str) -> Result<Arc<Object>, S3Error> {
        let mut guard = self.lock();
        let stored = self.loaded(&mut guard)?.objects.get(key);
        stored.map(|stored| stored.object.clone()).ok_or_else(S3Error::no_such_key)
    }

    /// Removes an object if the condition holds; that there is none is no error by itself.
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

    /// Calls `visit` with the objects from `start` on, in order of their keys, until it says no more.
    /// It may answer with a key to skip ahead to.
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
        // Fails where a user keeps something of his own in the folder; that is not ours to remove.
        fs::remove_dir(&self.paths.plain).map_err(|_| S3Error::bucket_not_empty())?;
        remove_file(&self.paths.journal)?;
        if let Err(error) = fs::remove_dir_all(&self.paths.aside) {
            tracing::debug!(%error, "there was nothing aside to remove");
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Index>> {
        // The index is changed last, by one call, so that a panic leaves it whole.
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

    /// Moves the bytes to the key's own path or, where that cannot be, aside. Says whether it was aside.
    fn place(&self, key: &str, bytes: Scratch, must_be_new: bool) -> Result<bool, S3Error> {
        let Some(relative) = keys::plain(key) else {
            self.place_aside(key, bytes)?;
            return Ok(true);
        };
        let path = self.paths.plain.join(relative);
        // `a` is a file where `a/b` is to go, or a folder where `a` is: S3 knows no folders, so the later goes aside.
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
        // A link fails where there is a file already, even one that somebody else has put there.
        match bytes.link(&path) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(S3Error::precondition_failed()),
            // Some file systems have no links. The index knows of no object, and its lock is held.
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

/// How a scan goes on.
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
