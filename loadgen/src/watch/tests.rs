//! What the watch expects of a consumer, and the latencies that it measures.

use std::time::Duration;

use super::*;
use crate::{
    batch::Batcher,
    payload::{Mark, tests::message},
};

const MS: Duration = Duration::from_millis(1);

fn mark(symbol: &str, seq: i64, ts_us: (i64, i64)) -> Mark {
    Mark { symbol: SymbolHash::of(symbol), seq, ts_us }
}

/// A batch of messages with these numbers of ticks and these marks.
fn batch(messages: &[(u64, &[Mark])]) -> Batch {
    let mut batcher = Batcher::default();
    for (ticks, marks) in messages {
        let message = crate::payload::Message { marks: marks.to_vec(), ..message("x".to_owned(), *ticks) };
        assert_eq!(batcher.push(message), None);
    }
    batcher.finish().unwrap()
}

#[test]
fn message_is_seen_when_its_first_tick_is_and_stands_for_all_of_its_ticks() {
    let (watch, due) = (Watch::new(true, false), Instant::now());
    let (aapl, msft) = (mark("AAPL", 7, (0, 9)), mark("MSFT", 7, (0, 9)));
    watch.expect(&batch(&[(5, &[aapl, msft]), (3, &[mark("AAPL", 12, (0, 9))]), (0, &[])]), due);
    assert_eq!(watch.outstanding(), Some(2));
    // In turn: the second mark of the message, its first mark, the first mark again, and a tick that nobody sent.
    for (symbol, seq, late) in [("MSFT", 7, 100), ("AAPL", 7, 500), ("AAPL", 7, 900), ("AAPL", 8, 900)] {
        watch.see_rows(&mut vec![(SymbolHash::of(symbol), seq)], due + MS * late);
    }
    assert_eq!(watch.outstanding(), Some(1));
    let seen = watch.in_lake().unwrap();
    assert_eq!((seen.count, seen.latency_us.len()), (5, 5));
    assert!((499_000..=501_000).contains(&seen.latency_us.max()));
    assert_eq!(watch.take_recent_us().unwrap().1.len(), 5);
    assert!(watch.take_recent_us().unwrap().1.is_empty());
    assert_eq!(watch.of_alerts().map(|(seen, _)| seen.count), None);
}

#[test]
fn alert_is_late_from_when_the_newest_message_with_its_tick_was_due() {
    let (watch, start) = (Watch::new(false, true), Instant::now());
    watch.expect(&batch(&[(2, &[mark("AAPL", 0, (100, 200))])]), start);
    watch.expect(&batch(&[(2, &[mark("AAPL", 2, (150, 300))])]), start + MS * 50);
    watch.expect(&batch(&[(2, &[mark("AAPL", 4, (400, 500))])]), start + MS * 90);
    watch.alert(None, "AAPL", 160, start + MS * 150);
    watch.alert(None, "AAPL", 350, start + MS * 150);
    watch.alert(Some("a".to_owned()), "MSFT", 160, start + MS * 150);
    watch.alert(Some("a".to_owned()), "MSFT", 160, start + MS * 250);
    let (seen, unmatched) = watch.of_alerts().unwrap();
    assert_eq!((seen.count, unmatched, seen.latency_us.len()), (3, 2, 1));
    assert!((99_000..=101_000).contains(&seen.latency_us.max()), "{}", seen.latency_us.max());
    assert_eq!(watch.outstanding(), None);
}

#[test]
fn what_was_sent_long_ago_is_forgotten() {
    let mut alerted = Watch::new(false, true).alerts.unwrap().into_inner().unwrap();
    let (due, old) = (Instant::now(), SymbolHash::of("OLD"));
    alerted.remember(old, (0, 0), due);
    (0..REMEMBERED_MAX as i64 - 1).for_each(|ts| alerted.remember(SymbolHash::of("NEW"), (ts, ts), due));
    assert!(alerted.due(old, 0).is_some());
    alerted.remember(SymbolHash::of("NEW"), (-5, -5), due);
    assert!(alerted.due(old, 0).is_none() && alerted.due(SymbolHash::of("NEW"), -5).is_some());
    assert_eq!(alerted.sent.values().map(VecDeque::len).sum::<usize>(), REMEMBERED_MAX);
}
