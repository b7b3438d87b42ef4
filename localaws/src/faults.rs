//! Faults that are switched on while the server runs, and counts of the requests that arrived.
//!
//! This file owns which request meets which fault, and the seeded dice that decide it. It does *not* own the wording of
//! the answers; each service owns its own.

mod fault;
mod rate;
mod repeat;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use hyper::{Response, body::Body as _};

pub use self::fault::{Effect, Fault, FaultError, FaultKind, HowOften};
use self::rate::Rates;
pub(crate) use self::repeat::Again;
pub use self::repeat::Repeat;
use crate::body::{ReplyBody, Reset};

/// One operation of a service, and the IAM action that allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    /// The name in the API reference, with the service in front: `sqs:SendMessageBatch`.
    pub(crate) name: &'static str,
    /// The name in a policy: `sqs:SendMessage`.
    pub(crate) action: &'static str,
}

const RECEIVE: Operation = Operation { name: "sqs:ReceiveMessage", action: "sqs:ReceiveMessage" };
const COUNTS: Operation = Operation { name: "sqs:GetQueueAttributes", action: "sqs:GetQueueAttributes" };

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Proceed,
    Deny,
    Fail(FaultKind),
    Reset,
    /// Proceed, then drop the connection without an answer.
    LoseAnswer,
    /// Proceed, then drop the connection in the middle of the answer.
    CutAnswer,
}

impl Verdict {
    /// What the client gets of an answer.
    pub(crate) fn send(&self, response: Response<ReplyBody>) -> Result<Response<ReplyBody>, Reset> {
        match self {
            Self::LoseAnswer => Err(Reset),
            // An empty body has no middle, so the connection is dropped.
            Self::CutAnswer if response.body().size_hint().exact() == Some(0) => Err(Reset),
            Self::CutAnswer => Ok(response.map(ReplyBody::cut)),
            _ => Ok(response),
        }
    }
}

/// How a queue deviates from its promises during one receive.
#[derive(Debug)]
pub(crate) struct Manners {
    /// The chance that a delivered message is in the queue once more.
    pub(crate) duplicate: f64,
    /// A receive takes messages from anywhere among this many.
    pub(crate) shuffle: usize,
    /// The share of messages that a short poll sees.
    pub(crate) sample: f64,
    /// The chance that a message that moved to this queue shows the receive count 1.
    pub(crate) forget_count: f64,
    /// Faults that hand messages out once more.
    pub(crate) again: Vec<Again>,
    pub(crate) dice: Rng,
}

impl Default for Manners {
    /// SQS at its best behaviour.
    fn default() -> Self {
        Self { duplicate: 0.0, shuffle: 1, sample: 1.0, forget_count: 0.0, again: Vec::new(), dice: Rng::with_seed(0) }
    }
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    seen: u64,
    /// Number of messages so far, for effects that strike single messages.
    turns: Arc<AtomicU64>,
    rates: Rates,
}

impl Rule {
    fn new(fault: Fault) -> Self {
        Self { fault, seen: 0, turns: Arc::default(), rates: Rates::default() }
    }

    /// Whether the fault strikes this request.
    fn strikes(&mut self, operation: Operation, dice: &mut Rng) -> bool {
        if !self.fault.names(operation) {
            return false;
        }
        self.seen += 1;
        match self.fault.how_often {
            HowOften::Always => true,
            HowOften::EveryNth(nth) => self.seen.is_multiple_of(nth),
            HowOften::Chance(chance) => dice.f64() < chance,
        }
    }

    /// The chance that the fault strikes, for effects on single messages.
    fn chance(&self) -> f64 {
        match self.fault.how_often {
            HowOften::Always => 1.0,
            HowOften::EveryNth(nth) => 1.0 / nth as f64,
            HowOften::Chance(chance) => chance,
        }
    }
}

#[derive(Debug, Default)]
struct Switches {
    rules: Vec<Rule>,
    dice: Rng,
    /// Separate dice, because the number of receives depends on time. Receives must not disturb the dice of requests.
    queue_dice: Rng,
}

/// The switches for faults, and the counts of calls. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Saves the lock on `rules` in the usual case that there are none.
    armed: AtomicBool,
    rules: Mutex<Switches>,
    calls: Mutex<HashMap<&'static str, u64>>,
}

impl Faults {
    /// Switches a fault on, in addition to those that are on already.
    pub fn add(&self, fault: Fault) {
        self.rules().rules.push(Rule::new(fault));
        self.0.armed.store(true, Ordering::Release);
    }

    /// Switches these faults on and all others off. With the same seed, requests in the same order meet the same
    /// faults.
    pub fn set(&self, faults: Vec<Fault>, seed: u64) {
        let mut rules = self.rules();
        rules.rules = faults.into_iter().map(Rule::new).collect();
        rules.dice = Rng::with_seed(seed);
        rules.queue_dice = Rng::with_seed(!seed);
        self.0.armed.store(!rules.rules.is_empty(), Ordering::Release);
    }

    /// The faults that are on.
    #[must_use]
    pub fn list(&self) -> Vec<Fault> {
        self.rules().rules.iter().map(|rule| rule.fault.clone()).collect()
    }

    /// Answers `action` as AWS answers a caller whose policy does not allow it.
    pub fn deny(&self, action: &str) {
        self.add(Fault::new(action, Effect::Deny));
    }

    /// Answers every request of `action` with an error.
    pub fn fail(&self, action: &str, kind: FaultKind) {
        self.add(Fault::new(action, Effect::Fail(kind)));
    }

    /// Switches all faults off; the counts of calls stay.
    pub fn clear(&self) {
        self.rules().rules.clear();
        self.0.armed.store(false, Ordering::Release);
    }

    /// How many requests of `action`, an IAM action or an API operation, have arrived, whatever happened to them. The
    /// names `sqs:again` and `sqs:again-deleted` count the copies that these faults have handed out.
    #[must_use]
    pub fn calls(&self, action: &str) -> u64 {
        self.counts().get(action).copied().unwrap_or(0)
    }

    /// How many requests have arrived, by IAM action and by API operation.
    #[must_use]
    pub fn all_calls(&self) -> BTreeMap<&'static str, u64> {
        self.counts().iter().map(|(name, calls)| (*name, *calls)).collect()
    }

    /// Counts a request, waits as long as the faults say, and returns what happens to it. Rates are kept per `scope`.
    pub(crate) async fn meet(&self, operation: Operation, scope: impl FnOnce() -> String) -> Verdict {
        self.count(operation);
        if !self.armed() {
            return Verdict::Proceed;
        }
        let (delay, verdict) = self.judge(operation, &scope());
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        verdict
    }

    /// Whether `effect` strikes the next entry of a batch of `operation`.
    pub(crate) fn entry_meets(&self, operation: Operation, effect: &Effect) -> bool {
        if !self.armed() {
            return false;
        }
        let Switches { rules, dice, .. } = &mut *self.rules();
        let mut rules = rules.iter_mut().filter(|rule| rule.fault.effect == *effect);
        rules.any(|rule| rule.strikes(operation, dice))
    }

    /// How a queue behaves during the next receive.
    pub(crate) fn manners(&self) -> Manners {
        let mut manners = Manners::default();
        if !self.armed() {
            return manners;
        }
        let Switches { rules, queue_dice, .. } = &mut *self.rules();
        manners.dice = Rng::with_seed(queue_dice.u64(..));
        for rule in rules.iter().filter(|rule| rule.fault.names(RECEIVE)) {
            match rule.fault.effect {
                Effect::Duplicate => manners.duplicate = manners.duplicate.max(rule.chance()),
                Effect::Shuffle(window) => manners.shuffle = manners.shuffle.max(window),
                Effect::Again(repeat) | Effect::AgainDeleted(repeat) => {
                    let after_deletion = matches!(rule.fault.effect, Effect::AgainDeleted(_));
                    let (chance, turns) = (rule.chance(), rule.turns.clone());
                    manners.again.push(Again { repeat, chance, after_deletion, turns });
                }
                Effect::ForgetCount => manners.forget_count = manners.forget_count.max(rule.chance()),
                Effect::Sample(share) => manners.sample = manners.sample.min(share),
                _ => {}
            }
        }
        manners
    }

    /// Counts copies that were handed out.
    pub(crate) fn count_copies(&self, again: u64, again_deleted: u64) {
        for (name, copies) in [("sqs:again", again), ("sqs:again-deleted", again_deleted)] {
            if copies > 0 {
                *self.counts().entry(name).or_default() += copies;
            }
        }
    }

    /// How old the message counts of a queue may be.
    pub(crate) fn staleness(&self) -> Duration {
        if !self.armed() {
            return Duration::ZERO;
        }
        let rules = self.rules();
        let ages =
            rules.rules.iter().filter(|rule| rule.fault.names(COUNTS)).filter_map(|rule| match rule.fault.effect {
                Effect::Stale(age) => Some(age),
                _ => None,
            });
        ages.max().unwrap_or_default()
    }

    fn armed(&self) -> bool {
        self.0.armed.load(Ordering::Acquire)
    }

    fn count(&self, operation: Operation) {
        let mut counts = self.counts();
        *counts.entry(operation.action).or_default() += 1;
        if operation.name != operation.action {
            *counts.entry(operation.name).or_default() += 1;
        }
    }

    fn judge(&self, operation: Operation, scope: &str) -> (Duration, Verdict) {
        let (mut delay, mut verdict) = (Duration::ZERO, Verdict::Proceed);
        let Switches { rules, dice, .. } = &mut *self.rules();
        for rule in rules {
            let Some(effect) = request_effect(&rule.fault.effect) else { continue };
            if !rule.strikes(operation, dice) {
                continue;
            }
            match effect {
                RequestEffect::Delay(median, p99) => delay += log_normal(median, p99, dice),
                // The fault that was switched on first wins. Delays of later faults still count.
                _ if verdict != Verdict::Proceed => {}
                RequestEffect::Verdict(effect) => verdict = effect,
                RequestEffect::Rate(rate) if !rule.rates.admits(scope, rate, Instant::now()) => {
                    verdict = Verdict::Fail(FaultKind::SlowDown);
                }
                RequestEffect::Rate(_) => {}
            }
        }
        (delay, verdict)
    }

    // A panic cannot leave either table half-written, because each change is one call.
    fn rules(&self) -> MutexGuard<'_, Switches> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<&'static str, u64>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The effect on a request as a whole.
enum RequestEffect {
    Verdict(Verdict),
    Delay(Duration, Duration),
    Rate(f64),
}

/// `None` for effects on entries, messages and counts.
fn request_effect(effect: &Effect) -> Option<RequestEffect> {
    Some(match effect {
        Effect::Deny => RequestEffect::Verdict(Verdict::Deny),
        Effect::Fail(kind) => RequestEffect::Verdict(Verdict::Fail(kind.clone())),
        Effect::Reset => RequestEffect::Verdict(Verdict::Reset),
        Effect::LoseAnswer => RequestEffect::Verdict(Verdict::LoseAnswer),
        Effect::CutAnswer => RequestEffect::Verdict(Verdict::CutAnswer),
        Effect::Delay { median, p99 } => RequestEffect::Delay(*median, *p99),
        Effect::Rate(rate) => RequestEffect::Rate(*rate),
        Effect::FailEntries
        | Effect::OldReceipts
        | Effect::Duplicate
        | Effect::Again(_)
        | Effect::AgainDeleted(_)
        | Effect::ForgetCount
        | Effect::Shuffle(_)
        | Effect::Sample(_)
        | Effect::Stale(_) => return None,
    })
}

/// A log-normal time with this median and 99th percentile. Latencies of services look like that.
fn log_normal(median: Duration, p99: Duration, dice: &mut Rng) -> Duration {
    /// The 99th percentile of the standard normal distribution.
    const Z99: f64 = 2.326_347_874_040_841;
    if median == p99 || median.is_zero() {
        return p99;
    }
    let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / Z99;
    // Box-Muller; 1 - f64() is never zero.
    let normal = (-2.0 * (1.0 - dice.f64()).ln()).sqrt() * (std::f64::consts::TAU * dice.f64()).cos();
    median.mul_f64((sigma * normal).exp())
}

#[cfg(test)]
mod tests;
