//! Parses JSON text to simd-json's tape, in buffers that are used again.
//!
//! This file is the only place that calls simd-json, and it owns what simd-json needs: a copy of the text that
//! simd-json may change, with padding. It also accepts the one thing that JSON allows and simd-json refuses, numbers
//! out of range. It does *not* know what a tick is.

use std::mem;

use simd_json::{Buffers, INPUT_PADDING, Node, Tape, fill_tape_padded};

use super::number::{is_out_of_range, number_len};
use super::split::string_len;

/// Ticks are flat. Anything that is nested deeper than this is garbage.
const DEPTH_MAX: usize = 64;

/// Larger buffers are freed after use. Messages of 1 MiB, the most that the queue takes, need less.
const RETAINED_MAX_BYTES: usize = 4 << 20;
const RETAINED_MAX_NODES: usize = 512 << 10;

/// Replaces a number out of range. It is a value that no column takes, and no longer than the shortest such number.
const OUT_OF_RANGE: &[u8] = b"false";

/// A JSON parser with its buffers.
pub(super) struct Documents {
    /// The text, which simd-json unescapes in place, and its padding.
    scratch: Vec<u8>,
    buffers: Buffers,
    /// Empty between two calls.
    tape: Tape<'static>,
}

impl Documents {
    pub(super) fn new() -> Self {
        Self { scratch: Vec::new(), buffers: Buffers::with_max_depth(0, DEPTH_MAX), tape: Tape(Vec::new()) }
    }

    /// Parses `text` as one document, and calls `visit` once with its nodes. There is at least one node.
    pub(super) fn parse<R>(
        &mut self,
        text: &[u8],
        mut visit: impl FnMut(&[Node<'_>]) -> R,
    ) -> Result<R, simd_json::Error> {
        self.load(text);
        let mut visited = self.attempt(text.len(), &mut visit);
        // Numbers out of range are searched only if parsing has failed, so good text pays nothing for them.
        if visited.is_err() {
            self.load(text);
            if mask_numbers_out_of_range(&mut self.scratch[..text.len()]) {
                visited = self.attempt(text.len(), &mut visit);
            }
        }
        self.shrink();
        visited
    }

    fn load(&mut self, text: &[u8]) {
        self.scratch.clear();
        self.scratch.extend_from_slice(text);
        self.scratch.resize(text.len() + INPUT_PADDING, b' ');
    }

    fn attempt<R>(&mut self, len: usize, visit: &mut impl FnMut(&[Node<'_>]) -> R) -> Result<R, simd_json::Error> {
        // The nodes borrow from the scratch buffer, so the tape leaves the struct while it is full.
        let mut tape: Tape<'_> = mem::replace(&mut self.tape, Tape(Vec::new()));
        let filled = fill_tape_padded(&mut self.scratch, len, &mut self.buffers, &mut tape);
        let visited = filled.map(|()| visit(&tape.0));
        self.tape = tape.reset();
        visited
    }

    /// Frees the memory that an unusually large text needed.
    fn shrink(&mut self) {
        if self.scratch.capacity() > RETAINED_MAX_BYTES || self.tape.0.capacity() > RETAINED_MAX_NODES {
            *self = Self::new();
        }
    }
}

/// Replaces every number that is beyond the range of `f64` and not in a string. Returns whether there was one.
///
/// Text that is not JSON does not become JSON by this, because a value replaces a value.
fn mask_numbers_out_of_range(text: &mut [u8]) -> bool {
    let mut masked = false;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += match byte {
            b'"' => match string_len(&text[at..]) {
                Some(len) => len,
                None => break,
            },
            b'-' | b'0'..=b'9' => {
                let len = number_len(&text[at..]).unwrap_or(1);
                if is_out_of_range(&text[at..at + len]) {
                    text[at..at + len].fill(b' ');
                    text[at..at + OUT_OF_RANGE.len()].copy_from_slice(OUT_OF_RANGE);
                    masked = true;
                }
                len
            }
            _ => 1,
        };
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(text: &str) -> Result<usize, simd_json::Error> {
        Documents::new().parse(text.as_bytes(), |nodes| nodes.len())
    }

    fn masked(text: &str) -> String {
        let mut text = text.as_bytes().to_vec();
        mask_numbers_out_of_range(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn only_numbers_out_of_range_are_masked() {
        assert_eq!(masked("[1e999,-2e308 ,1e308]"), "[false,false  ,1e308]");
        assert_eq!(masked(r#"{"1e999":"\"1e999"}"#), r#"{"1e999":"\"1e999"}"#);
        assert_eq!(masked(r#""1e999"#), r#""1e999"#);
    }

    #[test]
    fn masking_makes_no_json_of_what_is_none() {
        for text in
            ["[1e999", "[1e9991e999]", "[1e999-5]", "[01e999]", "[x1e999]", "[1e999.5]", "{1e999:1}", "[1e999 1]"]
        {
            assert!(nodes(text).is_err(), "{text}");
        }
        assert!(nodes("[1e999]").is_ok());
    }

    #[test]
    fn parser_works_on_after_a_failure() {
        let mut documents = Documents::new();
        for _ in 0..3 {
            assert!(documents.parse(b"[1,", |_| ()).is_err());
            assert!(documents.parse(br#"["\u0041",2]"#, |nodes| nodes[1] == Node::String("A")).unwrap());
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        assert!(nodes(&"[".repeat(1 << 20)).is_err());
        assert!(nodes(&r#"{"a":"#.repeat(1 << 18)).is_err());
        assert!(nodes(&format!("{}{}", "[".repeat(1000), "]".repeat(1000))).is_err());
        assert!(nodes("[[[[1]]]]").is_ok());
    }

    #[test]
    fn memory_of_a_huge_text_is_given_back() {
        let mut documents = Documents::new();
        let text = format!("[{}1]", "1,".repeat(RETAINED_MAX_NODES + 1));
        documents.parse(text.as_bytes(), |_| ()).unwrap();
        assert!(documents.tape.0.capacity() <= RETAINED_MAX_NODES);
        assert!(documents.scratch.capacity() <= RETAINED_MAX_BYTES);
    }
}
