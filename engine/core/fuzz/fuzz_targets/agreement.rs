//! Decodes any bodies in both ways. simd-json must accept all that the fast way accepts, with the same values.
//!
//! Run `cargo +nightly fuzz run agreement` in the folder `engine/core`. On every run, the test
//! `decode::tests::speculation::corpus_and_its_mutations_agree` sends the corpus through both ways, too.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../agreement.rs"]
mod agreement;

fuzz_target!(|data: &[u8]| agreement::check(data));
