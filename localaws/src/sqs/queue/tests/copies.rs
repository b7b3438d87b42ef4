//! What a copy shares with its message, and when it comes. The manners themselves are in `faults`.

use super::*;
use crate::faults::{Again, Repeat};

/// Manners that give every `every`-th message a copy within two seconds.
fn again(every: u64, count: Option<u32>, seed: u64) -> Manners {
    let repeat = Repeat { every, count, within: Duration::from_secs(2) };
    let again = Again { repeat, chance: 1.0, after_deletion: false, turns: Arc::default() };
    Manners { again: vec![again], dice: fastrand::Rng::with_seed(seed), ..Manners::default() }
}

fn again_deleted(count: Option<u32>) -> Manners {
    let mut manners = again(1, count, 1);
    manners.again[0].after_deletion = true;
    manners
}

/// The only delivery of a receive.
fn only(received: Received) -> Delivery {
    let [delivery] = <[Delivery; 1]>::try_from(received.deliveries).expect("one message");
    delivery
}

fn at(queue: &mut Queue, seconds: u64) -> Received {
    queue.receive(&ask(10), &mut Manners::default(), START.plus_seconds(seconds))
}

#[test]
fn every_nth_message_is_handed_out_once_more_while_it_is_hidden() {
    let mut queue = queue(&[]);
    let sent: Vec<_> = (0..40).map(|body| queue.send(content(&body.to_string()), None, START).id).collect();
    let mut manners = again(10, Some(7), 1);
    let first: Vec<_> = (0..4).flat_map(|_| queue.receive(&ask(10), &mut manners, START).deliveries).collect();
    assert_eq!(counts(&mut queue, START).1, 40);
    let mut copies = Vec::new();
    for ms in (0..=2000).step_by(50) {
        let received = queue.receive(&ask(10), &mut manners, START.plus_millis(ms));
        assert_eq!(received.copies.again as usize, received.deliveries.len());
        copies.extend(received.deliveries.into_iter().map(|delivery| (ms, delivery)));
    }
    let ids: std::collections::BTreeSet<_> = copies.iter().map(|(_, copy)| copy.content.id).collect();
    assert_eq!(ids, [9, 19, 29, 39].map(|index| sent[index]).into(), "each tenth, once, and no copy of a copy");
    assert!(copies.iter().any(|(ms, _)| *ms > 300), "the moments differ: {copies:?}");
    for (_, copy) in &copies {
        let message = first.iter().find(|delivery| delivery.content.id == copy.content.id).unwrap();
        assert!(Arc::ptr_eq(&message.content, &copy.content));
        assert_eq!((copy.sent, copy.first_received), (message.sent, START));
        assert_ne!(copy.receipt, message.receipt);
    }
}

#[test]
fn copy_comes_before_and_after_the_delivery_with_the_smaller_count() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut queue = queue(&[]);
        queue.send(content("x"), None, START);
        let first = only(queue.receive(&ask(1), &mut again(1, Some(2), seed), START));
        orders.insert((first.count, only(at(&mut queue, 2)).count));
        // Both deliveries count, whatever count they showed.
        assert_eq!(only(at(&mut queue, 31)).count, 3);
    }
    assert_eq!(orders, [(1, 2), (2, 1)].into());
}

#[test]
fn copy_without_a_count_shows_the_next_one() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    at(&mut queue, 0);
    let second = only(queue.receive(&ask(1), &mut again(1, None, 1), START.plus_seconds(30)));
    let mut shown = [second.count, only(at(&mut queue, 32)).count];
    shown.sort_unstable();
    assert_eq!(shown, [2, 3]);
}

#[test]
fn receipts_of_message_and_copy_both_delete_both() {
    for by_copy in [false, true] {
        let mut queue = queue(&[]);
        queue.send(content("x"), None, START);
        let first = only(queue.receive(&ask(1), &mut again(1, Some(2), 1), START));
        let copy = only(at(&mut queue, 2));
        assert_eq!(queue.delete(if by_copy { copy.receipt } else { first.receipt }, START), Ok(()));
        assert_eq!(counts(&mut queue, START.plus_seconds(99)), (0, 0, 0), "by the copy: {by_copy}");
    }
}

#[test]
fn no_copy_comes_after_the_deletion() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let first = only(queue.receive(&ask(1), &mut again(1, Some(2), 1), START));
    assert_eq!(counts(&mut queue, START), (0, 1, 1), "the copy is on its way");
    assert_eq!(queue.delete(first.receipt, START), Ok(()));
    assert!(at(&mut queue, 99).deliveries.is_empty());
}

#[test]
fn copy_is_hidden_by_its_own_timeout_and_by_its_own_receipt() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let first = only(queue.receive(&ask(1), &mut again(1, Some(2), 1), START));
    let copy = only(at(&mut queue, 2));
    assert_eq!(queue.change_visibility(first.receipt, 100, START.plus_seconds(3)), Ok(()));
    assert_eq!(queue.change_visibility(copy.receipt, 0, START.plus_seconds(3)), Ok(()));
    let copy = only(at(&mut queue, 3));
    assert_eq!(queue.change_visibility(copy.receipt, 10, START.plus_seconds(3)), Ok(()));
    assert!(at(&mut queue, 12).deliveries.is_empty());
    let late = at(&mut queue, 13);
    assert_eq!(late.copies.again, 0, "it was counted when it came first");
    assert_eq!(only(late).content.id, first.content.id);
}

#[test]
fn deleted_message_comes_once_more_where_that_was_asked_for() {
    for (count, shown) in [(Some(5), 5), (None, 2)] {
        let mut queue = queue(&[]);
        queue.send(content("x"), None, START);
        let first = only(queue.receive(&ask(1), &mut again_deleted(count), START));
        assert!(at(&mut queue, 9).deliveries.is_empty(), "not before");
        assert_eq!(queue.delete(first.receipt, START.plus_seconds(10)), Ok(()));
        let received = queue.receive(&ask(1), &mut again_deleted(count), START.plus_seconds(12));
        assert_eq!(received.copies.again_deleted, 1);
        let copy = only(received);
        assert_eq!((copy.content.id, copy.count), (first.content.id, shown));
        assert_eq!(queue.delete(copy.receipt, START.plus_seconds(12)), Ok(()));
        assert_eq!(counts(&mut queue, START.plus_seconds(99)), (0, 0, 0), "no copy of a copy");
    }
}

#[test]
fn message_that_moves_away_takes_its_copies_along() {
    let mut queue = queue(&[]);
    queue.send(content("x"), None, START);
    let ask = Ask { move_after: Some(1), ..ask(10) };
    queue.receive(&ask, &mut again(1, Some(2), 1), START);
    // The copy becomes visible first. It is dropped and not moved.
    queue.receive(&Ask { visibility_seconds: 1, ..ask.clone() }, &mut Manners::default(), START.plus_seconds(2));
    let early = queue.receive(&ask, &mut Manners::default(), START.plus_seconds(4));
    assert_eq!((early.deliveries.len(), early.moved.len()), (0, 0));
    let late = queue.receive(&ask, &mut Manners::default(), START.plus_seconds(30));
    assert_eq!((late.deliveries.len(), late.moved.len()), (0, 1));
    // A hidden copy goes with its message, too.
    queue.send(content("y"), None, START.plus_seconds(30));
    queue.receive(&ask, &mut again(1, Some(2), 1), START.plus_seconds(30));
    let hour = Ask { visibility_seconds: 3600, ..ask.clone() };
    assert_eq!(queue.receive(&hour, &mut Manners::default(), START.plus_seconds(32)).deliveries.len(), 1);
    assert_eq!(queue.receive(&ask, &mut Manners::default(), START.plus_seconds(60)).moved.len(), 1);
    assert_eq!(counts(&mut queue, START.plus_seconds(60)), (0, 0, 0));
}

#[test]
fn copies_survive_a_restart_with_their_message() {
    let mut queue = queue(&[]);
    let mut history = queue.snapshot(&setup(&queue));
    queue.send(content("x"), None, START);
    let first = only(queue.receive(&ask(1), &mut again(1, Some(2), 1), START));
    let mut queue = restored(&mut queue, &mut history, START);
    let copy = only(at(&mut queue, 2));
    assert_eq!(first.count + copy.count, 3, "one and two, in either order");
    assert_eq!(only(at(&mut queue, 31)).count, 3, "and all of them count");
    let mut queue = restored(&mut queue, &mut history, START.plus_seconds(31));
    assert_eq!(queue.delete(copy.receipt, START), Ok(()));
    assert_eq!(counts(&mut queue, START.plus_seconds(99)), (0, 0, 0));
}

#[test]
fn fifo_queue_makes_no_copies() {
    let mut queue = queue(&[("FifoQueue", "true")]);
    queue.send(grouped("1", "g", "1"), None, START);
    queue.receive(&ask(1), &mut again(1, Some(2), 1), START);
    assert_eq!(counts(&mut queue, START), (0, 1, 0));
}
