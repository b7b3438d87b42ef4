//! Faults that a test switches on while the server runs, and counts of the calls that arrived.
//!
//! It owns which request meets which fault. It does *not* own how a service words the answer; each service does that.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What a failing request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        code: &'static str,
    },
}

/// One operation of a service, and the IAM action that allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    /// As in the API reference, with the service in front: `sqs:SendMessageBatch`.
    pub(crate) name: &'static str,
    /// As in a policy: `sqs:SendMessage`.
    pub(crate) action: &'static str,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Proceed,
    Deny,
    Fail(FaultKind),
    Reset,
}

#[derive(Debug, Clone, Copy)]
enum Effect {
    Deny,
    Fail(FaultKind),
    FailEntries,
    Delay(Duration),
    Reset,
}

#[derive(Debug)]
struct Rule {
    pattern: String,
    effect: Effect,
    every: u64,
    seen: u64,
}

impl Rule {
    /// Whether the rule names this operation, and it is the turn of the n-th.
    fn strikes(&mut self, operation: Operation) -> bool {
        let named = |name: &str| match self.pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.pattern,
        };
        if !named(operation.action) && !named(operation.name) {
            return false;
        }
        self.seen += 1;
        self.seen.is_multiple_of(self.every)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Spares the lock on `rules` in the usual case, in which there are none.
    armed: AtomicBool,
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<HashMap<&'static str, u64>>,
}

/// The switches. Clones share them.
///
/// An `action` is an IAM action (`s3:PutObject`, `sqs:ReceiveMessage`), an API operation where that is narrower
/// (`sqs:SendMessageBatch`, `s3:HeadObject`), or a prefix of either followed by `*` (`s3:*`).
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<State>);

impl Faults {
    /// Answers `action` as AWS answers a caller whose policy does not allow it.
    pub fn deny(&self, action: &str) {
        self.add(action, Effect::Deny, 1);
    }

    /// Answers every request of `action` with an error.
    pub fn fail(&self, action: &str, kind: FaultKind) {
        self.add(action, Effect::Fail(kind), 1);
    }

    /// Answers each `nth` request of `action` with an error, counted from now.
    pub fn fail_every_nth(&self, action: &str, kind: FaultKind, nth: u64) {
        self.add(action, Effect::Fail(kind), nth);
    }

    /// Fails each `nth` entry of the batch requests of `action` with an internal error; the rest of the batch succeeds.
    pub fn fail_entries(&self, action: &str, nth: u64) {
        self.add(action, Effect::FailEntries, nth);
    }

    /// Answers `action` only after `delay`.
    pub fn delay(&self, action: &str, delay: Duration) {
        self.add(action, Effect::Delay(delay), 1);
    }

    /// Drops the connection of every request of `action` without an answer; the request has no effect.
    pub fn reset(&self, action: &str) {
        self.add(action, Effect::Reset, 1);
    }

    /// Drops the connection of each `nth` request of `action`, counted from now.
    pub fn reset_every_nth(&self, action: &str, nth: u64) {
        self.add(action, Effect::Reset, nth);
    }

    /// Switches all faults off; the counts of calls stay.
    pub fn clear(&self) {
        self.rules().clear();
        self.0.armed.store(false, Ordering::Release);
    }

    /// How many requests of `action` have arrived, whatever became of them. Names an IAM action or an API operation.
    #[must_use]
    pub fn calls(&self, action: &str) -> u64 {
        self.counts().get(action).copied().unwrap_or(0)
    }

    /// Counts a request, waits as long as the faults say, and says what becomes of it.
    pub(crate) async fn meet(&self, operation: Operation) -> Verdict {
        self.count(operation);
        if !self.0.armed.load(Ordering::Acquire) {
            return Verdict::Proceed;
        }
        let (delay, verdict) = self.judge(operation);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        verdict
    }

    /// Whether the next entry of a batch of `operation` fails by itself.
    pub(crate) fn entry_fails(&self, operation: Operation) -> bool {
        self.0.armed.load(Ordering::Acquire)
            && self
                .rules()
                .iter_mut()
                .filter(|rule| matches!(rule.effect, Effect::FailEntries))
                .any(|rule| rule.strikes(operation))
    }

    fn add(&self, action: &str, effect: Effect, every: u64) {
        self.rules().push(Rule { pattern: action.to_owned(), effect, every: every.max(1), seen: 0 });
        self.0.armed.store(true, Ordering::Release);
    }

    fn count(&self, operation: Operation) {
        let mut counts = self.counts();
        *counts.entry(operation.action).or_default() += 1;
        if operation.name != operation.action {
            *counts.entry(operation.name).or_default() += 1;
        }
    }

    fn judge(&self, operation: Operation) -> (Duration, Verdict) {
        let (mut delay, mut verdict) = (Duration::ZERO, Verdict::Proceed);
        for rule in self.rules().iter_mut().filter(|rule| !matches!(rule.effect, Effect::FailEntries)) {
            if !rule.strikes(operation) {
                continue;
            }
            match rule.effect {
                Effect::Delay(more) => delay += more,
                // The first fault that was switched on wins; later delays still count.
                _ if verdict != Verdict::Proceed => {}
                Effect::Deny => verdict = Verdict::Deny,
                Effect::Fail(kind) => verdict = Verdict::Fail(kind),
                Effect::Reset => verdict = Verdict::Reset,
                Effect::FailEntries => {}
            }
        }
        (delay, verdict)
    }

    // A panic cannot leave either table half-written: each change is one call.
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<&'static str, u64>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEND: Operation = Operation { name: "sqs:SendMessageBatch", action: "sqs:SendMessage" };

    #[tokio::test]
    async fn faults_match_the_action_the_operation_and_a_prefix() {
        for pattern in ["sqs:SendMessage", "sqs:SendMessageBatch", "sqs:*", "*"] {
            let faults = Faults::default();
            faults.deny(pattern);
            assert_eq!(faults.meet(SEND).await, Verdict::Deny, "{pattern}");
            faults.clear();
            assert_eq!(faults.meet(SEND).await, Verdict::Proceed, "{pattern}");
        }
        let faults = Faults::default();
        faults.deny("sqs:Send");
        assert_eq!(faults.meet(SEND).await, Verdict::Proceed);
    }

    #[tokio::test]
    async fn nth_request_fails_and_every_call_is_counted() {
        let faults = Faults::default();
        faults.fail_every_nth("sqs:SendMessage", FaultKind::InternalError, 3);
        let mut failed = Vec::new();
        for index in 1..=6 {
            if faults.meet(SEND).await != Verdict::Proceed {
                failed.push(index);
            }
        }
        assert_eq!(failed, [3, 6]);
        assert_eq!(faults.calls("sqs:SendMessage"), 6);
        assert_eq!(faults.calls("sqs:SendMessageBatch"), 6);
    }

    #[test]
    fn entries_fail_by_themselves_and_leave_requests_alone() {
        let faults = Faults::default();
        faults.fail_entries("sqs:SendMessage", 2);
        assert_eq!([1, 2, 3, 4].map(|_| faults.entry_fails(SEND)), [false, true, false, true]);
        assert_eq!(faults.judge(SEND).1, Verdict::Proceed);
    }
}
