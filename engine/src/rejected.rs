//! Warns of a feed whose messages are rejected, and in the end stops its receiving.
//!
//! This file owns the warning and the halt. [`ticklake_core::decode::RejectShare`] decides which share is too much.
//! This file does *not* own what a halt means to the receivers, nor where rejects go.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ticklake_core::decode::{DecodeConfig, Reject, RejectShare, Share, Verdict};
use tracing::{error, warn};

/// The shortest time between two warnings.
const WARN_AGAIN: Duration = Duration::from_mins(1);

/// How much of a rejected body a warning shows.
const EXAMPLE_MAX_BYTES: usize = 200;

/// Watches what the decoders reject.
#[derive(Debug)]
pub struct RejectWatch {
    state: Mutex<State>,
    halted: OnceLock<String>,
}

#[derive(Debug)]
struct State {
    share: RejectShare,
    warned_at: Option<Instant>,
}

impl RejectWatch {
    /// A watch that has seen nothing yet.
    #[must_use]
    pub fn new(config: &DecodeConfig) -> Self {
        let share = RejectShare::new(config.rejects_share_max, config.rejects_share_stop);
        Self { state: Mutex::new(State { share, warned_at: None }), halted: OnceLock::new() }
    }

    /// Why no more messages are received; `None` while they are.
    #[must_use]
    pub fn halted(&self) -> Option<&str> {
        self.halted.get().map(String::as_str)
    }

    /// Takes note of the results of some messages.
    pub(crate) fn note(&self, ticks: usize, rejects: &[Reject], left_out: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.share.note(ticks as u64, rejects.len() as u64, left_out as u64) {
            Verdict::Fine => {}
            Verdict::NoneChosen(events) => {
                if state.may_warn() {
                    let text = "no event is a tick: decode.only may name the wrong field or values";
                    warn!(events, "{text}");
                }
            }
            Verdict::Many(share) => {
                if let Some(first) = rejects.first()
                    && state.may_warn()
                {
                    warn(share, first);
                }
            }
            Verdict::TooMany(share) => {
                if let Some(first) = rejects.first() {
                    self.halt(share, first);
                }
            }
        }
    }

    fn halt(&self, share: Share, first: &Reject) {
        let why = format!(
            "{} of the last {} ticks were rejected, the first one as {}: {}",
            share.rejects, share.of, first.reason, first.detail
        );
        if self.halted.set(why).is_ok() {
            let (rejects, of) = (share.rejects, share.of);
            let (reason, detail, message) = (first.reason.as_str(), &first.detail, &first.message_id);
            error!(
                rejects,
                of,
                reason,
                detail,
                message,
                example = example(&first.body),
                "receiving halted: nearly all ticks are rejected; correct [decode] for this feed and start again, or raise \
                 decode.rejects_share_stop"
            );
        }
    }
}

impl State {
    fn may_warn(&mut self) -> bool {
        let now = Instant::now();
        let may = self.warned_at.is_none_or(|warned_at| now >= warned_at + WARN_AGAIN);
        if may {
            self.warned_at = Some(now);
        }
        may
    }
}

fn warn(share: Share, first: &Reject) {
    let (rejects, of) = (share.rejects, share.of);
    let (reason, detail, message) = (first.reason.as_str(), &first.detail, &first.message_id);
    let example = example(&first.body);
    warn!(rejects, of, reason, detail, message, example, "many ticks are rejected, they go to the quarantine");
}

/// The beginning of what was rejected, on one line.
fn example(body: &[u8]) -> String {
    let shown = &body[..body.len().min(EXAMPLE_MAX_BYTES)];
    let text: String = String::from_utf8_lossy(shown).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < body.len() { text + "..." } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ticklake_core::decode::Reason;

    fn rejects(count: usize) -> Vec<Reject> {
        let reject = Reject {
            message_id: "m-1".to_owned(),
            index: Some(0),
            reason: Reason::MissingPrice,
            detail: "tick has no price".to_owned(),
            body: b"{}".to_vec(),
            received_at_us: 0,
            message_us: 0,
        };
        vec![reject; count]
    }

    #[test]
    fn halt_says_why_and_stays() {
        let watch = RejectWatch::new(&DecodeConfig::default());
        watch.note(0, &rejects(999), 0);
        assert_eq!(watch.halted(), None);
        watch.note(0, &rejects(1), 0);
        let why = "1000 of the last 1000 ticks were rejected, the first one as missing_price: tick has no price";
        assert_eq!(watch.halted(), Some(why));
        watch.note(100_000, &[], 0);
        assert_eq!(watch.halted(), Some(why), "a good message does not take the halt back");
    }

    #[test]
    fn example_is_short_and_on_one_line() {
        assert_eq!(example(b"{\"a\":\n1}"), "{\"a\": 1}");
        assert_eq!(example(&[b'x'; 500]).len(), EXAMPLE_MAX_BYTES + 3);
    }
}
