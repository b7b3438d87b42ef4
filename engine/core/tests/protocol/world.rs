//! The world in which the protocol is checked: SQS, S3 and workers, and everything that can happen to them, one step at a time.
//!
//! Workers decide by the code of the engine ([`ticklake_core::commit`]). What is modelled here is the rest: a queue that gives a
//! message to somebody else when its visibility times out, and may honour or ignore a stale delete while it answers success; a
//! store with conditional PUTs whose answers may get lost; workers that crash at any point, or pause at any point for longer
//! than the visibility timeout, which is the same as others going on.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};
use ticklake_core::commit::Phase;

use crate::state::{Extension, Queued, Rows, State, Worker};

/// How the protocol may be broken. Each has to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
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
pub(crate) struct World {
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

/// Everything that can happen, to a worker and a message, or a worker and a file or message of its epoch by position. What is not
/// `answered` happens, and its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
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

    pub(crate) fn is(&self, broken: Broken) -> bool {
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
