//! Token buckets, one per scope, that admit a number of requests a second. This file does *not* own what happens to the
//! others.

use std::{collections::HashMap, time::Instant};

/// The most scopes that have a bucket of their own. Beyond that, all buckets start afresh.
const SCOPES_MAX: usize = 10_000;

/// The buckets of one rule. Each holds a second's worth of requests.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<String, Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Rates {
    /// Whether one more request of `scope` at `now` stays within `rate` requests a second.
    pub(super) fn admits(&mut self, scope: &str, rate: f64, now: Instant) -> bool {
        if self.0.len() >= SCOPES_MAX && !self.0.contains_key(scope) {
            self.0.clear();
        }
        let full = rate.max(1.0);
        let bucket = self.0.entry(scope.to_owned()).or_insert(Bucket { tokens: full, filled: now });
        bucket.tokens = (bucket.tokens + now.duration_since(bucket.filled).as_secs_f64() * rate).min(full);
        bucket.filled = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}
