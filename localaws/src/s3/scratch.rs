//! A file that is being written and has no name in any bucket yet. It is removed unless it is moved into place. This
//! file does *not* own the place.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use crate::clock::Millis;

/// A file in the scratch folder.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    file: File,
    moved: bool,
}

impl Scratch {
    /// A new file in `folder`.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let path = folder.join(crate::unique::id().simple().to_string());
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok(Self { path, file, moved: false })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Sets the file's time of modification to that of its object.
    pub(crate) fn stamp(&self, modified: Millis) -> io::Result<()> {
        self.file.set_modified(UNIX_EPOCH + Duration::from_millis(modified.0))
    }

    /// Moves the file to `target`, and replaces a file there.
    pub(crate) fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.moved = true;
        Ok(())
    }

    /// Links the file at `target` too. Fails with `AlreadyExists` if something is there.
    pub(crate) fn link(&self, target: &Path) -> io::Result<()> {
        fs::hard_link(&self.path, target)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.moved
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "a scratch file was gone already");
        }
    }
}
