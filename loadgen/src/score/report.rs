//! What a score says: counts, the figures that follow from them, and the table.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use super::Verdict;
use crate::plant::Event;

/// How well alerts match events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Ticks that the alerts were raised on.
    pub ticks: u64,
    /// How long after the end of an event an alert still belongs to it, in seconds.
    pub grace_s: f64,
    /// One score for each label, sorted by kind and label.
    pub labels: Vec<LabelScore>,
    /// One score for each kind of events or alerts, sorted.
    pub kinds: Vec<KindScore>,
}

/// The events of one label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelScore {
    /// What was planted.
    pub label: String,
    /// The kind of alert that the events should raise.
    pub kind: String,
    /// How many were planted.
    pub events: u64,
    /// How many of them have an alert.
    pub found: u64,
    /// `found` / `events`.
    pub recall: f64,
    /// The median event time from the start of an event to its alert, in seconds, over the events found.
    pub delay_median_s: Option<f64>,
    /// The same in ticks of the symbol. It is 0 if the alert is as early as the event's first tick. `None` also if the
    /// ticks are not known.
    pub delay_median_ticks: Option<f64>,
}

/// The alerts of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindScore {
    /// The kind.
    pub kind: String,
    /// How many events of this kind were planted.
    pub events: u64,
    /// How many of them have an alert. It is also the number of true alerts.
    pub found: u64,
    /// Alerts inside no event, and duplicates.
    pub false_alerts: u64,
    /// Alerts of an event that another alert has found. They are part of `false_alerts`.
    pub duplicates: u64,
    /// Alerts inside an event of another kind. They are not part of `false_alerts`.
    pub side_effects: u64,
    /// `found` / (`found` + `false_alerts`). `None` if both are 0.
    pub precision: Option<f64>,
    /// `found` / `events`. `None` without events.
    pub recall: Option<f64>,
    /// The harmonic mean of precision and recall, computed as 2 `found` / (`events` + `found` + `false_alerts`). `None`
    /// without events.
    pub f1: Option<f64>,
    /// `false_alerts` in a million ticks. `None` without ticks.
    pub false_per_million_ticks: Option<f64>,
}

/// What a matching counts.
#[derive(Default)]
pub(super) struct Counts<'a> {
    labels: BTreeMap<(&'a str, &'a str), LabelCounts>,
    kinds: BTreeMap<&'a str, KindCounts>,
}

#[derive(Default)]
struct LabelCounts {
    events: u64,
    delays_us: Vec<u64>,
    delays_ticks: Vec<u64>,
}

#[derive(Default)]
struct KindCounts {
    events: u64,
    found: u64,
    duplicates: u64,
    side_effects: u64,
    of_nothing: u64,
}

impl<'a> Counts<'a> {
    /// Counts an event.
    pub(super) fn event(&mut self, event: &'a Event) {
        self.labels.entry((&event.kind, &event.label)).or_default().events += 1;
        self.kinds.entry(&event.kind).or_default().events += 1;
    }

    /// Counts an event that an alert has found, and the delay since the event's start.
    pub(super) fn found(&mut self, event: &'a Event, delay_us: i64, delay_ticks: Option<u64>) {
        let label = self.labels.entry((&event.kind, &event.label)).or_default();
        label.delays_us.push(delay_us as u64);
        label.delays_ticks.extend(delay_ticks);
        self.kinds.entry(&event.kind).or_default().found += 1;
    }

    /// Counts an alert that found no event.
    pub(super) fn alert(&mut self, kind: &'a str, verdict: Verdict<'_>) {
        let kind = self.kinds.entry(kind).or_default();
        match verdict {
            Verdict::Found(_) => {}
            Verdict::Duplicate => kind.duplicates += 1,
            Verdict::SideEffect => kind.side_effects += 1,
            Verdict::False => kind.of_nothing += 1,
        }
    }

    pub(super) fn score(self, ticks: u64, grace: Duration) -> Score {
        let label = |((kind, label), counts): ((&str, &str), LabelCounts)| {
            let (events, found) = (counts.events, counts.delays_us.len() as u64);
            LabelScore {
                label: label.to_owned(),
                kind: kind.to_owned(),
                events,
                found,
                recall: found as f64 / events as f64,
                delay_median_s: median(counts.delays_us).map(|us| us / 1e6),
                delay_median_ticks: median(counts.delays_ticks),
            }
        };
        Score {
            ticks,
            grace_s: grace.as_secs_f64(),
            labels: self.labels.into_iter().map(label).collect(),
            kinds: self.kinds.into_iter().map(|(kind, counts)| counts.score(kind, ticks)).collect(),
        }
    }
}

impl KindCounts {
    fn score(self, kind: &str, ticks: u64) -> KindScore {
        let Self { events, found, duplicates, side_effects, of_nothing } = self;
        let false_alerts = duplicates + of_nothing;
        let ratio = |a: u64, b: u64| (b > 0).then(|| a as f64 / b as f64);
        KindScore {
            kind: kind.to_owned(),
            events,
            found,
            false_alerts,
            duplicates,
            side_effects,
            precision: ratio(found, found + false_alerts),
            recall: ratio(found, events),
            f1: ratio(2 * found, events + found + false_alerts).filter(|_| events > 0),
            false_per_million_ticks: ratio(false_alerts, ticks).map(|rate| rate * 1e6),
        }
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<u64>) -> Option<f64> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower as f64, upper as f64))
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&KindScore) -> u64| self.kinds.iter().map(of).sum::<u64>();
        let (found, duplicates) = (sum(|kind| kind.found), sum(|kind| kind.duplicates));
        let (false_alerts, side_effects) = (sum(|kind| kind.false_alerts), sum(|kind| kind.side_effects));
        writeln!(f, "ticks      {}", self.ticks)?;
        writeln!(f, "grace      {} s", self.grace_s)?;
        writeln!(f, "events     {}, {found} found", sum(|kind| kind.events))?;
        write!(f, "alerts     {}: {found} true, ", found + false_alerts + side_effects)?;
        write!(f, "{false_alerts} false ({duplicates} of them duplicates), {side_effects} side effects")?;
        write!(f, "\n\n{:<20} {:>8} {:>8}", "label", "events", "found")?;
        write!(f, " {:>9} {:>10} {:>12}", "recall", "delay s", "delay ticks")?;
        for label in &self.labels {
            write!(f, "\n{:<20} {:>8} {:>8}", label.label, label.events, label.found)?;
            let (seconds, ticks) = (Figure(label.delay_median_s, 3), Figure(label.delay_median_ticks, 1));
            write!(f, " {:>9.4} {seconds:>10} {ticks:>12}", label.recall)?;
        }
        write!(f, "\n\n{:<12} {:>9} {:>9} {:>9} {:>9}", "kind", "precision", "recall", "F1", "false")?;
        write!(f, " {:>10} {:>12} {:>14}", "duplicates", "side effects", "false/M ticks")?;
        for kind in &self.kinds {
            let [precision, recall, f1] = [kind.precision, kind.recall, kind.f1].map(|ratio| Figure(ratio, 4));
            write!(f, "\n{:<12} {precision:>9} {recall:>9} {f1:>9} {:>9}", kind.kind, kind.false_alerts)?;
            let rate = Figure(kind.false_per_million_ticks, 3);
            write!(f, " {:>10} {:>12} {rate:>14}", kind.duplicates, kind.side_effects)?;
        }
        Ok(())
    }
}

/// A number with this many decimals, or a dash if there is none.
struct Figure(Option<f64>, usize);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => f.pad(&format!("{value:.*}", self.1)),
            None => f.pad("-"),
        }
    }
}
