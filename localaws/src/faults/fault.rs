//! One fault: which requests it strikes, how often, and what it does to them; and the text form of a fault.
//!
//! The text is `ACTION=EFFECT` or `ACTION=EFFECT@HOW_OFTEN`, as in `s3:PutObject=slow-down@10%`. This file does *not*
//! own the requests that were struck so far, nor the dice.

use std::{fmt, str::FromStr, time::Duration};

use super::{Operation, Repeat};

/// The answer to a failing request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// This HTTP status, with the error code that the service uses for it.
    Status(u16),
    /// 500, the service's internal error.
    InternalError,
    /// 503 `SlowDown` from S3; the service's throttling error elsewhere.
    SlowDown,
    /// The service's throttling error.
    Throttling,
    /// This HTTP status with this error code, for example 409 `ConditionalRequestConflict`.
    Code {
        /// The HTTP status.
        status: u16,
        /// The error code in the body.
        code: String,
    },
}

/// What a fault does to a request that it strikes.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// `deny`: the service answers as AWS answers a caller whose policy does not allow the action.
    Deny,
    /// `throttle`, `slow-down`, `error`, `status:503` or `code:409:ConditionalRequestConflict`: the request has no
    /// effect, and this is its answer.
    Fail(FaultKind),
    /// `fail-entries`: single entries of a batch fail with an internal error, the rest of the batch succeeds.
    FailEntries,
    /// `old-receipts`: an entry of a batch of deletes or visibility changes counts, although its message was received
    /// again since then. Standard queues only.
    OldReceipts,
    /// `delay:20ms`, or `delay:5ms..40ms` for a log-normal distribution with this median and 99th percentile.
    Delay {
        /// Half of the delays are shorter.
        median: Duration,
        /// One delay in a hundred is longer. Equals the median if all delays are the same.
        p99: Duration,
    },
    /// `reset`: the connection is dropped without an answer, and the request has no effect.
    Reset,
    /// `lose-answer`: the request has its effect, and the connection is dropped instead of an answer.
    LoseAnswer,
    /// `cut-answer`: the request has its effect, and the connection is dropped in the middle of the answer's body.
    CutAnswer,
    /// `duplicate`: a received message is in the queue once more, with its own receive count. Standard queues only.
    Duplicate,
    /// `again:10@2`: every tenth received message is handed out once more, at a random later moment, although it is
    /// hidden. One of the two deliveries shows the receive count 2. Standard queues only.
    Again(Repeat),
    /// `again-deleted:10@2`: every tenth received message is handed out once more after it was deleted. Standard queues
    /// only.
    AgainDeleted(Repeat),
    /// `forget-count`: messages in a dead-letter queue always show the receive count 1.
    ForgetCount,
    /// `shuffle:100`: a receive takes messages from anywhere among this many at the front. Standard queues only.
    Shuffle(usize),
    /// `sample:30%`: a short poll looks only at this share of the messages, as if it asked few of SQS's servers.
    Sample(f64),
    /// `stale:10s`: the counts of a queue's messages are up to this old.
    Stale(Duration),
    /// `rate:3500`: at most this many requests a second per key prefix (S3) or service. Others are throttled.
    Rate(f64),
}

/// Which requests a fault strikes, of those that it names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HowOften {
    /// All requests.
    Always,
    /// `1/3`: each third request, counted from when the fault was switched on.
    EveryNth(u64),
    /// `10%`: each request with this probability.
    Chance(f64),
}

/// A fault. It is parsed from its text, and `Display` prints that text.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// An IAM action (`sqs:SendMessage`), an API operation (`sqs:SendMessageBatch`), or a prefix of one (`s3:*`, `*`).
    pub action: String,
    /// What the fault does.
    pub effect: Effect,
    /// Which requests the fault strikes.
    pub how_often: HowOften,
}

/// Why a text does not describe a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the fault `{text}`: {reason}")]
pub struct FaultError {
    text: String,
    reason: String,
}

impl Fault {
    /// A fault that strikes every request of `action`.
    #[must_use]
    pub fn new(action: &str, effect: Effect) -> Self {
        Self { action: action.to_owned(), effect, how_often: HowOften::Always }
    }

    /// The same fault, but for each `nth` request only.
    #[must_use]
    pub fn every_nth(self, nth: u64) -> Self {
        Self { how_often: HowOften::EveryNth(nth.max(1)), ..self }
    }

    /// Whether the fault names this operation.
    pub(super) fn names(&self, operation: Operation) -> bool {
        let named = |name: &str| match self.action.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.action,
        };
        named(operation.action) || named(operation.name)
    }

    /// For an effect that concerns no request as such: the one operation that can show it.
    fn only_on(&self) -> Option<Operation> {
        match self.effect {
            Effect::Duplicate
            | Effect::Again(_)
            | Effect::AgainDeleted(_)
            | Effect::ForgetCount
            | Effect::Shuffle(_)
            | Effect::Sample(_) => Some(super::RECEIVE),
            Effect::Stale(_) => Some(super::COUNTS),
            _ => None,
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let refuse = |reason: String| FaultError { text: text.to_owned(), reason };
        let parts = text.split_once('=').filter(|(action, _)| !action.is_empty());
        let (action, rest) = parts.ok_or_else(|| refuse("expected ACTION=EFFECT[@HOW_OFTEN]".to_owned()))?;
        let (effect, how_often) = match rest.rsplit_once('@') {
            Some((effect, count)) if shows_count(effect, count) => (rest, HowOften::Always),
            Some((effect, how_often)) => (effect, parse_how_often(how_often).map_err(refuse)?),
            None => (rest, HowOften::Always),
        };
        let fault = Self { action: action.to_owned(), effect: parse_effect(effect).map_err(refuse)?, how_often };
        if !crate::operations().any(|operation| fault.names(operation)) {
            return Err(refuse(format!("this server has no operation `{action}`")));
        }
        let suffixes: &[&str] = match fault.effect {
            Effect::FailEntries => &["Batch"],
            Effect::OldReceipts => &["DeleteMessageBatch", "ChangeMessageVisibilityBatch"],
            _ => &[""],
        };
        let shows = |operation: Operation| suffixes.iter().any(|suffix| operation.name.ends_with(suffix));
        if !crate::operations().any(|operation| shows(operation) && fault.names(operation)) {
            return Err(refuse(format!("this effect works only on {}", suffixes.join(" and "))));
        }
        if let Some(only) = fault.only_on().filter(|only| !fault.names(*only)) {
            return Err(refuse(format!("this effect works only on {}", only.name)));
        }
        Ok(fault)
    }
}

/// Whether the number after the `@` is the receive count that the effect shows.
fn shows_count(effect: &str, count: &str) -> bool {
    effect.starts_with("again") && !effect.contains('@') && count.parse::<u32>().is_ok()
}

fn parse_how_often(text: &str) -> Result<HowOften, String> {
    let chance = text.ends_with('%').then(|| share(text)).flatten();
    let nth = text.strip_prefix("1/").and_then(|nth| nth.parse().ok()).filter(|nth| *nth > 0);
    chance
        .map(HowOften::Chance)
        .or(nth.map(HowOften::EveryNth))
        .ok_or_else(|| format!("`{text}` is neither a share of the requests like 10% nor each n-th like 1/3"))
}

/// The syntax of copies.
const REPEAT: &str = "again:10, again:10@2 or again:10:5s@2: every n-th message, the longest delay, the shown count";

fn parse_effect(text: &str) -> Result<Effect, String> {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    let wrong = |wanted: &str| format!("`{text}` should be {wanted}");
    let status = |text: &str| text.parse::<u16>().ok().filter(|status| (400..600).contains(status));
    Ok(match (name, value) {
        ("deny", "") => Effect::Deny,
        ("throttle", "") => Effect::Fail(FaultKind::Throttling),
        ("slow-down", "") => Effect::Fail(FaultKind::SlowDown),
        ("error", "") => Effect::Fail(FaultKind::InternalError),
        ("status", _) => {
            Effect::Fail(FaultKind::Status(status(value).ok_or_else(|| wrong("status:503, between 400 and 599"))?))
        }
        ("code", _) => {
            let parts = value.split_once(':').and_then(|(number, code)| Some((status(number)?, code)));
            let (status, code) = parts
                .filter(|(_, code)| !code.is_empty() && code.chars().all(|c| c.is_ascii_graphic()))
                .ok_or_else(|| wrong("code:409:ConditionalRequestConflict"))?;
            Effect::Fail(FaultKind::Code { status, code: code.to_owned() })
        }
        ("fail-entries", "") => Effect::FailEntries,
        ("old-receipts", "") => Effect::OldReceipts,
        ("delay", _) => {
            let (median, p99) = value.split_once("..").unwrap_or((value, value));
            let delay = duration(median).zip(duration(p99)).filter(|(median, p99)| median <= p99);
            let (median, p99) = delay.ok_or_else(|| wrong("delay:20ms, or delay:5ms..40ms for median and p99"))?;
            Effect::Delay { median, p99 }
        }
        ("reset", "") => Effect::Reset,
        ("lose-answer", "") => Effect::LoseAnswer,
        ("cut-answer", "") => Effect::CutAnswer,
        ("duplicate", "") => Effect::Duplicate,
        ("again", _) => Effect::Again(Repeat::parse(value).ok_or_else(|| wrong(REPEAT))?),
        ("again-deleted", _) => Effect::AgainDeleted(Repeat::parse(value).ok_or_else(|| wrong(REPEAT))?),
        ("forget-count", "") => Effect::ForgetCount,
        ("shuffle", _) => {
            let window = value.parse().ok().filter(|window| *window > 0);
            Effect::Shuffle(window.ok_or_else(|| wrong("shuffle:100, a number of messages"))?)
        }
        ("sample", _) => Effect::Sample(share(value).ok_or_else(|| wrong("sample:30%"))?),
        ("stale", _) => Effect::Stale(duration(value).ok_or_else(|| wrong("stale:10s"))?),
        ("rate", _) => {
            let rate = value.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
            Effect::Rate(rate.ok_or_else(|| wrong("rate:3500, in requests a second"))?)
        }
        _ => {
            return Err(format!(
                "`{text}` is none of deny, throttle, slow-down, error, status:N, code:N:NAME, fail-entries, \
                 old-receipts, delay:TIME, reset, lose-answer, cut-answer, duplicate, again:N@COUNT, \
                 again-deleted:N@COUNT, forget-count, shuffle:N, sample:N%, stale:TIME, rate:N"
            ));
        }
    })
}

/// `30%` as 0.3.
fn share(text: &str) -> Option<f64> {
    let share = text.strip_suffix('%')?.parse::<f64>().ok()? / 100.0;
    (0.0..=1.0).contains(&share).then_some(share)
}

/// `20ms` or `1.5s`, up to an hour.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    (0.0..=3600.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |duration: &Duration| format!("{}ms", duration.as_secs_f64() * 1000.0);
        let percent = |share: f64| format!("{}%", share * 100.0);
        write!(f, "{}=", self.action)?;
        match &self.effect {
            Effect::Deny => f.write_str("deny"),
            Effect::Fail(FaultKind::Throttling) => f.write_str("throttle"),
            Effect::Fail(FaultKind::SlowDown) => f.write_str("slow-down"),
            Effect::Fail(FaultKind::InternalError) => f.write_str("error"),
            Effect::Fail(FaultKind::Status(status)) => write!(f, "status:{status}"),
            Effect::Fail(FaultKind::Code { status, code }) => write!(f, "code:{status}:{code}"),
            Effect::FailEntries => f.write_str("fail-entries"),
            Effect::OldReceipts => f.write_str("old-receipts"),
            Effect::Delay { median, p99 } if median == p99 => write!(f, "delay:{}", time(median)),
            Effect::Delay { median, p99 } => write!(f, "delay:{}..{}", time(median), time(p99)),
            Effect::Reset => f.write_str("reset"),
            Effect::LoseAnswer => f.write_str("lose-answer"),
            Effect::CutAnswer => f.write_str("cut-answer"),
            Effect::Duplicate => f.write_str("duplicate"),
            Effect::Again(repeat) => write!(f, "again:{repeat}"),
            Effect::AgainDeleted(repeat) => write!(f, "again-deleted:{repeat}"),
            Effect::ForgetCount => f.write_str("forget-count"),
            Effect::Shuffle(window) => write!(f, "shuffle:{window}"),
            Effect::Sample(share) => write!(f, "sample:{}", percent(*share)),
            Effect::Stale(age) => write!(f, "stale:{}", time(age)),
            Effect::Rate(rate) => write!(f, "rate:{rate}"),
        }?;
        match self.how_often {
            HowOften::Always => Ok(()),
            HowOften::EveryNth(nth) => write!(f, "@1/{nth}"),
            HowOften::Chance(chance) => write!(f, "@{}", percent(chance)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_survives_its_text_form() {
        for text in [
            "*=deny",
            "sqs:ReceiveMessage=throttle@10%",
            "s3:PutObject=slow-down@1/3",
            "s3:*=error",
            "sns:Publish=status:503",
            "s3:PutObject=code:409:ConditionalRequestConflict@0.5%",
            "sqs:SendMessageBatch=fail-entries@1/2",
            "sqs:ChangeMessageVisibility=old-receipts@50%",
            "s3:GetObject=delay:20ms",
            "sqs:*=delay:5ms..40ms",
            "sqs:DeleteMessage=reset",
            "sqs:DeleteMessage=lose-answer",
            "s3:GetObject=cut-answer",
            "sqs:ReceiveMessage=duplicate@1%",
            "sqs:ReceiveMessage=again:10",
            "sqs:ReceiveMessage=again:10@2",
            "sqs:ReceiveMessage=again:10:500ms@2@50%",
            "sqs:ReceiveMessage=again-deleted:1@1/3",
            "sqs:ReceiveMessage=forget-count",
            "sqs:*=shuffle:100",
            "sqs:ReceiveMessage=sample:25%",
            "sqs:GetQueueAttributes=stale:10000ms",
            "s3:PutObject=rate:3500",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_fault_is_refused_with_what_it_should_be() {
        for (text, wanted) in [
            ("", "ACTION=EFFECT"),
            ("s3:PutObject", "ACTION=EFFECT"),
            ("s3:PutObject=explode", "none of deny, throttle"),
            ("s3:PutObject=status:200", "between 400 and 599"),
            ("s3:PutObject=code:409", "code:409:ConditionalRequestConflict"),
            ("s3:PutObject=delay:40ms..5ms", "median and p99"),
            ("s3:PutObject=delay:-1ms", "delay:20ms"),
            ("s3:PutObject=error@often", "neither a share"),
            ("s3:PutObject=error@1/0", "neither a share"),
            ("s3:PutObject=error@101%", "neither a share"),
            ("s3:PutThing=error", "this server has no operation"),
            ("s3:PutObject=duplicate", "works only on sqs:ReceiveMessage"),
            ("s3:PutObject=again:10@2", "works only on sqs:ReceiveMessage"),
            ("sqs:ReceiveMessage=again:0@2", "again:10@2 or"),
            ("sqs:ReceiveMessage=again:10@0", "the shown count"),
            ("sqs:ReceiveMessage=again:10:soon", "the longest delay"),
            ("sqs:ReceiveMessage=again:10@2@3", "neither a share"),
            ("sqs:ReceiveMessage=stale:1s", "works only on sqs:GetQueueAttributes"),
            ("s3:PutObject=rate:0", "requests a second"),
            ("s3:DeleteObjects=fail-entries", "works only on"),
            ("sqs:SendMessageBatch=old-receipts", "DeleteMessageBatch and"),
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
