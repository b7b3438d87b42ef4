//! The order in which visible messages are received.
//!
//! A standard queue is one line. A FIFO queue is one line per message group. A group with a message in flight is closed
//! until that message is deleted or visible again. This file knows sequence numbers and groups. It does *not* know
//! messages.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use crate::faults::Manners;

/// The visible messages of a queue, by sequence number.
#[derive(Debug)]
pub(crate) enum Lanes {
    /// Sequence numbers in the order of becoming visible. The taker skips numbers whose message is gone.
    Standard(VecDeque<u64>),
    Fifo(Groups),
}

/// The message groups of a FIFO queue.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: HashMap<Arc<str>, Group>,
    /// The open groups that have a visible message, by the sequence number of their first.
    open: BTreeSet<(u64, Arc<str>)>,
}

#[derive(Debug, Default)]
struct Group {
    visible: BTreeSet<u64>,
    in_flight: usize,
}

impl Lanes {
    /// Adds a message that becomes visible.
    pub(crate) fn offer(&mut self, sequence: u64, group: Option<&Arc<str>>) {
        match (self, group) {
            (Self::Standard(line), _) => line.push_back(sequence),
            (Self::Fifo(groups), Some(group)) => groups.change(group, |group| {
                group.visible.insert(sequence);
            }),
            (Self::Fifo(_), None) => {}
        }
    }

    /// Takes at most `max` messages, in order unless the manners say otherwise. Each of them keeps its group closed
    /// until [`Lanes::release`].
    pub(crate) fn take(&mut self, max: usize, manners: &mut Manners) -> Vec<u64> {
        match self {
            Self::Standard(line) if manners.shuffle > 1 => {
                let mut taken = Vec::new();
                while taken.len() < max && !line.is_empty() {
                    line.swap(0, manners.dice.usize(..manners.shuffle.min(line.len())));
                    taken.extend(line.pop_front());
                }
                taken
            }
            Self::Standard(line) => line.drain(..max.min(line.len())).collect(),
            Self::Fifo(groups) => groups.take(max),
        }
    }

    /// Notes that a message of the group is in flight, although it was not taken here.
    pub(crate) fn hold(&mut self, group: Option<&Arc<str>>) {
        if let (Self::Fifo(groups), Some(group)) = (self, group) {
            groups.change(group, |group| group.in_flight += 1);
        }
    }

    /// Notes that a taken message is no longer in flight: it was deleted, or is about to be offered again.
    pub(crate) fn release(&mut self, group: Option<&Arc<str>>) {
        if let (Self::Fifo(groups), Some(group)) = (self, group) {
            groups.change(group, |group| group.in_flight = group.in_flight.saturating_sub(1));
        }
    }

    /// Removes a visible message that is gone without having been taken.
    pub(crate) fn forget(&mut self, sequence: u64, group: Option<&Arc<str>>) {
        match (self, group) {
            // In practice the oldest messages expire first, so the line does not fill with numbers of expired messages.
            (Self::Standard(line), _) if line.front() == Some(&sequence) => {
                line.pop_front();
            }
            (Self::Fifo(groups), Some(group)) => groups.change(group, |group| {
                group.visible.remove(&sequence);
            }),
            _ => {}
        }
    }

    /// Whether a receiver could get a message now.
    pub(crate) fn has_some(&self) -> bool {
        match self {
            Self::Standard(line) => !line.is_empty(),
            Self::Fifo(groups) => !groups.open.is_empty(),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Standard(line) => line.clear(),
            Self::Fifo(groups) => *groups = Groups::default(),
        }
    }
}

impl Groups {
    fn take(&mut self, max: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((_, name)) = self.open.first().cloned() else { break };
            let room = max - taken.len();
            self.change(&name, |group| {
                for _ in 0..room {
                    let Some(sequence) = group.visible.pop_first() else { break };
                    group.in_flight += 1;
                    taken.push(sequence);
                }
            });
        }
        taken
    }

    /// Changes a group, and updates the set of open groups.
    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(name.clone()).or_default();
        if let Some(first) = group.visible.first() {
            self.open.remove(&(*first, name.clone()));
        }
        change(group);
        match group.visible.first() {
            Some(first) if group.in_flight == 0 => {
                self.open.insert((*first, name.clone()));
            }
            None if group.in_flight == 0 => {
                self.groups.remove(name);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fifo(messages: &[(u64, &Arc<str>)]) -> Lanes {
        let mut lanes = Lanes::Fifo(Groups::default());
        for (sequence, group) in messages {
            lanes.offer(*sequence, Some(group));
        }
        lanes
    }

    #[test]
    fn group_in_flight_is_closed_until_all_of_it_is_released() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut lanes = fifo(&[(1, &a), (2, &b), (3, &a), (4, &a)]);
        assert_eq!(lanes.take(2, &mut Manners::default()), [1, 3]);
        assert_eq!(lanes.take(10, &mut Manners::default()), [2], "group a is closed");
        lanes.release(Some(&a));
        assert_eq!(lanes.take(10, &mut Manners::default()), [0; 0], "one of a is still in flight");
        lanes.release(Some(&a));
        assert_eq!(lanes.take(10, &mut Manners::default()), [4]);
    }

    #[test]
    fn message_that_returns_comes_before_later_ones_of_its_group() {
        let a: Arc<str> = "a".into();
        let mut lanes = fifo(&[(1, &a), (2, &a), (3, &a)]);
        assert_eq!(lanes.take(1, &mut Manners::default()), [1]);
        lanes.release(Some(&a));
        lanes.offer(1, Some(&a));
        assert_eq!(lanes.take(10, &mut Manners::default()), [1, 2, 3]);
    }

    #[test]
    fn groups_that_are_done_leave_nothing_behind() {
        let a: Arc<str> = "a".into();
        let mut lanes = fifo(&[(1, &a)]);
        lanes.take(1, &mut Manners::default());
        lanes.release(Some(&a));
        let Lanes::Fifo(groups) = lanes else { panic!("a FIFO queue") };
        assert!(groups.groups.is_empty() && groups.open.is_empty());
    }
}
