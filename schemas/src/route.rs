//! Which of several queues the ticks of a symbol go to. It is always the same one: the worker that drains it sees all
//! of them.
//!
//! Every language has this function at hand; `schemas/symbol_queue.json` states it and has vectors to test a copy with.
//! It will not change between versions. With another number of queues nearly every symbol moves, and the windows of the
//! detectors begin anew. This file does *not* say where a queue is.

/// The queue of `symbol`, from 0: its CRC-32 modulo the number of queues.
///
/// CRC-32 is that of zlib (ISO 3309), over the bytes of the symbol in UTF-8.
///
/// # Panics
/// Where `queues` is 0.
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
