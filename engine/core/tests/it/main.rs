//! Tests of the crate as a whole.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should show where")]

mod allocations;

use std::collections::HashSet;

/// Invariant 5: the core has no clock, no I/O and no threads. Its manifest proves it. None of these crates waits, reads
/// a clock or talks to anyone by itself, and the list is complete.
#[test]
fn manifest_proves_that_the_core_is_pure() {
    const PURE: [&str; 16] = [
        "ticklake-schemas",
        "arrow",
        "base64",
        "bytes",
        "crc32fast",
        "flate2",
        "humantime-serde",
        "jiff",
        "parquet",
        "rustc-hash",
        "serde",
        "serde_json",
        "sha2",
        "simd-json",
        "thiserror",
        "zstd",
    ];
    let manifest = include_str!("../../Cargo.toml");
    let (_, dependencies) = manifest.split_once("[dependencies]\n").unwrap();
    let dependencies = dependencies.lines().take_while(|line| !line.starts_with('['));
    let names: Vec<_> = dependencies.filter_map(|line| Some(line.split_once('=')?.0.trim())).collect();
    assert_eq!(names, PURE);
}

/// Single words, so that an import in braces is found, too.
const IMPURE: [&str; 10] =
    ["Instant", "SystemTime", "Zoned", "fs", "net", "thread", "process", "stdin", "stdout", "File"];

/// The sources do not use the impure parts of the standard library either. Tests may use them.
#[test]
fn sources_use_no_clock_no_files_no_threads_no_sockets() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let is_test = path.ends_with("trades.rs") || path.components().any(|part| part.as_os_str() == "tests");
            let code = if is_test { "" } else { text.split("#[cfg(test)]\nmod tests {").next().unwrap() };
            let words: HashSet<&str> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
                .collect();
            assert!(!code.contains("::now("), "{} reads a clock", path.display());
            assert!(!code.contains("env::"), "{} reads the environment", path.display());
            for word in IMPURE {
                assert!(!words.contains(word), "{} uses {word}", path.display());
            }
        }
    }
    assert!(files > 10, "the sources were found");
}
