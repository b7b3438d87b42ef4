//! The file that a queue's changes go to, so that they outlive the process.
//!
//! Lines are handed to the system before a request is answered: a process that is killed loses nothing that it has
//! answered, while a machine that loses power may. What the lines mean is the queue's; this file does *not* own it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

const EXTENSION: &str = "jsonl";

/// A file smaller than this is not worth writing anew.
const REWRITE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// A file is written anew when it is so many times larger than what it holds.
const REWRITE_FACTOR: u64 = 5;

/// Where the journal of a queue is, below the folder of all.
pub(crate) fn path(folder: &Path, region: &str, name: &str) -> PathBuf {
    folder.join(region).join(format!("{name}.{EXTENSION}"))
}

/// The regions, names and lines of all journals below `folder`.
pub(crate) fn all(folder: &Path) -> io::Result<Vec<(String, String, Vec<u8>)>> {
    let mut journals = Vec::new();
    for region in fs::read_dir(folder)? {
        let region = region?;
        let Some(region_name) = region.file_name().to_str().map(str::to_owned) else { continue };
        if !region.file_type()?.is_dir() {
            continue;
        }
        for journal in fs::read_dir(region.path())? {
            let path = journal?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION)) {
                journals.push((region_name.clone(), name.to_owned(), fs::read(&path)?));
            }
        }
    }
    Ok(journals)
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// What it weighed when it was last written anew.
    base: u64,
    /// A write has failed, and may have left half a line.
    broken: bool,
}

impl Journal {
    /// A journal at `path` that begins with `lines`; what was there is replaced.
    pub(crate) fn create(path: PathBuf, lines: &[u8]) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = replace(&path, lines)?;
        let bytes = lines.len() as u64;
        Ok(Self { path, file, bytes, base: bytes, broken: false })
    }

    /// Appends lines, with one write.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.bytes += lines.len() as u64;
        let written = self.file.write_all(lines);
        self.broken |= written.is_err();
        written
    }

    /// Whether the file has to be written anew: because a write has failed, or because most of it is about messages that
    /// are gone, where those that are left weigh at least `live_bytes`.
    pub(crate) fn is_due(&self, live_bytes: usize) -> bool {
        let floor = REWRITE_BYTES_MIN + REWRITE_FACTOR * live_bytes as u64;
        // And twice what it then was: what the messages weigh as lines is not known exactly, and this is.
        self.broken || self.bytes > floor.max(2 * self.base)
    }

    /// Puts `lines` in place of everything.
    pub(crate) fn rewrite(&mut self, lines: &[u8]) -> io::Result<()> {
        self.broken = true;
        self.file = replace(&self.path, lines)?;
        self.bytes = lines.len() as u64;
        (self.base, self.broken) = (self.bytes, false);
        Ok(())
    }

    /// Removes the file.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Writes beside the file and moves that into place, so that there is a whole one at any moment.
fn replace(path: &Path, lines: &[u8]) -> io::Result<File> {
    let beside = path.with_extension("new");
    fs::write(&beside, lines)?;
    fs::rename(&beside, path)?;
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_is_rewritten_once_it_is_mostly_history() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "us-east-1", "q.fifo");
        let mut journal = Journal::create(path.clone(), b"a\n").unwrap();
        journal.append(b"b\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a\nb\n");
        assert!(!journal.is_due(0));
        journal.bytes = REWRITE_BYTES_MIN + 1;
        assert!(journal.is_due(0) && !journal.is_due(1));
        journal.base = REWRITE_BYTES_MIN;
        assert!(!journal.is_due(0), "it would not get smaller");
        journal.broken = true;
        assert!(journal.is_due(1), "half a line must not stay");
        journal.rewrite(b"c\n").unwrap();
        journal.append(b"d\n").unwrap();
        let expected = ("us-east-1".to_owned(), "q.fifo".to_owned(), b"c\nd\n".to_vec());
        assert_eq!(all(folder.path()).unwrap(), [expected]);
        assert!(!journal.is_due(0));
        journal.remove().unwrap();
        assert!(!path.exists());
    }
}
