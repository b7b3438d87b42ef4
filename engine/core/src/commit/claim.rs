//! Claiming an alert: of all the epochs that raise it, one stores its row.
//!
//! The rows of a message belong to whoever holds the message. An alert may be raised by several workers that were given the same tick one
//! after the other, and each may be certain of it at another time: with the tick itself, with the price after it, or when none has come for
//! a while. So what decides is not the message but an object of the alert's id, which the first epoch puts, after its entry and before its
//! file of alerts. That one stores the row; the others leave it out.
//!
//! A claim stays. Where the file of the epoch that has it turns out to be a void, its row will never be there, and the next turn decides,
//! with an object of its own. Where there is neither file nor void yet, the row is left to that epoch: its entry names the message that it
//! gave the alert to, and whoever takes that one over puts the void, raises the alert, and claims the next turn. (What time alone made certain
//! has no message: if that epoch's worker dies between claim and file, its row is nowhere.)

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
    /// Nothing: it is decided whether the row is ours to store.
    Done(bool),
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

    /// It was read whose the turn is. It is ours where the answer to an earlier attempt was lost.
    pub fn read(&mut self, ours: bool) {
        if let ClaimStep::Read(turn) = self.0 {
            self.0 = if ours { ClaimStep::Done(true) } else { ClaimStep::Look(turn) };
        }
    }

    /// It was looked what is in the place of the other epoch's file.
    pub fn looked(&mut self, look: Look) {
        if let ClaimStep::Look(turn) = self.0 {
            self.0 = match look {
                Look::Found(Fate::Voided) => ClaimStep::Put(turn.saturating_add(1)),
                Look::Found(Fate::Stored) | Look::Nothing => ClaimStep::Done(false),
            };
        }
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

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    struct Epoch {
        claim: Claim,
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
                if epoch.file.is_none() && self.epochs.len() < EPOCHS_MAX {
                    let mut world = self.clone();
                    world.epochs[at].file = Some(Place::Void);
                    world.epochs.push(Epoch::default());
                    next.push(world);
                }
            }
            next
        }

        /// The next step of an epoch.
        fn stepped(&self, at: usize, answered: bool) -> Option<World> {
            let mut world = self.clone();
            let Epoch { claim, file } = &mut world.epochs[at];
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
                ClaimStep::Read(turn) => claim.read(world.claims[turn as usize] == at),
                ClaimStep::Look(turn) => claim.looked(match self.epochs[world.claims[turn as usize]].file {
                    None => Look::Nothing,
                    Some(Place::Void) => Look::Found(Fate::Voided),
                    Some(_) => Look::Found(Fate::Stored),
                }),
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
        let mut open = vec![World { epochs: vec![Epoch::default(); 2], ..World::default() }];
        let (mut seen, mut ends) = (HashSet::new(), 0);
        while let Some(world) = open.pop() {
            if !seen.insert(world.clone()) {
                continue;
            }
            assert!(world.rows() <= 1, "stored twice: {world:?}");
            // Epochs whose file is a void may have stopped anywhere.
            if world.epochs.iter().all(|epoch| epoch.file.is_some()) {
                ends += 1;
                assert_eq!(world.rows(), 1, "lost: {world:?}");
            }
            open.extend(world.next());
        }
        assert!(seen.len() > 1_000 && ends > 10, "{} states, {ends} ends", seen.len());
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
