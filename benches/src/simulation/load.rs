//! What is sent, and how workers decode it. A message is a number of elements, and each configuration decodes them
//! differently.

use std::rc::Rc;
use std::sync::Arc;

use ticklake_core::alert::{Alert, Direction, Kind, Severity, State};
use ticklake_core::commit::MessageId;
use ticklake_core::decode::{Reason, Reject};
use ticklake_core::names::NameId;
use ticklake_core::tick::{Tick, TickBatch};

use super::kernel::Millis;
use super::plan::Plan;

/// 2026-11-26 00:00 UTC, microseconds since the Unix epoch.
const START_US: i64 = 1_795_651_200_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// Elements of the largest message.
const ELEMENTS_MAX: u64 = 6;

/// A message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: MessageId,
    /// The queue that it is sent to.
    pub(super) queue: usize,
    /// The running number of its first element within its queue.
    pub(super) first: i64,
    pub(super) elements: u32,
    pub(super) sent_at: Millis,
}

/// All messages.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) messages: Vec<Message>,
    /// The symbol of each queue's elements.
    pub(super) symbols: Vec<String>,
    /// Elements of each queue.
    pub(super) elements: Vec<i64>,
    alert_of: u64,
}

/// A pseudo-random number that follows from two others.
fn mixed(one: u64, other: u64) -> u64 {
    let mut hash = (one << 8 ^ other).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

impl Load {
    pub(super) fn of(plan: &Plan) -> Rc<Self> {
        let mut elements = vec![0; plan.queues];
        let messages = (0..plan.messages as u64).map(|number| {
            let queue = (mixed(number, 1) % plan.queues as u64) as usize;
            let count = 1 + mixed(number, 2) % ELEMENTS_MAX;
            let first = elements[queue];
            elements[queue] += count as i64;
            let sent_at = number * plan.faults_until / plan.messages as u64;
            let id = MessageId::new(&format!("{number:032x}"));
            Message { id, queue, first, elements: count as u32, sent_at }
        });
        let messages = messages.collect();
        let symbols = (0..plan.queues).map(|queue| format!("queue-{queue}")).collect();
        Rc::new(Self { messages, symbols, elements, alert_of: plan.alert_of })
    }

    /// The event time of an element, as it was sent.
    pub(super) fn ts_us(seq: i64) -> i64 {
        START_US + (mixed(seq as u64, 3) % 3) as i64 * HOUR_US / 2 + seq % 1_000
    }

    pub(super) fn price(seq: i64) -> f64 {
        seq as f64 * 0.25 + 1.0
    }

    /// Decodes a message as a worker of configuration `variant` does.
    pub(super) fn decode(&self, message: usize, variant: u8) -> (TickBatch, Vec<Reject>) {
        let (mut ticks, mut rejects) = (TickBatch::default(), Vec::new());
        let Message { first, elements, .. } = self.messages[message];
        if variant == 2 && mixed(message as u64, 4).is_multiple_of(2) {
            rejects.push(reject(message, None, Reason::NotJson));
            return (ticks, rejects);
        }
        for position in 0..elements {
            let seq = first + i64::from(position);
            let way = if variant == 1 { mixed(seq as u64, 5) % 4 } else { 0 };
            if way == 1 {
                rejects.push(reject(message, Some(position), Reason::BadSymbol));
                continue;
            }
            let moved = if way == 2 { 5 * HOUR_US } else { 0 };
            ticks.push(Tick {
                symbol: NameId::NONE,
                ts_us: Self::ts_us(seq) + moved,
                price: Self::price(seq),
                volume: message as f64,
                seq: Some(seq),
                venue: NameId::NONE,
                conditions: NameId::NONE,
                received_at_us: START_US,
            });
        }
        (ticks, rejects)
    }

    /// The alert that a message raises, if it raises one.
    pub(super) fn alert_of(&self, message: usize) -> Option<Alert> {
        mixed(message as u64, 6)
            .is_multiple_of(self.alert_of)
            .then(|| alert(format!("message-{message}"), message as u64))
    }

    /// An alert that the clock of one worker raises, and no other worker.
    pub(super) fn alert_of_clock(worker: u64, number: u64) -> Alert {
        alert(format!("clock-{worker}-{number}"), number)
    }
}

/// The reject of one element, or of the whole body.
pub(super) fn reject(message: usize, index: Option<u32>, reason: Reason) -> Reject {
    Reject {
        message_id: message.to_string(),
        index,
        reason,
        detail: String::new(),
        body: Vec::new(),
        received_at_us: START_US,
        message_us: START_US,
    }
}

fn alert(id: String, number: u64) -> Alert {
    Alert {
        event: id.clone(),
        id,
        kind: Kind::Spike,
        state: State::Open,
        severity: Severity::of_score(9.0, 8.0),
        symbol: Arc::from("AAPL"),
        direction: Direction::Up,
        ts_us: START_US + (number % 5 / 4) as i64 * 24 * HOUR_US,
        detected_at_us: START_US,
        observed: 2.0,
        expected: 1.0,
        scale: 0.5,
        score: 9.0,
        threshold: 8.0,
        window: "50 ticks".into(),
        suppressed: 0,
        ticks: Vec::new(),
    }
}
