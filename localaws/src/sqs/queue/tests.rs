//! The promises of a queue, checked with a clock that the tests turn.

use std::sync::Arc;

use super::*;
use crate::sqs::message::Extras;

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
    Ask { max, visibility_seconds: 30, move_after: None }
}

fn bodies(received: &Received) -> Vec<&str> {
    received.deliveries.iter().map(|delivery| &*delivery.content.body).collect()
}

fn counts(queue: &mut Queue, now: Millis) -> (usize, usize, usize) {
    let counts = queue.counts(now);
    (counts.visible, counts.in_flight, counts.delayed)
}

#[test]
fn received_message_is_hidden_until_its_timeout_and_then_counts_up() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let first = queue.receive(&ask(10), START);
    assert_eq!(first.deliveries[0].receipt.receives, 1);
    assert!(queue.receive(&ask(10), START.plus_seconds(29)).deliveries.is_empty());
    let second = queue.receive(&ask(10), START.plus_seconds(30));
    assert_eq!(second.deliveries[0].receipt.receives, 2);
    assert_eq!(second.deliveries[0].first_received, START);
}

#[test]
fn stale_receipt_deletes_nothing_and_expired_one_deletes() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let first = queue.receive(&ask(1), START).deliveries[0].receipt;
    let second = queue.receive(&ask(1), START.plus_seconds(30)).deliveries[0].receipt;
    assert_eq!(queue.delete(first), Ok(()));
    assert_eq!(counts(&mut queue, START.plus_seconds(31)), (0, 1, 0), "the stale receipt is harmless");
    assert_eq!(queue.delete(second), Ok(()), "visible again, but not received since");
    assert_eq!(counts(&mut queue, START.plus_seconds(99)), (0, 0, 0));
    assert_eq!(queue.delete(second), Ok(()), "twice is no error");
}

#[test]
fn receipt_of_another_queue_is_invalid() {
    let mut queue = queue(&[]);
    let receipt = Receipt { queue: 2, sequence: 1, receives: 1 };
    assert_eq!(queue.delete(receipt), Err(SqsError::invalid_receipt()));
}

#[test]
fn visibility_can_be_extended_ended_and_not_beyond_twelve_hours() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let receipt = queue.receive(&ask(1), START).deliveries[0].receipt;
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
    let received = queue.receive(&Ask { visibility_seconds: 0, ..ask(10) }, START);
    assert_eq!(received.deliveries.len(), 1);
    assert_eq!(counts(&mut queue, START), (1, 0, 0));
}

#[test]
fn delayed_message_waits_and_the_own_delay_overrides_the_queues() {
    let mut queue = queue(&[("DelaySeconds", "10")]);
    queue.send(content("slow"), None, START);
    queue.send(content("fast"), Some(0), START);
    assert_eq!(bodies(&queue.receive(&ask(10), START)), ["fast"]);
    assert_eq!(counts(&mut queue, START), (0, 1, 1));
    assert_eq!(queue.next_timer(), Some(START.plus_seconds(10)));
    assert_eq!(bodies(&queue.receive(&ask(10), START.plus_seconds(10))), ["slow"]);
}

#[test]
fn messages_are_gone_after_their_retention_even_in_flight() {
    let mut queue = queue(&[("MessageRetentionPeriod", "60")]);
    queue.send(content("x"), None, START);
    let hour = Ask { visibility_seconds: 3600, ..ask(1) };
    assert_eq!(queue.receive(&hour, START).deliveries.len(), 1);
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
        assert_eq!(source.receive(&ask, START.plus_seconds(second)).deliveries.len(), 1);
    }
    let mut received = source.receive(&ask, START.plus_seconds(2));
    assert!(received.deliveries.is_empty());
    assert_eq!(counts(&mut source, START.plus_seconds(2)), (0, 0, 0));
    let arn: Arc<str> = "arn".into();
    target.take_moved(received.moved.remove(0), &arn, START.plus_seconds(2));
    let delivery = target.receive(&ask, START.plus_seconds(2)).deliveries.remove(0);
    assert_eq!((delivery.content.id, delivery.sent, delivery.source), (id, START, Some(arn)));
}

#[test]
fn no_more_than_the_limit_are_in_flight() {
    let mut queue = queue(&[]);
    for _ in 0..=IN_FLIGHT_MAX {
        queue.send(content("x"), None, START);
    }
    for _ in 0..IN_FLIGHT_MAX / 10 {
        assert_eq!(queue.receive(&ask(10), START).deliveries.len(), 10);
    }
    let received = queue.receive(&ask(10), START);
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
    assert_eq!(bodies(&queue.receive(&ask(10), START.plus_seconds(300))), ["a", "c"]);
}

#[test]
fn fifo_group_keeps_its_order_over_a_timeout() {
    let mut queue = queue(&[("FifoQueue", "true")]);
    for body in ["1", "2", "3"] {
        queue.send(grouped(body, "g", body), None, START);
    }
    assert_eq!(bodies(&queue.receive(&ask(2), START)), ["1", "2"]);
    assert!(queue.receive(&ask(10), START).deliveries.is_empty(), "the group is closed");
    assert_eq!(bodies(&queue.receive(&ask(10), START.plus_seconds(30))), ["1", "2", "3"]);
}
