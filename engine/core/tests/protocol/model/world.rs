//! The world in which the protocol is checked: SQS, S3 and workers. Everything that can happen to them happens one step
//! at a time.
//!
//! Workers decide with the code of the engine ([`ticklake_core::commit`]). This model adds the rest. The queue gives a
//! message to others when its visibility times out. It may ignore a stale delete, and still answer success. The store
//! has conditional PUTs whose answers may be lost. A worker may crash at any point. It may also pause for longer than
//! the visibility timeout, which is the same as others going on.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};
use ticklake_core::commit::Phase;

use super::state::{Delivery, Extension, Held, Open, Part, Queued, Rows, State, Worker};

/// The ways to break the protocol. The search must find each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// After its entry was answered, an epoch goes on, whether or not its messages are still ours.
    NoCheck,
    /// A data file replaces a void.
    PlainPut,
    /// Messages are deleted before their files are stored.
    DeleteFirst,
    /// If a file is not there, the worker assumes that it never will be, without a void.
    NoVoids,
    /// An entry is removed after any delete, also after one that was answered too late.
    EntryRemovedAfterStaleDelete,
    /// An extension counts whenever it is answered.
    LateExtensionTrusted,
    /// A message is released even if it is not ours any more, and SQS takes it away from its holder.
    LateRelease,
    /// Rows are dropped by partition: a worker assumes that a stored file holds the same rows of a message that its own
    /// decoding has for that file.
    OtherPartitions,
    /// A worker assumes that the files of an entry are stored, without a look.
    EntryTrusted,
    /// A worker trusts the queue's count, and not what it holds.
    HoldingsForgotten,
    /// A delete counts although the message was handed out again.
    CopiesIgnored,
    /// A worker trusts the count of a dead-letter queue.
    DeadLettersForgotten,
    /// The store tells two writers at the same time that each of them was first.
    StoreNotAtomic,
}

/// The partition of a body in doubt.
pub(crate) const QUARANTINE: u8 = 9;

/// How a worker decodes one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Decoded {
    /// Its rows in their order: the partition of each row, and the parts of the message that the row stands for.
    pub(crate) rows: Vec<(u8, Vec<u8>)>,
    /// Whether each row is an element of its own.
    pub(crate) is_split: bool,
}

impl Decoded {
    /// One row for each part. `partitions` has the partition of each row.
    pub(crate) fn parts(partitions: &[u8]) -> Self {
        Self { rows: (0..).zip(partitions).map(|(part, file)| (*file, vec![part])).collect(), is_split: true }
    }

    /// One reject that stands for `parts` parts.
    pub(crate) fn whole(parts: u8) -> Self {
        Self { rows: vec![(QUARANTINE, (0..parts).collect())], is_split: false }
    }

    pub(crate) fn elements(&self) -> Option<u32> {
        self.is_split.then_some(self.rows.len() as u32)
    }
}

/// A small case.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// The number of process starts. A worker that has crashed never comes back under its name.
    pub workers: usize,
    /// How many epochs each worker may open.
    pub epochs: u8,
    /// How each message may be decoded. Its deliveries take these ways in turn, whichever worker receives them.
    pub messages: Vec<Vec<Decoded>>,
    /// How often each message may be delivered.
    pub deliveries: u8,
    /// Whether messages may be extended, once per delivery.
    pub extensions: bool,
    /// How many workers may crash.
    pub crashes: usize,
    /// How often each message may be handed out again to the worker that holds it.
    pub copies: u8,
    /// Whether messages may be moved to a dead-letter queue.
    pub moves: bool,
    /// Whether workers may give up an epoch, as they do when the time for a stop is over.
    pub stops: bool,
    pub broken: Option<Broken>,
}

/// Everything that can happen to a worker and a message, or to a worker and a file or message of its epoch, given by
/// position. If an action is not `answered`, it happens, but its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Receive { worker: usize, message: usize },
    Copy { worker: usize, message: usize, is_first: bool },
    MoveToDeadLetters { message: usize },
    VisibilityTimesOut { message: usize },
    SendExtension { worker: usize, delivery: Delivery },
    ExtensionAnswered { worker: usize, delivery: Delivery },
    ListLedger { worker: usize, delivery: Delivery },
    Resolve { worker: usize, delivery: Delivery, answered: bool },
    OpenEpoch { worker: usize },
    PutEntry { worker: usize, answered: bool },
    PutFile { worker: usize, file: usize, answered: bool },
    Delete { worker: usize, index: usize, honoured: bool, answered: bool },
    GiveUp { worker: usize },
    EndEpoch { worker: usize, remove_entry: bool },
    Release { worker: usize, delivery: Delivery, honoured: bool },
    Crash { worker: usize },
}

impl Action {
    /// Whether something goes wrong: an answer is lost, or a worker.
    fn is_failure(self) -> bool {
        match self {
            Self::Resolve { answered, .. } | Self::PutEntry { answered, .. } | Self::PutFile { answered, .. } => {
                !answered
            }
            Self::Delete { honoured, answered, .. } => !(honoured && answered),
            Self::Release { honoured, .. } => !honoured,
            Self::GiveUp { .. } | Self::Crash { .. } => true,
            _ => false,
        }
    }
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
            if queued.holder.is_some() && !queued.is_deleted && queued.deliveries - queued.copies < self.deliveries {
                actions.push(Action::VisibilityTimesOut { message });
            }
            let is_visible = queued.holder.is_none() && queued.deliveries > 0 && !queued.is_deleted;
            if self.moves && is_visible && queued.moved_after.is_none() {
                actions.push(Action::MoveToDeadLetters { message });
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
                world.all_parts().all(|part| state.sure_copies(part) <= 1)
            }),
            Property::always("no deletion before durability", |world: &World, state: &State| {
                world.all_parts().all(|part| !state.queue[part.0].is_deleted || state.copies(part) > 0)
            }),
            Property::always("never lost", |world: &World, state: &State| {
                let end = world.without_failures(state.clone());
                end.queue.iter().all(|queued| queued.is_deleted) && world.all_parts().all(|part| end.copies(part) > 0)
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
    fn all_parts(&self) -> impl Iterator<Item = Part> {
        let parts = |decoded: &Decoded| decoded.rows.iter().flat_map(|(_, parts)| parts.clone()).collect::<Vec<u8>>();
        let of =
            move |(message, ways): (usize, &Vec<Decoded>)| parts(&ways[0]).into_iter().map(move |part| (message, part));
        self.messages.iter().enumerate().flat_map(of)
    }

    /// How a message is decoded at this delivery.
    pub(crate) fn decoded(&self, (message, delivered): Delivery) -> &Decoded {
        let ways = &self.messages[message];
        &ways[usize::from(delivered.saturating_sub(1)) % ways.len()]
    }

    /// The final state if all workers stop now, and another worker goes on without a failure.
    fn without_failures(&self, mut state: State) -> State {
        let worker = state.workers.len();
        state.workers.push(Worker::default());
        let world = Self {
            epochs: u8::MAX,
            deliveries: u8::MAX,
            extensions: false,
            stops: false,
            copies: 0,
            moves: false,
            ..self.clone()
        };
        for message in 0..state.queue.len() {
            if state.queue[message].holder.is_some() {
                state.take(&world, Action::VisibilityTimesOut { message });
            }
        }
        let mut actions = Vec::new();
        // This is far more than needed.
        for _ in 0..100 {
            actions.clear();
            world.actions_of(&state, worker, &mut actions);
            match actions.iter().find(|action| !action.is_failure()) {
                Some(&action) => state.take(&world, action),
                None => break,
            }
        }
        state
    }

    pub(crate) fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    fn actions_of(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let own = &state.workers[worker];
        if own.held.is_empty() && own.open.is_none() && own.epochs >= self.epochs {
            return;
        }
        if state.workers.iter().filter(|worker| worker.has_crashed).count() < self.crashes {
            actions.push(Action::Crash { worker });
        }
        for (message, queued) in state.queue.iter().enumerate() {
            if own.epochs < self.epochs
                && !queued.is_deleted
                && queued.holder.is_none()
                && queued.deliveries - queued.copies < self.deliveries
            {
                actions.push(Action::Receive { worker, message });
            }
        }
        for (message, queued) in state.queue.iter().enumerate().filter(|(_, queued)| queued.copies < self.copies) {
            let is_held = own.held.keys().any(|(held, _)| *held == message);
            if is_held && (queued.holder == Some(worker) || queued.is_deleted) {
                actions.extend([true, false].map(|is_first| Action::Copy { worker, message, is_first }));
            }
        }
        for (&delivery, held) in own.held.iter().filter(|(delivery, _)| !own.returning.contains(delivery)) {
            match held.extension {
                Extension::Possible if self.extensions => actions.push(Action::SendExtension { worker, delivery }),
                Extension::Sent => actions.push(Action::ExtensionAnswered { worker, delivery }),
                _ => {}
            }
            match &held.rows {
                Rows::Unlisted => actions.push(Action::ListLedger { worker, delivery }),
                Rows::Deciding(_) => {
                    actions.extend([true, false].map(|answered| Action::Resolve { worker, delivery, answered }));
                }
                Rows::Decided(_) => {}
            }
        }
        for &delivery in &own.returning {
            actions.extend([true, false].map(|honoured| Action::Release { worker, delivery, honoured }));
        }
        let Some(open) = &own.open else {
            let is_decided = |(delivery, held): (&Delivery, &Held)| {
                matches!(held.rows, Rows::Decided(_)) && !own.returning.contains(delivery)
            };
            if own.epochs < self.epochs && own.held.iter().any(is_decided) {
                actions.push(Action::OpenEpoch { worker });
            }
            return;
        };
        self.actions_of_epoch(state, worker, open, actions);
    }

    /// The next steps of a worker with an open epoch.
    fn actions_of_epoch(&self, state: &State, worker: usize, open: &Open, actions: &mut Vec<Action>) {
        if self.stops {
            actions.push(Action::GiveUp { worker });
        }
        if open.commit.phase() == Phase::Announcing {
            actions.extend([true, false].map(|answered| Action::PutEntry { worker, answered }));
        }
        for file in open.commit.to_store() {
            actions.extend([true, false].map(|answered| Action::PutFile { worker, file, answered }));
        }
        let early = self.is(Broken::DeleteFirst) && open.commit.phase() == Phase::Storing;
        let deletes: Vec<usize> =
            if early { (0..open.deliveries.len()).collect() } else { open.commit.to_delete().collect() };
        for &index in &deletes {
            let (message, delivered) = open.deliveries[index];
            let queued = &state.queue[message];
            let is_stale = queued.holder != Some(worker) || queued.deliveries != delivered;
            for answered in [true, false] {
                actions.push(Action::Delete { worker, index, honoured: true, answered });
                // SQS may ignore a delete by the receipt of an earlier delivery.
                if is_stale && answered {
                    actions.push(Action::Delete { worker, index, honoured: false, answered });
                }
            }
        }
        if open.commit.phase() == Phase::Aborted || open.commit.phase() == Phase::Deleting && deletes.is_empty() {
            let may_remove = open.commit.may_remove_entry() || self.is(Broken::EntryRemovedAfterStaleDelete);
            // The entry may also stay, until the grace period is over.
            actions.push(Action::EndEpoch { worker, remove_entry: false });
            if may_remove {
                actions.push(Action::EndEpoch { worker, remove_entry: true });
            }
        }
    }
}
