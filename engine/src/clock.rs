//! The wall clock, read at the edges only: the core is given times as numbers.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch, UTC.
#[must_use]
pub fn now_us() -> i64 {
    // A clock before 1970 is a broken machine; its rows would be refused as out of range, which says so.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
