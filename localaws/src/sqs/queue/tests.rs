//! The promises of a queue, checked with a clock that the tests turn.

mod copies;

use std::sync::{Arc, atomic::AtomicU64};

use super::*;
use crate::{
    faults::{Again, Repeat},
    sqs::message::Extras,
};

const START: Millis = Millis(1_000_000);

fn queue(attributes: &[(&str, &str)]) -> Queue {
    let mut settings = Settings::default();
    for (name, value) in attributes {
        settings.set(name, value).unwrap();
    }
    Queue::new(1, settings)
}

fn content(body: &str) -> Arc<Content> {
    Arc::new(Content::new(body, Extras::default()).unwrap())
}

fn grouped(body: &str, group: &str, deduplication: &str) -> Arc<Content> {
    let extras = Extras { group: Some(group.into()), deduplication: Some(deduplication.into()), ..Extras::default() };
    Arc::new(Content::new(body, extras).unwrap())
}

fn ask(max: usize) -> Ask {
    Ask { max, visibility_seconds: 30, move_after: None, short_poll: true }
}

fn bodies(received: &Received) -> Vec<&str> {
    received.deliveries.iter().map(|delivery| &*delivery.content.body).collect()
}

fn counts(queue: &mut Queue, now: Millis) -> (usize, usize, usize) {
    let counts = queue.counts(Duration::ZERO, now);
    (counts.visible, counts.in_flight, counts.delayed)
}

#[test]
fn received_message_is_hidden_until_its_timeout_and_then_counts_up() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let first = queue.receive(&ask(10), &mut Manners::default(), START);
    assert_eq!(first.deliveries[0].receipt.receives, 1);
    assert!(queue.receive(&ask(10), &mut Manners::default(), START.plus_seconds(29)).deliveries.is_empty());
    let second = queue.receive(&ask(10), &mut Manners::default(), START.plus_seconds(30));
    assert_eq!(second.deliveries[0].receipt.receives, 2);
    assert_eq!(second.deliveries[0].first_received, START);
}

#[test]
fn stale_receipt_deletes_nothing_and_expired_one_deletes() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let first = queue.receive(&ask(1), &mut Manners::default(), START).deliveries[0].receipt;
    let second = queue.receive(&ask(1), &mut Manners::default(), START.plus_seconds(30)).deliveries[0].receipt;
    assert_eq!(queue.delete(first, START), Ok(()));
    assert_eq!(counts(&mut queue, START.plus_seconds(31)), (0, 1, 0), "the stale receipt is harmless");
    assert_eq!(queue.delete(second, START), Ok(()), "visible again, but not received since");
    assert_eq!(counts(&mut queue, START.plus_seconds(99)), (0, 0, 0));
    assert_eq!(queue.delete(second, START), Ok(()), "twice is no error");
}

#[test]
fn receipt_of_another_queue_is_invalid() {
    let mut queue = queue(&[]);
    let receipt = Receipt { queue: 2, sequence: 1, receives: 1 };
    assert_eq!(queue.delete(receipt, START), Err(SqsError::invalid_receipt()));
}

#[test]
fn visibility_can_be_extended_ended_and_not_beyond_twelve_hours() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let receipt = queue.receive(&ask(1), &mut Manners::default(), START).deliveries[0].receipt;
    let later = START.plus_seconds(20);
    assert_eq!(queue.change_visibility(receipt, 100, later), Ok(()));
    assert_eq!(counts(&mut queue, START.plus_seconds(119)), (0, 1, 0));
    assert!(queue.change_visibility(receipt, 43_200, later).is_err(), "the twelve hours began with the receive");
    assert_eq!(queue.change_visibility(receipt, 0, later), Ok(()));
    assert_eq!(counts(&mut queue, later), (1, 0, 0));
    assert_eq!(queue.change_visibility(receipt, 30, later), Err(SqsError::not_in_flight()));
}

#[test]
fn zero_visibility_leaves_the_message_visible_and_delivers_it_once() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let received = queue.receive(&Ask { visibility_seconds: 0, ..ask(10) }, &mut Manners::default(), START);
    assert_eq!(received.deliveries.len(), 1);
    assert_eq!(counts(&mut queue, START), (1, 0, 0));
}

#[test]
fn delayed_message_waits_and_the_own_delay_overrides_the_queues() {
    let mut queue = queue(&[("DelaySeconds", "10")]);
    queue.send(content("slow"), None, START);
    queue.send(content("fast"), Some(0), START);
    assert_eq!(bodies(&queue.receive(&ask(10), &mut Manners::default(), START)), ["fast"]);
    assert_eq!(counts(&mut queue, START), (0, 1, 1));
    assert_eq!(queue.next_timer(), Some(START.plus_seconds(10)));
    assert_eq!(bodies(&queue.receive(&ask(10), &mut Manners::default(), START.plus_seconds(10))), ["slow"]);
}

#[test]
fn messages_are_gone_after_their_retention_even_in_flight() {
    let mut queue = queue(&[("MessageRetentionPeriod", "60")]);
    queue.send(content("x"), None, START);
    let hour = Ask { visibility_seconds: 3600, ..ask(1) };
    assert_eq!(queue.receive(&hour, &mut Manners::default(), START).deliveries.len(), 1);
    queue.send(content("y"), None, START.plus_seconds(30));
    assert_eq!(counts(&mut queue, START.plus_seconds(60)), (1, 0, 0));
    assert_eq!(counts(&mut queue, START.plus_seconds(90)), (0, 0, 0));
    assert!(!queue.has_visible(), "nothing is left in the lane");
}

#[test]
fn message_received_too_often_is_moved_with_its_id_and_time() {
    let (mut source, mut target) = (queue(&[]), queue(&[]));
    let id = source.send(content("x"), None, START).id;
    let ask = Ask { visibility_seconds: 1, move_after: Some(2), ..ask(10) };
    for second in 0..2 {
        assert_eq!(source.receive(&ask, &mut Manners::default(), START.plus_seconds(second)).deliveries.len(), 1);
    }
    let mut received = source.receive(&ask, &mut Manners::default(), START.plus_seconds(2));
    assert!(received.deliveries.is_empty());
    assert_eq!(counts(&mut source, START.plus_seconds(2)), (0, 0, 0));
    let arn: Arc<str> = "arn".into();
    target.take_moved(received.moved.remove(0), &arn, START.plus_seconds(2));
    let delivery = target.receive(&ask, &mut Manners::default(), START.plus_seconds(2)).deliveries.remove(0);
    assert_eq!((delivery.content.id, delivery.sent, delivery.source), (id, START, Some(arn)));
    assert_eq!(delivery.count, 3, "it was received twice before it was moved");
    let again = target.receive(&ask, &mut Manners::default(), START.plus_seconds(3)).deliveries.remove(0);
    assert_eq!(again.count, 4, "a limit of the second queue counts from its own first receive");
}

#[test]
fn fifo_dead_letter_queue_counts_the_retention_anew() {
    let (mut source, mut target) = (queue(&[("FifoQueue", "true")]), queue(&[("FifoQueue", "true")]));
    source.send(grouped("x", "g", "d"), None, START);
    let ask = Ask { visibility_seconds: 1, move_after: Some(1), ..ask(10) };
    source.receive(&ask, &mut Manners::default(), START);
    let moved = source.receive(&ask, &mut Manners::default(), START.plus_seconds(5)).moved.remove(0);
    target.take_moved(moved, &"arn".into(), START.plus_seconds(5));
    let delivery = target.receive(&ask, &mut Manners::default(), START.plus_seconds(6)).deliveries.remove(0);
    assert_eq!((delivery.sent, delivery.count), (START.plus_seconds(5), 2));
}

#[test]
fn message_that_is_redriven_is_a_new_one_and_one_that_is_not_stays_what_it_was() {
    let (mut dead, mut target) = (queue(&[]), queue(&[]));
    let mut history = dead.snapshot(&setup(&dead));
    let moved = |body: &str| Moved {
        sequence: 1,
        content: content(body),
        sent: START,
        count: 4,
        source: Some("before".into()),
    };
    for body in ["a", "b", "c"] {
        dead.take_moved(moved(body), &"arn".into(), START);
    }
    dead.receive(&Ask { visibility_seconds: 60, ..ask(1) }, &mut Manners::default(), START);
    let mut out = dead.take_out(10, START.plus_seconds(9));
    assert_eq!(out.len(), 2, "one is hidden");
    let sequences = out.iter().map(|moved| moved.sequence).collect();
    let (kept, gone) = (out.remove(0), out.remove(0));
    target.take_redriven(&gone, START.plus_seconds(9));
    dead.take_back(kept);
    dead.moved_away(sequences);
    let new = target.receive(&ask(10), &mut Manners::default(), START.plus_seconds(9)).deliveries.remove(0);
    assert_eq!((&*new.content.body, new.sent, new.count, new.source), ("c", START.plus_seconds(9), 1, None));
    assert_ne!(new.content.id, gone.content.id);
    // A restart does not change the remaining time.
    let mut dead = restored(&mut dead, &mut history, START.plus_seconds(9));
    let old = dead.receive(&ask(10), &mut Manners::default(), START.plus_seconds(9)).deliveries.remove(0);
    assert_eq!((&*old.content.body, old.sent, old.count, old.source), ("b", START, 5, Some("arn".into())));
    assert_eq!(counts(&mut dead, START.plus_seconds(9)), (0, 2, 0));
}

#[test]
fn no_more_than_the_limit_are_in_flight() {
    let mut queue = queue(&[]);
    for _ in 0..=IN_FLIGHT_MAX {
        queue.send(content("x"), None, START);
    }
    for _ in 0..IN_FLIGHT_MAX / 10 {
        assert_eq!(queue.receive(&ask(10), &mut Manners::default(), START).deliveries.len(), 10);
    }
    let received = queue.receive(&ask(10), &mut Manners::default(), START);
    assert!(received.over_limit && received.deliveries.is_empty());
    assert!(!queue.has_visible(), "waiting receivers stay asleep");
    assert_eq!(counts(&mut queue, START), (1, IN_FLIGHT_MAX, 0));
}

#[test]
fn purge_empties_the_queue_once_a_minute() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    assert!(queue.purge(START));
    assert_eq!(counts(&mut queue, START), (0, 0, 0));
    assert!(!queue.purge(START.plus_seconds(59)));
    assert!(queue.purge(START.plus_seconds(60)));
}

#[test]
fn fifo_repeats_are_dropped_for_five_minutes() {
    let mut queue = queue(&[("FifoQueue", "true")]);
    let first = queue.send(grouped("a", "g", "d"), None, START);
    assert_eq!(queue.send(grouped("b", "g", "d"), None, START.plus_seconds(299)), first);
    assert_ne!(queue.send(grouped("c", "g", "d"), None, START.plus_seconds(300)), first);
    assert_eq!(bodies(&queue.receive(&ask(10), &mut Manners::default(), START.plus_seconds(300))), ["a", "c"]);
}

#[test]
fn fifo_receipt_is_worth_nothing_once_it_has_expired() {
    let mut queue = queue(&[("FifoQueue", "true")]);
    queue.send(grouped("1", "g", "1"), None, START);
    let first = queue.receive(&ask(1), &mut Manners::default(), START).deliveries[0].receipt;
    queue.advance(START.plus_seconds(30));
    assert!(queue.delete(first, START).is_err(), "visible again");
    let second = queue.receive(&ask(1), &mut Manners::default(), START.plus_seconds(31)).deliveries[0].receipt;
    assert!(queue.delete(first, START).is_err(), "received again");
    assert_eq!(queue.delete(second, START), Ok(()));
    assert_eq!(queue.delete(second, START), Ok(()), "twice is no error");
}

#[test]
fn fifo_group_keeps_its_order_over_a_timeout() {
    let mut queue = queue(&[("FifoQueue", "true")]);
    for body in ["1", "2", "3"] {
        queue.send(grouped(body, "g", body), None, START);
    }
    assert_eq!(bodies(&queue.receive(&ask(2), &mut Manners::default(), START)), ["1", "2"]);
    assert!(queue.receive(&ask(10), &mut Manners::default(), START).deliveries.is_empty(), "the group is closed");
    assert_eq!(bodies(&queue.receive(&ask(10), &mut Manners::default(), START.plus_seconds(30))), ["1", "2", "3"]);
}

/// Adds the changes to the journal in `history`, and returns the queue that it restores.
fn restored(queue: &mut Queue, history: &mut Vec<u8>, now: Millis) -> Queue {
    history.extend_from_slice(queue.changes.lines());
    queue.changes.clear();
    let (restored, _, unread) = Queue::restore(history, now).unwrap();
    assert_eq!(unread, 0);
    restored
}

fn setup(queue: &Queue) -> Setup {
    let (created, tags) = (START, BTreeMap::new());
    Setup { identity: 1, created, attributes: queue.settings.all(), tags }
}

/// The parts of a message that a restart must keep: body, receives, the shown count, times, place, kind.
type Shown = (String, (u32, u32), Millis, Millis, Place, Kind);

fn shown(queue: &Queue) -> Vec<(u64, Shown)> {
    let one = |(sequence, m): (&u64, &Message)| {
        (
            *sequence,
            (m.content.body.to_string(), (m.receives, m.count()), m.first_received, m.received, m.place, m.kind),
        )
    };
    queue.messages.iter().map(one).collect()
}

/// After every step, the journal describes the same queue, line by line and as a snapshot.
#[test]
fn journal_brings_the_queue_back_at_any_moment() {
    for fifo in [false, true] {
        let mut dice = fastrand::Rng::with_seed(u64::from(fifo));
        let mut queue = queue(if fifo { &[("FifoQueue", "true")] } else { &[] });
        let mut history = queue.snapshot(&setup(&queue));
        let (mut receipts, mut now, turns) = (Vec::new(), START, Arc::<AtomicU64>::default());
        for step in 0..600_u64 {
            now = Millis(now.0 + dice.u64(..3000));
            let receipt = || receipts.get(step as usize % receipts.len().max(1)).copied();
            match dice.u8(..8) {
                0..=2 => {
                    let content = if fifo {
                        grouped(&step.to_string(), ["a", "b"][dice.usize(..2)], &(step / 2).to_string())
                    } else {
                        content(&step.to_string())
                    };
                    queue.send(content, (!fifo).then(|| dice.u64(..5)), now);
                }
                3 | 4 => {
                    let ask = Ask { visibility_seconds: dice.u64(..20), ..ask(3) };
                    let repeat = Repeat { every: 5, count: Some(2), within: Duration::from_secs(9) };
                    let again = Again { repeat, chance: 1.0, after_deletion: step % 2 == 0, turns: turns.clone() };
                    let mut manners = Manners { duplicate: 0.1, again: vec![again], ..Manners::default() };
                    let received = queue.receive(&ask, &mut manners, now);
                    receipts.extend(received.deliveries.iter().map(|delivery| delivery.receipt));
                }
                5 => drop(receipt().map(|receipt| queue.delete(receipt, now))),
                6 => drop(receipt().map(|receipt| queue.change_visibility(receipt, dice.u64(..9), now))),
                _ if step % 97 == 0 => drop(queue.purge(now)),
                _ => {}
            }
            queue.advance(now);
            let again = restored(&mut queue, &mut history, now);
            assert_eq!(shown(&again), shown(&queue), "step {step}");
            assert_eq!((again.in_flight, again.delayed, again.bytes), (queue.in_flight, queue.delayed, queue.bytes));
            assert!(again.next_sequence <= queue.next_sequence);
            if step % 50 == 0 {
                history = queue.snapshot(&setup(&queue));
            }
        }
        assert!(!queue.messages.is_empty() && receipts.len() > 50, "something did happen");
    }
}

#[test]
fn half_lines_are_counted_and_skipped() {
    let mut queue = queue(&[]);
    let mut history = queue.snapshot(&setup(&queue));
    queue.send(content("x"), None, START);
    history.extend_from_slice(queue.changes.lines());
    history.extend_from_slice(b"nonsense\n{\"gone\":[1");
    let (again, _, unread) = Queue::restore(&history, START).unwrap();
    assert_eq!((again.messages.len(), unread), (1, 2));
    assert!(Queue::restore(b"", START).is_none(), "nothing says what queue it is");
}

#[test]
fn rude_queue_duplicates_shuffles_and_samples_as_its_dice_say() {
    let rude = |seed| Manners {
        duplicate: 0.3,
        shuffle: 20,
        sample: 0.5,
        dice: fastrand::Rng::with_seed(seed),
        ..Manners::default()
    };
    let run = |seed| {
        let mut queue = queue(&[]);
        for body in 0..100 {
            queue.send(content(&body.to_string()), None, START);
        }
        let mut manners = rude(seed);
        let mut order = Vec::new();
        for _ in 0..30 {
            let received = queue.receive(&ask(10), &mut manners, START);
            order
                .push(received.deliveries.iter().map(|delivery| delivery.content.body.to_string()).collect::<Vec<_>>());
        }
        order
    };
    let order = run(1);
    assert_eq!(order, run(1), "same dice, same rudeness");
    assert_ne!(order, run(2));
    assert!(order.iter().any(|poll| poll.len() < 10));
    let all: Vec<_> = order.concat();
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert!(all.len() > distinct.len(), "some came twice");
    assert!(!all.is_sorted());
}

#[test]
fn fifo_queue_is_never_rude_and_says_nothing_when_it_is_full() {
    let mut queue = queue(&[("FifoQueue", "true")]);
    for body in ["1", "2", "3"] {
        queue.send(grouped(body, "g", body), None, START);
    }
    let mut manners = Manners { duplicate: 1.0, shuffle: 3, ..Manners::default() };
    assert_eq!(bodies(&queue.receive(&ask(10), &mut manners, START)), ["1", "2", "3"]);
    assert_eq!(counts(&mut queue, START), (0, 3, 0));
    queue.in_flight = IN_FLIGHT_MAX;
    assert!(!queue.receive(&ask(10), &mut manners, START).over_limit);
}

#[test]
fn stale_counts_are_those_that_were_told_before() {
    let mut queue = queue(&[]);
    let minute = Duration::from_mins(1);
    assert_eq!(queue.counts(minute, START).visible, 0);
    queue.send(content("x"), None, START);
    assert_eq!(queue.counts(minute, START.plus_seconds(59)).visible, 0);
    assert_eq!(queue.counts(minute, START.plus_seconds(60)).visible, 1);
}
