//! A message that is handed out once more: which message, when, and with which receive count.
//!
//! This file owns the text form, and decides whose turn it is. It does *not* own the copies; a queue does.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;

/// How late a copy may come, unless the fault says otherwise.
const WITHIN: Duration = Duration::from_secs(3);

/// `10`, `10@2`, `10:5s` or `10:5s@2`: the part after `again:` and `again-deleted:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// One in this many received messages is handed out once more.
    pub every: u64,
    /// The receive count that the copy shows; without one, the true count.
    pub count: Option<u32>,
    /// The copy comes at a random moment within this time.
    pub within: Duration,
}

impl Repeat {
    /// Reads the text form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (rest, count) = match text.split_once('@') {
            Some((rest, count)) => (rest, Some(count.parse().ok().filter(|count| *count > 0)?)),
            None => (text, None),
        };
        let (every, within) = match rest.split_once(':') {
            Some((every, within)) => (every, super::fault::duration(within)?),
            None => (rest, WITHIN),
        };
        let every = every.parse().ok().filter(|every| *every > 0)?;
        Some(Self { every, count, within })
    }
}

impl fmt::Display for Repeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.every)?;
        if self.within != WITHIN {
            write!(f, ":{}ms", self.within.as_secs_f64() * 1000.0)?;
        }
        self.count.map_or(Ok(()), |count| write!(f, "@{count}"))
    }
}

/// A fault that hands messages out once more, as one receive meets it.
#[derive(Debug, Clone)]
pub(crate) struct Again {
    pub(crate) repeat: Repeat,
    /// The chance that a message gets a copy when it is its turn.
    pub(crate) chance: f64,
    /// Whether the copy comes after its message was deleted.
    pub(crate) after_deletion: bool,
    /// Number of messages so far. All receives of a server share it.
    pub(crate) turns: Arc<AtomicU64>,
}

impl Again {
    /// Whether the next received message gets a copy. If so, returns its delay in milliseconds.
    pub(crate) fn strikes(&self, dice: &mut Rng) -> Option<u64> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
        if !turn.is_multiple_of(self.repeat.every) || dice.f64() >= self.chance {
            return None;
        }
        Some(dice.u64(..=self.repeat.within.as_millis() as u64))
    }
}
