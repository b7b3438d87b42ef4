//! Which of several queues a symbol's ticks go to: always the same one, so that a worker that drains it sees all of them.
//!
//! The function is one that every language has at hand; `schemas/symbol_queue.json` states it and has vectors to test a copy with. It is
//! stable: it will not change between versions. It does *not* say where a queue is. With another number of queues nearly every symbol moves, which makes windows begin anew.

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
    use crate::market::{Market, MarketConfig};

    #[test]
    fn queue_of_a_symbol_is_that_of_the_published_vectors() {
        let published: Value = serde_json::from_str(ticklake_schemas::SYMBOL_QUEUE_VECTORS).unwrap();
        let vectors = published["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 10);
        for vector in vectors {
            let symbol = vector["symbol"].as_str().unwrap();
            for (queues, expected) in vector["queue_of"].as_object().unwrap() {
                assert_eq!(queue_of(symbol, queues.parse().unwrap()) as u64, *expected, "{symbol} over {queues}");
            }
        }
    }

    #[test]
    fn symbols_are_spread_evenly() {
        let market = Market::new(MarketConfig { symbols: 5_000, ..MarketConfig::default() }).unwrap();
        for queues in 1..=16 {
            let mut symbols = vec![0.0; queues];
            (0..5_000).for_each(|symbol| symbols[queue_of(market.name(symbol), queues)] += queues as f64 / 5_000.0);
            assert!(symbols.iter().all(|share| (0.8..1.2).contains(share)), "{queues}: {symbols:?}");
        }
    }
}
