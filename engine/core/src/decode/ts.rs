//! Converts the event times of producers to microseconds since the Unix epoch, UTC.
//!
//! This file owns units and rounding. It does *not* judge whether a time is plausible. So it returns 128 bits, which
//! hold every time that can be sent.

use jiff::Timestamp;

use super::config::TsUnit;
use super::number::Number;

/// The time of `number` in microseconds. `None` if the unit is text.
pub(super) fn from_number(number: Number, unit: TsUnit) -> Option<i128> {
    let us_per_unit: i32 = match unit {
        TsUnit::S => 1_000_000,
        TsUnit::Ms => 1000,
        TsUnit::Us => 1,
        TsUnit::Ns => {
            return Some(match number {
                Number::Integer(ns) => ns.div_euclid(1000),
                Number::Float(ns) => (ns / 1000.0).floor() as i128,
            });
        }
        TsUnit::Rfc3339 => return None,
    };
    Some(match number {
        Number::Integer(units) => units * i128::from(us_per_unit),
        // A double holds today's seconds to a quarter of a microsecond. So rounding restores the time that was sent.
        Number::Float(units) => (units * f64::from(us_per_unit)).round() as i128,
    })
}

/// The time of an RFC 3339 text in microseconds.
pub(super) fn from_rfc3339(text: &str) -> Option<i128> {
    let timestamp: Timestamp = text.parse().ok()?;
    Some(timestamp.as_nanosecond().div_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const US: i128 = 1_611_082_428_813_123;

    #[test]
    fn every_unit_gives_the_same_time() {
        assert_eq!(from_number(Number::Integer(US), TsUnit::Us), Some(US));
        assert_eq!(from_number(Number::Integer(US * 1000 + 999), TsUnit::Ns), Some(US));
        assert_eq!(from_number(Number::Float(1_611_082_428_813.123), TsUnit::Ms), Some(US));
        assert_eq!(from_number(Number::Float(1_611_082_428.813_123), TsUnit::S), Some(US));
        assert_eq!(from_number(Number::Integer(1_611_082_428), TsUnit::S), Some(1_611_082_428_000_000));
        assert_eq!(from_rfc3339("2021-01-19T18:53:48.813123999Z"), Some(US));
        assert_eq!(from_rfc3339("2021-01-19T19:53:48.813123+01:00"), Some(US));
    }

    #[test]
    fn times_before_the_epoch_are_truncated_downwards() {
        assert_eq!(from_number(Number::Integer(-1), TsUnit::Ns), Some(-1));
        assert_eq!(from_rfc3339("1969-12-31T23:59:59.9999999Z"), Some(-1));
    }

    #[test]
    fn unit_and_kind_must_agree() {
        assert_eq!(from_number(Number::Integer(US), TsUnit::Rfc3339), None);
        for text in ["", "yesterday", "1611082428813123", "2021-01-19T18:53:48", "60000-01-01T00:00:00Z"] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        for unit in [TsUnit::S, TsUnit::Ms, TsUnit::Us, TsUnit::Ns] {
            for number in [Number::Integer(i64::MIN.into()), Number::Integer(u64::MAX.into()), Number::Float(1e308)] {
                assert!(from_number(number, unit).is_some());
            }
        }
    }

    proptest! {
        #[test]
        fn fractional_seconds_give_back_their_microseconds(us in 946_684_800_000_000_i64..4_102_444_800_000_000) {
            let seconds: f64 = format!("{}.{:06}", us / 1_000_000, us % 1_000_000).parse().unwrap();
            prop_assert_eq!(from_number(Number::Float(seconds), TsUnit::S), Some(us.into()));
        }
    }
}
