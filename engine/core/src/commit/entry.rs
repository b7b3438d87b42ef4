//! The ledger entry: which messages an epoch is about, which files it is to become, and which alerts it raised.
//!
//! An entry is read by whoever is given one of its messages again, maybe by a later version. So it says of which version it is and
//! ends in a checksum, and one that cannot be read is an error, never an empty one: to guess would be to store twice.
//!
//! ```text
//! "TLE" version=1  epoch: text  files: u32 (table: u8 slot: i64)*  sets: u32 (files: u32 (file: u32)*)*
//! messages: u32 (set: u32 ids: u32 (id: u128)*)*, in runs of the same set  alerts: u32 (message: u32 alert: text)*  crc32: u32        text: u32 bytes*; all numbers little-endian
//! ```

use sha2::{Digest as _, Sha256};
use ticklake_schemas::Table;

use crate::lake::Partition;

const MAGIC: [u8; 3] = *b"TLE";
const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// A message's id as entries hold it. SQS's ids are UUIDs, and are taken as they are; of any other the start of its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(u128);

impl MessageId {
    /// The id that SQS gives as `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let digits = text.bytes().filter(|byte| *byte != b'-').count();
        let hex = |id, digit: u8| Some(id << 4 | u128::from(char::from(digit).to_digit(16)?));
        let uuid = text.bytes().filter(|byte| *byte != b'-').try_fold(0, hex).filter(|_| digits == 32);
        Self(uuid.unwrap_or_else(|| {
            let hash = Sha256::digest(text);
            hash.iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte))
        }))
    }
}

/// What an epoch announces before any of its files is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The epoch's name.
    pub epoch: String,
    /// Its files, by what they hold: together with the epoch that is their name.
    pub files: Vec<Partition>,
    /// Sets of files, by position, that messages may have rows in. Most messages share one.
    pub sets: Vec<Vec<u32>>,
    /// Its messages, each with the position of its set.
    pub messages: Vec<(MessageId, u32)>,
    /// Its alerts as JSON, each with the position of the message whose tick raised it. Whoever takes the message over publishes
    /// them, for this epoch's worker may have died before it could.
    pub alerts: Vec<(u32, String)>,
}

/// Why an entry cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It does not begin as one.
    #[error("it is no ledger entry")]
    NotAnEntry,
    /// A later version wrote it.
    #[error(
        "it is of version {0}, and this program reads up to {VERSION}: update all workers before any of them writes it"
    )]
    Version(u8),
    /// Its checksum is wrong, or it ends too early.
    #[error("it is damaged")]
    Damaged,
}

impl Entry {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + self.files.len() * 9 + self.messages.len() * 16);
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        put_text(&mut bytes, &self.epoch);
        put_len(&mut bytes, self.files.len());
        for file in &self.files {
            bytes.push(code_of(file.table()));
            bytes.extend(file.slot().to_le_bytes());
        }
        put_len(&mut bytes, self.sets.len());
        for set in &self.sets {
            put_len(&mut bytes, set.len());
            for file in set {
                bytes.extend(file.to_le_bytes());
            }
        }
        let runs = || self.messages.chunk_by(|(_, one), (_, other)| one == other);
        put_len(&mut bytes, runs().count());
        for run in runs() {
            bytes.extend(run[0].1.to_le_bytes());
            put_len(&mut bytes, run.len());
            for (message, _) in run {
                bytes.extend(message.0.to_le_bytes());
            }
        }
        put_len(&mut bytes, self.alerts.len());
        for (message, alert) in &self.alerts {
            bytes.extend(message.to_le_bytes());
            put_text(&mut bytes, alert);
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        bytes
    }

    /// The files that the message at position `at` may have rows in.
    pub fn files_of(&self, at: u32) -> impl Iterator<Item = Partition> {
        let set = self.messages.get(at as usize).and_then(|(_, set)| self.sets.get(*set as usize));
        set.into_iter().flatten().filter_map(|file| self.files.get(*file as usize).copied())
    }

    /// The entry that `bytes` are.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(EntryError::NotAnEntry)?;
        match rest.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(EntryError::Version(version)),
            None => return Err(EntryError::Damaged),
        }
        let (body, crc) = bytes.split_at_checked(bytes.len().saturating_sub(CRC_BYTES)).ok_or(EntryError::Damaged)?;
        if crc != crc32fast::hash(body).to_le_bytes() {
            return Err(EntryError::Damaged);
        }
        let mut reader = Reader(body.get(MAGIC.len() + 1..).ok_or(EntryError::Damaged)?);
        let entry = reader.entry().ok_or(EntryError::Damaged)?;
        if reader.0.is_empty() { Ok(entry) } else { Err(EntryError::Damaged) }
    }
}

fn put_len(bytes: &mut Vec<u8>, len: usize) {
    bytes.extend((len as u32).to_le_bytes());
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

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn entry(&mut self) -> Option<Entry> {
        let epoch = self.text()?;
        let files = self.list(|reader| {
            let [code] = reader.array()?;
            let table = Table::ALL.into_iter().find(|table| code_of(*table) == code)?;
            Some(Partition::at(table, i64::from_le_bytes(reader.array()?)))
        })?;
        let sets = self.list(|reader| reader.list(Reader::number))?;
        let runs = self.list(|reader| {
            let set = reader.number()?;
            reader.list(|reader| Some((MessageId(u128::from_le_bytes(reader.array()?)), set)))
        })?;
        let messages = runs.concat();
        let alerts = self.list(|reader| Some((reader.number()?, reader.text()?)))?;
        Some(Entry { epoch, files, sets, messages, alerts })
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

    fn entries() -> impl Strategy<Value = Entry> {
        let files = prop::collection::vec((prop::sample::select(&Table::ALL[..]), any::<i64>()), 0..5);
        let sets = prop::collection::vec(prop::collection::vec(any::<u32>(), 0..3), 0..3);
        let messages = prop::collection::vec((any::<u128>(), 0..3_u32), 0..20);
        let alerts = prop::collection::vec((any::<u32>(), ".{0,20}"), 0..3);
        ("[a-z0-9-]{0,40}", files, sets, messages, alerts).prop_map(|(epoch, files, sets, messages, alerts)| Entry {
            epoch,
            files: files.into_iter().map(|(table, slot)| Partition::at(table, slot)).collect(),
            sets,
            messages: messages.into_iter().map(|(id, set)| (MessageId(id), set)).collect(),
            alerts,
        })
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
        bytes[3] = 2;
        let error = Entry::decode(&bytes).unwrap_err();
        assert_eq!(error, EntryError::Version(2));
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
    fn files_of_a_message_are_those_of_its_set() {
        let hour = |slot| Partition::at(Table::Ticks, slot);
        let entry = Entry {
            files: vec![hour(1), hour(2), hour(3)],
            sets: vec![vec![0], vec![0, 2], vec![]],
            messages: [1, 0, 2, 7].map(|set| (MessageId(0), set)).to_vec(),
            ..Entry::default()
        };
        let of = |at| entry.files_of(at).collect::<Vec<_>>();
        assert_eq!(
            [of(0), of(1), of(2), of(3), of(4)],
            [vec![hour(1), hour(3)], vec![hour(1)], vec![], vec![], vec![]]
        );
    }
}
