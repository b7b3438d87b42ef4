//! Claiming an alert: of all the epochs that raise it, one stores its row.
//!
//! The rows of a message belong to whoever holds the message. An alert may be raised by several workers that were given the same tick one
//! after the other, and each may be certain of it at another time: with the tick itself, with the price after it, or when none has come for
//! a while. So what decides is not the message but an object of the alert's id, which the first epoch puts, after its entry and before its
//! file of alerts. That one stores the row; the others leave it out.
//!
//! A claim stays. Where the file of the epoch that has it turns out to be a void, its row will never be there, and the next turn decides,
//! with an object of its own. Where there is neither file nor void yet, the row is left to that epoch: its entry names the message that it
//! gave the alert to, and whoever takes that one over puts the void, raises the alert, and claims the next turn. What time alone made certain
//! has no message, and nobody would be led to that file: whoever else raises the alert decides what becomes of it.

use sha2::{Digest as _, Sha256};

use super::{Fate, Look};

/// Whose an alert's row is to store, as seen by one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim(ClaimStep);

/// What to do next about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimStep {
    /// Put the object of this turn, which names our file of alerts, unless there is one.
    Put(u32),
    /// Read which file it names.
    Read(u32),
    /// Look at the file of alerts of the epoch that has this turn.
    Look(u32),
    /// Wait for it a while, then decide what becomes of it: put a void there, unless there is something.
    Decide(u32),
    /// Nothing: it is decided whether the row is ours to store.
    Done(bool),
}

/// Whose a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claimant {
    /// This epoch's: the answer to an earlier attempt was lost.
    Us,
    /// Another epoch's, which gave the alert to one of its messages.
    Other,
    /// Another epoch's, which has no message for it.
    OtherWithoutMessage,
    /// Nobody's any more: claims that are older than anything in the queue are removed.
    Nobody,
}

impl Default for Claim {
    fn default() -> Self {
        Self(ClaimStep::Put(0))
    }
}

impl Claim {
    /// What to do next.
    #[must_use]
    pub fn step(self) -> ClaimStep {
        self.0
    }

    /// The object was put, or was not, because there is one.
    pub fn put(&mut self, created: bool) {
        if let ClaimStep::Put(turn) = self.0 {
            self.0 = if created { ClaimStep::Done(true) } else { ClaimStep::Read(turn) };
        }
    }

    /// It was read whose the turn is.
    pub fn read(&mut self, claimant: Claimant) {
        if let ClaimStep::Read(turn) = self.0 {
            self.0 = match claimant {
                Claimant::Us => ClaimStep::Done(true),
                Claimant::Other => ClaimStep::Look(turn),
                Claimant::OtherWithoutMessage => ClaimStep::Decide(turn),
                Claimant::Nobody => ClaimStep::Put(turn),
            };
        }
    }

    /// It was looked, or decided, what is in the place of the other epoch's file.
    pub fn looked(&mut self, look: Look) {
        if let ClaimStep::Look(turn) | ClaimStep::Decide(turn) = self.0 {
            self.0 = match look {
                Look::Found(Fate::Voided) => ClaimStep::Put(turn.saturating_add(1)),
                Look::Found(Fate::Stored) | Look::Nothing => ClaimStep::Done(false),
            };
        }
    }
}

/// Second line of the object of an epoch that has no message for the alert.
const WITHOUT_MESSAGE: &str = "without a message";

/// What a claiming object holds: the key of the file of alerts that the row belongs into, and whether a message leads to that file.
#[must_use]
pub fn claim_body(file: &str, has_message: bool) -> String {
    if has_message { file.to_owned() } else { format!("{file}\n{WITHOUT_MESSAGE}") }
}

/// What [`claim_body`] was made of.
#[must_use]
pub fn read_claim(body: &str) -> (&str, bool) {
    match body.split_once('\n') {
        Some((file, rest)) => (file, rest != WITHOUT_MESSAGE),
        None => (body, true),
    }
}

/// The name of the object that decides a turn of the alert `id`. Ids hold symbols, and those hold what is no part of a key: so it is the
/// start of its SHA-256.
#[must_use]
pub fn claim_name(id: &str, turn: u32) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(36);
    for byte in Sha256::digest(id).iter().take(16) {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    let _ = write!(name, "-{turn}");
    name
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    /// Epochs that raise the same alert, of which some come into being where the file of another is voided.
    const EPOCHS_MAX: usize = 4;

    /// What is in the store, and where each epoch has got to.
    #[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
    struct World {
        /// Of each turn, the epoch that has it.
        claims: Vec<usize>,
        epochs: Vec<Epoch>,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct Epoch {
        claim: Claim,
        /// Whether a message leads somebody to its file.
        has_message: bool,
        /// What is in the place of its file of alerts, once something is.
        file: Option<Place>,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    enum Place {
        Row,
        /// The file, without the row.
        NoRow,
        Void,
    }

    const WITH_MESSAGE: Epoch = Epoch { claim: Claim(ClaimStep::Put(0)), has_message: true, file: None };
    const WITHOUT_MESSAGE: Epoch = Epoch { has_message: false, ..WITH_MESSAGE };

    fn look(file: Option<Place>) -> Look {
        match file {
            None => Look::Nothing,
            Some(Place::Void) => Look::Found(Fate::Voided),
            Some(_) => Look::Found(Fate::Stored),
        }
    }

    impl World {
        /// Everything that may happen next.
        fn next(&self) -> Vec<World> {
            let mut next = Vec::new();
            for (at, epoch) in self.epochs.iter().enumerate() {
                next.extend(self.stepped(at, true));
                // A PUT whose answer is lost is tried again.
                if matches!(epoch.claim.step(), ClaimStep::Put(_)) {
                    next.extend(self.stepped(at, false));
                }
                // Somebody was given the message, finds nothing, puts a void, and raises the alert.
                if epoch.file.is_none() && epoch.has_message && self.epochs.len() < EPOCHS_MAX {
                    let mut world = self.clone();
                    world.epochs[at].file = Some(Place::Void);
                    world.epochs.push(WITH_MESSAGE);
                    next.push(world);
                }
            }
            next
        }

        /// The next step of an epoch.
        fn stepped(&self, at: usize, answered: bool) -> Option<World> {
            let mut world = self.clone();
            let Epoch { claim, file, .. } = &mut world.epochs[at];
            match claim.step() {
                ClaimStep::Put(turn) => {
                    let created = world.claims.len() == turn as usize;
                    if created {
                        world.claims.push(at);
                    }
                    if answered {
                        claim.put(created);
                    }
                }
                ClaimStep::Read(turn) => claim.read(match world.claims[turn as usize] {
                    claimant if claimant == at => Claimant::Us,
                    claimant if self.epochs[claimant].has_message => Claimant::Other,
                    _ => Claimant::OtherWithoutMessage,
                }),
                ClaimStep::Look(turn) => claim.looked(look(self.epochs[world.claims[turn as usize]].file)),
                ClaimStep::Decide(turn) => {
                    let place = self.epochs[world.claims[turn as usize]].file.unwrap_or(Place::Void);
                    claim.looked(look(Some(place)));
                    world.epochs[self.claims[turn as usize]].file = Some(place);
                }
                ClaimStep::Done(ours) if file.is_none() => *file = Some(if ours { Place::Row } else { Place::NoRow }),
                ClaimStep::Done(_) => return None,
            }
            Some(world)
        }

        fn rows(&self) -> usize {
            self.epochs.iter().filter(|epoch| epoch.file == Some(Place::Row)).count()
        }
    }

    #[test]
    fn row_is_stored_once_in_every_interleaving_of_epochs_voids_and_lost_answers() {
        let starts = [WITH_MESSAGE, WITHOUT_MESSAGE].map(|other| vec![WITH_MESSAGE, other]);
        let mut open: Vec<_> = starts.map(|epochs| World { epochs, ..World::default() }).into();
        let (mut seen, mut ends) = (HashSet::new(), 0);
        while let Some(world) = open.pop() {
            if !seen.insert(world.clone()) {
                continue;
            }
            assert!(world.rows() <= 1, "stored twice: {world:?}");
            // Epochs whose file is a void may have stopped anywhere, and so may those without a message.
            if world.epochs.iter().all(|epoch| epoch.file.is_some() || !epoch.has_message) {
                ends += 1;
                assert_eq!(world.rows(), 1, "lost: {world:?}");
            }
            open.extend(world.next());
        }
        assert!(seen.len() > 1_000 && ends > 10, "{} states, {ends} ends", seen.len());
    }

    #[test]
    fn body_is_read_as_it_was_written() {
        for has_message in [false, true] {
            assert_eq!(read_claim(&claim_body("alerts/w-1.parquet", has_message)), ("alerts/w-1.parquet", has_message));
        }
    }

    #[test]
    fn names_are_of_one_alert_and_turn_and_fit_into_a_key() {
        let ids = ["spike-up-A/../B-1", "spike-up-A-1", "spike-down-A-1"];
        let names: BTreeSet<_> = ids.iter().flat_map(|id| (0..3).map(|turn| claim_name(id, turn))).collect();
        assert_eq!(names.len(), 9);
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')));
        // What workers of different versions have to agree on.
        assert_eq!(claim_name("spike-up-A-1", 2), "a857071057e5ecffde54124664ded149-2");
    }
}
