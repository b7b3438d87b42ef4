//! Reads the ticks of one message body: an array of ticks, one tick, or one tick per line.
//!
//! There are two ways, with the same result. The first way guesses for each tick that it has the shape of an earlier
//! one. If it has not, simd-json parses this tick. The second way parses the whole body with simd-json, and decides
//! everything that the first one cannot. This file does *not* own how a tick is read by either way.

use std::borrow::Cow;
use std::sync::Arc;

use simd_json::Node;

use super::config::DecodeConfig;
use super::document::Documents;
use super::filter::Filter;
use super::mapping::Mapping;
use super::nodes::values;
use super::path::Hop;
use super::reader::{Read, TickReader};
use super::reject::{Reason, Refusal};
use super::scan::PADDING;
use super::shape::{Dialect, Draft, skip_blanks};
use super::sorter::Sorter;
use super::speculation::Speculation;
use super::split::{Form, elements, is_array_of_parts, is_blank, joined, lines, value_len};
use super::walk::isolated;
use crate::tick::{Dictionaries, TickBatch};

/// The bytes at the end of a body that are copied, so that padding can follow them. A tick that begins before them and
/// is longer is left to simd-json.
const TAIL_BYTES: usize = 1024;

/// Reads bodies. It keeps its buffers and what it has learnt between them.
pub(super) struct BodyReader {
    documents: Documents,
    reader: TickReader,
    mapping: Arc<Mapping>,
    /// `None` if the caller does not want it, or if ticks cannot be read by their shapes.
    speculation: Option<Speculation>,
    /// The end of the body, followed by padding.
    tail: Vec<u8>,
}

impl BodyReader {
    pub(super) fn new(config: &DecodeConfig, names: &Dictionaries) -> Self {
        let dialect = Dialect {
            keys: config.fields.keys().map(String::from),
            ts_unit: config.ts_unit,
            only: config.only.clone(),
        };
        // A valid configuration always has a mapping.
        let mapping = Arc::new(config.mapping().unwrap_or_default());
        let is_plain = config.price_digits == 0 && !config.skip_zero_volume;
        let can_guess = is_plain && mapping.is_flat() && !mapping.layers[0].has_positions();
        Self {
            documents: Documents::new(),
            reader: TickReader::new(config, mapping.clone(), names),
            speculation: can_guess.then(|| Speculation::new(dialect)),
            mapping,
            tail: Vec::with_capacity(TAIL_BYTES + PADDING),
        }
    }

    pub(super) fn stop_speculating(&mut self) {
        self.speculation = None;
    }

    /// How many ticks were guessed, and how many were parsed to learn from them.
    #[cfg(test)]
    pub(super) fn guesses(&self) -> (usize, usize) {
        self.speculation.as_ref().map_or((0, 0), Speculation::guesses)
    }

    /// Gives `ticks` the guests that were read since the last call, so that it keeps their names.
    pub(super) fn hand_over_guests(&mut self, ticks: &mut TickBatch) {
        self.reader.hand_over_guests(ticks);
    }

    /// The filter, which counts the events that are not ticks.
    pub(super) fn filter(&mut self) -> &mut Filter {
        self.reader.filter()
    }

    /// Sorts the ticks of `text`, which must be trimmed.
    pub(super) fn read(&mut self, text: &[u8], sorter: &mut Sorter<'_>) {
        if text.first() == Some(&b'"') {
            self.read_quoted(text, sorter);
        } else {
            self.read_text(text, sorter);
        }
    }

    /// Reads the body of a producer that may have encoded its JSON twice.
    #[cold]
    fn read_quoted(&mut self, text: &[u8], sorter: &mut Sorter<'_>) {
        let inner = serde_json::from_slice::<String>(text).ok();
        let inner = inner.as_ref().map(|inner| inner.as_bytes().trim_ascii());
        self.read_text(inner.filter(|inner| matches!(inner, [b'{' | b'[', ..])).unwrap_or(text), sorter);
    }

    #[inline]
    fn read_text(&mut self, text: &[u8], sorter: &mut Sorter<'_>) {
        if text.is_empty() {
            return sorter.refuse_body(Refusal::new(Reason::EmptyBody, "body holds nothing but white space"));
        }
        if let Some(speculation) = &mut self.speculation
            && speculation.is_awake()
        {
            let Self { documents, reader, tail, .. } = self;
            let tail_start = text.len().saturating_sub(TAIL_BYTES);
            tail.clear();
            tail.extend_from_slice(&text[tail_start..]);
            tail.resize(tail.len() + PADDING, b' ');
            let draft = Draft::default();
            let mut guessed = Guessed { text, tail, tail_start, documents, reader, speculation, sorter, draft };
            if guessed.read() {
                return;
            }
            sorter.start_again();
        }
        let Self { documents, reader, mapping, .. } = self;
        Parsed { documents, reader, hops: &mapping.hops, sorter, index: 0 }.read(text, mapping.begins_in_array());
        if let Some(speculation) = &mut self.speculation {
            speculation.sleep(sorter.count());
        }
    }
}

/// A body that is read by guessing.
struct Guessed<'a, 'm> {
    text: &'a [u8],
    /// The end of `text` from `tail_start` on, followed by padding.
    tail: &'a [u8],
    tail_start: usize,
    documents: &'a mut Documents,
    reader: &'a mut TickReader,
    speculation: &'a mut Speculation,
    sorter: &'a mut Sorter<'m>,
    draft: Draft,
}

impl Guessed<'_, '_> {
    /// Reads the whole body. Returns `false` if the body must be read again in the other way.
    fn read(&mut self) -> bool {
        match self.text[0] {
            b'[' => self.array(),
            b'{' => self.object_or_lines(),
            _ => false,
        }
    }

    /// Returns `false` if an element is not JSON, or if anything between elements is wrong. Then simd-json decides
    /// which elements can be saved.
    fn array(&mut self) -> bool {
        let mut at = skip_blanks(self.text, 1);
        for index in 0.. {
            let Some(end) = self.element(at, index) else { return false };
            at = skip_blanks(self.text, end);
            match self.text.get(at) {
                Some(b',') => at = skip_blanks(self.text, at + 1),
                Some(b']') => return at + 1 == self.text.len(),
                _ => return false,
            }
        }
        false
    }

    /// Sorts the element that begins at `at`, and returns where it ends.
    #[inline]
    fn element(&mut self, at: usize, index: usize) -> Option<usize> {
        if let Some(end) = self.guess(at, false) {
            self.sorter.take(&self.draft, index, || &self.text[at..end]);
            return Some(end);
        }
        if !self.speculation.is_awake() {
            return None;
        }
        let rest = self.text.get(at..)?;
        let element = &rest[..value_len(rest)?];
        let read = self.parse(element).ok()?;
        self.sorter.sort(read, index, || element);
        Some(at + element.len())
    }

    fn object_or_lines(&mut self) -> bool {
        match self.guess(0, false) {
            Some(end) if end == self.text.len() => self.sorter.take(&self.draft, 0, || self.text),
            // More follows after the first object: one object per line, or garbage.
            _ if Form::of(self.text, false) == Form::Lines => self.lines(),
            _ => match self.parse(self.text) {
                Ok(read) => self.sorter.sort(read, 0, || self.text),
                Err(error) => match joined(self.text) {
                    Some(parts) => self.joined(parts),
                    None => self.sorter.refuse_body(not_json(&error)),
                },
            },
        }
        true
    }

    /// Reads objects that follow each other on one line.
    fn joined<'t>(&mut self, parts: impl Iterator<Item = &'t [u8]>) {
        for (index, part) in parts.enumerate() {
            let at = part.as_ptr() as usize - self.text.as_ptr() as usize;
            if self.guess(at, false).is_some_and(|end| end == at + part.len()) {
                self.sorter.take(&self.draft, index, || part);
            } else {
                let read = self.parse(part).unwrap_or_else(|error| Err(not_json(&error)));
                self.sorter.sort(read, index, || part);
            }
        }
    }

    fn lines(&mut self) {
        let (mut at, mut index) = (0, 0);
        while let Some(start) =
            self.text.get(at..).and_then(|rest| Some(at + rest.iter().position(|byte| is_no_blank(*byte))?))
        {
            let guess = if self.speculation.is_awake() { self.guess(start, true) } else { None };
            // A line may also end with a blank that JSON does not know, such as a form feed.
            let guess = guess.filter(|end| {
                let rest = self.text[*end..].iter().find(|byte| **byte == b'\n' || is_no_blank(**byte));
                matches!(rest, None | Some(b'\n'))
            });
            at = if let Some(end) = guess {
                self.sorter.take(&self.draft, index, || &self.text[start..end]);
                end
            } else {
                let len = self.text[start..].iter().position(|byte| *byte == b'\n');
                let end = len.map_or(self.text.len(), |len| start + len);
                let line = self.text[start..end].trim_ascii_end();
                let read = self.parse(line).unwrap_or_else(|error| Err(not_json(&error)));
                self.sorter.sort(read, index, || line);
                end
            };
            index += 1;
        }
    }

    /// Drafts the tick at `at` if its shape is known and its event time is acceptable. Returns where it ends.
    #[inline]
    fn guess(&mut self, at: usize, one_line: bool) -> Option<usize> {
        let (text, base) = if at < self.tail_start { (self.text, 0) } else { (self.tail, self.tail_start) };
        let end = base + self.speculation.read(text, at - base, one_line, &mut self.draft)?;
        self.reader.accepts(&mut self.draft, self.sorter.times()).then_some(end)
    }

    /// Parses one tick with simd-json and the rules, and learns from it.
    #[cold]
    fn parse(&mut self, tick: &[u8]) -> Result<Result<Read, Refusal>, simd_json::Error> {
        let times = self.sorter.times();
        let read = self.documents.parse(tick, |nodes| self.reader.read(nodes, times))?;
        match &read {
            Ok(Read::Tick(read, unreadable)) => {
                self.speculation.learn(tick, read, *unreadable, !self.reader.has_guest(read));
            }
            Ok(Read::LeftOut(_)) => self.speculation.excuse(),
            Err(_) => {}
        }
        Ok(read)
    }
}

fn is_no_blank(byte: u8) -> bool {
    !is_blank(byte)
}

/// A body that is read by simd-json alone.
struct Parsed<'a, 'm> {
    documents: &'a mut Documents,
    reader: &'a mut TickReader,
    /// The path to the ticks of a message.
    hops: &'a [Hop],
    sorter: &'a mut Sorter<'m>,
    /// The position of the next tick.
    index: usize,
}

impl Parsed<'_, '_> {
    fn read(&mut self, text: &[u8], arrays_are_messages: bool) {
        match Form::of(text, arrays_are_messages) {
            Form::Array => self.array(text),
            Form::Document => {
                if let Err(error) = self.document(text) {
                    match joined(text) {
                        Some(parts) => self.parts(parts),
                        None => self.sorter.refuse_body(not_json(&error)),
                    }
                }
            }
            Form::Lines => self.parts(lines(text)),
        }
    }

    /// Reads one message: a tick, or ticks with something around them.
    fn document(&mut self, text: &[u8]) -> Result<(), simd_json::Error> {
        let Self { documents, reader, hops, sorter, index } = self;
        documents.parse(text, |nodes| message(reader, nodes, sorter, hops, index, || text))
    }

    /// Reads each part as its own document, so that a damaged part does not affect the others.
    fn parts<'t>(&mut self, parts: impl Iterator<Item = &'t [u8]>) {
        for part in parts {
            if let Err(error) = self.document(part) {
                self.sorter.sort(Err(not_json(&error)), self.index, || part);
                self.index += 1;
            }
        }
    }

    fn array(&mut self, text: &[u8]) {
        let Self { documents, reader, hops, sorter, index } = self;
        // The tape does not say where a value was in the text. The bytes of a bad tick are searched, which costs
        // nothing for good ticks.
        let mut originals = elements(text).enumerate();
        let visited = documents.parse(text, |nodes| {
            for (at, element) in values(nodes).enumerate() {
                let original = || originals.find(|(of, _)| *of == at).map(|(_, bytes)| bytes).unwrap_or_default();
                message(reader, element, sorter, hops, index, original);
            }
        });
        match visited {
            Ok(()) => {}
            // One damaged element (for example a bare NaN) makes the array invalid, but not the ticks beside it. If
            // even the brackets and quotes do not match, nothing shows where a tick begins.
            Err(_) if is_array_of_parts(text) => self.parts(elements(text)),
            Err(error) => self.sorter.refuse_body(not_json(&error)),
        }
    }
}

/// Sorts the contents of the message `nodes`. `text` returns its bytes. A rejected tick keeps the fields around it, so
/// that it can be read again.
fn message<'t>(
    reader: &mut TickReader,
    nodes: &[Node<'_>],
    sorter: &mut Sorter<'_>,
    hops: &[Hop],
    index: &mut usize,
    mut text: impl FnMut() -> &'t [u8],
) {
    let (times, mut original, mut position) = (sorter.times(), None, 0);
    reader.read_all(nodes, times, &mut |read| {
        let bytes = || {
            let text = *original.get_or_insert_with(&mut text);
            if hops.is_empty() {
                Cow::from(text)
            } else {
                isolated(text, hops, position).map_or(text.into(), Cow::from)
            }
        };
        sorter.sort(read, *index, bytes);
        *index += 1;
        position += 1;
    });
}

fn not_json(error: &simd_json::Error) -> Refusal {
    Refusal::new(Reason::NotJson, error.to_string())
}
