//! The changes of a queue's messages, as lines of JSON. A journal keeps them, and they restore the queue after a
//! restart.
//!
//! This file owns the lines, and how they make a queue again. It does *not* own the file that stores them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Kind, Message, Place, Queue};
use crate::{
    clock::Millis,
    sqs::{
        attributes_md5::{Attribute, AttributeInput, Attributes},
        error::SqsError,
        message::{Content, Extras},
        settings::Settings,
    },
};

/// The capacity that is kept: enough for a batch of usual messages.
const RETAINED_BYTES: usize = 64 * 1024;

/// Lines that are not in the journal yet.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<u8>);

/// A queue without its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) identity: u32,
    pub(crate) created: Millis,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change<'a> {
    /// The queue was made, or its attributes or tags were changed.
    Setup(Cow<'a, Setup>),
    /// Sequence numbers begin here or later, whatever happened to earlier ones.
    From(u64),
    /// A message came in, or has changed to this.
    Message(Box<Line<'a>>),
    /// Messages were received.
    Received { at: Millis, until: Millis, sequences: Vec<u64> },
    /// A message is in flight until then. Without a time, it is visible.
    Until { sequence: u64, until: Option<Millis> },
    /// Messages were deleted or moved away.
    Gone(Vec<u64>),
    /// All messages were dropped.
    Purged(Millis),
    /// A deduplication id was used.
    Seen { id: Cow<'a, str>, message: Uuid, sequence: u64, at: Millis },
}

/// A message with all its data.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Line<'a> {
    sequence: u64,
    id: Uuid,
    sent: Millis,
    body: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<Cow<'a, str>, LineAttribute<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_header: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deduplication: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_default")]
    receives: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    before: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    kind: Kind,
    #[serde(default, skip_serializing_if = "is_default")]
    first_received: Millis,
    #[serde(default, skip_serializing_if = "is_default")]
    received: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_flight_until: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delayed_until: Option<Millis>,
}

/// An attribute in the form that SQS writes and reads.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum LineAttribute<'a> {
    #[serde(skip_deserializing)]
    Kept(&'a Attribute),
    #[serde(skip_serializing)]
    Read(AttributeInput),
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Changes {
    pub(crate) fn lines(&self) -> &[u8] {
        &self.0
    }

    /// Forgets the lines, and frees the memory that unusually large ones took.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(RETAINED_BYTES);
    }

    pub(crate) fn setup(&mut self, setup: &Setup) {
        self.push(&Change::Setup(Cow::Borrowed(setup)));
    }

    pub(super) fn message(&mut self, sequence: u64, message: &Message) {
        self.push(&Change::Message(Box::new(Line::of(sequence, message))));
    }

    pub(super) fn received(&mut self, at: Millis, until: Millis, sequences: Vec<u64>) {
        if !sequences.is_empty() {
            self.push(&Change::Received { at, until, sequences });
        }
    }

    pub(super) fn until(&mut self, sequence: u64, until: Option<Millis>) {
        self.push(&Change::Until { sequence, until });
    }

    pub(super) fn gone(&mut self, sequences: Vec<u64>) {
        if !sequences.is_empty() {
            self.push(&Change::Gone(sequences));
        }
    }

    pub(super) fn purged(&mut self, at: Millis) {
        self.push(&Change::Purged(at));
    }

    fn push(&mut self, change: &Change<'_>) {
        // Serialization fails only for maps whose keys are not strings, and no line has one. Writing to a vector cannot
        // fail.
        if serde_json::to_writer(&mut self.0, change).is_ok() {
            self.0.push(b'\n');
        }
    }
}

impl<'a> Line<'a> {
    fn of(sequence: u64, message: &'a Message) -> Self {
        let content = &message.content;
        let attribute = |attribute: &'a Attribute| (Cow::Borrowed(&*attribute.name), LineAttribute::Kept(attribute));
        let (in_flight_until, delayed_until) = match message.place {
            Place::Visible => (None, None),
            Place::InFlight { until } => (Some(until), None),
            Place::Delayed { until } => (None, Some(until)),
        };
        Self {
            sequence,
            id: content.id,
            sent: message.sent,
            body: Cow::Borrowed(&content.body),
            attributes: content.attributes.iter().map(attribute).collect(),
            trace_header: content.trace_header.as_deref().map(Cow::Borrowed),
            group: content.group.as_deref().map(Cow::Borrowed),
            deduplication: content.deduplication.as_deref().map(Cow::Borrowed),
            source: message.source.as_deref().map(Cow::Borrowed),
            receives: message.receives,
            before: message.before,
            kind: message.kind,
            first_received: message.first_received,
            received: message.received,
            in_flight_until,
            delayed_until,
        }
    }

    fn into_message(self) -> Result<Message, SqsError> {
        let attributes = self.attributes.into_iter().filter_map(|(name, attribute)| match attribute {
            LineAttribute::Read(input) => Some((name.into_owned(), input)),
            LineAttribute::Kept(_) => None,
        });
        let extras = Extras {
            attributes: Attributes::parse(attributes.collect())?,
            trace_header: self.trace_header.map(Cow::into_owned),
            group: self.group.map(Cow::into_owned),
            deduplication: self.deduplication.map(Cow::into_owned),
        };
        let content = Content { id: self.id, ..Content::new(&self.body, extras)? };
        let place = match (self.in_flight_until, self.delayed_until) {
            (Some(until), _) => Place::InFlight { until },
            (None, Some(until)) => Place::Delayed { until },
            (None, None) => Place::Visible,
        };
        Ok(Message {
            content: Arc::new(content),
            sent: self.sent,
            first_received: self.first_received,
            received: self.received,
            receives: self.receives,
            before: self.before,
            place,
            source: self.source.map(|source| Arc::from(&*source)),
            kind: self.kind,
        })
    }
}

impl Queue {
    /// The queue in the fewest lines that restore it.
    pub(crate) fn snapshot(&self, setup: &Setup) -> Vec<u8> {
        let mut changes = Changes::default();
        changes.setup(setup);
        changes.push(&Change::From(self.next_sequence));
        for (id, message, sequence, at) in self.deduplication.seen() {
            changes.push(&Change::Seen { id: Cow::Borrowed(id), message, sequence, at });
        }
        for (sequence, message) in &self.messages {
            changes.message(*sequence, message);
        }
        changes.0
    }

    /// Restores a queue from its lines, each with its line end. `None` if no line has the queue's setup. Also returns
    /// how many lines could not be read: a killed process leaves half a line at the end.
    pub(crate) fn restore(lines: &[u8], now: Millis) -> Option<(Self, Setup, usize)> {
        let (mut setup, mut unread) = (None, 0);
        let mut state = Restored::default();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok()) {
                Some(Change::Setup(given)) => setup = Some(given.into_owned()),
                Some(change) => unread += usize::from(state.apply(change).is_none()),
                None => unread += 1,
            }
        }
        let setup: Setup = setup?;
        let mut settings = Settings::default();
        for (name, value) in &setup.attributes {
            settings.set(name, value).ok()?;
        }
        Some((state.into_queue(setup.identity, settings, now), setup, unread))
    }
}

/// The state after the lines so far.
#[derive(Default)]
struct Restored {
    messages: BTreeMap<u64, Message>,
    next_sequence: u64,
    seen: HashMap<String, (Uuid, u64, Millis)>,
    purged: Option<Millis>,
}

impl Restored {
    /// Applies one line. `None` if the line makes no sense.
    fn apply(&mut self, change: Change<'_>) -> Option<()> {
        match change {
            Change::Setup(_) => {}
            Change::From(sequence) => self.next_sequence = self.next_sequence.max(sequence),
            Change::Message(line) => {
                let sequence = line.sequence;
                self.next_sequence = self.next_sequence.max(sequence + 1);
                let message = line.into_message().ok()?;
                // A message that was moved here was not sent here, so its deduplication id does not count.
                if let Some(id) = message.content.deduplication.as_deref().filter(|_| message.source.is_none()) {
                    self.saw(id, (message.content.id, sequence, message.sent));
                }
                self.messages.insert(sequence, message);
            }
            Change::Received { at, until, sequences } => {
                for sequence in sequences {
                    let Some(message) = self.messages.get_mut(&sequence) else { continue };
                    message.note_receive(at);
                    message.place = Place::InFlight { until };
                }
            }
            Change::Until { sequence, until } => {
                if let Some(message) = self.messages.get_mut(&sequence) {
                    message.place = until.map_or(Place::Visible, |until| Place::InFlight { until });
                }
            }
            Change::Gone(sequences) => {
                for sequence in sequences {
                    self.messages.remove(&sequence);
                }
            }
            Change::Purged(at) => {
                self.messages.clear();
                self.purged = Some(at);
            }
            Change::Seen { id, message, sequence, at } => {
                self.saw(&id, (message, sequence, at));
            }
        }
        Some(())
    }

    /// Keeps the latest use of a deduplication id.
    fn saw(&mut self, id: &str, seen: (Uuid, u64, Millis)) {
        let kept = self.seen.entry(id.to_owned()).or_insert(seen);
        if kept.1 < seen.1 {
            *kept = seen;
        }
    }

    fn into_queue(self, identity: u32, settings: Settings, now: Millis) -> Queue {
        let mut queue = Queue::new(identity, settings);
        queue.next_sequence = self.next_sequence.max(1);
        queue.purged = self.purged;
        let mut seen: Vec<_> = self.seen.into_iter().collect();
        seen.sort_by_key(|(_, (_, _, at))| *at);
        for (id, (message, sequence, at)) in seen.into_iter().filter(|_| queue.settings.fifo) {
            queue.deduplication.remember(&id, message, sequence, at);
        }
        for (sequence, message) in self.messages {
            queue.put_back(sequence, message);
        }
        queue.advance(now);
        queue
    }
}
