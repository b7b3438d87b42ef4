//! The file that stores a queue's changes, so that they outlive the process.
//!
//! Lines are handed to the system before a request is answered. So a killed process loses nothing that it has answered.
//! A machine that loses power may lose some. The queue owns the meaning of the lines; this file does *not*.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

const EXTENSION: &str = "jsonl";

/// A file smaller than this is not rewritten.
const REWRITE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// A file is rewritten when it is this many times larger than its live content.
const REWRITE_FACTOR: u64 = 5;

/// The path of a queue's journal, below the folder of all journals.
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
    /// Its size after the last rewrite, in bytes.
    base: u64,
    /// Whether a write has failed. It may have left half a line.
    broken: bool,
}

impl Journal {
    /// Creates a journal at `path` that begins with `lines`. It replaces an older file.
    pub(crate) fn create(path: PathBuf, lines: &[u8]) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = replace(&path, lines)?;
        let bytes = lines.len() as u64;
        Ok(Self { path, file, bytes, base: bytes, broken: false })
    }

    /// Appends lines with one write.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.bytes += lines.len() as u64;
        let written = self.file.write_all(lines);
        self.broken |= written.is_err();
        written
    }

    /// Whether the file must be rewritten. This is so if a write has failed, or if most of the file describes messages
    /// that are gone. The remaining messages need at least `live_bytes`.
    pub(crate) fn is_due(&self, live_bytes: usize) -> bool {
        let floor = REWRITE_BYTES_MIN + REWRITE_FACTOR * live_bytes as u64;
        // The file must also be twice as large as after the last rewrite. The size of the messages as lines is only an
        // estimate, but that size is exact.
        self.broken || self.bytes > floor.max(2 * self.base)
    }

    /// Replaces the whole content with `lines`.
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

/// Writes a new file and moves it into place, so that there is a whole file at any moment.
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
