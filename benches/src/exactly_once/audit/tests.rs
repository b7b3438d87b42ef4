//! The audit finds each fault, and no fault in a correct lake. This file does *not* own how tables are read.

use std::path::PathBuf;

use super::*;
use crate::exactly_once::scenario::{Decoding, Event, What};

const SENT_US: Range<i64> = 1_796_000_000_000_000..1_796_000_004_000_000;

/// A small round and the lake that it should leave.
struct Lake {
    scenario: Scenario,
    feed: Feed,
    ticks: Vec<TickRow>,
    rejects: Vec<RejectRow>,
    alerts: BTreeMap<String, u64>,
    published: BTreeSet<String>,
    undisturbed: Option<BTreeSet<String>>,
}

impl Lake {
    fn right(decodings: Vec<Decoding>) -> Self {
        let scenario = Scenario { messages: 20, malformed: 3, decodings, queues: 1, ..Scenario::draw(1, 0) };
        let feed = Feed::of(&scenario).unwrap();
        let row = |tick: &Tick| TickRow {
            symbol: tick.symbol.clone(),
            seq: Some(tick.seq),
            ts_us: tick.ts_us,
            price: tick.price,
            volume: tick.volume,
            is_in_place: true,
            file: PathBuf::from("ticks/dt=2026-06-01/hour=13/w-1.parquet"),
        };
        let ticks = feed.messages.iter().flat_map(|message| &message.ticks).map(row).collect();
        let rejects = feed.malformed().map(|message| reject(&message.body, true, "not_json")).collect();
        let published = BTreeSet::from(["spike-up-AAPL-1".to_owned(), "move-up-AAPL-2".to_owned()]);
        let alerts = published.iter().map(|id| (id.clone(), 1)).collect();
        Self { scenario, feed, ticks, rejects, alerts, published, undisturbed: None }
    }

    /// Moves the `at`-th tick from the stored ticks to the rejects.
    fn reject_tick(&mut self, at: usize) {
        let row = self.ticks.remove(at);
        let sent = self.feed.messages.iter().flat_map(|message| &message.ticks);
        let tick = sent.clone().find(|tick| tick.symbol == row.symbol && Some(tick.seq) == row.seq).unwrap();
        let body = serde_json::json!({
            "symbol": tick.symbol, "seq": tick.seq, "ts": tick.ts_us, "price": tick.price, "volume": tick.volume
        });
        self.rejects.push(reject(&body.to_string(), false, "names_full"));
    }

    /// The faults that the audit finds, with their counts.
    fn found(&self) -> Vec<(Fault, u64)> {
        let Self { scenario, feed, published, undisturbed, .. } = self;
        let audit = Audit { scenario, feed, sent_us: SENT_US, published, undisturbed: undisturbed.as_ref() };
        let findings = audit.judge(&self.ticks, &self.rejects, &self.alerts);
        Fault::ALL.into_iter().map(|fault| (fault, findings.of(fault))).filter(|(_, count)| *count > 0).collect()
    }

    /// The first message that has ticks.
    fn message(&self) -> Message {
        self.feed.messages.iter().find(|message| !message.ticks.is_empty()).unwrap().clone()
    }
}

fn reject(body: &str, is_whole: bool, reason: &str) -> RejectRow {
    RejectRow { is_whole, reason: reason.to_owned(), body: body.to_owned(), file: PathBuf::from("quarantine") }
}

fn alike() -> Lake {
    Lake::right(vec![Decoding::Default])
}

fn mixed() -> Lake {
    Lake::right(vec![Decoding::Default, Decoding::OtherTs, Decoding::NamesMax(5)])
}

#[test]
fn lake_with_everything_once_is_clean() {
    assert_eq!(alike().found(), []);
    assert_eq!(mixed().found(), []);
}

#[test]
fn tick_that_is_nowhere_is_lost_whatever_the_workers() {
    for mut lake in [alike(), mixed()] {
        lake.ticks.remove(7);
        assert_eq!(lake.found(), [(Fault::TickLost, 1)]);
    }
}

#[test]
fn tick_that_is_there_twice_is_doubled_whatever_the_tables() {
    let mut lake = alike();
    lake.ticks.push(lake.ticks[3].clone());
    assert_eq!(lake.found(), [(Fault::TickDoubled, 1)]);
    let mut lake = mixed();
    let copy = lake.ticks[3].clone();
    lake.reject_tick(3);
    assert_eq!(lake.found(), [], "rejected in place of stored");
    lake.ticks.push(copy);
    assert_eq!(lake.found(), [(Fault::TickDoubled, 1)]);
}

#[test]
fn row_that_does_not_say_what_was_sent_is_altered() {
    let changes: [fn(&mut TickRow); 6] = [
        |row| row.price += 0.01,
        |row| row.volume += 1.0,
        |row| row.ts_us += 1,
        |row| row.is_in_place = false,
        |row| row.seq = None,
        |row| row.symbol.push('X'),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut lake = alike();
        change(&mut lake.ticks[0]);
        let lost = (Fault::TickLost, 1);
        let altered = (Fault::TickAltered, 1);
        assert_eq!(lake.found(), if at < 4 { vec![altered] } else { vec![lost, altered] }, "change {at}");
    }
}

#[test]
fn sending_time_stands_in_only_where_a_worker_looks_for_another_field() {
    for (mut lake, expected) in [(alike(), vec![(Fault::TickAltered, 1)]), (mixed(), vec![])] {
        lake.ticks[0].ts_us = SENT_US.start;
        assert_eq!(lake.found(), expected);
    }
    let mut lake = mixed();
    lake.ticks[0].ts_us = SENT_US.end + 1;
    assert_eq!(lake.found(), [(Fault::TickAltered, 1)]);
}

#[test]
fn tick_that_all_workers_can_read_must_not_be_rejected() {
    let mut lake = alike();
    lake.reject_tick(5);
    assert_eq!(lake.found(), [(Fault::TickAltered, 1)]);
}

#[test]
fn body_of_a_message_decoded_differently_stands_for_its_ticks_and_doubles_none() {
    let mut lake = mixed();
    let message = lake.message();
    lake.rejects.push(reject(&message.body, true, DECODED_DIFFERENTLY));
    assert_eq!(lake.found(), [], "all its ticks are stored as well");
    let gone = &message.ticks[2];
    lake.ticks.retain(|row| (&*row.symbol, row.seq) != (&*gone.symbol, Some(gone.seq)));
    assert_eq!(lake.found(), [], "one of its ticks is in that body only");
    lake.rejects.push(reject(&message.body, true, DECODED_DIFFERENTLY));
    assert_eq!(lake.found(), [(Fault::RejectDoubled, 1)]);
}

#[test]
fn body_of_a_message_decoded_differently_doubles_no_reject_wherever_it_stands() {
    for at in [0, 1] {
        let mut lake = mixed();
        let body = reject(&lake.message().body, true, DECODED_DIFFERENTLY);
        lake.rejects.clear();
        lake.scenario.malformed = 0;
        lake.feed.messages.retain(|message| !message.ticks.is_empty());
        lake.reject_tick(0);
        lake.rejects.insert(at, body);
        assert_eq!(lake.found(), [], "before or behind the reject of one of its ticks");
    }
}

#[test]
fn body_of_a_message_of_another_reason_does_not_share_its_ticks() {
    let mut lake = mixed();
    let message = lake.message();
    lake.rejects.push(reject(&message.body, true, "too_many_rejects"));
    assert_eq!(lake.found(), [(Fault::TickDoubled, message.ticks.len() as u64)]);
}

#[test]
fn malformed_body_is_there_once() {
    let mut lake = alike();
    let row = lake.rejects.remove(1);
    assert_eq!(lake.found(), [(Fault::RejectLost, 1)]);
    lake.rejects.extend([row.clone(), row]);
    assert_eq!(lake.found(), [(Fault::RejectDoubled, 1)]);
    let mut lake = alike();
    lake.rejects.push(reject("never sent", true, "not_json"));
    assert_eq!(lake.found(), [(Fault::TickAltered, 1)]);
}

#[test]
fn what_was_sent_to_a_deleted_queue_may_be_nowhere_but_not_twice() {
    let mut lake = alike();
    lake.scenario.queues = 2;
    lake.scenario.events = vec![Event { at_ms: 1, worker: 0, what: What::DeleteQueue }];
    lake.feed = Feed::of(&lake.scenario).unwrap();
    let gone: Vec<Tick> =
        lake.feed.messages.iter().filter(|message| message.queue == 1).flat_map(|m| m.ticks.clone()).collect();
    let is_gone = |row: &TickRow| gone.iter().any(|tick| tick.symbol == row.symbol && Some(tick.seq) == row.seq);
    lake.ticks.retain(|row| !is_gone(row) || row.seq == gone.last().map(|tick| tick.seq));
    assert_eq!(lake.found(), []);
    let (first, second): (Vec<_>, Vec<_>) = lake.ticks.iter().cloned().partition(|row| !is_gone(row));
    lake.ticks.extend(second.first().cloned());
    assert_eq!(lake.found(), [(Fault::TickDoubled, 1)]);
    lake.ticks = first[1..].to_vec();
    assert_eq!(lake.found(), [(Fault::TickLost, 1)]);
}

#[test]
fn alert_is_stored_once_if_and_only_if_it_was_published() {
    let id = "spike-up-AAPL-1".to_owned();
    let mut lake = alike();
    lake.alerts.insert(id.clone(), 2);
    assert_eq!(lake.found(), [(Fault::AlertDoubled, 1)]);
    lake.alerts.remove(&id);
    assert_eq!(lake.found(), [(Fault::AlertUnstored, 1)]);
    lake.published.remove(&id);
    assert_eq!(lake.found(), []);
    lake.alerts.insert(id, 1);
    assert_eq!(lake.found(), [(Fault::AlertUnpublished, 1)]);
}

#[test]
fn alerts_are_those_of_an_undisturbed_run_where_there_was_one() {
    let mut lake = alike();
    lake.undisturbed = Some(lake.published.clone());
    assert_eq!(lake.found(), []);
    lake.undisturbed = Some(BTreeSet::from(["spike-up-AAPL-1".to_owned(), "gap-AAPL-9".to_owned()]));
    assert_eq!(lake.found(), [(Fault::AlertOther, 2)]);
}
