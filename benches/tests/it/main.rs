//! The checks that are worth running on every change, at small size.

use std::process::Command;

/// Invariant 2: a tick is in the lake once, whatever crashes. `cargo run --release -p benches -- harass` goes on for longer.
#[test]
fn killed_and_frozen_workers_lose_and_double_nothing() {
    let harass = Command::new(env!("CARGO_BIN_EXE_benches")).args(["harass", "--rounds", "4"]).output().unwrap();
    let (told, failed) = (String::from_utf8_lossy(&harass.stdout), String::from_utf8_lossy(&harass.stderr));
    assert!(harass.status.success(), "{told}{failed}");
    assert!(told.contains("4 rounds, 16 kills"), "{told}");
}
