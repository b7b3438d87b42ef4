//! Small worlds hold, and find each broken rule. This file does *not* own the worlds.

use super::*;

/// Small worlds that every build runs.
const SEEDS: u64 = 50;

/// Small worlds that must find each broken rule.
const SEARCHED: u64 = 400;

#[test]
fn small_worlds_lose_and_double_nothing() {
    let worlds = many(FIRST, SEEDS, None, false);
    assert_eq!(worlds.first_failure, None, "{}", worlds.total);
    let total = worlds.total;
    let (kills, freezes, stops) = total.faults();
    assert!(kills.min(freezes).min(stops).min(total.copies).min(total.moves).min(total.alerts) > 0, "{total}");
}

#[test]
fn same_seed_is_the_same_world() {
    for seed in FIRST..=FIRST + 2 {
        assert_eq!(small(seed, None, false), small(seed, None, false));
        assert_ne!(small(seed, None, false).hash, small(seed + 1, None, false).hash);
    }
}

#[test]
fn every_broken_rule_is_found_by_some_seed() {
    for broken in Broken::ALL {
        let is_found = |seed: &u64| small(*seed, Some(broken), false).violations() > 0;
        assert!((FIRST..=FIRST + SEARCHED).find(is_found).is_some(), "{broken:?} is not found");
    }
}
