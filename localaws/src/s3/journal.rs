//! A bucket's journal: one line of JSON per change. After a restart, the index is read from it.
//!
//! The folder may hold files that the journal does not know: the server crashed before it wrote the line, or a user put
//! the file there. They become objects when the journal is read. This file does *not* own the index in memory.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use fast_md5::Md5;
use serde::{Deserialize, Serialize};

use super::{
    keys,
    object::{Description, Object},
};
use crate::hex::hex;

/// The paths of a bucket's files.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Objects whose key is usable as a path.
    pub(crate) plain: PathBuf,
    /// All other objects.
    pub(crate) aside: PathBuf,
    pub(crate) journal: PathBuf,
}

/// An object and the place of its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) object: Arc<Object>,
    pub(crate) aside: bool,
}

/// One change.
#[derive(Serialize, Deserialize)]
struct Line<K, O> {
    key: K,
    #[serde(default)]
    aside: bool,
    /// `None` if the object was deleted.
    object: Option<O>,
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn put(&mut self, key: &str, stored: &Stored) -> io::Result<()> {
        self.append(&Line { key, aside: stored.aside, object: Some(&*stored.object) })
    }

    pub(crate) fn delete(&mut self, key: &str) -> io::Result<()> {
        self.append(&Line { key, aside: false, object: None::<&Object> })
    }

    fn append(&mut self, line: &Line<&str, &Object>) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        // One write per line, so that a crash leaves whole lines and at most one broken line at the end.
        self.0.write_all(&bytes)
    }
}

/// Reads the index back, and leaves a journal that holds each object once.
pub(crate) fn load(paths: &Paths) -> io::Result<(BTreeMap<String, Stored>, Journal)> {
    let mut objects = read(&paths.journal)?;
    objects.retain(|key, stored| {
        let path = match keys::plain(key).filter(|_| !stored.aside) {
            Some(plain) => paths.plain.join(plain),
            None => paths.aside.join(keys::aside(key)),
        };
        // A file that was replaced without the journal is another object.
        let same =
            |file: fs::Metadata| file.len() == stored.object.size && modified_ms(&file) == stored.object.modified_ms;
        fs::metadata(path).is_ok_and(same)
    });
    adopt(&paths.plain, "", &mut objects)?;
    let compacted = paths.journal.with_extension("new");
    let mut writer = BufWriter::new(File::create(&compacted)?);
    for (key, stored) in &objects {
        serde_json::to_writer(&mut writer, &Line { key, aside: stored.aside, object: Some(&*stored.object) })?;
        writer.write_all(b"\n")?;
    }
    writer.flush()?;
    fs::rename(&compacted, &paths.journal)?;
    let journal = OpenOptions::new().append(true).open(&paths.journal)?;
    Ok((objects, Journal(journal)))
}

fn read(path: &Path) -> io::Result<BTreeMap<String, Stored>> {
    let mut objects = BTreeMap::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(objects),
        Err(error) => return Err(error),
    };
    for line in BufReader::new(file).split(b'\n') {
        let Ok(line) = serde_json::from_slice::<Line<String, Object>>(&line?) else {
            tracing::warn!(journal = %path.display(), "a line of the journal is broken and was skipped");
            continue;
        };
        match line.object {
            Some(object) => objects.insert(line.key, Stored { object: Arc::new(object), aside: line.aside }),
            None => objects.remove(&line.key),
        };
    }
    Ok(objects)
}

/// Makes objects of a folder's files, except of files that belong to an object already.
fn adopt(folder: &Path, prefix: &str, objects: &mut BTreeMap<String, Stored>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file name that is not UTF-8 cannot be a key.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let key = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            adopt(&entry.path(), &format!("{key}/"), objects)?;
        } else if kind.is_file() && keys::plain(&key).is_some() && objects.get(&key).is_none_or(|stored| stored.aside) {
            let object = Arc::new(describe(&entry.path())?);
            objects.insert(key, Stored { object, aside: false });
        }
    }
    Ok(())
}

fn describe(path: &Path) -> io::Result<Object> {
    let mut file = File::open(path)?;
    let (mut digest, mut size, mut buffer) = (Md5::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
        size += read as u64;
    }
    let etag = hex(&digest.finalize());
    let modified_ms = modified_ms(&file.metadata()?);
    Ok(Object { size, etag, modified_ms, checksum: None, description: Description::default() })
}

fn modified_ms(file: &fs::Metadata) -> u64 {
    let modified = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    modified.unwrap_or_default().as_millis() as u64
}
