//! Tests the commit protocol in every interleaving of small cases, and tests that every broken variant is caught.
//!
//! Larger cases: `cargo test --release -p ticklake-core --test protocol -- --ignored --nocapture`.
#![expect(clippy::print_stdout, reason = "the tests print what a search has found")]

mod model;

use model::Case;

fn hold(cases: Vec<Case>) {
    for case in cases {
        let name = case.name;
        let searched = case.search();
        println!("{name}: {} states, depth {}", searched.states, searched.depth);
        if let Some((property, steps)) = searched.violation {
            panic!("{name}: \"{property}\" does not hold after\n  {}", steps.join("\n  "));
        }
    }
}

#[test]
fn small_cases_hold() {
    hold(model::small_cases());
}

#[test]
#[ignore = "takes minutes; CI runs the small cases"]
fn large_cases_hold() {
    hold(model::large_cases());
}

#[test]
fn every_broken_variant_is_caught() {
    for variant in model::variants() {
        let (name, property) = (variant.name.clone(), variant.property);
        let Some(steps) = variant.trace() else { panic!("{name} is not caught") };
        println!("{name} violates \"{property}\":\n  {}", steps.join("\n  "));
    }
}
