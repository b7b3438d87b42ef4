//! Time as the services see it: milliseconds since the Unix epoch that never run backwards.
//!
//! Queues and uploads get a [`Millis`] with every call and own no clock, so that a test can choose the time. This file
//! does *not* own timers; those are tokio's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Millis(pub(crate) u64);

impl Millis {
    /// This instant and `seconds` more.
    pub(crate) fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// This instant and `millis` more.
    pub(crate) fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// How far this instant is after `earlier`; zero if it is not.
    pub(crate) fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The instant in RFC 3339 with milliseconds, as S3 and SNS write it.
    pub(crate) fn rfc3339(self) -> String {
        let timestamp = jiff::Timestamp::from_millisecond(self.0 as i64).unwrap_or_default();
        format!("{timestamp:.3}")
    }

    /// The instant as an HTTP date, as in `Last-Modified`.
    pub(crate) fn http_date(self) -> String {
        let timestamp = jiff::Timestamp::from_millisecond(self.0 as i64).unwrap_or_default();
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp).unwrap_or_default()
    }
}

/// The wall clock at the start, plus the monotonic time since then. So a message that was sent later never has an
/// earlier time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    origin: Instant,
    origin_unix: Millis,
}

impl Clock {
    /// A clock that agrees with the system's at this moment.
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_unix: Millis(unix.as_millis() as u64) }
    }

    /// Now.
    pub(crate) fn now(&self) -> Millis {
        Millis(self.origin_unix.0 + self.origin.elapsed().as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_aws_writes_them() {
        let instant = Millis(1_700_000_000_120);
        assert_eq!(instant.rfc3339(), "2023-11-14T22:13:20.120Z");
        assert_eq!(instant.http_date(), "Tue, 14 Nov 2023 22:13:20 GMT");
    }
}
