//! Warns the operator if this machine's clock is off. The answers of the services show it.
//!
//! It does *not* correct anything. The SDK learns the difference from the same header and signs with it, and
//! `adapters::sqs::noted` signs as the SDK did.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use tracing::warn;

use crate::clock::wall;

/// From this difference on, the SDK blames the clock for a refused signature. Services refuse from 15 minutes on.
const SKEW_MIN: Duration = Duration::from_mins(4);

/// The least time between two warnings.
const WARN_AGAIN: Duration = Duration::from_hours(1);

/// Compares the `Date` of every answer with the clock.
#[derive(Debug, Clone, Default)]
pub(super) struct ClockWatch {
    warned_at: Arc<Mutex<Option<Instant>>>,
}

#[dyn_dispatch_hint]
impl Intercept for ClockWatch {
    fn name(&self) -> &'static str {
        "ClockWatch"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // An answer from a cache has an old date.
        let date = headers.get("date").filter(|_| headers.get("age").is_none());
        if let Some((skew, direction)) = date.and_then(|date| skew(date, wall())) {
            let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
            if warned_at.is_none_or(|warned_at| warned_at.elapsed() >= WARN_AGAIN) {
                *warned_at = Some(Instant::now());
                let skew_s = skew.as_secs();
                warn!(skew_s, direction, "the clock of this machine is off, set it (NTP)");
            }
        }
        Ok(())
    }
}

/// How far `now` is from the `date` of an answer, and in which direction. `None` if the difference is small.
fn skew(date: &str, now: SystemTime) -> Option<(Duration, &'static str)> {
    let date = SystemTime::try_from(DateTime::from_str(date, Format::HttpDate).ok()?).ok()?;
    let skew = match now.duration_since(date) {
        Ok(ahead) => (ahead, "ahead"),
        Err(behind) => (behind.duration(), "behind"),
    };
    (skew.0 >= SKEW_MIN).then_some(skew)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_is_far_off_is_told() {
        let date = "Tue, 14 Nov 2023 22:13:20 GMT";
        let right = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let minutes = Duration::from_mins;
        assert_eq!(skew(date, right), None);
        assert_eq!(skew(date, right + minutes(3)), None);
        assert_eq!(skew(date, right + minutes(20)), Some((minutes(20), "ahead")));
        assert_eq!(skew(date, right - minutes(20)), Some((minutes(20), "behind")));
        assert_eq!(skew("yesterday", right + minutes(20)), None);
    }
}
