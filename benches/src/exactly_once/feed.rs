//! What a round sends: ticks of a model market with spikes, with prices that jump and stay, and malformed bodies.
//!
//! This file owns what every message holds, for the audit, and sends the messages in their order. It does *not* own
//! queues.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use fastrand::Rng;
use loadgen::{MarketConfig, SpikeConfig};
use serde_json::{Value, json};

use super::scenario::{PER_MESSAGE, Scenario};
use crate::bodies_of;
use crate::fleet::scene::SPIKES;

/// Ticks sent per second.
const RATE: usize = 5_000;

/// Ticks per second of event time: a round sends in four seconds what happens in twenty.
const MARKET_RATE: u64 = 1_000;

/// Ten seconds before 14:00 UTC on 2026-06-01, so that an hour ends during the round.
const START_US: i64 = 1_780_322_390_000_000;

/// Symbols whose price jumps by the factor `JUMP` after half of their ticks, and stays there.
const JUMPS: usize = 12;
const JUMP: f64 = 1.04;

/// If any messages hold prices as strings, every n-th does.
const STRINGS: usize = 4;

/// All messages, in their order.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) messages: Vec<Message>,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// The number of its queue.
    pub(super) queue: usize,
    pub(super) body: String,
    /// Empty for a malformed message.
    pub(super) ticks: Vec<Tick>,
}

/// A tick, as a row of the lake must show it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) symbol: String,
    pub(super) seq: i64,
    pub(super) ts_us: i64,
    pub(super) price: f64,
    pub(super) volume: f64,
    pub(super) venue: Option<String>,
}

impl Feed {
    /// The feed of a scenario. The same scenario always gives the same feed.
    pub(super) fn of(scenario: &Scenario) -> anyhow::Result<Self> {
        let seed = scenario.seed.wrapping_add(scenario.round);
        let mut rng = Rng::with_seed(seed);
        let mut ticks = ticks(seed, scenario.messages)?;
        jump(&mut ticks);
        let mut messages: Vec<Message> = ticks
            .into_iter()
            .enumerate()
            .map(|(at, ticks)| {
                let has_strings = scenario.has_strings() && at % STRINGS == 0;
                let body = Value::Array(ticks.iter().map(|tick| tick.json(has_strings)).collect()).to_string();
                Message { queue: at % scenario.queues, body, ticks }
            })
            .collect();
        for number in 0..scenario.malformed {
            let malformed = Message {
                queue: number % scenario.queues,
                body: format!("no tick, but number {number}"),
                ticks: Vec::new(),
            };
            messages.insert(rng.usize(..=messages.len()), malformed);
        }
        Ok(Self { messages })
    }

    /// Sends all messages in batches of ten. Returns the time range in which the queue took them, microseconds since
    /// the Unix epoch. A queue that `may_be_gone` may refuse them.
    pub(super) async fn send(
        &self,
        sqs: &Client,
        queues: &[String],
        may_be_gone: impl Fn(usize) -> bool,
    ) -> anyhow::Result<Range<i64>> {
        // The queue's times are whole milliseconds.
        let began = now_us()? / 1_000 * 1_000;
        let mut turns = tokio::time::interval(Duration::from_secs(1) * 10 * PER_MESSAGE as u32 / RATE as u32);
        for batch in self.messages.chunks(10) {
            turns.tick().await;
            for (number, queue) in queues.iter().enumerate() {
                let of_queue = batch.iter().enumerate().filter(|(_, message)| message.queue == number);
                let entries: Vec<_> =
                    of_queue.map(|(at, message)| entry(at, &message.body)).collect::<Result<_, _>>()?;
                if entries.is_empty() {
                    continue;
                }
                let sent = sqs.send_message_batch().queue_url(queue).set_entries(Some(entries)).send().await;
                match sent {
                    Ok(sent) => anyhow::ensure!(sent.failed().is_empty(), "the queue has refused {:?}", sent.failed()),
                    Err(_) if may_be_gone(number) => {}
                    Err(error) => return Err(error).context("failed to send messages"),
                }
            }
        }
        Ok(began..now_us()?)
    }

    /// Bodies that the workers must reject.
    pub(super) fn malformed(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| message.ticks.is_empty())
    }
}

fn entry(at: usize, body: &str) -> anyhow::Result<SendMessageBatchRequestEntry> {
    let entry = SendMessageBatchRequestEntry::builder().id(at.to_string()).message_body(body);
    entry.build().context("failed to make an entry of a batch")
}

fn now_us() -> anyhow::Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(now.as_micros() as i64)
}

/// The ticks of each message.
fn ticks(seed: u64, messages: usize) -> anyhow::Result<Vec<Vec<Tick>>> {
    let ticks = (messages * PER_MESSAGE) as u64;
    // Spikes begin as soon as the detectors know a symbol.
    let spikes = SpikeConfig { count: SPIKES, quiet_ticks: 20, quiet: Duration::ZERO, ..SpikeConfig::default() };
    let span = Duration::from_secs(ticks.div_ceil(MARKET_RATE));
    let market = MarketConfig { seed, ticks, span, start_us: START_US, spikes, ..MarketConfig::default() };
    bodies_of(market, PER_MESSAGE)?.iter().map(|body| parse(body)).collect()
}

/// The ticks of a body of this feed, or of the part of it that a table kept.
pub(super) fn parse(body: &str) -> anyhow::Result<Vec<Tick>> {
    let value: Value = serde_json::from_str(body).context("a body is no JSON")?;
    match value {
        Value::Array(ticks) => ticks.iter().map(Tick::of).collect(),
        tick => Ok(vec![Tick::of(&tick)?]),
    }
}

/// Lets the prices of the busiest symbols jump halfway and stay there.
fn jump(messages: &mut [Vec<Tick>]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for tick in messages.iter().flatten() {
        *counts.entry(tick.symbol.clone()).or_default() += 1;
    }
    let by_count: BTreeSet<(usize, &String)> = counts.iter().map(|(symbol, count)| (*count, symbol)).collect();
    let mut left: BTreeMap<String, usize> =
        by_count.into_iter().rev().take(JUMPS).map(|(count, symbol)| (symbol.clone(), count / 2)).collect();
    for tick in messages.iter_mut().flatten() {
        match left.get_mut(&tick.symbol) {
            Some(0) => tick.price = (tick.price * JUMP * 100.0).round() / 100.0,
            Some(left) => *left -= 1,
            None => {}
        }
    }
}

impl Tick {
    fn of(value: &Value) -> anyhow::Result<Self> {
        let number = |name: &str| match &value[name] {
            Value::String(text) => text.parse().ok(),
            number => number.as_f64(),
        };
        Ok(Self {
            symbol: value["symbol"].as_str().context("a tick has no symbol")?.to_owned(),
            seq: value["seq"].as_i64().context("a tick has no seq")?,
            ts_us: value["ts"].as_i64().context("a tick has no ts")?,
            price: number("price").context("a tick has no price")?,
            volume: number("volume").context("a tick has no volume")?,
            venue: value["venue"].as_str().map(str::to_owned),
        })
    }

    fn json(&self, has_strings: bool) -> Value {
        let mut value = json!({
            "symbol": self.symbol, "price": self.price, "volume": self.volume, "ts": self.ts_us, "seq": self.seq
        });
        if has_strings {
            value["price"] = Value::String(self.price.to_string());
        }
        if let Some(venue) = &self.venue {
            value["venue"] = Value::String(venue.clone());
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feed_is_the_same_each_time_and_says_what_its_bodies_hold() {
        let scenario = (0..100).map(|round| Scenario::draw(1, round)).find(Scenario::has_strings).unwrap();
        let (feed, again) = (Feed::of(&scenario).unwrap(), Feed::of(&scenario).unwrap());
        assert_eq!(feed.messages, again.messages);
        assert_eq!(feed.malformed().count(), scenario.malformed);
        let mut seen = BTreeSet::new();
        let mut strings = 0;
        for message in feed.messages.iter().filter(|message| !message.ticks.is_empty()) {
            assert_eq!(parse(&message.body).unwrap(), message.ticks);
            strings += usize::from(message.body.contains(r#""price":""#));
            assert!(message.ticks.iter().all(|tick| seen.insert((tick.symbol.clone(), tick.seq))));
        }
        assert_eq!(seen.len(), scenario.messages * PER_MESSAGE);
        assert_eq!(strings, (feed.messages.len() - scenario.malformed).div_ceil(STRINGS));
        let hours: BTreeSet<i64> =
            feed.messages.iter().flat_map(|message| &message.ticks).map(|tick| tick.ts_us / 3_600_000_000).collect();
        assert_eq!(hours.len(), 2, "an hour ends amid the round");
    }
}
