//! The checks that are worth running on every change, at small size.

use std::process::Command;

/// Invariants 2 and 9, with one scenario of each kind. `cargo run --release -p benches -- harass` runs longer.
#[test]
fn no_kind_of_scenario_loses_or_doubles_anything() {
    let harass = Command::new(env!("CARGO_BIN_EXE_benches"))
        .args(["harass", "--rounds", "8", "--seed", "1", "--no-shrink"])
        .output();
    let harass = harass.unwrap();
    let (told, failed) = (String::from_utf8_lossy(&harass.stdout), String::from_utf8_lossy(&harass.stderr));
    assert!(harass.status.success(), "{told}{failed}");
    assert!(told.contains("in 8 rounds"), "{told}");
}

/// The rules of `check structure`, except those of the README and of the build.
#[test]
fn sources_keep_the_rules_of_their_structure() {
    let findings = benches::structure::Findings::of_project().unwrap();
    let broken: Vec<_> = findings.all().filter(|(_, found)| !found.is_empty()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
