//! The state of the world, and what every action makes of it.

use std::collections::{BTreeMap, BTreeSet};

use ticklake_core::commit::{Commit, Deadline, Decision, Fate, Look, Phase, Step, is_ours_to_store};

use super::world::{Action, Broken, World};

/// A file's name: worker, epoch, partition.
pub(crate) type Place = (usize, u8, u8);

/// A message, and the how-manieth time it was received: what a receipt stands for.
pub(crate) type Delivery = (usize, u8);

/// A row: its message, and which of the message's it is.
pub(crate) type Row = (usize, u8);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) queue: Vec<Queued>,
    /// The data files, with their rows.
    pub(crate) files: BTreeMap<Place, BTreeSet<Row>>,
    pub(crate) voids: BTreeSet<Place>,
    /// By worker and epoch.
    pub(crate) ledger: BTreeMap<(usize, u8), Named>,
    pub(crate) workers: Vec<Worker>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Queued {
    pub(crate) is_deleted: bool,
    /// Nobody: it is visible.
    pub(crate) holder: Option<usize>,
    pub(crate) deliveries: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    /// Each message, and the files that it may have rows in.
    pub(crate) messages: Vec<(usize, BTreeSet<u8>)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) has_crashed: bool,
    pub(crate) epochs: u8,
    pub(crate) held: BTreeMap<Delivery, Held>,
    pub(crate) open: Option<Open>,
    /// To be released, if they still are ours when their turn comes.
    pub(crate) returning: BTreeSet<Delivery>,
}

/// A message as a worker holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// It passes when `now` reaches it; SQS gives the message to others no earlier.
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
    /// It was delivered before, and the ledger has not been listed since.
    Unlisted,
    Deciding(BTreeMap<Place, Decision>),
    /// The partitions whose rows are ours to store.
    Decided(BTreeSet<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub(crate) number: u8,
    pub(crate) commit: Commit,
    pub(crate) deliveries: Vec<Delivery>,
    /// The partitions in which each of them has rows that are ours to store.
    pub(crate) partitions: Vec<BTreeSet<u8>>,
    pub(crate) files: Vec<u8>,
}

impl Held {
    pub(crate) fn is_ours(&mut self) -> bool {
        let now = self.now;
        self.deadline.look(|until| now >= until).is_some()
    }
}

impl State {
    /// How many files hold `row`.
    pub(crate) fn copies(&self, row: Row) -> usize {
        self.files.values().filter(|rows| rows.contains(&row)).count()
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
                let delivery = (message, queued.deliveries);
                let is_first = queued.deliveries == 1;
                let rows = if is_first { Rows::Decided(world.partitions(delivery)) } else { Rows::Unlisted };
                let held = Held { deadline: Deadline::new(1), now: 0, extension: Extension::Possible, rows };
                self.workers[worker].held.insert(delivery, held);
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
            Action::OpenEpoch { worker } => self.open(worker),
            Action::PutEntry { worker, answered } => self.put_entry(world, worker, answered),
            Action::PutFile { worker, file, answered } => self.put_file(world, worker, file, answered),
            Action::Delete { worker, index, honoured, answered } => self.delete(worker, index, honoured, answered),
            Action::GiveUp { worker } => self.give_up(worker),
            Action::EndEpoch { worker, remove_entry } => self.end(worker, remove_entry),
            Action::Release { worker, delivery, honoured } => self.release(world, worker, delivery, honoured),
            Action::Crash { worker } => {
                let epochs = self.workers[worker].epochs;
                self.workers[worker] = Worker { has_crashed: true, epochs, ..Worker::default() };
            }
        }
    }

    /// A message is visible again, later than any deadline that its holder may know of.
    fn show(&mut self, message: usize) {
        let queued = &mut self.queue[message];
        if let Some(worker) = queued.holder.take()
            && let Some(held) = self.workers[worker].held.get_mut(&(message, queued.deliveries))
        {
            held.now = 2;
        }
    }

    fn list(&mut self, world: &World, worker: usize, delivery: Delivery) {
        let mut decisions = BTreeMap::new();
        for ((of, epoch), named) in &self.ledger {
            let entries = named.messages.iter().filter(|(message, _)| *message == delivery.0);
            let places = entries.flat_map(|(_, files)| files).map(|&file| ((*of, *epoch, file), Decision::default()));
            decisions.extend(places);
        }
        self.decide(world, worker, delivery, decisions);
    }

    fn resolve(&mut self, world: &World, worker: usize, delivery: Delivery, answered: bool) {
        let Some(Rows::Deciding(mut decisions)) =
            self.workers[worker].held.get(&delivery).map(|held| held.rows.clone())
        else {
            return;
        };
        let open = decisions.iter().find(|(_, decision)| !matches!(decision.step(), Step::Done(_)));
        if let Some((&place, &decision)) = open {
            let mut decision = decision;
            match decision.step() {
                Step::Look if world.is(Broken::EntryTrusted) => decision.looked(Look::Found(Fate::Stored)),
                Step::Look => decision.looked(self.look(place)),
                Step::PutVoid => {
                    let created = self.look(place) == Look::Nothing;
                    if created && !world.is(Broken::NoVoids) {
                        self.voids.insert(place);
                    }
                    if answered {
                        decision.void_put(created);
                    }
                }
                Step::Done(_) => {}
            }
            decisions.insert(place, decision);
        }
        self.decide(world, worker, delivery, decisions);
    }

    /// Goes on to the rows that are ours to store, if every file is decided.
    fn decide(&mut self, world: &World, worker: usize, delivery: Delivery, decisions: BTreeMap<Place, Decision>) {
        let fate = |decision: &Decision| match decision.step() {
            Step::Done(fate) => Some(fate),
            _ => None,
        };
        let fates: Option<Vec<(u8, Fate)>> =
            decisions.iter().map(|((.., partition), decision)| Some((*partition, fate(decision)?))).collect();
        let Some(held) = self.workers[worker].held.get_mut(&delivery) else { return };
        held.rows = match fates {
            None => Rows::Deciding(decisions),
            Some(fates) => {
                let of = |partition| fates.iter().filter(move |(of, _)| *of == partition).map(|(_, fate)| *fate);
                let partitions = world.partitions(delivery).into_iter();
                Rows::Decided(partitions.filter(|&partition| is_ours_to_store(of(partition))).collect())
            }
        };
    }

    fn open(&mut self, worker: usize) {
        let own = &mut self.workers[worker];
        let decided = own.held.iter().filter(|(delivery, _)| !own.returning.contains(delivery));
        let (deliveries, partitions): (Vec<Delivery>, Vec<BTreeSet<u8>>) = decided
            .filter_map(|(&delivery, held)| match &held.rows {
                Rows::Decided(partitions) => Some((delivery, partitions.clone())),
                _ => None,
            })
            .unzip();
        let files: BTreeSet<u8> = partitions.iter().flatten().copied().collect();
        let mut commit = Commit::new(deliveries.len(), files.len());
        commit.published();
        let files = files.into_iter().collect();
        own.open = Some(Open { number: own.epochs, commit, deliveries, partitions, files });
        own.epochs += 1;
    }

    fn put_entry(&mut self, world: &World, worker: usize, answered: bool) {
        let own = &mut self.workers[worker];
        let Some(open) = &mut own.open else { return };
        let messages = open.deliveries.iter().map(|(message, _)| *message);
        let named = Named { messages: messages.zip(open.partitions.iter().cloned()).collect() };
        self.ledger.insert((worker, open.number), named);
        if answered {
            let held = &mut own.held;
            let ours: Vec<bool> = open
                .deliveries
                .iter()
                .map(|delivery| held.get_mut(delivery).is_some_and(Held::is_ours) || world.is(Broken::NoCheck))
                .collect();
            open.commit.announced(|index| ours[index]);
        }
    }

    fn put_file(&mut self, world: &World, worker: usize, file: usize, answered: bool) {
        let Some(open) = &mut self.workers[worker].open else { return };
        let partition = open.files[file];
        let place = (worker, open.number, partition);
        let holders = open.deliveries.iter().zip(&open.partitions).filter(|(_, of)| of.contains(&partition));
        let rows = holders.flat_map(|(&delivery, _)| world.rows(delivery, partition)).collect();
        if world.is(Broken::PlainPut) {
            self.voids.remove(&place);
        }
        let is_void = self.voids.contains(&place);
        if !is_void {
            self.files.entry(place).or_insert(rows);
        }
        if answered {
            let partitions = open.partitions.clone();
            if is_void {
                open.commit.voided(file, |index| partitions[index].contains(&partition));
            } else {
                open.commit.stored(file);
            }
            // Alerts are not modelled: they are out at once.
            open.commit.published();
        }
    }

    fn delete(&mut self, worker: usize, index: usize, honoured: bool, answered: bool) {
        let own = &mut self.workers[worker];
        let Some(open) = &mut own.open else { return };
        let delivery = open.deliveries[index];
        if honoured {
            self.queue[delivery.0].is_deleted = true;
        }
        if answered {
            let in_time = own.held.get_mut(&delivery).is_some_and(Held::is_ours);
            open.commit.deleted(index, in_time);
        }
    }

    /// A stop: what could not be done in time is left to whoever comes next. The entry stays.
    fn give_up(&mut self, worker: usize) {
        let own = &mut self.workers[worker];
        let Some(open) = &mut own.open else { return };
        open.commit.abort();
        if open.commit.phase() == Phase::Aborted {
            return;
        }
        let mut left: BTreeSet<usize> = open.commit.to_delete().chain(open.commit.to_give_back()).collect();
        if open.commit.phase() != Phase::Deleting {
            left = (0..open.deliveries.len()).collect();
        }
        self.close(worker, &left);
    }

    fn end(&mut self, worker: usize, remove_entry: bool) {
        let Some(open) = &self.workers[worker].open else { return };
        if remove_entry {
            self.ledger.remove(&(worker, open.number));
        }
        let left = open.commit.to_give_back().collect();
        self.close(worker, &left);
    }

    /// Ends the epoch; its messages `left` are to be released.
    fn close(&mut self, worker: usize, left: &BTreeSet<usize>) {
        let own = &mut self.workers[worker];
        let Some(open) = own.open.take() else { return };
        for (index, delivery) in open.deliveries.into_iter().enumerate() {
            if left.contains(&index) {
                own.returning.insert(delivery);
            } else {
                own.held.remove(&delivery);
            }
        }
    }

    fn release(&mut self, world: &World, worker: usize, delivery: Delivery, honoured: bool) {
        let own = &mut self.workers[worker];
        own.returning.remove(&delivery);
        // One that is not ours any more is somebody else's, whom a release would rob of it.
        let mut held = own.held.remove(&delivery);
        let may = held.as_mut().is_some_and(Held::is_ours) || world.is(Broken::LateRelease);
        if may && honoured {
            self.queue[delivery.0].holder = None;
        }
    }
}
