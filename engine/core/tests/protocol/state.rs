//! The state of the world, and what every action makes of it.

use std::collections::{BTreeMap, BTreeSet};

use ticklake_core::commit::{Commit, Deadline, Decision, Fate, Look, Step, is_ours_to_store};

use crate::world::{Action, Broken, World};

/// A file's name: worker, epoch, partition.
pub(crate) type Place = (usize, u8, u8);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) queue: Vec<Queued>,
    /// The data files, with the messages whose rows are in them.
    pub(crate) files: BTreeMap<Place, BTreeSet<usize>>,
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
    pub(crate) messages: Vec<usize>,
    pub(crate) files: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) has_crashed: bool,
    pub(crate) epochs: u8,
    pub(crate) held: BTreeMap<usize, Held>,
    pub(crate) open: Option<Open>,
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
    pub(crate) messages: Vec<usize>,
    pub(crate) rows: Vec<BTreeSet<u8>>,
    pub(crate) files: Vec<u8>,
}

impl Held {
    pub(crate) fn is_ours(&mut self) -> bool {
        let now = self.now;
        self.deadline.look(|until| now >= until).is_some()
    }
}

impl State {
    /// How many files hold the rows of `message` in `partition`.
    pub(crate) fn copies(&self, message: usize, partition: u8) -> usize {
        self.files.iter().filter(|((.., of), messages)| *of == partition && messages.contains(&message)).count()
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
                let is_first = queued.deliveries == 1;
                let rows = if is_first { Rows::Decided(world.messages[message].clone()) } else { Rows::Unlisted };
                let held = Held { deadline: Deadline::new(1), now: 0, extension: Extension::Possible, rows };
                self.workers[worker].held.insert(message, held);
            }
            Action::VisibilityTimesOut { message } => {
                if let Some(worker) = self.queue[message].holder.take()
                    && let Some(held) = self.workers[worker].held.get_mut(&message)
                {
                    // Later than any deadline that the worker may know of.
                    held.now = 2;
                }
            }
            Action::SendExtension { worker, message } => {
                if let Some(held) = self.workers[worker].held.get_mut(&message) {
                    held.extension = Extension::Sent;
                }
            }
            Action::ExtensionAnswered { worker, message } => {
                if let Some(held) = self.workers[worker].held.get_mut(&message) {
                    held.extension = Extension::Over;
                    let now = held.now;
                    if world.is(Broken::LateExtensionTrusted) {
                        held.deadline = Deadline::new(now + 1);
                    } else {
                        held.deadline.extend(2, |until| now >= until);
                    }
                }
            }
            Action::ListLedger { worker, message } => self.list(world, worker, message),
            Action::Resolve { worker, message, answered } => self.resolve(world, worker, message, answered),
            Action::OpenEpoch { worker } => self.open(worker),
            Action::PutEntry { worker, answered } => self.put_entry(world, worker, answered),
            Action::PutFile { worker, file, answered } => self.put_file(world, worker, file, answered),
            Action::Delete { worker, index, honoured, answered } => self.delete(worker, index, honoured, answered),
            Action::EndEpoch { worker, remove_entry } => self.end(worker, remove_entry),
            Action::Crash { worker } => {
                let epochs = self.workers[worker].epochs;
                self.workers[worker] = Worker { has_crashed: true, epochs, ..Worker::default() };
            }
        }
    }

    fn list(&mut self, world: &World, worker: usize, message: usize) {
        let mut decisions = BTreeMap::new();
        for ((of, epoch), named) in &self.ledger {
            if named.messages.contains(&message) {
                let files = named.files.iter().filter(|file| world.messages[message].contains(file));
                decisions.extend(files.map(|&file| ((*of, *epoch, file), Decision::default())));
            }
        }
        self.decide(world, worker, message, decisions);
    }

    fn resolve(&mut self, world: &World, worker: usize, message: usize, answered: bool) {
        let Some(Rows::Deciding(mut decisions)) = self.workers[worker].held.get(&message).map(|held| held.rows.clone())
        else {
            return;
        };
        let open = decisions.iter().find(|(_, decision)| !matches!(decision.step(), Step::Done(_)));
        if let Some((&place, &decision)) = open {
            let mut decision = decision;
            match decision.step() {
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
        self.decide(world, worker, message, decisions);
    }

    /// Goes on to the rows that are ours to store, if every file is decided.
    fn decide(&mut self, world: &World, worker: usize, message: usize, decisions: BTreeMap<Place, Decision>) {
        let fate = |decision: &Decision| match decision.step() {
            Step::Done(fate) => Some(fate),
            _ => None,
        };
        let fates: Option<Vec<(u8, Fate)>> =
            decisions.iter().map(|((.., partition), decision)| Some((*partition, fate(decision)?))).collect();
        let Some(held) = self.workers[worker].held.get_mut(&message) else { return };
        held.rows = match fates {
            None => Rows::Deciding(decisions),
            Some(fates) => {
                let of = |partition| fates.iter().filter(move |(of, _)| *of == partition).map(|(_, fate)| *fate);
                let rows = world.messages[message].iter().copied().filter(|&partition| is_ours_to_store(of(partition)));
                Rows::Decided(rows.collect())
            }
        };
    }

    fn open(&mut self, worker: usize) {
        let own = &mut self.workers[worker];
        let (mut messages, mut rows) = (Vec::new(), Vec::new());
        for (&message, held) in &own.held {
            if let Rows::Decided(decided) = &held.rows {
                messages.push(message);
                rows.push(decided.clone());
            }
        }
        let files: BTreeSet<u8> = rows.iter().flatten().copied().collect();
        let mut commit = Commit::new(messages.len(), files.len());
        commit.published();
        own.open = Some(Open { number: own.epochs, commit, messages, rows, files: files.into_iter().collect() });
        own.epochs += 1;
    }

    fn put_entry(&mut self, world: &World, worker: usize, answered: bool) {
        let own = &mut self.workers[worker];
        let Some(open) = &mut own.open else { return };
        let named = Named { messages: open.messages.clone(), files: open.files.clone() };
        self.ledger.insert((worker, open.number), named);
        if answered {
            let held = &mut own.held;
            let ours: Vec<bool> = open
                .messages
                .iter()
                .map(|message| held.get_mut(message).is_some_and(|held| held.is_ours() || world.is(Broken::NoCheck)))
                .collect();
            open.commit.announced(|index| ours[index]);
        }
    }

    fn put_file(&mut self, world: &World, worker: usize, file: usize, answered: bool) {
        let Some(open) = &mut self.workers[worker].open else { return };
        let partition = open.files[file];
        let place = (worker, open.number, partition);
        let holds = |index: usize| open.rows[index].contains(&partition);
        let messages =
            (0..open.messages.len()).filter(|&index| holds(index)).map(|index| open.messages[index]).collect();
        if world.is(Broken::PlainPut) {
            self.voids.remove(&place);
        }
        let is_void = self.voids.contains(&place);
        if !is_void {
            self.files.entry(place).or_insert(messages);
        }
        if answered {
            let rows = open.rows.clone();
            if is_void {
                open.commit.voided(file, |index| rows[index].contains(&partition));
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
        let message = open.messages[index];
        if honoured {
            self.queue[message].is_deleted = true;
        }
        if answered {
            let in_time = own.held.get_mut(&message).is_some_and(Held::is_ours);
            open.commit.deleted(index, in_time);
        }
    }

    fn end(&mut self, worker: usize, remove_entry: bool) {
        let own = &mut self.workers[worker];
        let Some(open) = own.open.take() else { return };
        if remove_entry {
            self.ledger.remove(&(worker, open.number));
        }
        for index in open.commit.to_give_back() {
            let message = open.messages[index];
            // One that is not ours any more is somebody else's, whom a release would rob of it.
            if own.held.get_mut(&message).is_some_and(Held::is_ours) {
                self.queue[message].holder = None;
            }
        }
        for message in &open.messages {
            own.held.remove(message);
        }
    }
}
