//! The layout of a decoded message: which of its elements became rows of which partition.
//!
//! It is made from the decoder's output. This file does *not* own into which files the rows go (the epoch's matter), or
//! what is compared with the layout later ([`super::takeover`]).

use super::{Elements, Shape};
use crate::decode::Reject;
use crate::lake::Partition;
use ticklake_schemas::Table;

/// Where the elements of one message belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// This many elements, all of them in one partition. Nearly every message is like this.
    Whole(u32, Partition),
    Mixed(Box<Shape<Partition>>),
}

impl Layout {
    /// The layout of a message. `times_us` are the event times of its ticks, in microseconds since the Unix epoch.
    /// `left_out` has the positions of events that are neither ticks nor rejects.
    #[must_use]
    pub fn of(times_us: &[i64], rejects: &[Reject], left_out: &[u32]) -> Self {
        let hour = times_us.first().map(|&first| Partition::of(Table::Ticks, first));
        if let (Some(hour), [], []) = (hour, rejects, left_out) {
            let range = hour.times_us();
            if times_us.iter().all(|ts_us| range.contains(ts_us)) {
                return Self(Form::Whole(times_us.len() as u32, hour));
            }
        }
        Self(Form::Mixed(Box::new(mixed(times_us, rejects, left_out, |_| true))))
    }

    /// The layout of those elements of the same message for which `keep` is true.
    #[must_use]
    pub fn of_kept(times_us: &[i64], rejects: &[Reject], left_out: &[u32], keep: impl Fn(u32) -> bool) -> Self {
        Self(Form::Mixed(Box::new(mixed(times_us, rejects, left_out, keep))))
    }

    /// The layout of a message that has nothing left to store.
    #[must_use]
    pub fn nothing() -> Self {
        Self(Form::Mixed(Box::new(Shape { elements: None, parts: Vec::new() })))
    }

    /// How many elements the message was split into. `None` if some positions are not known.
    #[must_use]
    pub fn elements(&self) -> Option<u32> {
        match &self.0 {
            Form::Whole(elements, _) => Some(*elements),
            Form::Mixed(shape) => shape.elements,
        }
    }

    /// Whether the message has rows in `partition`.
    #[must_use]
    pub fn holds(&self, partition: Partition) -> bool {
        match &self.0 {
            Form::Whole(_, only) => *only == partition,
            Form::Mixed(shape) => shape.holds(&partition),
        }
    }

    /// The same layout by the positions of an epoch's files. `None` if one of its partitions has no file.
    #[must_use]
    pub fn shape(&self, files: &[Partition]) -> Option<Shape<u32>> {
        let place = |partition: &Partition| files.iter().position(|file| file == partition).map(|at| at as u32);
        match &self.0 {
            Form::Whole(elements, only) => {
                let parts = vec![(place(only)?, Elements::first(*elements))];
                Some(Shape { elements: Some(*elements), parts })
            }
            Form::Mixed(shape) => {
                let parts = shape.parts.iter().map(|(partition, held)| Some((place(partition)?, held.clone())));
                Some(Shape { elements: shape.elements, parts: parts.collect::<Option<_>>()? })
            }
        }
    }
}

/// The positions of a message's good ticks, in order: those that neither a reject nor an event that was left out has.
/// `None` if a reject stands for more than one element, or for an unknown one.
fn positions(ticks: usize, rejects: &[Reject], left_out: &[u32]) -> Option<impl Iterator<Item = u32>> {
    let elements = (ticks + rejects.len() + left_out.len()) as u32;
    let mut others: Vec<u32> = rejects.iter().map(|reject| reject.index).collect::<Option<_>>()?;
    others.extend(left_out);
    others.sort_unstable();
    let are_distinct = others.windows(2).all(|two| two[0] < two[1]);
    let are_within = others.last().is_none_or(|last| *last < elements);
    (are_distinct && are_within).then(|| (0..elements).filter(move |at| others.binary_search(at).is_err()))
}

fn mixed(times_us: &[i64], rejects: &[Reject], left_out: &[u32], keep: impl Fn(u32) -> bool) -> Shape<Partition> {
    let mut parts: Vec<(Partition, Elements)> = Vec::new();
    let Some(good) = positions(times_us.len(), rejects, left_out) else {
        for partition in partitions(times_us, rejects) {
            if !parts.iter().any(|(of, _)| *of == partition) {
                parts.push((partition, Elements::default()));
            }
        }
        return Shape { elements: None, parts };
    };
    let mut bad: Vec<(u32, Partition)> =
        rejects.iter().filter_map(|reject| Some((reject.index?, reject.partition()))).collect();
    bad.sort_unstable();
    let good = good.zip(times_us).map(|(at, &ts_us)| (at, Partition::of(Table::Ticks, ts_us)));
    for (at, partition) in good.chain(bad).filter(|(at, _)| keep(*at)) {
        match parts.iter_mut().find(|(of, _)| *of == partition) {
            Some((_, held)) => held.push(at),
            None => parts.push((partition, [at].into_iter().collect())),
        }
    }
    Shape { elements: Some((times_us.len() + rejects.len() + left_out.len()) as u32), parts }
}

fn partitions<'a>(times_us: &'a [i64], rejects: &'a [Reject]) -> impl Iterator<Item = Partition> + 'a {
    let hours = times_us.iter().map(|&ts_us| Partition::of(Table::Ticks, ts_us));
    hours.chain(rejects.iter().map(Reject::partition))
}

/// Which rows of a message stay: for each tick, then for each reject, whether `keep` is true for its position. If
/// positions are not known, all rows stay.
pub fn kept_rows(
    ticks: usize,
    rejects: &[Reject],
    left_out: &[u32],
    keep: impl Fn(u32) -> bool + Copy,
) -> (Vec<bool>, Vec<bool>) {
    match positions(ticks, rejects, left_out) {
        Some(good) => {
            let of_reject = |reject: &Reject| reject.index.is_none_or(keep);
            (good.map(keep).collect(), rejects.iter().map(of_reject).collect())
        }
        None => (vec![true; ticks], vec![true; rejects.len()]),
    }
}
