//! The two ways out of the decoder: good ticks to the batch, everything else to the rejects.
//!
//! This file owns what bounds one message: its rejects, and the partitions of its ticks. It does *not* judge a tick.

use std::ops::Range;

use rustc_hash::FxHashSet;
use ticklake_schemas::Table;

use super::Message;
use super::only::LeftOutId;
use super::reader::{MessageTimes, Read};
use super::reject::{Reason, Refusal, Reject};
use super::shape::Draft;
use crate::lake::Partition;
use crate::tick::{Tick, TickBatch};

/// Bad ticks of one message that are listed one by one. Beyond it one reject with the whole body stands for the rest,
/// so that a body of a million bad ticks does not become a million rows.
pub const REJECTS_PER_MESSAGE_MAX: usize = 1000;

/// Sends what a message holds to the ticks or to the rejects.
pub(super) struct Sorter<'a> {
    message: &'a Message<'a>,
    ticks: &'a mut TickBatch,
    rejects: &'a mut Vec<Reject>,
    /// Rows and rejects of the messages before.
    before: (usize, usize),
    /// Ticks of this message refused so far.
    refused: usize,
    /// The events of this message that are no ticks, by position.
    left_out: &'a mut Vec<(u32, LeftOutId)>,
    spread: &'a mut Spread,
}

impl<'a> Sorter<'a> {
    pub(super) fn new(
        message: &'a Message<'a>,
        ticks: &'a mut TickBatch,
        rejects: &'a mut Vec<Reject>,
        left_out: &'a mut Vec<(u32, LeftOutId)>,
        spread: &'a mut Spread,
    ) -> Self {
        spread.clear();
        left_out.clear();
        let before = (ticks.len(), rejects.len());
        Self { message, ticks, rejects, before, refused: 0, left_out, spread }
    }

    pub(super) fn times(&self) -> MessageTimes {
        MessageTimes { sent_at_us: self.message.sent_at_us, received_at_us: self.message.received_at_us }
    }

    /// How many elements of this message came through, good and bad.
    pub(super) fn count(&self) -> usize {
        self.ticks.len() - self.before.0 + self.refused + self.left_out.len()
    }

    /// Takes back everything of this message.
    pub(super) fn start_again(&mut self) {
        self.ticks.truncate(self.before.0);
        self.rejects.truncate(self.before.1);
        self.refused = 0;
        self.left_out.clear();
        self.spread.clear();
    }

    /// Takes what the `index`-th element of the message is, or why it is no tick; `bytes` finds its text, should that be
    /// needed.
    #[inline]
    pub(super) fn sort<'t>(&mut self, read: Result<Read, Refusal>, index: usize, bytes: impl FnOnce() -> &'t [u8]) {
        let admitted = match read {
            Ok(Read::Tick(tick)) => self.spread.admit(tick.ts_us).map(|()| tick),
            Ok(Read::LeftOut(id)) => return self.left_out.push((index as u32, id)),
            Err(refusal) => Err(refusal),
        };
        match admitted {
            Ok(tick) => self.ticks.push(tick),
            Err(refusal) => self.refuse(index, refusal, bytes()),
        }
    }

    /// Takes a tick that was read by its shape and accepted.
    #[inline]
    pub(super) fn take<'t>(&mut self, draft: &Draft, index: usize, bytes: impl FnOnce() -> &'t [u8]) {
        let &Draft { names: [symbol, venue, conditions], ts_us, price, volume, .. } = draft;
        if let Err(refusal) = self.spread.admit(ts_us) {
            return self.refuse(index, refusal, bytes());
        }
        let seq = draft.seq();
        let received_at_us = self.message.received_at_us;
        self.ticks.push(Tick { symbol, ts_us, price, volume, seq, venue, conditions, received_at_us });
    }

    #[cold]
    fn refuse(&mut self, index: usize, refusal: Refusal, bytes: &[u8]) {
        if self.refused < REJECTS_PER_MESSAGE_MAX {
            self.reject(Some(index as u32), refusal, bytes);
        } else if self.refused == REJECTS_PER_MESSAGE_MAX {
            let detail = format!("body holds more than {REJECTS_PER_MESSAGE_MAX} bad ticks");
            self.refuse_body(Refusal::new(Reason::TooManyRejects, detail));
        }
        self.refused += 1;
    }

    pub(super) fn refuse_body(&mut self, refusal: Refusal) {
        self.reject(None, refusal, self.message.body);
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
pub(super) struct Spread {
    /// The times of the partition of the last tick.
    last: Range<i64>,
    /// All of them, if they are more than one.
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

    /// Neighbouring ticks nearly always share their hour: a look at its limits saves the division and the hash.
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
