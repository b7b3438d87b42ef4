//! The state of one queue: its messages, which of them are visible, in flight or delayed, and until when.
//!
//! This is a plain struct: time and dice come in with each call, and nothing here waits, wakes, locks or writes. Every
//! operation costs O(log n) in the messages held, and leaves its changes as lines for a journal. This file does *not*
//! put a message into a dead-letter queue: it returns it as moved.

mod changes;
mod copies;
mod exchange;
mod held;
mod moving;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

pub(crate) use self::{
    changes::{Changes, Setup},
    exchange::{Ask, Counts, Moved, Received, Sent},
};
use self::{
    copies::Copies,
    held::{Kind, Message, Place},
};
use super::{
    deduplication::Deduplication,
    error::SqsError,
    lanes::{Groups, Lanes},
    message::{Content, Delivery, Receipt},
    settings::Settings,
};
use crate::{clock::Millis, faults::Manners};

/// How many messages of a queue may be in flight.
pub(crate) const IN_FLIGHT_MAX: usize = 120_000;

/// How long a message may be invisible after a receive, even with extensions.
const VISIBILITY_MAX_SECONDS: u64 = 43_200;

/// How long after a purge the queue refuses the next.
const PURGE_PAUSE_SECONDS: u64 = 60;

/// One queue's messages.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Shared, because each request reads them outside the lock.
    pub(crate) settings: Arc<Settings>,
    /// Marks this queue's receipts.
    identity: u32,
    messages: BTreeMap<u64, Message>,
    lanes: Lanes,
    /// When messages in flight and delayed ones become visible.
    timers: BTreeSet<(Millis, u64)>,
    in_flight: usize,
    delayed: usize,
    next_sequence: u64,
    deduplication: Deduplication,
    copies: Copies,
    purged: Option<Millis>,
    /// The least size of a journal of these messages, in bytes.
    bytes: usize,
    /// Changes that are not in the journal yet.
    pub(crate) changes: Changes,
    /// Earlier counts, for callers that must get old ones.
    told: Option<(Millis, Counts)>,
}

impl Queue {
    pub(crate) fn new(identity: u32, settings: Settings) -> Self {
        let lanes = if settings.fifo { Lanes::Fifo(Groups::default()) } else { Lanes::Standard(VecDeque::new()) };
        Self {
            settings: Arc::new(settings),
            identity,
            messages: BTreeMap::new(),
            lanes,
            timers: BTreeSet::new(),
            in_flight: 0,
            delayed: 0,
            next_sequence: 1,
            deduplication: Deduplication::default(),
            copies: Copies::default(),
            purged: None,
            bytes: 0,
            changes: Changes::default(),
            told: None,
        }
    }

    /// The least size of a journal of the messages held, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message. `delay_seconds` overrides the queue's delay.
    pub(crate) fn send(&mut self, content: Arc<Content>, delay_seconds: Option<u64>, now: Millis) -> Sent {
        self.deduplication.expire(now);
        let deduplication = content.deduplication.as_deref().filter(|_| self.settings.fifo);
        if let Some((id, sequence)) = deduplication.and_then(|id| self.deduplication.repeated(id)) {
            return Sent { id, sequence: Some(sequence) };
        }
        let delay = delay_seconds.unwrap_or(self.settings.delay_seconds);
        let id = content.id;
        if let Some(deduplication) = deduplication {
            self.deduplication.remember(deduplication, id, self.next_sequence, now);
        }
        let place = if delay == 0 { Place::Visible } else { Place::Delayed { until: now.plus_seconds(delay) } };
        let sequence = self.insert(Message { place, ..Message::new(content, now, None) });
        Sent { id, sequence: self.settings.fifo.then_some(sequence) }
    }

    /// Delivers visible messages, at most as many as asked for and allowed.
    pub(crate) fn receive(&mut self, ask: &Ask, manners: &mut Manners, now: Millis) -> Received {
        self.advance(now);
        let mut received = Received::default();
        let room = IN_FLIGHT_MAX.saturating_sub(self.in_flight);
        if room == 0 {
            // "If this limit is reached, SQS returns no error messages" for FIFO queues.
            received.over_limit = !self.settings.fifo;
            return received;
        }
        let mut max = ask.max.min(room);
        if ask.short_poll && manners.sample < 1.0 {
            max = (0..max).filter(|_| manners.dice.f64() < manners.sample).count();
        }
        let mut delivered = Vec::new();
        while received.deliveries.len() < max {
            let taken = self.lanes.take(max - received.deliveries.len(), manners);
            if taken.is_empty() {
                break;
            }
            for sequence in taken {
                self.deliver(sequence, ask, now, &mut received);
                delivered.push(sequence);
            }
        }
        let sequences = received.deliveries.iter().map(|delivery| delivery.receipt.sequence).collect();
        self.changes.received(now, now.plus_seconds(ask.visibility_seconds), sequences);
        if ask.visibility_seconds == 0 {
            // Only now, because otherwise the same receive would meet them again.
            for sequence in delivered {
                self.show(sequence);
            }
        }
        if !self.settings.fifo {
            self.duplicate(&received, manners);
            self.repeat(&mut received, manners, now);
        }
        received.forget_counts(manners);
        received
    }

    /// The receipt of the last receive of `receipt`'s message.
    pub(crate) fn newest(&self, receipt: Receipt) -> Receipt {
        let receives = self.messages.get(&receipt.sequence).map_or(receipt.receives, |message| message.receives);
        Receipt { receives, ..receipt }
    }

    /// Deletes the message. If it was received again since then, nothing happens, because only the newer receipt
    /// counts.
    pub(crate) fn delete(&mut self, receipt: Receipt, now: Millis) -> Result<(), SqsError> {
        self.check(receipt)?;
        let Some(message) = self.messages.get(&receipt.sequence) else { return Ok(()) };
        let is_current = message.receives == receipt.receives;
        // "If the visibility timeout expires, the receipt handle is no longer valid" for FIFO queues.
        if self.settings.fifo && !(is_current && matches!(message.place, Place::InFlight { .. })) {
            return Err(SqsError::invalid_parameter(format!(
                "Value {receipt} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
            )));
        }
        if is_current {
            self.delete_whole(receipt.sequence, now);
        }
        Ok(())
    }

    /// Makes a message visible again `seconds` from now.
    pub(crate) fn change_visibility(&mut self, receipt: Receipt, seconds: u64, now: Millis) -> Result<(), SqsError> {
        self.check(receipt)?;
        self.advance(now);
        let gone = || {
            SqsError::invalid_parameter(format!(
                "Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not \
                 available for visibility timeout change."
            ))
        };
        let message = self.messages.get_mut(&receipt.sequence).ok_or_else(gone)?;
        if message.receives != receipt.receives {
            return Err(gone());
        }
        let Place::InFlight { until } = message.place else { return Err(SqsError::not_in_flight()) };
        let later = now.plus_seconds(seconds);
        if later > message.received.plus_seconds(VISIBILITY_MAX_SECONDS) {
            let message = format!(
                "Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the \
                 message is beyond the limit [{VISIBILITY_MAX_SECONDS} seconds]."
            );
            return Err(SqsError::invalid_parameter(message));
        }
        if seconds == 0 {
            self.show(receipt.sequence);
            self.changes.until(receipt.sequence, None);
        } else {
            message.place = Place::InFlight { until: later };
            self.timers.remove(&(until, receipt.sequence));
            self.timers.insert((later, receipt.sequence));
            self.changes.until(receipt.sequence, Some(later));
        }
        Ok(())
    }

    /// Drops all messages. Within a minute of the last purge, does nothing and returns `false`.
    pub(crate) fn purge(&mut self, now: Millis) -> bool {
        if self.purged.is_some_and(|purged| purged.plus_seconds(PURGE_PAUSE_SECONDS) > now) {
            return false;
        }
        self.purged = Some(now);
        self.messages.clear();
        self.copies = Copies::default();
        self.lanes.clear();
        self.timers.clear();
        (self.in_flight, self.delayed, self.bytes) = (0, 0, 0);
        self.changes.purged(now);
        true
    }

    /// Makes messages visible whose time has come by `now`, and drops messages past their retention.
    pub(crate) fn advance(&mut self, now: Millis) {
        while let Some((until, sequence)) = self.timers.first().copied() {
            if until > now {
                break;
            }
            self.show(sequence);
        }
        let retention = self.settings.retention_seconds;
        while let Some(entry) = self.messages.first_entry() {
            if entry.get().sent.plus_seconds(retention) > now {
                break;
            }
            let sequence = *entry.key();
            self.remove(sequence);
        }
    }

    /// When [`Queue::advance`] will next make something visible.
    pub(crate) fn next_timer(&self) -> Option<Millis> {
        self.timers.first().map(|(until, _)| *until)
    }

    /// Whether a receiver would get a message.
    pub(crate) fn has_visible(&self) -> bool {
        self.in_flight < IN_FLIGHT_MAX && self.lanes.has_some()
    }

    /// The present counts, or counts that a caller got at most `staleness` ago.
    pub(crate) fn counts(&mut self, staleness: Duration, now: Millis) -> Counts {
        self.advance(now);
        let current = Counts {
            visible: self.messages.len() - self.in_flight - self.delayed,
            in_flight: self.in_flight,
            delayed: self.delayed,
        };
        match self.told {
            Some((at, counts)) if now.since(at) < staleness => counts,
            _ => {
                self.told = Some((now, current));
                current
            }
        }
    }

    fn insert(&mut self, message: Message) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.changes.message(sequence, &message);
        self.put_back(sequence, message);
        sequence
    }

    /// Adds a message at the place that its field names.
    fn put_back(&mut self, sequence: u64, message: Message) {
        let group = message.content.group.as_ref();
        match message.place {
            Place::Visible => self.lanes.offer(sequence, group),
            Place::InFlight { until } => {
                self.timers.insert((until, sequence));
                self.in_flight += 1;
                self.lanes.hold(group);
            }
            Place::Delayed { until } => {
                self.timers.insert((until, sequence));
                self.delayed += 1;
            }
        }
        self.bytes += message.content.bytes();
        if let Kind::Again { of } = message.kind {
            self.copies.add(of, sequence);
        }
        self.messages.insert(sequence, message);
    }

    /// Puts a message that was taken from its lane in flight. If necessary, moves it away or drops it instead.
    fn deliver(&mut self, sequence: u64, ask: &Ask, now: Millis, received: &mut Received) {
        let (queue, retention) = (self.identity, self.settings.retention_seconds);
        let Some(message) = self.fly(sequence, now.plus_seconds(ask.visibility_seconds)) else { return };
        if message.sent.plus_seconds(retention) <= now {
            self.remove(sequence);
            return;
        }
        if ask.move_after.is_some_and(|limit| message.receives >= limit) {
            received.moved.extend(self.leave(sequence));
            return;
        }
        received.copies.count(message);
        message.note_receive(now);
        received.deliveries.push(Delivery {
            content: message.content.clone(),
            receipt: Receipt { queue, sequence, receives: message.receives },
            sent: message.sent,
            count: message.count(),
            first_received: message.first_received,
            source: message.source.clone(),
        });
    }

    /// Puts a visible message in flight.
    fn fly(&mut self, sequence: u64, until: Millis) -> Option<&mut Message> {
        let message = self.messages.get_mut(&sequence).filter(|message| message.place == Place::Visible)?;
        message.place = Place::InFlight { until };
        self.timers.insert((until, sequence));
        self.in_flight += 1;
        Some(message)
    }

    /// Makes a hidden message visible.
    fn show(&mut self, sequence: u64) {
        let Some(message) = self.messages.get_mut(&sequence) else { return };
        let group = message.content.group.as_ref();
        match std::mem::replace(&mut message.place, Place::Visible) {
            Place::Visible => {}
            Place::InFlight { until } => {
                self.timers.remove(&(until, sequence));
                self.in_flight -= 1;
                self.lanes.offer(sequence, group);
                self.lanes.release(group);
            }
            Place::Delayed { until } => {
                self.timers.remove(&(until, sequence));
                self.delayed -= 1;
                self.lanes.offer(sequence, group);
            }
        }
    }

    fn remove(&mut self, sequence: u64) -> Option<Message> {
        let message = self.messages.remove(&sequence)?;
        self.copies.forget(sequence);
        self.bytes -= message.content.bytes();
        let group = message.content.group.as_ref();
        match message.place {
            Place::Visible => self.lanes.forget(sequence, group),
            Place::InFlight { until } => {
                self.timers.remove(&(until, sequence));
                self.in_flight -= 1;
                self.lanes.release(group);
            }
            Place::Delayed { until } => {
                self.timers.remove(&(until, sequence));
                self.delayed -= 1;
            }
        }
        Some(message)
    }

    fn check(&self, receipt: Receipt) -> Result<(), SqsError> {
        if receipt.queue == self.identity { Ok(()) } else { Err(SqsError::invalid_receipt()) }
    }
}

#[cfg(test)]
mod tests;
