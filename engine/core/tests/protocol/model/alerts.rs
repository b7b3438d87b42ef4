//! How one alert gets into the table, in every interleaving of workers that raise it, die, freeze, and adopt each
//! other's notes.
//!
//! Workers decide with the code of the engine ([`AlertCommit`], [`Claim`]). This model adds the rest: a topic, and a
//! store with conditional PUTs whose answers may be lost. A frozen worker is a worker that others overtake.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};
use ticklake_core::commit::{AlertCommit, Claim, ClaimStep, Claimant, Fate};

/// The ways to break the rules. The search must find each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// An alert exists only in its message, and is lost with it if the file of its epoch is a void.
    LostWithMessage,
    /// The alert is published before it is noted.
    PublishedFirst,
    /// The alert is stored before it is published.
    StoredFirst,
    /// The note is removed as soon as the alert is published.
    NoteRemovedEarly,
    /// An epoch trusts the claim of another epoch without a look at its row.
    ClaimTrusted,
    /// Each epoch stores the alert, without a claim.
    NoClaims,
}

/// A case: how many workers raise the alert, how many epochs each may open, and how many workers may die.
#[derive(Debug, Clone)]
pub(crate) struct Alerts {
    pub workers: usize,
    pub epochs: u8,
    pub crashes: usize,
    pub broken: Option<Broken>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    /// The workers whose notes are in the store.
    notes: BTreeSet<usize>,
    /// For each turn, the worker and epoch that has it.
    claims: Vec<(usize, u8)>,
    files: BTreeMap<(usize, u8), Place>,
    is_published: bool,
    workers: Vec<Worker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Row,
    Void,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Worker {
    has_crashed: bool,
    has_raised: bool,
    epochs: u8,
    has: Option<Has>,
}

/// What a worker knows of the alert that it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Has {
    notes: BTreeSet<usize>,
    is_published: bool,
    commit: AlertCommit,
    claim: Claim,
    /// The epoch that must store it.
    epoch: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Raise(usize),
    Adopt(usize, usize),
    Note(usize, Answered),
    Publish(usize, Answered),
    Claim(usize, Answered),
    PutFile(usize, Answered),
    End(usize),
    Crash(usize),
}

/// If false, the action happens, but its answer is lost, and the worker tries again.
type Answered = bool;

impl Has {
    fn new(epoch: u8, notes: BTreeSet<usize>) -> Self {
        let mut commit = AlertCommit::new(1);
        if !notes.is_empty() {
            commit.noted();
        }
        Self { notes, is_published: false, commit, claim: Claim::default(), epoch }
    }

    fn is_settled(&self) -> bool {
        self.commit.to_carry().next().is_none()
    }
}

impl Alerts {
    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    /// The next steps of a worker that has the alert. The publisher and the committer work side by side.
    fn steps(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        let Some(has) = &state.workers[worker].has else { return };
        let both = |make: fn(usize, Answered) -> Action| [make(worker, true), make(worker, false)];
        if has.notes.is_empty() {
            actions.extend(both(Action::Note));
        }
        if !has.is_published && (!has.notes.is_empty() || self.is(Broken::PublishedFirst)) {
            actions.extend(both(Action::Publish));
        }
        match has.claim.step() {
            _ if has.is_settled() || !(has.commit.may_claim() || self.is(Broken::StoredFirst)) => {}
            ClaimStep::Done(true) => actions.extend(both(Action::PutFile)),
            ClaimStep::Done(false) => {}
            _ => actions.extend(both(Action::Claim)),
        }
        let file = state.files.get(&(worker, has.epoch));
        let is_stored_or_void = has.is_settled() || file == Some(&Place::Void);
        if has.is_published && is_stored_or_void && (has.is_settled() || !matches!(has.claim.step(), ClaimStep::Put(0)))
        {
            actions.push(Action::End(worker));
        }
    }

    fn claim(&self, state: &mut State, worker: usize, answered: bool) {
        let mut claims = state.claims.clone();
        let files = &mut state.files;
        let Some(has) = &mut state.workers[worker].has else { return };
        let me = (worker, has.epoch);
        match has.claim.step() {
            ClaimStep::Put(turn) => {
                let created = claims.len() == turn as usize;
                if created {
                    claims.push(me);
                }
                if answered {
                    has.claim.put(created);
                }
            }
            ClaimStep::Read(turn) => {
                let claimant = if claims[turn as usize] == me { Claimant::Us } else { Claimant::Other };
                has.claim.read(claimant);
            }
            ClaimStep::Decide(_) if self.is(Broken::ClaimTrusted) => has.claim.decided(Fate::Stored),
            ClaimStep::Decide(turn) => {
                let place = *files.entry(claims[turn as usize]).or_insert(Place::Void);
                has.claim.decided(if place == Place::Void { Fate::Voided } else { Fate::Stored });
            }
            // The store of this model never contradicts itself.
            ClaimStep::Done(_) | ClaimStep::Contradicted(_) => {}
        }
        if let ClaimStep::Done(ours) = has.claim.step() {
            has.commit.claimed(0, ours);
        }
        state.claims = claims;
    }

    /// The epoch ends. The note is removed, or the next epoch carries the alert on.
    fn end(&self, state: &mut State, worker: usize) {
        let own = &mut state.workers[worker];
        let Some(has) = own.has.take() else { return };
        if has.commit.may_remove_notes() || self.is(Broken::LostWithMessage) {
            state.notes.retain(|note| !has.notes.contains(note));
        } else if own.epochs < self.epochs {
            let mut next = Has::new(own.epochs, has.notes);
            next.is_published = true;
            next.commit.published();
            own.has = Some(next);
            own.epochs += 1;
        }
    }

    fn without_failures(&self, mut state: State) -> State {
        let worker = state.workers.len();
        state.workers.push(Worker { has_raised: true, ..Worker::default() });
        let fair = Self { epochs: u8::MAX, ..self.clone() };
        // This is far more than needed.
        for _ in 0..50 {
            let mut actions = Vec::new();
            if state.workers[worker].has.is_some() {
                fair.steps(&state, worker, &mut actions);
            } else {
                actions.extend(state.notes.first().map(|&note| Action::Adopt(worker, note)));
            }
            let Some(&action) = actions.iter().find(|action| !action.is_failure()) else { break };
            fair.take(&mut state, action);
        }
        state
    }

    fn take(&self, state: &mut State, action: Action) {
        match action {
            Action::Raise(worker) => {
                let own = &mut state.workers[worker];
                own.has_raised = true;
                own.has = Some(Has::new(own.epochs, BTreeSet::new()));
                own.epochs += 1;
            }
            Action::Adopt(worker, note) => {
                let own = &mut state.workers[worker];
                own.has = Some(Has::new(own.epochs, BTreeSet::from([note])));
                own.epochs += 1;
            }
            Action::Note(worker, answered) => {
                state.notes.insert(worker);
                if let Some(has) = state.workers[worker].has.as_mut().filter(|_| answered) {
                    has.notes.insert(worker);
                    has.commit.noted();
                }
            }
            Action::Publish(worker, answered) => {
                state.is_published = true;
                if let Some(has) = state.workers[worker].has.as_mut().filter(|_| answered) {
                    has.is_published = true;
                    has.commit.published();
                    if self.is(Broken::NoteRemovedEarly) {
                        state.notes.remove(&worker);
                    }
                }
            }
            Action::Claim(worker, answered) if self.is(Broken::NoClaims) => {
                if let Some(has) = state.workers[worker].has.as_mut().filter(|_| answered) {
                    has.claim.put(true);
                    has.commit.claimed(0, true);
                }
            }
            Action::Claim(worker, answered) => self.claim(state, worker, answered),
            Action::PutFile(worker, answered) => {
                let Some(has) = &mut state.workers[worker].has else { return };
                let place = *state.files.entry((worker, has.epoch)).or_insert(Place::Row);
                match place {
                    Place::Row if answered => has.commit.stored(0),
                    Place::Void if answered => has.commit.voided(0),
                    _ => {}
                }
            }
            Action::End(worker) => self.end(state, worker),
            Action::Crash(worker) => {
                state.workers[worker].has_crashed = true;
                state.workers[worker].has = None;
            }
        }
    }
}

impl Action {
    fn is_failure(self) -> bool {
        match self {
            Self::Note(_, answered)
            | Self::Publish(_, answered)
            | Self::Claim(_, answered)
            | Self::PutFile(_, answered) => !answered,
            Self::Crash(_) => true,
            _ => false,
        }
    }
}

impl Model for Alerts {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { workers: vec![Worker::default(); self.workers], ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let crashed = state.workers.iter().filter(|worker| worker.has_crashed).count();
        for (at, worker) in state.workers.iter().enumerate().filter(|(_, worker)| !worker.has_crashed) {
            if worker.has.is_none() && worker.epochs < self.epochs {
                if !worker.has_raised {
                    actions.push(Action::Raise(at));
                }
                // The owner of the note may still be alive: it may only be slow.
                let others = state.notes.iter().filter(|note| **note != at);
                actions.extend(others.map(|&note| Action::Adopt(at, note)));
            }
            if worker.has.is_some() && crashed < self.crashes {
                actions.push(Action::Crash(at));
            }
            self.steps(state, at, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.take(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("stored once at most", |_: &Alerts, state: &State| state.rows() <= 1),
            Property::always("published and so stored", |world: &Alerts, state: &State| {
                !state.is_published || world.without_failures(state.clone()).rows() == 1
            }),
            Property::always("stored and so published", |world: &Alerts, state: &State| {
                state.rows() == 0 || world.without_failures(state.clone()).is_published
            }),
            Property::sometimes("a dead worker's alert is adopted and stored", |_: &Alerts, state: &State| {
                state.rows() == 1 && state.notes.is_empty() && state.workers.iter().any(|worker| worker.has_crashed)
            }),
            Property::sometimes("a void is carried on from", |_: &Alerts, state: &State| {
                state.rows() == 1 && state.files.len() > 1
            }),
        ]
    }
}

impl State {
    fn rows(&self) -> usize {
        self.files.values().filter(|place| **place == Place::Row).count()
    }
}
