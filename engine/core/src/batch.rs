//! Batches of whole messages: their ticks, rejects and alerts, and how messages leave together with all of these.
//!
//! [`Decoded`] is the result of one batch, [`Contents`] is what an epoch holds. Ticks and rejects are in the order of
//! their messages. This file does *not* own when an epoch rolls, or which elements are already stored.

use crate::alert::Alert;
use crate::commit::{Layout, Remaining, kept_rows};
use crate::decode::Reject;
use crate::detect::Raised;
use crate::tick::TickBatch;

/// How many elements of each kind a message gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Yield {
    /// Its good ticks.
    pub ticks: usize,
    /// Its bad ticks and bodies.
    pub rejects: usize,
    /// Its events that are not meant to be ticks.
    pub left_out: usize,
}

/// The result of decoding one batch of whole messages. `M` holds what the caller needs to delete a message.
#[derive(Debug)]
pub struct Decoded<M> {
    /// The messages. All their ticks and rejects are in the fields below.
    pub messages: Vec<M>,
    /// Their good ticks.
    pub ticks: TickBatch,
    /// Their bad ticks and bodies.
    pub rejects: Vec<Reject>,
    /// For each event that is not meant to be a tick, its position in its message.
    pub left_out: Vec<u32>,
    /// The alerts that these ticks made certain, or that the clock made certain meanwhile.
    pub alerts: Vec<Raised>,
}

impl<M> Default for Decoded<M> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            ticks: TickBatch::default(),
            rejects: Vec::new(),
            left_out: Vec::new(),
            alerts: Vec::new(),
        }
    }
}

impl<M> Decoded<M> {
    /// Drops what the lake already holds. For each message, `remaining` says what is left to store. `yielded` returns
    /// how much a message gave, and `give` receives how much it gives from now on. `whole` makes the reject that stands
    /// for the whole body of a message in doubt.
    pub fn take_over(
        &mut self,
        remaining: &[Remaining],
        yielded: impl Fn(&M) -> Yield,
        whole: impl Fn(&M) -> Reject,
        give: impl Fn(&mut M, Yield, Layout),
    ) {
        let mut keep = Vec::with_capacity(self.ticks.len());
        let mut rejects = Vec::with_capacity(self.rejects.len());
        let mut before = std::mem::take(&mut self.rejects).into_iter();
        let left_out = std::mem::take(&mut self.left_out);
        let mut left_out = left_out.as_slice();
        for (message, remaining) in self.messages.iter_mut().zip(remaining) {
            let Yield { ticks, rejects: refused, left_out: others } = yielded(message);
            let others = left_out.split_off(..others).unwrap_or_default();
            let times_us = &self.ticks.ts_us[keep.len()..keep.len() + ticks];
            let mut own: Vec<Reject> = before.by_ref().take(refused).collect();
            let layout = match remaining {
                Remaining::Everything => {
                    keep.resize(keep.len() + ticks, true);
                    Layout::of(times_us, &own, others)
                }
                Remaining::Except(stored) => {
                    let is_left = |position| !stored.contains(position);
                    let layout = Layout::of_kept(times_us, &own, others, is_left);
                    let (of_ticks, of_rejects) = kept_rows(ticks, &own, others, is_left);
                    keep.extend(of_ticks);
                    let mut of_rejects = of_rejects.into_iter();
                    own.retain(|_| of_rejects.next().unwrap_or(true));
                    layout
                }
                Remaining::Nothing => {
                    keep.resize(keep.len() + ticks, false);
                    own.clear();
                    Layout::nothing()
                }
                Remaining::InDoubt => {
                    keep.resize(keep.len() + ticks, false);
                    own = vec![whole(message)];
                    Layout::of(&[], &own, &[])
                }
            };
            let kept = keep[keep.len() - ticks..].iter().filter(|keep| **keep).count();
            give(message, Yield { ticks: kept, rejects: own.len(), left_out: 0 }, layout);
            rejects.append(&mut own);
        }
        self.ticks.retain(&keep);
        self.rejects = rejects;
    }
}

/// The contents of many such batches, in their order.
#[derive(Debug)]
pub struct Contents<M> {
    /// The messages.
    pub messages: Vec<M>,
    /// Their good ticks. Large batches stay as they are, and small batches are joined into larger ones.
    pub ticks: Vec<TickBatch>,
    /// Their bad ticks and bodies.
    pub rejects: Vec<Reject>,
    /// The alerts that their ticks raised.
    pub alerts: Vec<Alert>,
}

// A derived implementation would need a default message.
impl<M> Default for Contents<M> {
    fn default() -> Self {
        Self { messages: Vec::new(), ticks: Vec::new(), rejects: Vec::new(), alerts: Vec::new() }
    }
}

impl<M> Contents<M> {
    /// How many good ticks there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ticks.iter().map(TickBatch::len).sum()
    }

    /// Removes the messages for which `keep` is false, with their ticks and rejects, and returns these messages.
    /// `yielded` returns how much each message gave: ticks and rejects are in the order of the messages.
    ///
    /// Alerts stay, because the detectors have seen the ticks that raised them.
    pub fn retain(&mut self, keep: impl Fn(&M) -> bool, yielded: impl Fn(&M) -> Yield) -> Vec<M> {
        // Each message is asked only once, because the answer may change over time.
        let kept: Vec<bool> = self.messages.iter().map(keep).collect();
        if kept.iter().all(|&kept| kept) {
            return Vec::new();
        }
        let (mut rows, mut rejects) = (Vec::with_capacity(self.rows()), Vec::with_capacity(self.rejects.len()));
        for (message, &kept) in self.messages.iter().zip(&kept) {
            let Yield { ticks, rejects: rejected, .. } = yielded(message);
            rows.extend(std::iter::repeat_n(kept, ticks));
            rejects.extend(std::iter::repeat_n(kept, rejected));
        }
        let mut rows = rows.as_slice();
        for batch in &mut self.ticks {
            let kept = rows.split_off(..batch.len()).unwrap_or_default();
            batch.retain(kept);
        }
        let mut rejects = rejects.into_iter();
        self.rejects.retain(|_| rejects.next().unwrap_or(true));
        let mut kept = kept.into_iter();
        self.messages.extract_if(.., |_| kept.next() == Some(false)).collect()
    }
}

impl<M> From<Decoded<M>> for Contents<M> {
    fn from(batch: Decoded<M>) -> Self {
        let Decoded { messages, ticks, rejects, left_out: _, alerts } = batch;
        let alerts = alerts.into_iter().map(|raised| raised.alert).collect();
        Self { messages, ticks: vec![ticks], rejects, alerts }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use ticklake_schemas::Table;

    use super::*;
    use crate::decode::Reason;
    use crate::lake::Partition;
    use crate::names::NameId;
    use crate::tick::Tick;

    pub(crate) fn batch(messages: usize, hours: &[i64]) -> Decoded<u32> {
        let mut ticks = TickBatch::default();
        for hour in hours {
            ticks.push(Tick {
                symbol: NameId::NONE,
                ts_us: hour * 3_600_000_000,
                price: 1.0,
                volume: 1.0,
                seq: None,
                venue: NameId::NONE,
                conditions: NameId::NONE,
                received_at_us: 0,
            });
        }
        Decoded { messages: vec![0; messages], ticks, ..Decoded::default() }
    }

    fn reject(message: u64) -> Reject {
        let (message_id, detail) = (message.to_string(), String::new());
        Reject {
            message_id,
            index: None,
            reason: Reason::NotJson,
            detail,
            body: Vec::new(),
            received_at_us: 0,
            message_us: 0,
        }
    }

    proptest! {
        #[test]
        fn messages_leave_with_what_they_gave_and_with_nothing_else(
            messages in prop::collection::vec((0..5_usize, 0..3_usize, any::<bool>()), 0..40),
            cut in 0..200_usize,
        ) {
            // Each row and each reject has the number of its message.
            let mut ticks = TickBatch::default();
            let mut contents = Contents::default();
            for (number, &(rows, rejected, kept)) in (0_u64..).zip(&messages) {
                let of = |_| Tick { seq: Some(number as i64), ..batch(1, &[0]).ticks.rows().next().unwrap() };
                (0..rows).map(of).for_each(|tick| ticks.push(tick));
                contents.rejects.extend((0..rejected).map(|_| reject(number)));
                contents.messages.push((number, Yield { ticks: rows, rejects: rejected, left_out: 0 }, kept));
            }
            // A batch may end at any row.
            let rows: Vec<Tick> = ticks.rows().collect();
            let (first, second) = rows.split_at(cut.min(rows.len()));
            contents.ticks = [first, second].map(|rows| {
                let mut batch = TickBatch::default();
                batch.assign(rows);
                batch
            }).into();
            let lost = contents.retain(|message| message.2, |message| message.1);
            let expected = |pick: fn(&(usize, usize, bool)) -> usize| -> Vec<u64> {
                let numbered = (0_u64..).zip(&messages).filter(|(_, message)| message.2);
                numbered.flat_map(|(number, message)| std::iter::repeat_n(number, pick(message))).collect()
            };
            let seqs: Vec<u64> = contents.ticks.iter().flat_map(|batch| &batch.seq).map(|seq| seq.unwrap() as u64).collect();
            prop_assert_eq!(seqs, expected(|message| message.0));
            let rejects: Vec<u64> = contents.rejects.iter().map(|reject| reject.message_id.parse().unwrap()).collect();
            prop_assert_eq!(rejects, expected(|message| message.1));
            prop_assert!(lost.iter().all(|message| !message.2) && contents.messages.iter().all(|message| message.2));
            prop_assert_eq!(lost.len() + contents.messages.len(), messages.len());
        }
    }

    /// What an element of a message is decoded to.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Element {
        /// A tick of this hour.
        Tick(i64),
        Refused,
        LeftOut,
    }

    fn decoded(messages: &[Vec<Element>]) -> (Decoded<u32>, Vec<Yield>) {
        let mut decoded = batch(0, &[]);
        let mut yields = Vec::new();
        for (number, elements) in (0_u32..).zip(messages) {
            let mut yielded = Yield::default();
            for (at, element) in (0_u32..).zip(elements) {
                match element {
                    Element::Tick(hour) => {
                        decoded.ticks.append(&mut batch(0, &[*hour]).ticks);
                        yielded.ticks += 1;
                    }
                    Element::Refused => {
                        decoded.rejects.push(Reject { index: Some(at), ..reject(u64::from(number)) });
                        yielded.rejects += 1;
                    }
                    Element::LeftOut => {
                        decoded.left_out.push(at);
                        yielded.left_out += 1;
                    }
                }
            }
            decoded.messages.push(number);
            yields.push(yielded);
        }
        (decoded, yields)
    }

    fn elements() -> impl Strategy<Value = Vec<Element>> {
        let element = prop_oneof![
            4 => (0..3_i64).prop_map(Element::Tick),
            1 => Just(Element::Refused),
            1 => Just(Element::LeftOut),
        ];
        prop::collection::vec(element, 0..6)
    }

    fn remainings() -> impl Strategy<Value = Remaining> {
        let stored = prop::collection::btree_set(0..6_u32, 1..5).prop_map(|set| set.into_iter().collect());
        prop_oneof![
            Just(Remaining::Everything),
            Just(Remaining::Nothing),
            Just(Remaining::InDoubt),
            stored.prop_map(Remaining::Except),
        ]
    }

    proptest! {
        /// The twin goes through the elements one by one.
        #[test]
        fn takeover_keeps_the_elements_that_are_left_and_says_where_they_lie(
            messages in prop::collection::vec((elements(), remainings()), 0..5),
        ) {
            let (messages, remaining): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
            let (mut batch, yields) = decoded(&messages);
            let given = std::cell::RefCell::new(Vec::new());
            let whole = |message: &u32| Reject { reason: Reason::DecodedDifferently, ..reject(u64::from(*message)) };
            batch.take_over(&remaining, |message| yields[*message as usize], whole, |_, yielded, layout| {
                given.borrow_mut().push((yielded, layout));
            });
            let (mut hours, mut rejects) = (Vec::new(), Vec::new());
            for ((number, elements), (remaining, (yielded, layout))) in
                messages.iter().enumerate().zip(remaining.iter().zip(given.into_inner()))
            {
                let is_left = |at: u32| match remaining {
                    Remaining::Everything => true,
                    Remaining::Except(stored) => !stored.contains(at),
                    Remaining::Nothing | Remaining::InDoubt => false,
                };
                let left = (0_u32..).zip(elements).filter(|(at, _)| is_left(*at));
                let mut expected: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
                let before = (hours.len(), rejects.len());
                for (at, element) in left {
                    let partition = match *element {
                        Element::Tick(hour) => {
                            hours.push(hour * 3_600_000_000);
                            Partition::of(Table::Ticks, hour * 3_600_000_000)
                        }
                        Element::Refused => {
                            rejects.push((number.to_string(), Some(at)));
                            quarantine()
                        }
                        Element::LeftOut => continue,
                    };
                    expected.entry(partition).or_default().push(at);
                }
                if *remaining == Remaining::InDoubt {
                    rejects.push((number.to_string(), None));
                    expected.insert(quarantine(), Vec::new());
                }
                let given = Yield { ticks: hours.len() - before.0, rejects: rejects.len() - before.1, left_out: 0 };
                prop_assert_eq!(yielded, given);
                let files: Vec<Partition> = expected.keys().copied().collect();
                let mut parts = layout.shape(&files).unwrap().parts;
                parts.sort_by_key(|(file, _)| *file);
                let expected = (0..).zip(expected.into_values().map(|held| held.into_iter().collect()));
                prop_assert_eq!(parts, expected.collect::<Vec<_>>());
                let is_whole = *remaining == Remaining::Nothing || layout.elements() == Some(elements.len() as u32);
                prop_assert!(is_whole || *remaining == Remaining::InDoubt);
            }
            prop_assert_eq!(batch.ticks.ts_us, hours);
            let found: Vec<_> = batch.rejects.into_iter().map(|reject| (reject.message_id, reject.index)).collect();
            prop_assert_eq!(found, rejects);
        }
    }

    fn quarantine() -> Partition {
        Partition::of(Table::Quarantine, 0)
    }
}
