//! The clocks. Only the shell reads them: the core is given times as numbers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since the Unix epoch, UTC.
#[must_use]
pub fn now_us() -> i64 {
    // Only a broken machine has a clock before 1970. Its rows are refused as out of range, so the fault shows.
    wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// The wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the wall clock is read here")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// A moment on two clocks: the wall clock, and one that cannot be set and goes on while the machine sleeps. If a
/// machine was frozen or moved, one of them may have stood still. Time has passed if it has passed on either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    boot: Duration,
    wall: Duration,
}

#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::Monotonic;

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let boot = clock_gettime(BOOT);
        let boot = Duration::new(u64::try_from(boot.tv_sec).unwrap_or(0), u32::try_from(boot.tv_nsec).unwrap_or(0));
        Self { boot, wall: wall().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self { boot: self.boot.saturating_add(duration), wall: self.wall.saturating_add(duration) }
    }

    /// Whether this moment has come on either clock by `now`.
    #[must_use]
    pub fn has_passed(self, now: Self) -> bool {
        now.boot >= self.boot || now.wall >= self.wall
    }

    /// How long it is from `now` to this moment, on the clock on which it comes first.
    #[must_use]
    pub fn until(self, now: Self) -> Duration {
        self.boot.saturating_sub(now.boot).min(self.wall.saturating_sub(now.wall))
    }

    /// A moment whose clocks differ, for tests in which one of them stands still or is set.
    #[cfg(test)]
    pub(crate) fn of(boot: Duration, wall: Duration) -> Self {
        Self { boot, wall }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_passed_if_it_has_on_either_clock() {
        let at = |boot, wall| Moment::of(Duration::from_secs(boot), Duration::from_secs(wall));
        let deadline = at(10, 1_000).after(Duration::from_secs(5));
        assert!(!deadline.has_passed(at(14, 1_004)));
        assert!(deadline.has_passed(at(15, 1_004)), "the wall clock was set back");
        assert!(deadline.has_passed(at(14, 1_005)), "the machine slept");
        assert_eq!(deadline.until(at(12, 1_004)), Duration::from_secs(1));
        assert_eq!(deadline.until(at(90, 1_004)), Duration::ZERO);
        let now = Moment::now();
        assert!(!now.after(Duration::from_mins(1)).has_passed(Moment::now()) && now.has_passed(Moment::now()));
    }
}
