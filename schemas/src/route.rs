//! Picks one of several queues for the ticks of a symbol. It is always the same queue, so that the worker that drains
//! it sees all of them.
//!
//! Every language has this function at hand. `schemas/symbol_queue.json` states it and has vectors to test a copy with.
//! It will not change between versions. With another number of queues, nearly every symbol moves to another queue, and
//! the windows of the detectors begin anew. This file does *not* say where a queue is.

/// The queue of `symbol`, from 0: its CRC-32 modulo the number of queues.
///
/// The CRC-32 is the one of zlib (ISO 3309), over the bytes of the symbol in UTF-8.
///
/// # Panics
/// If `queues` is 0.
#[must_use]
pub fn queue_of(symbol: &str, queues: usize) -> usize {
    crc32fast::hash(symbol.as_bytes()) as usize % queues
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn queue_of_a_symbol_is_that_of_the_published_vectors() {
        let published: Value = serde_json::from_str(crate::SYMBOL_QUEUE_VECTORS).unwrap();
        let vectors = published["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 10);
        for vector in vectors {
            let symbol = vector["symbol"].as_str().unwrap();
            for (queues, expected) in vector["queue_of"].as_object().unwrap() {
                assert_eq!(queue_of(symbol, queues.parse().unwrap()) as u64, *expected, "{symbol} over {queues}");
            }
        }
    }
}
