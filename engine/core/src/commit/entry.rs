//! The ledger entry: which messages an epoch has, and which of their elements each of its files holds.
//!
//! A worker that receives one of the messages again reads the entry. That worker may have a later version. So the entry
//! gives its version and ends in a checksum. An entry that cannot be read is an error and is never treated as empty: a
//! wrong guess would store rows twice.
//!
//! ```text
//! "TLE" version=2  epoch: text  splitting: u32  files: u32 (table: u8 slot: i64)*
//! shapes: u32 (elements: u32 parts: u32 (file: u32 runs: u32 (start: u32 end: u32)*)*)*
//! messages: u32 (shape: u32 ids: u32 (id: u128)*)*, in runs of the same shape  crc32: u32
//! text: u32 bytes*; all numbers little-endian; elements that are not known are 2^32 - 1
//! ```
//!
//! Version 1 said which files may hold rows of a message, but not which rows, and held the alerts. It is still read.

use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};
use ticklake_schemas::Table;

use super::{Elements, Layout, Shape};
use crate::lake::Partition;

const MAGIC: [u8; 3] = *b"TLE";
const VERSION: u8 = 2;
const UNKNOWN: u32 = u32::MAX;

const CRC_BYTES: usize = 4;

/// A message's id as entries hold it. SQS's ids are UUIDs, and are taken as they are. For any other id, it is the start
/// of the id's SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(u128);

impl MessageId {
    /// The id of a message whose body is unique: the start of the body's SHA-256. A redrive gives messages new ids, and
    /// this id stays the same.
    #[must_use]
    pub fn of_body(body: &[u8]) -> Self {
        Self::digest(body)
    }

    fn digest(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte)))
    }

    /// The id of a message. SQS gives it as `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let digits = text.bytes().filter(|byte| *byte != b'-').count();
        let hex = |id, digit: u8| Some(id << 4 | u128::from(char::from(digit).to_digit(16)?));
        let uuid = text.bytes().filter(|byte| *byte != b'-').try_fold(0, hex).filter(|_| digits == 32);
        uuid.map_or_else(|| Self::digest(text.as_bytes()), Self)
    }
}

/// What an epoch announces before any of its files is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The epoch's name.
    pub epoch: String,
    /// How the bodies of its messages were split into elements
    /// ([`DecodeConfig::splitting`](crate::decode::DecodeConfig::splitting)).
    pub splitting: u32,
    /// Its files, by partition. Partition and epoch together give a file's name.
    pub files: Vec<Partition>,
    /// How messages lie in the files. Shapes refer to files by position, and most messages share one shape.
    pub shapes: Vec<Shape<u32>>,
    /// Its messages, each with the position of its shape.
    pub messages: Vec<(MessageId, u32)>,
    /// Only in entries of version 1: the alerts as JSON, each with the position of its message. Later versions note
    /// alerts separately.
    pub alerts: Vec<(u32, String)>,
}

/// Why an entry cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The object does not begin like an entry.
    #[error("the object is not a ledger entry: remove it, or keep other programs out of this folder")]
    NotAnEntry,
    /// A later version wrote it.
    #[error(
        "the ledger entry is of version {0}, and this program reads up to {VERSION}: update all workers of the fleet"
    )]
    Version(u8),
    /// Its checksum is wrong, or it ends too early.
    #[error("the ledger entry is damaged: its checksum is wrong, or it is cut off")]
    Damaged,
}

impl Entry {
    /// The entry of an epoch with these files and messages. `None` if a message has rows in a partition without a file.
    #[must_use]
    pub fn naming<'a>(
        epoch: String,
        splitting: u32,
        files: Vec<Partition>,
        messages: impl Iterator<Item = (MessageId, &'a Layout)>,
    ) -> Option<Self> {
        let mut shapes = Vec::new();
        let mut known: FxHashMap<Shape<u32>, u32> = FxHashMap::default();
        let mut last: Option<(&Layout, u32)> = None;
        let named = messages.map(|(id, layout)| {
            // Mostly the layout is that of the message before.
            if let Some((_, shape)) = last.filter(|(before, _)| *before == layout) {
                return Some((id, shape));
            }
            let shape = layout.shape(&files)?;
            let at = *known.entry(shape).or_insert_with_key(|shape| {
                shapes.push(shape.clone());
                shapes.len() as u32 - 1
            });
            last = Some((layout, at));
            Some((id, at))
        });
        let messages = named.collect::<Option<_>>()?;
        Some(Self { epoch, splitting, files, shapes, messages, alerts: Vec::new() })
    }

    /// The entry for a worker that splits bodies by `splitting`. Positions by another splitting mean nothing to it.
    #[must_use]
    pub fn as_split_by(mut self, splitting: u32) -> Self {
        if self.splitting != splitting {
            self.shapes.iter_mut().for_each(|shape| shape.elements = None);
        }
        self
    }

    /// The bytes of the entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + self.files.len() * 9 + self.messages.len() * 16);
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        put_text(&mut bytes, &self.epoch);
        put_number(&mut bytes, self.splitting);
        put_len(&mut bytes, self.files.len());
        for file in &self.files {
            bytes.push(code_of(file.table()));
            bytes.extend(file.slot().to_le_bytes());
        }
        put_len(&mut bytes, self.shapes.len());
        for shape in &self.shapes {
            put_number(&mut bytes, shape.elements.unwrap_or(UNKNOWN));
            put_len(&mut bytes, shape.parts.len());
            for (file, held) in &shape.parts {
                put_number(&mut bytes, *file);
                put_len(&mut bytes, held.runs().len());
                for run in held.runs() {
                    put_number(&mut bytes, run.start);
                    put_number(&mut bytes, run.end);
                }
            }
        }
        let runs = || self.messages.chunk_by(|(_, one), (_, other)| one == other);
        put_len(&mut bytes, runs().count());
        for run in runs() {
            put_number(&mut bytes, run[0].1);
            put_len(&mut bytes, run.len());
            for (message, _) in run {
                bytes.extend(message.0.to_le_bytes());
            }
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        bytes
    }

    /// How the message at position `at` lies in the files, by what became of each. `None` if the entry has no such
    /// message, or `of_file` knows nothing of one of its files.
    pub fn shape_of<T>(&self, at: u32, mut of_file: impl FnMut(Partition) -> Option<T>) -> Option<Shape<T>> {
        let (_, shape) = self.messages.get(at as usize)?;
        let shape = self.shapes.get(*shape as usize)?;
        let part = |(file, held): &(u32, Elements)| Some((of_file(*self.files.get(*file as usize)?)?, held.clone()));
        Some(Shape { elements: shape.elements, parts: shape.parts.iter().map(part).collect::<Option<_>>()? })
    }

    /// The files in which the message at position `at` has rows.
    pub fn files_of(&self, at: u32) -> impl Iterator<Item = Partition> {
        let shape = self.messages.get(at as usize).and_then(|(_, shape)| self.shapes.get(*shape as usize));
        let files = shape.into_iter().flat_map(|shape| &shape.parts);
        files.filter_map(|(file, _)| self.files.get(*file as usize).copied())
    }

    /// Reads the entry in `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(EntryError::NotAnEntry)?;
        let version = match rest.first() {
            Some(&version @ 1..=VERSION) => version,
            Some(&version) => return Err(EntryError::Version(version)),
            None => return Err(EntryError::Damaged),
        };
        let (body, crc) = bytes.split_at_checked(bytes.len().saturating_sub(CRC_BYTES)).ok_or(EntryError::Damaged)?;
        if crc != crc32fast::hash(body).to_le_bytes() {
            return Err(EntryError::Damaged);
        }
        let mut reader = Reader(body.get(MAGIC.len() + 1..).ok_or(EntryError::Damaged)?);
        let entry = if version == 1 { reader.first_version() } else { reader.entry() };
        let entry = entry.ok_or(EntryError::Damaged)?;
        if reader.0.is_empty() { Ok(entry) } else { Err(EntryError::Damaged) }
    }
}

fn put_number(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend(number.to_le_bytes());
}

fn put_len(bytes: &mut Vec<u8>, len: usize) {
    put_number(bytes, len as u32);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_len(bytes, text.len());
    bytes.extend(text.as_bytes());
}

fn code_of(table: Table) -> u8 {
    match table {
        Table::Ticks => 0,
        Table::Alerts => 1,
        Table::Quarantine => 2,
    }
}

/// The bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn entry(&mut self) -> Option<Entry> {
        let epoch = self.text()?;
        let splitting = self.number()?;
        let files = self.list(Self::file)?;
        let shapes = self.list(|reader| {
            let elements = Some(reader.number()?).filter(|count| *count != UNKNOWN);
            let parts = reader.list(|reader| {
                let file = reader.number()?;
                let runs = reader.list(|reader| Some(reader.number()?..reader.number()?))?;
                let are_in_order = runs.windows(2).all(|two| two[0].end < two[1].start);
                let are_runs = are_in_order && runs.iter().all(|run| run.start < run.end);
                are_runs.then(|| (file, Elements::of_runs(runs)))
            })?;
            Some(Shape { elements, parts })
        })?;
        let messages = self.messages()?;
        Some(Entry { epoch, splitting, files, shapes, messages, alerts: Vec::new() })
    }

    /// Version 1 has no positions. How much is stored is known only if all files of a message are stored, or none.
    fn first_version(&mut self) -> Option<Entry> {
        let epoch = self.text()?;
        let files = self.list(Self::file)?;
        let sets = self.list(|reader| reader.list(Reader::number))?;
        let messages = self.messages()?;
        let alerts = self.list(|reader| Some((reader.number()?, reader.text()?)))?;
        // The epoch that claims an alert stores it. Files of alerts decide nothing about messages.
        let is_of_message = |file: &u32| files.get(*file as usize).is_some_and(|file| file.table() != Table::Alerts);
        let shape = |set: Vec<u32>| Shape {
            elements: None,
            parts: set.into_iter().filter(is_of_message).map(|file| (file, Elements::default())).collect(),
        };
        let shapes = sets.into_iter().map(shape).collect();
        Some(Entry { epoch, splitting: 0, files, shapes, messages, alerts })
    }

    fn file(&mut self) -> Option<Partition> {
        let [code] = self.array()?;
        let table = Table::ALL.into_iter().find(|table| code_of(*table) == code)?;
        Some(Partition::at(table, i64::from_le_bytes(self.array()?)))
    }

    fn messages(&mut self) -> Option<Vec<(MessageId, u32)>> {
        let runs = self.list(|reader| {
            let shape = reader.number()?;
            reader.list(|reader| Some((MessageId(u128::from_le_bytes(reader.array()?)), shape)))
        })?;
        Some(runs.concat())
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let len = self.number()?;
        (0..len).map(|_| item(self)).collect()
    }

    fn text(&mut self) -> Option<String> {
        let len = self.number()? as usize;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        self.0.split_off(..len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shapes() -> impl Strategy<Value = Shape<u32>> {
        let held = prop::collection::btree_set(0..50_u32, 0..10).prop_map(|set| set.into_iter().collect());
        let parts = prop::collection::vec((any::<u32>(), held), 0..3);
        (prop::option::of(0..50_u32), parts).prop_map(|(elements, parts)| Shape { elements, parts })
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let files = prop::collection::vec((prop::sample::select(&Table::ALL[..]), any::<i64>()), 0..5);
        let shapes = prop::collection::vec(shapes(), 0..3);
        let messages = prop::collection::vec((any::<u128>(), 0..3_u32), 0..20);
        ("[a-z0-9-]{0,40}", any::<u32>(), files, shapes, messages).prop_map(
            |(epoch, splitting, files, shapes, messages)| Entry {
                epoch,
                splitting,
                files: files.into_iter().map(|(table, slot)| Partition::at(table, slot)).collect(),
                shapes,
                messages: messages.into_iter().map(|(id, shape)| (MessageId(id), shape)).collect(),
                alerts: Vec::new(),
            },
        )
    }

    proptest! {
        #[test]
        fn entry_is_read_as_it_was_written(entry in entries()) {
            prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn damaged_entry_is_an_error(entry in entries(), at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut bytes = entry.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert!(Entry::decode(&bytes).is_err());
            bytes[at] ^= 1_u8 << bit;
            bytes.truncate(at);
            prop_assert!(Entry::decode(&bytes).is_err());
        }
    }

    #[test]
    fn later_version_is_named() {
        let mut bytes = Entry::default().encode();
        bytes[3] = 3;
        let error = Entry::decode(&bytes).unwrap_err();
        assert_eq!(error, EntryError::Version(3));
        assert!(error.to_string().contains("update all workers"));
    }

    #[test]
    fn ids_are_the_same_for_the_same_text_and_no_other() {
        let uuid = "6cbcd4d9-b4ef-4d27-a5f4-9f3d0f3b5a10";
        assert_eq!(MessageId::new(uuid), MessageId(0x6cbc_d4d9_b4ef_4d27_a5f4_9f3d_0f3b_5a10));
        assert_eq!(MessageId::new("message-1"), MessageId::new("message-1"));
        let others = ["", "message-1", "message-2", uuid, &uuid[1..], "6cbcd4d9-b4ef-4d27-a5f4-9f3d0f3b5a1x"];
        let different: std::collections::BTreeSet<_> = others.iter().map(|text| MessageId::new(text)).collect();
        assert_eq!(different.len(), others.len());
    }

    #[test]
    fn files_of_a_message_are_those_of_its_shape() {
        let hour = |slot| Partition::at(Table::Ticks, slot);
        let shape = |files: &[u32]| Shape {
            elements: Some(1),
            parts: files.iter().map(|file| (*file, Elements::first(1))).collect(),
        };
        let entry = Entry {
            files: vec![hour(1), hour(2), hour(3)],
            shapes: vec![shape(&[0]), shape(&[0, 2]), shape(&[])],
            messages: [1, 0, 2, 7].map(|shape| (MessageId(0), shape)).to_vec(),
            ..Entry::default()
        };
        let of = |at| entry.files_of(at).collect::<Vec<_>>();
        assert_eq!(
            [of(0), of(1), of(2), of(3), of(4)],
            [vec![hour(1), hour(3)], vec![hour(1)], vec![], vec![], vec![]]
        );
        let named = entry.shape_of(0, |file| Some(file.slot())).unwrap();
        assert_eq!(named.parts, [(1, Elements::first(1)), (3, Elements::first(1))]);
        assert_eq!(entry.shape_of(3, Some), None, "no such shape");
    }

    /// An entry of version 1: epoch w-1, an hour of ticks and a day of alerts, one message with rows in both.
    const FIRST_VERSION: &str = "544c450103000000772d310200000000805a0700000000000101000000000000000100000002000000000000000100000001\
                                 000000000000000100000005000000000000000000000000000000010000000000000002000000";

    #[test]
    fn entry_of_the_first_version_is_read_without_positions() {
        let hex = FIRST_VERSION.as_bytes();
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
        let mut bytes: Vec<u8> = hex.chunks(2).map(byte).collect();
        bytes.extend(b"{}");
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let entry = Entry::decode(&bytes).unwrap();
        assert_eq!((&*entry.epoch, entry.messages.len()), ("w-1", 1));
        assert_eq!(entry.files_of(0).map(Partition::table).collect::<Vec<_>>(), [Table::Ticks]);
        assert_eq!(entry.shapes[0].elements, None);
        assert_eq!(entry.alerts, [(0, "{}".to_owned())]);
    }

    #[test]
    fn positions_of_another_way_of_splitting_are_not_known() {
        let shape = Shape { elements: Some(2), parts: Vec::new() };
        let entry = Entry { shapes: vec![shape], splitting: 1, ..Entry::default() };
        let entry = Entry::decode(&entry.encode()).unwrap();
        assert_eq!(entry.clone().as_split_by(1).shapes[0].elements, Some(2));
        assert_eq!(entry.as_split_by(2).shapes[0].elements, None);
    }
}
