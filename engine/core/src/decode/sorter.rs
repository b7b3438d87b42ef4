//! Sorts decoded elements: good ticks go to the batch, everything else to the rejects.
//!
//! This file owns the bounds of one message: its rejects, and the partitions of its ticks. It does *not* judge a tick.

use std::borrow::Cow;
use std::ops::Range;

use rustc_hash::FxHashSet;
use ticklake_schemas::Table;

use super::Message;
use super::filter::LeftOutId;
use super::reader::{MessageTimes, Read};
use super::reject::{Reason, Refusal, Reject};
use super::shape::Draft;
use super::unreadable::Unreadable;
use crate::lake::Partition;
use crate::tick::{Tick, TickBatch};

/// How many bad ticks of one message are listed one by one. One reject with the whole body stands for all further ones.
/// So a body of a million bad ticks does not become a million rows.
pub const REJECTS_PER_MESSAGE_MAX: usize = 1000;

/// Sends the elements of a message to the ticks or to the rejects.
pub(super) struct Sorter<'a> {
    message: &'a Message<'a>,
    ticks: &'a mut TickBatch,
    rejects: &'a mut Vec<Reject>,
    /// How many rows and rejects the messages before have given.
    before: (usize, usize),
    /// How many ticks of this message were refused so far.
    refused: usize,
    /// The events of this message that are not ticks, by position.
    left_out: &'a mut Vec<(u32, Option<LeftOutId>)>,
    /// How many optional fields of this message are null because they could not be read.
    unreadable: [u64; 3],
    /// If the message has several bodies, the body that is being read.
    part: Option<Box<Part>>,
    spread: &'a mut Spread,
}

/// One of the bodies of a message, and what the message gave before it.
struct Part {
    text: Vec<u8>,
    count: usize,
    rows: (usize, usize),
    refused: usize,
    left_out: usize,
    unreadable: [u64; 3],
    spread: Spread,
}

impl<'a> Sorter<'a> {
    pub(super) fn new(
        message: &'a Message<'a>,
        ticks: &'a mut TickBatch,
        rejects: &'a mut Vec<Reject>,
        left_out: &'a mut Vec<(u32, Option<LeftOutId>)>,
        spread: &'a mut Spread,
    ) -> Self {
        spread.clear();
        left_out.clear();
        let before = (ticks.len(), rejects.len());
        Self { message, ticks, rejects, before, refused: 0, left_out, unreadable: [0; 3], part: None, spread }
    }

    pub(super) fn times(&self) -> MessageTimes {
        MessageTimes { sent_at_us: self.message.sent_at_us, received_at_us: self.message.received_at_us }
    }

    /// How many elements of this message were sorted so far, good and bad.
    pub(super) fn count(&self) -> usize {
        self.ticks.len() - self.before.0 + self.refused + self.left_out.len()
    }

    /// From now on, elements belong to `text`, one of the bodies of this message.
    pub(super) fn begin_part(&mut self, text: &[u8]) {
        self.part = Some(Box::new(Part {
            text: text.to_vec(),
            count: self.count(),
            rows: (self.ticks.len(), self.rejects.len()),
            refused: self.refused,
            left_out: self.left_out.len(),
            unreadable: self.unreadable,
            spread: self.spread.clone(),
        }));
    }

    /// Takes back all elements of this message, or of the body that is being read.
    pub(super) fn start_again(&mut self) {
        if let Some(part) = &self.part {
            self.ticks.truncate(part.rows.0);
            self.rejects.truncate(part.rows.1);
            self.refused = part.refused;
            self.left_out.truncate(part.left_out);
            self.unreadable = part.unreadable;
            self.spread.clone_from(&part.spread);
            return;
        }
        self.ticks.truncate(self.before.0);
        self.rejects.truncate(self.before.1);
        self.refused = 0;
        self.left_out.clear();
        self.unreadable = [0; 3];
        self.spread.clear();
    }

    /// How many values of the optional fields could not be read.
    pub(super) fn unreadable(&self) -> [u64; 3] {
        self.unreadable
    }

    /// Sorts the `index`-th element of the message: a tick, a left-out event, or a refusal. `bytes` returns its text if
    /// that is needed.
    #[inline]
    pub(super) fn sort<'t, B>(&mut self, read: Result<Read, Refusal>, index: usize, bytes: impl FnOnce() -> B)
    where
        B: Into<Cow<'t, [u8]>>,
    {
        let admitted = match read {
            Ok(Read::Tick(tick, unreadable)) => self.spread.admit(tick.ts_us).map(|()| {
                unreadable.count(&mut self.unreadable);
                tick
            }),
            Ok(Read::LeftOut(id)) => return self.left_out.push((self.position(index), id)),
            Err(refusal) => Err(refusal),
        };
        match admitted {
            Ok(tick) => self.ticks.push(tick),
            Err(refusal) => self.refuse(index, refusal, &bytes().into()),
        }
    }

    /// Adds an accepted tick that was read by its shape.
    #[inline]
    pub(super) fn take<'t>(&mut self, draft: &Draft, index: usize, bytes: impl FnOnce() -> &'t [u8]) {
        let &Draft { names: [symbol, venue, conditions], ts_us, price, volume, .. } = draft;
        if let Err(refusal) = self.spread.admit(ts_us) {
            return self.refuse(index, refusal, bytes());
        }
        let seq = draft.seq();
        if draft.has_unreadable_seq() {
            Unreadable::SEQ.count(&mut self.unreadable);
        }
        let received_at_us = self.message.received_at_us;
        self.ticks.push(Tick { symbol, ts_us, price, volume, seq, venue, conditions, received_at_us });
    }

    #[cold]
    fn refuse(&mut self, index: usize, refusal: Refusal, bytes: &[u8]) {
        if self.refused < REJECTS_PER_MESSAGE_MAX {
            self.reject(Some(self.position(index)), refusal, bytes);
        } else if self.refused == REJECTS_PER_MESSAGE_MAX {
            let detail = format!("body holds more than {REJECTS_PER_MESSAGE_MAX} bad ticks");
            self.reject(None, Refusal::new(Reason::TooManyRejects, detail), self.message.body);
        }
        self.refused += 1;
    }

    /// Refuses the whole body that is being read.
    pub(super) fn refuse_body(&mut self, refusal: Refusal) {
        match self.part.take() {
            // If one of several bodies is refused, it is refused like a single tick. The other bodies are not affected.
            Some(part) => {
                let index = self.count();
                self.refuse(index, refusal, &part.text);
            }
            None => self.reject(None, refusal, self.message.body),
        }
    }

    /// The position in the message of the element at `index` of the body that is being read.
    fn position(&self, index: usize) -> u32 {
        (self.part.as_ref().map_or(0, |part| part.count) + index) as u32
    }

    fn reject(&mut self, index: Option<u32>, refusal: Refusal, body: &[u8]) {
        self.rejects.push(Reject {
            message_id: self.message.id.to_owned(),
            index,
            reason: refusal.reason,
            detail: refusal.detail,
            body: body.to_vec(),
            received_at_us: self.message.received_at_us,
            message_us: self.times().message_us(),
        });
    }
}

/// The partitions in which the good ticks of one message lie.
#[derive(Clone)]
pub(super) struct Spread {
    /// The range of times of the last tick's partition.
    last: Range<i64>,
    /// All partitions, if there are more than one.
    partitions: FxHashSet<Partition>,
    first: Option<Partition>,
    max: usize,
}

impl Spread {
    pub(super) fn new(max: usize) -> Self {
        Self { last: 0..0, partitions: FxHashSet::default(), first: None, max }
    }

    fn clear(&mut self) {
        self.last = 0..0;
        self.first = None;
        self.partitions.clear();
    }

    /// Neighbouring ticks nearly always have the same hour. Comparing with its limits saves the division and the hash.
    #[inline]
    fn admit(&mut self, ts_us: i64) -> Result<(), Refusal> {
        if self.last.contains(&ts_us) { Ok(()) } else { self.change(ts_us) }
    }

    fn change(&mut self, ts_us: i64) -> Result<(), Refusal> {
        let partition = Partition::of(Table::Ticks, ts_us);
        let Some(first) = self.first else {
            self.first = Some(partition);
            self.last = partition.times_us();
            return Ok(());
        };
        self.partitions.insert(first);
        if self.partitions.len() >= self.max && !self.partitions.contains(&partition) {
            let detail = format!("the ticks of the message lie in more than {} different hours", self.max);
            return Err(Refusal::new(Reason::TooManyPartitions, detail));
        }
        self.partitions.insert(partition);
        self.last = partition.times_us();
        Ok(())
    }
}
