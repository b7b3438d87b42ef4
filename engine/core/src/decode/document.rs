//! JSON text to simd-json's tape, in buffers that are used again.
//!
//! This file owns the one place where simd-json is called and what it needs: a copy of the text that it may write to,
//! with padding. It also makes up for the one thing that simd-json refuses and JSON allows, numbers out of range. It
//! does *not* know what a tick is.

use std::mem;

use simd_json::{Buffers, INPUT_PADDING, Node, Tape, fill_tape_padded};

use super::number::{is_out_of_range, number_len};
use super::split::string_len;

/// Ticks are flat. Whatever is nested deeper than this is garbage.
const DEPTH_MAX: usize = 64;

/// Buffers larger than these are given back after use; messages of 1 MiB, the most that the queue takes, stay below.
const RETAINED_MAX_BYTES: usize = 4 << 20;
const RETAINED_MAX_NODES: usize = 512 << 10;

/// What a number out of range is replaced by: a value that no column takes, no longer than the shortest such number.
const OUT_OF_RANGE: &[u8] = b"false";

/// A JSON parser with its buffers.
pub(super) struct Documents {
    /// The text, unescaped in place by simd-json, and its padding.
    scratch: Vec<u8>,
    buffers: Buffers,
    /// Empty between two calls.
    tape: Tape<'static>,
}

impl Documents {
    pub(super) fn new() -> Self {
        Self { scratch: Vec::new(), buffers: Buffers::with_max_depth(0, DEPTH_MAX), tape: Tape(Vec::new()) }
    }

    /// Parses `text` as one document and hands its nodes, of which there is at least one, to `visit`, once.
    pub(super) fn parse<R>(
        &mut self,
        text: &[u8],
        mut visit: impl FnMut(&[Node<'_>]) -> R,
    ) -> Result<R, simd_json::Error> {
        self.load(text);
        let mut visited = self.attempt(text.len(), &mut visit);
        // Numbers out of range are looked for only where parsing has failed: they cost the good text nothing.
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
        // Its nodes borrow from the scratch buffer, so the tape leaves the struct while it is full.
        let mut tape: Tape<'_> = mem::replace(&mut self.tape, Tape(Vec::new()));
        let filled = fill_tape_padded(&mut self.scratch, len, &mut self.buffers, &mut tape);
        let visited = filled.map(|()| visit(&tape.0));
        self.tape = tape.reset();
        visited
    }

    /// Gives memory back that an unusually large text has left behind.
    fn shrink(&mut self) {
        if self.scratch.capacity() > RETAINED_MAX_BYTES || self.tape.0.capacity() > RETAINED_MAX_NODES {
            *self = Self::new();
        }
    }
}

/// Replaces every number beyond the range of `f64` outside of strings; whether there was one.
///
/// Text that is no JSON does not become JSON by it: a value takes the place of a value.
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
