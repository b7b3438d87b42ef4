//! Any bodies through both ways of decoding: what the fast one accepts, simd-json accepts, with the same values.
//!
//! `cargo +nightly fuzz run agreement` in the folder `engine/core`. The test
//! `decode::tests::speculation::corpus_and_its_mutations_agree` sends the corpus through the same door on every run.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../agreement.rs"]
mod agreement;

fuzz_target!(|data: &[u8]| agreement::check(data));
