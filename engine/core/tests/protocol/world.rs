//! The world in which the protocol is checked: SQS, S3 and workers, and everything that can happen to them, one step at a time.
//!
//! Workers decide by the code of the engine ([`ticklake_core::commit`]). What is modelled here is the rest: a queue that gives a
//! message to somebody else when its visibility times out, and may honour or ignore a stale delete while it answers success; a
//! store with conditional PUTs whose answers may get lost; workers that crash at any point, or pause at any point for longer
//! than the visibility timeout, which is the same as others going on.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};
use ticklake_core::commit::{Commit, Deadline, Decision, Fate, Look, Phase, Step, is_ours_to_store};

/// How the protocol may be broken. Each has to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// After its entry was answered an epoch goes on, whether or not its messages still are ours.
    NoCheck,
    /// A data file replaces a void.
    PlainPut,
    /// Messages are deleted before their files are stored.
    DeleteFirst,
    /// A file that is not there is taken to never be there, without a void.
    NoVoids,
    /// An entry is removed after any delete, also one that was answered too late.
    EntryRemovedAfterStaleDelete,
    /// An extension counts whenever it is answered.
    LateExtensionTrusted,
}

/// A small case.
#[derive(Debug, Clone)]
pub struct World {
    /// Process starts: a worker that has crashed never comes back under its name.
    pub workers: usize,
    /// Epochs that each may open.
    pub epochs: u8,
    /// The partitions that each message has rows in.
    pub messages: Vec<BTreeSet<u8>>,
    /// How often each message may be delivered.
    pub deliveries: u8,
    /// Whether messages may be extended, once per delivery.
    pub extensions: bool,
    /// Workers that may crash.
    pub crashes: usize,
    pub broken: Option<Broken>,
}

/// A file's name: worker, epoch, partition.
type Place = (usize, u8, u8);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    queue: Vec<Queued>,
    /// The data files, with the messages whose rows are in them.
    files: BTreeMap<Place, BTreeSet<usize>>,
    voids: BTreeSet<Place>,
    /// By worker and epoch.
    ledger: BTreeMap<(usize, u8), Named>,
    workers: Vec<Worker>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Queued {
    is_deleted: bool,
    /// Nobody: it is visible.
    holder: Option<usize>,
    deliveries: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Named {
    messages: Vec<usize>,
    files: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Worker {
    has_crashed: bool,
    epochs: u8,
    held: BTreeMap<usize, Held>,
    open: Option<Open>,
}

/// A message as a worker holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Held {
    /// It passes when `now` reaches it; SQS gives the message to others no earlier.
    deadline: Deadline<u8>,
    now: u8,
    extension: Extension,
    rows: Rows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Extension {
    Possible,
    Sent,
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Rows {
    /// It was delivered before, and the ledger has not been listed since.
    Unlisted,
    Deciding(BTreeMap<Place, Decision>),
    /// The partitions whose rows are ours to store.
    Decided(BTreeSet<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Open {
    number: u8,
    commit: Commit,
    messages: Vec<usize>,
    rows: Vec<BTreeSet<u8>>,
    files: Vec<u8>,
}

/// Everything that can happen, to a worker and a message, or a worker and a file or message of its epoch by position. What is not
/// `answered` happens, and its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Receive { worker: usize, message: usize },
    VisibilityTimesOut { message: usize },
    SendExtension { worker: usize, message: usize },
    ExtensionAnswered { worker: usize, message: usize },
    ListLedger { worker: usize, message: usize },
    Resolve { worker: usize, message: usize, answered: bool },
    OpenEpoch { worker: usize },
    PutEntry { worker: usize, answered: bool },
    PutFile { worker: usize, file: usize, answered: bool },
    Delete { worker: usize, index: usize, honoured: bool, answered: bool },
    EndEpoch { worker: usize, remove_entry: bool },
    Crash { worker: usize },
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            queue: vec![Queued::default(); self.messages.len()],
            files: BTreeMap::new(),
            voids: BTreeSet::new(),
            ledger: BTreeMap::new(),
            workers: vec![Worker::default(); self.workers],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (message, queued) in state.queue.iter().enumerate() {
            if queued.holder.is_some() && !queued.is_deleted && queued.deliveries < self.deliveries {
                actions.push(Action::VisibilityTimesOut { message });
            }
        }
        for worker in 0..self.workers {
            if !state.workers[worker].has_crashed {
                self.actions_of(state, worker, actions);
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.take(self, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never twice", |world: &World, state: &State| {
                world.all_rows().all(|(message, partition)| state.copies(message, partition) <= 1)
            }),
            Property::always("no deletion before durability", |world: &World, state: &State| {
                let is_deleted = |message: usize| state.queue[message].is_deleted;
                world
                    .all_rows()
                    .all(|(message, partition)| !is_deleted(message) || state.copies(message, partition) == 1)
            }),
            Property::always("nobody is stuck", |world: &World, state: &State| {
                let mut actions = Vec::new();
                world.actions(state, &mut actions);
                let is_stuck = |worker: &Worker| !worker.has_crashed && worker.open.is_some();
                !actions.is_empty() || !state.workers.iter().any(is_stuck)
            }),
            Property::sometimes("everything stored and deleted after a redelivery", |_: &World, state: &State| {
                state.queue.iter().all(|queued| queued.is_deleted)
                    && state.queue.iter().any(|queued| queued.deliveries > 1)
            }),
            Property::sometimes("a worker takes over what another has not stored", |_: &World, state: &State| {
                !state.voids.is_empty() && !state.files.is_empty()
            }),
        ]
    }
}

impl World {
    fn all_rows(&self) -> impl Iterator<Item = (usize, u8)> {
        let rows = self.messages.iter().enumerate();
        rows.flat_map(|(message, partitions)| partitions.iter().map(move |&partition| (message, partition)))
    }

    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    fn actions_of(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let own = &state.workers[worker];
        if state.workers.iter().filter(|worker| worker.has_crashed).count() < self.crashes {
            actions.push(Action::Crash { worker });
        }
        for (message, queued) in state.queue.iter().enumerate() {
            let may_work = own.epochs < self.epochs && !own.held.contains_key(&message);
            if may_work && !queued.is_deleted && queued.holder.is_none() && queued.deliveries < self.deliveries {
                actions.push(Action::Receive { worker, message });
            }
        }
        for (&message, held) in &own.held {
            match held.extension {
                Extension::Possible if self.extensions => actions.push(Action::SendExtension { worker, message }),
                Extension::Sent => actions.push(Action::ExtensionAnswered { worker, message }),
                _ => {}
            }
            match &held.rows {
                Rows::Unlisted => actions.push(Action::ListLedger { worker, message }),
                Rows::Deciding(_) => {
                    actions.extend([true, false].map(|answered| Action::Resolve { worker, message, answered }));
                }
                Rows::Decided(_) => {}
            }
        }
        let Some(open) = &own.open else {
            if own.epochs < self.epochs && own.held.values().any(|held| matches!(held.rows, Rows::Decided(_))) {
                actions.push(Action::OpenEpoch { worker });
            }
            return;
        };
        if open.commit.phase() == Phase::Announcing {
            actions.extend([true, false].map(|answered| Action::PutEntry { worker, answered }));
        }
        for file in open.commit.to_store() {
            actions.extend([true, false].map(|answered| Action::PutFile { worker, file, answered }));
        }
        let early = self.is(Broken::DeleteFirst) && open.commit.phase() == Phase::Storing;
        let deletes: Vec<usize> =
            if early { (0..open.messages.len()).collect() } else { open.commit.to_delete().collect() };
        for &index in &deletes {
            let message = open.messages[index];
            let is_stale = state.queue[message].holder != Some(worker);
            for answered in [true, false] {
                actions.push(Action::Delete { worker, index, honoured: true, answered });
                // A delete by the receipt of an earlier delivery.
                if is_stale && answered {
                    actions.push(Action::Delete { worker, index, honoured: false, answered });
                }
            }
        }
        if open.commit.phase() == Phase::Aborted || open.commit.phase() == Phase::Deleting && deletes.is_empty() {
            let may_remove = open.commit.may_remove_entry() || self.is(Broken::EntryRemovedAfterStaleDelete);
            // It may also stay, until the grace period is over.
            actions.push(Action::EndEpoch { worker, remove_entry: false });
            if may_remove {
                actions.push(Action::EndEpoch { worker, remove_entry: true });
            }
        }
    }
}

impl Held {
    fn is_ours(&mut self) -> bool {
        let now = self.now;
        self.deadline.look(|until| now >= until).is_some()
    }
}

impl State {
    /// How many files hold the rows of `message` in `partition`.
    fn copies(&self, message: usize, partition: u8) -> usize {
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

    fn take(&mut self, world: &World, action: Action) {
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
