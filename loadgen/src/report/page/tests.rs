//! The page shows everything that was observed, and a browser fetches nothing for it.

use super::*;
use crate::{
    manifest::{Sent, no_latencies},
    observe::{Metric, Observed},
};

fn second(at_s: f64) -> Second {
    let counter = Metric { kind: MetricKind::Counter, value: 100.0 * at_s * at_s };
    let same = Metric { kind: MetricKind::Gauge, value: 7.0 };
    let latency = Some(Latency { p50_ms: 1.0, p99_ms: 5.0 * at_s, max_ms: 20.0 });
    Second {
        at_s,
        asked_per_s: Some(1_000.0),
        ticks: (1_000.0 * at_s) as u64,
        messages: (10.0 * at_s) as u64,
        send: latency,
        waiting: Some(30),
        backlog: Some(40),
        stored: Some((900.0 * at_s) as u64),
        lake: latency,
        alerts: Some(1),
        metrics: [("ticks_<total>".to_owned(), counter), ("same".to_owned(), same)].into(),
        problems: Vec::new(),
    }
}

fn page(seconds: Vec<Second>, sent: &Sent) -> String {
    let observed = Observed { seconds, problems: vec!["the lake <is> away".to_owned()], ..Observed::default() };
    let mut latencies = no_latencies();
    (1..10_000).for_each(|us| latencies.record(us * 10).unwrap());
    of(
        "Load on a & b",
        jiff::Timestamp::UNIX_EPOCH,
        &Figures::of(sent, &observed),
        &[("send", &latencies), ("lake", &latencies)],
    )
}

#[test]
fn page_shows_all_that_was_looked_at_and_is_whole_in_itself() {
    let page = page((1..=30).map(|at| second(f64::from(at))).collect(), &Sent::nothing());
    let shown = [
        "<title>Load on a &amp; b</title>",
        "<span class=\"good\">valid</span>",
        "the lake &lt;is&gt; away",
        "Throughput",
        "Backlog",
        "<td>99.99</td>",
        "99.9%</text>",
        "ticks_&lt;total&gt;, per second",
    ];
    let joined = page.replace('\n', "");
    for text in shown {
        assert!(joined.contains(text), "{text} in {page}");
    }
    // Four plots, and one for the metric that changed.
    assert_eq!(page.matches("<svg").count(), 5);
    assert_eq!(page.matches("stroke-width=\"2\"").count(), 3 + 2 + 4 + 2 + 1);
    let addresses = page.match_indices("http").map(|(at, _)| &page[at..(at + 26).min(page.len())]);
    assert!(addresses.into_iter().all(|url| url == "http://www.w3.org/2000/svg"), "nothing is fetched");
    assert!(!page.contains("same") && !page.contains("NaN"));
}

#[test]
fn run_that_is_worth_nothing_says_so_and_one_of_a_moment_has_a_page() {
    let behind = std::time::Duration::from_secs(1);
    let invalid = page(Vec::new(), &Sent { behind, ..Sent::nothing() });
    assert!(invalid.contains("INVALID") && !invalid.contains("NaN"), "{invalid}");
    let stopped = page(vec![second(1.0)], &Sent { is_whole: false, ..Sent::nothing() });
    assert!(stopped.contains("1970-01-01 00:00 UTC"));
    assert!(stopped.contains("stopped before") && !stopped.contains("NaN"));
}

#[test]
fn ticks_that_nobody_saw_are_on_the_page_and_nothing_is_said_of_their_latency() {
    let in_lake = Some(crate::watch::Seen::nothing());
    let observed = Observed { in_lake, not_in_lake: 7, ..Observed::default() };
    let latencies = no_latencies();
    let figures = Figures::of(&Sent::nothing(), &observed);
    let page = of("a", jiff::Timestamp::UNIX_EPOCH, &figures, &[("send", &latencies), ("lake", &latencies)]);
    assert!(page.contains("not everything was seen") && page.contains("7 messages when patience was over"), "{page}");
    assert!(!page.contains("in the lake, p99") && !page.contains("NaN"));
}
