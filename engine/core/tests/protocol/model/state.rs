//! The state of the world, and how every action changes it.

mod epochs;

use std::collections::{BTreeMap, BTreeSet};

use ticklake_core::commit::{
    Arrival, Commit, Deadline, Decision, Elements, Fate, Holdings, Look, MessageId, Phase, Remaining, Shape, Step,
    is_first_delivery, remaining,
};

use super::world::{Action, Broken, Decoded, QUARANTINE, World};

/// The name of a file: worker, epoch, partition.
pub(crate) type Place = (usize, u8, u8);

/// A message, and the number of its delivery. A receipt stands for this.
pub(crate) type Delivery = (usize, u8);

/// A part of a message that must be stored once: the message, and the number of the part in it.
pub(crate) type Part = (usize, u8);

/// Added to a file's partition if the file would otherwise hold the same row twice.
const TWICE: u8 = 100;

/// A row of a file: a part of a message, or a part of a body in doubt that stands for all parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Row {
    Sure(Part),
    InDoubt(Part),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) queue: Vec<Queued>,
    /// The data files, with their rows.
    pub(crate) files: BTreeMap<Place, BTreeSet<Row>>,
    pub(crate) voids: BTreeSet<Place>,
    /// For each worker and epoch, its entry.
    pub(crate) ledger: BTreeMap<(usize, u8), Named>,
    pub(crate) workers: Vec<Worker>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Queued {
    pub(crate) is_deleted: bool,
    /// The worker that holds it. If nobody does, it is visible.
    pub(crate) holder: Option<usize>,
    /// How often it was handed out, and how many of these were copies.
    pub(crate) deliveries: u8,
    pub(crate) copies: u8,
    /// How many deliveries it had before it was moved to a dead-letter queue that does not count them.
    pub(crate) moved_after: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    /// Each message, with its shape in the files.
    pub(crate) messages: Vec<(usize, Shape<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) has_crashed: bool,
    pub(crate) epochs: u8,
    pub(crate) holdings: Holdings,
    pub(crate) held: BTreeMap<Delivery, Held>,
    pub(crate) open: Option<Open>,
    /// Deliveries to be released, if they are still ours at that time.
    pub(crate) returning: BTreeSet<Delivery>,
}

impl Default for Worker {
    fn default() -> Self {
        // A worker knows what it holds, but nothing of the past. The protocol relies on no more than this.
        let (holdings, has_crashed, epochs) = (Holdings::new(0), false, 0);
        Self { has_crashed, epochs, holdings, held: BTreeMap::new(), open: None, returning: BTreeSet::new() }
    }
}

/// A message as a worker holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// The deadline passes when `now` reaches it. SQS gives the message to others no earlier.
    pub(crate) deadline: Deadline<u8>,
    pub(crate) now: u8,
    pub(crate) extension: Extension,
    pub(crate) rows: Rows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Extension {
    Possible,
    Sent,
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Rows {
    /// The message was delivered before, and the ledger has not been listed since.
    Unlisted,
    Deciding(Deciding),
    Decided(Remaining),
}

/// The entries of the ledger for a message, and what is known about their files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Deciding {
    named: Vec<((usize, u8), Shape<u8>)>,
    decisions: BTreeMap<Place, Decision>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub(crate) number: u8,
    pub(crate) commit: Commit,
    pub(crate) deliveries: Vec<Delivery>,
    /// The shape of each delivery in the files.
    pub(crate) shapes: Vec<Shape<u8>>,
    pub(crate) files: BTreeMap<u8, BTreeSet<Row>>,
}

impl Held {
    pub(crate) fn is_ours(&mut self) -> bool {
        let now = self.now;
        self.deadline.look(|until| now >= until).is_some()
    }
}

impl Worker {
    /// The worker has deleted a delivery, or has given it up.
    fn let_go(&mut self, delivery: Delivery) -> Option<Held> {
        let held = self.held.remove(&delivery);
        if !self.held.keys().any(|(message, _)| *message == delivery.0) {
            self.holdings.let_go(id(delivery.0));
        }
        held
    }
}

pub(crate) fn id(message: usize) -> MessageId {
    MessageId::new(&format!("{message:032x}"))
}

impl Decoded {
    /// The part of a message that is left to store: its shape in the files, and its rows by file.
    fn left(&self, message: usize, remaining: &Remaining) -> (Shape<u8>, Vec<(u8, Row)>) {
        let is_left = |position: u32| match remaining {
            Remaining::Everything => true,
            Remaining::Except(stored) => !stored.contains(position),
            Remaining::Nothing | Remaining::InDoubt => false,
        };
        if *remaining == Remaining::InDoubt {
            let parts = self.rows.iter().flat_map(|(_, parts)| parts);
            let rows = parts.map(|part| (QUARANTINE, Row::InDoubt((message, *part)))).collect();
            return (Shape { elements: None, parts: vec![(QUARANTINE, Elements::default())] }, rows);
        }
        let mut by_file: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        let mut rows = Vec::new();
        for (position, (file, parts)) in (0..).zip(&self.rows).filter(|(position, _)| is_left(*position)) {
            by_file.entry(*file).or_default().push(position);
            rows.extend(parts.iter().map(|part| (*file, Row::Sure((message, *part)))));
        }
        let held =
            |positions: Vec<u32>| if self.is_split { positions.into_iter().collect() } else { Elements::default() };
        let parts = by_file.into_iter().map(|(file, positions)| (file, held(positions))).collect();
        (Shape { elements: self.elements(), parts }, rows)
    }
}

impl State {
    /// How many files hold `part`, in doubt or not.
    pub(crate) fn copies(&self, part: Part) -> usize {
        self.sure_copies(part) + self.files.values().filter(|rows| rows.contains(&Row::InDoubt(part))).count()
    }

    pub(crate) fn sure_copies(&self, part: Part) -> usize {
        self.files.values().filter(|rows| rows.contains(&Row::Sure(part))).count()
    }

    fn look(&self, place: Place) -> Look {
        if self.files.contains_key(&place) {
            Look::Found(Fate::Stored)
        } else if self.voids.contains(&place) {
            Look::Found(Fate::Voided)
        } else {
            Look::Nothing
        }
    }

    pub(crate) fn take(&mut self, world: &World, action: Action) {
        match action {
            Action::Receive { worker, message } => {
                let queued = &mut self.queue[message];
                queued.holder = Some(worker);
                queued.deliveries += 1;
                // The worst case is a dead-letter queue that counts from zero again.
                let count = queued.deliveries - queued.copies - queued.moved_after.unwrap_or_default();
                let was_moved = queued.moved_after.is_some() && !world.is(Broken::DeadLettersForgotten);
                self.arrive(world, worker, message, is_first_delivery(u32::from(count), was_moved));
            }
            Action::Copy { worker, message, is_first } => {
                let queued = &mut self.queue[message];
                queued.deliveries += 1;
                queued.copies += 1;
                self.arrive(world, worker, message, is_first);
            }
            Action::MoveToDeadLetters { message } => {
                let queued = &mut self.queue[message];
                queued.moved_after = Some(queued.deliveries - queued.copies);
            }
            Action::VisibilityTimesOut { message } => self.show(message),
            Action::SendExtension { worker, delivery } => {
                if let Some(held) = self.workers[worker].held.get_mut(&delivery) {
                    held.extension = Extension::Sent;
                }
            }
            Action::ExtensionAnswered { worker, delivery } => {
                if let Some(held) = self.workers[worker].held.get_mut(&delivery) {
                    held.extension = Extension::Over;
                    let now = held.now;
                    if world.is(Broken::LateExtensionTrusted) {
                        held.deadline = Deadline::new(now + 1);
                    } else {
                        held.deadline.extend(2, |until| now >= until);
                    }
                }
            }
            Action::ListLedger { worker, delivery } => self.list(world, worker, delivery),
            Action::Resolve { worker, delivery, answered } => self.resolve(world, worker, delivery, answered),
            Action::OpenEpoch { worker } => self.open(world, worker),
            Action::PutEntry { worker, answered } => self.put_entry(world, worker, answered),
            Action::PutFile { worker, file, answered } => self.put_file(world, worker, file, answered),
            Action::Delete { worker, index, honoured, answered } => {
                self.delete(world, worker, index, honoured, answered);
            }
            Action::GiveUp { worker } => self.give_up(worker),
            Action::EndEpoch { worker, remove_entry } => self.end(worker, remove_entry),
            Action::Release { worker, delivery, honoured } => self.release(world, worker, delivery, honoured),
            Action::Crash { worker } => {
                let epochs = self.workers[worker].epochs;
                self.workers[worker] = Worker { has_crashed: true, epochs, ..Worker::default() };
            }
        }
    }

    /// A message becomes visible again, later than any deadline that its holder may know.
    fn show(&mut self, message: usize) {
        let queued = &mut self.queue[message];
        if let Some(worker) = queued.holder.take() {
            let held = self.workers[worker].held.iter_mut().filter(|((of, _), _)| *of == message);
            held.for_each(|(_, held)| held.now = 2);
        }
    }

    /// A worker receives a message. `is_first` is what the queue says.
    fn arrive(&mut self, world: &World, worker: usize, message: usize, is_first: bool) {
        let delivery = (message, self.queue[message].deliveries);
        let own = &mut self.workers[worker];
        let rows = match own.holdings.arrive(id(message), is_first) {
            Arrival::Held if !world.is(Broken::HoldingsForgotten) => return,
            Arrival::First => Rows::Decided(Remaining::Everything),
            Arrival::Held if is_first => Rows::Decided(Remaining::Everything),
            Arrival::Again { .. } | Arrival::Held => Rows::Unlisted,
        };
        let held = Held { deadline: Deadline::new(1), now: 0, extension: Extension::Possible, rows };
        own.held.insert(delivery, held);
    }

    fn list(&mut self, world: &World, worker: usize, delivery: Delivery) {
        let mut deciding = Deciding::default();
        for ((of, epoch), named) in &self.ledger {
            for (_, shape) in named.messages.iter().filter(|(message, _)| *message == delivery.0) {
                let places = shape.parts.iter().map(|(file, _)| ((*of, *epoch, *file), Decision::default()));
                deciding.decisions.extend(places);
                deciding.named.push(((*of, *epoch), shape.clone()));
            }
        }
        self.decide(world, worker, delivery, deciding);
    }

    fn resolve(&mut self, world: &World, worker: usize, delivery: Delivery, answered: bool) {
        let Some(Rows::Deciding(mut deciding)) = self.workers[worker].held.get(&delivery).map(|held| held.rows.clone())
        else {
            return;
        };
        let open = deciding.decisions.iter().find(|(_, decision)| !matches!(decision.step(), Step::Done(_)));
        if let Some((&place, &decision)) = open {
            let mut decision = decision;
            match decision.step() {
                Step::Look if world.is(Broken::EntryTrusted) => decision.looked(Look::Found(Fate::Stored)),
                // As if the file were put at the same time: the store tells both that they were first.
                Step::Look if world.is(Broken::StoreNotAtomic) => decision.looked(Look::Nothing),
                Step::Look => decision.looked(self.look(place)),
                Step::PutVoid => {
                    let created = self.look(place) == Look::Nothing || world.is(Broken::StoreNotAtomic);
                    if self.look(place) == Look::Nothing && !world.is(Broken::NoVoids) {
                        self.voids.insert(place);
                    }
                    if answered {
                        decision.void_put(created);
                    }
                }
                // The store of this model never contradicts itself.
                Step::Done(_) | Step::Contradicted => {}
            }
            deciding.decisions.insert(place, decision);
        }
        self.decide(world, worker, delivery, deciding);
    }

    /// If every file is decided, finds out what is left of the message.
    fn decide(&mut self, world: &World, worker: usize, delivery: Delivery, deciding: Deciding) {
        let fate = |place: &Place| match deciding.decisions.get(place).map(|decision| decision.step()) {
            Some(Step::Done(fate)) => Some(fate),
            _ => None,
        };
        let with_fates = |((of, epoch), shape): &((usize, u8), Shape<u8>)| {
            let parts = shape.parts.iter().map(|(file, held)| Some((fate(&(*of, *epoch, *file))?, held.clone())));
            Some(Shape { elements: shape.elements, parts: parts.collect::<Option<_>>()? })
        };
        let earlier: Option<Vec<Shape<Fate>>> = deciding.named.iter().map(with_fates).collect();
        let decoded = world.decoded(delivery);
        let rows = match earlier {
            None => Rows::Deciding(deciding),
            Some(_) if world.is(Broken::OtherPartitions) => {
                let stored = |file| {
                    let of_file = deciding.decisions.keys().filter(move |(.., of)| *of == file);
                    of_file.clone().count() > 0 && !of_file.map(fate).all(|fate| fate == Some(Fate::Voided))
                };
                let dropped = (0..).zip(&decoded.rows).filter(|(_, (file, _))| stored(*file)).map(|(at, _)| at);
                Rows::Decided(Remaining::Except(dropped.collect()))
            }
            Some(earlier) => Rows::Decided(remaining(decoded.elements(), &earlier)),
        };
        if let Some(held) = self.workers[worker].held.get_mut(&delivery) {
            held.rows = rows;
        }
    }
}
