//! Which request meets which fault.

use super::*;

const SEND: Operation = Operation { name: "sqs:SendMessageBatch", action: "sqs:SendMessage" };

fn verdicts(faults: &Faults, requests: usize) -> Vec<Verdict> {
    (0..requests).map(|_| faults.judge(SEND, "").1).collect()
}

#[tokio::test]
async fn faults_match_the_action_the_operation_and_a_prefix() {
    for pattern in ["sqs:SendMessage", "sqs:SendMessageBatch", "sqs:*", "*"] {
        let faults = Faults::default();
        faults.deny(pattern);
        assert_eq!(faults.meet(SEND, String::new).await, Verdict::Deny, "{pattern}");
        faults.clear();
        assert_eq!(faults.meet(SEND, String::new).await, Verdict::Proceed, "{pattern}");
    }
    let faults = Faults::default();
    faults.deny("sqs:Send");
    assert_eq!(faults.meet(SEND, String::new).await, Verdict::Proceed);
}

#[tokio::test]
async fn nth_request_fails_and_every_call_is_counted() {
    let faults = Faults::default();
    faults.add("sqs:SendMessage=error@1/3".parse().unwrap());
    let mut failed = Vec::new();
    for index in 1..=6 {
        if faults.meet(SEND, String::new).await != Verdict::Proceed {
            failed.push(index);
        }
    }
    assert_eq!(failed, [3, 6]);
    assert_eq!(faults.calls("sqs:SendMessage"), 6);
    assert_eq!(faults.all_calls()["sqs:SendMessageBatch"], 6);
}

#[test]
fn entries_fail_by_themselves_and_leave_requests_alone() {
    let faults = Faults::default();
    faults.add("sqs:SendMessage=fail-entries@1/2".parse().unwrap());
    assert_eq!([1, 2, 3, 4].map(|_| faults.entry_meets(SEND, &Effect::FailEntries)), [false, true, false, true]);
    assert_eq!(faults.judge(SEND, "").1, Verdict::Proceed);
}

#[test]
fn same_seed_strikes_the_same_requests() {
    let faults = Faults::default();
    let run = |seed| {
        faults.set(vec!["sqs:*=throttle@30%".parse().unwrap()], seed);
        verdicts(&faults, 200)
    };
    let first = run(7);
    let struck = first.iter().filter(|verdict| **verdict != Verdict::Proceed).count();
    assert!((30..90).contains(&struck), "{struck} of 200");
    assert_eq!(run(7), first);
    assert_ne!(run(8), first);
}

#[test]
fn rate_is_kept_per_scope() {
    let faults = Faults::default();
    faults.add("sqs:*=rate:5".parse().unwrap());
    for scope in ["a", "b"] {
        let admitted = (0..50).filter(|_| faults.judge(SEND, scope).1 == Verdict::Proceed).count();
        assert!((5..10).contains(&admitted), "a second's worth, and what came in meanwhile: {admitted}");
    }
}

#[test]
fn latencies_have_their_median_and_tail() {
    let mut dice = Rng::with_seed(1);
    let (median, p99) = (Duration::from_millis(10), Duration::from_millis(100));
    let mut delays: Vec<_> = (0..10_000).map(|_| log_normal(median, p99, &mut dice)).collect();
    delays.sort();
    let close = |found: Duration, wanted: Duration| (found.as_secs_f64() / wanted.as_secs_f64() - 1.0).abs() < 0.15;
    assert!(close(delays[5_000], median), "{:?}", delays[5_000]);
    assert!(close(delays[9_900], p99), "{:?}", delays[9_900]);
    assert_eq!(log_normal(median, median, &mut dice), median);
}

#[test]
fn queue_effects_are_no_verdicts() {
    let faults = Faults::default();
    for text in ["sqs:*=duplicate@5%", "sqs:*=shuffle:9", "sqs:*=sample:25%", "sqs:*=stale:3s"] {
        faults.add(text.parse().unwrap());
    }
    assert_eq!(faults.judge(RECEIVE, "").1, Verdict::Proceed);
    let manners = faults.manners();
    assert_eq!((manners.duplicate, manners.shuffle, manners.sample), (0.05, 9, 0.25));
    assert_eq!(faults.staleness(), Duration::from_secs(3));
}
