//! The outbox decides which alerts are published one by one, and which summary replaces the others.
//!
//! A subscriber may be a person. If the whole market moves or a feed is broken, one alert says more than hundreds of
//! alerts a minute. The lake stores all alerts, also those that are held back here. This file owns which alerts are
//! held back and how they are summed up. It does *not* own how alerts are sent, and reads no clock.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::alert::{Alert, Direction, Kind, Severity, State};

const MINUTE_US: i64 = 60_000_000;

/// If the same happens to several symbols within this event time, it is one event of the market.
const MARKET_US: i64 = 10_000_000;

/// An event of the market is over when nothing was heard of it for this long. The worker that watched its symbols may
/// have died.
const MARKET_MAX_US: i64 = 3_600_000_000;

/// How many held-back events are remembered while they last. If there are more, later alerts about the oldest ones are
/// published.
const HELD_MAX: usize = 100_000;

/// Limits on how much is published one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Events that are published in a minute, with all later alerts about them. If there are more, one alert gives
    /// their number. 0: no limit.
    pub per_minute_max: u32,
    /// If the same happens, in the same direction, to so many symbols within ten seconds of event time, one alert about
    /// the market replaces theirs. 0: never.
    pub market_symbols_min: u32,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self { per_minute_max: 120, market_symbols_min: 10 }
    }
}

/// Remembers what was published lately, and what was held back.
#[derive(Debug)]
pub struct Outbox {
    config: OutboxConfig,
    /// Events that were held back and are not over. `order` has them as they came, and may still have ended ones.
    held: HashSet<String>,
    order: VecDeque<String>,
    markets: BTreeMap<(&'static str, &'static str), Market>,
    /// The current minute: when it began, how many events were published in it, and what was held back.
    minute_us: i64,
    published: u32,
    overflow: Option<Overflow>,
    held_back: u64,
}

/// The same in many symbols at once.
#[derive(Debug, Default)]
struct Market {
    /// The last symbols in which it began, with the event times. All of these lie within ten seconds.
    recent: VecDeque<(i64, String)>,
    /// The alert that opened it, while it lasts.
    open: Option<Alert>,
    /// The events that are part of it and not over, and all symbols that were part of it.
    events: HashSet<String>,
    symbols: HashSet<String>,
    /// When it was seen last, by event time and by the clock.
    last_us: i64,
    seen_us: i64,
    suppressed: u64,
}

#[derive(Debug)]
struct Overflow {
    opened: Alert,
    suppressed: u64,
}

impl Outbox {
    /// An outbox that has published nothing yet.
    #[must_use]
    pub fn new(config: OutboxConfig) -> Self {
        Self {
            config,
            held: HashSet::new(),
            order: VecDeque::new(),
            markets: BTreeMap::new(),
            minute_us: i64::MIN,
            published: 0,
            overflow: None,
            held_back: 0,
        }
    }

    /// How many alerts were not published one by one.
    #[must_use]
    pub fn held_back(&self) -> u64 {
        self.held_back
    }

    /// Takes an alert at `now_us`, microseconds since the Unix epoch. Adds the alerts that are to be published now to
    /// `publish`.
    pub fn take(&mut self, alert: &Alert, now_us: i64, publish: &mut Vec<Alert>) {
        self.tick(now_us, publish);
        if alert.state != State::Open {
            // If an event was held back, later alerts about it are held back, too. Later alerts about all other events
            // are published, also about events of another worker.
            let is_held = self.held.contains(&alert.event);
            if alert.state == State::Close && is_held {
                self.held.remove(&alert.event);
                self.is_over(alert, now_us, publish);
            }
            return if is_held { self.held_back += 1 } else { publish.push(alert.clone()) };
        }
        if self.is_of_market(alert, now_us, publish) || self.is_full(alert, now_us, publish) {
            self.held_back += 1;
            self.hold(&alert.event);
        } else {
            self.publish(alert.clone(), publish);
        }
    }

    fn hold(&mut self, event: &str) {
        if self.held.insert(event.to_owned()) {
            self.order.push_back(event.to_owned());
        }
        while self.order.len() > HELD_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.held.remove(&oldest);
            }
        }
    }

    /// An event that was held back is over. If it was the last one of a market event, the market event is over, too.
    fn is_over(&mut self, alert: &Alert, now_us: i64, publish: &mut Vec<Alert>) {
        let Some(market) = self.markets.get_mut(&key(alert)) else { return };
        if market.events.remove(&alert.event) {
            (market.last_us, market.seen_us) = (market.last_us.max(alert.ts_us), now_us);
            if market.events.is_empty() {
                market.close(now_us, publish);
            }
        }
    }

    /// Tells the outbox the time. Adds alerts about what is over by now to `publish`.
    pub fn tick(&mut self, now_us: i64, publish: &mut Vec<Alert>) {
        self.close(now_us, false, publish);
    }

    /// Tells the outbox that no more alerts come. Adds the summaries that are still open to `publish`.
    pub fn finish(&mut self, now_us: i64, publish: &mut Vec<Alert>) {
        self.close(now_us, true, publish);
    }

    fn close(&mut self, now_us: i64, is_last: bool, publish: &mut Vec<Alert>) {
        for market in self.markets.values_mut() {
            let is_lost = now_us.saturating_sub(market.seen_us) >= MARKET_MAX_US;
            if market.open.is_some() && (is_last || is_lost) {
                market.close(now_us, publish);
            }
        }
        // A new minute begins with the first call after the last one has ended, or if the clock is set back.
        if !is_last && (0..MINUTE_US).contains(&now_us.saturating_sub(self.minute_us)) {
            return;
        }
        (self.minute_us, self.published) = (now_us, 0);
        if let Some(Overflow { opened, suppressed }) = self.overflow.take() {
            let count = f64::from(self.config.per_minute_max) + suppressed as f64;
            publish.push(closing(opened, now_us, now_us, count, suppressed));
        }
    }

    /// Publishes a new event. Only these count against the limit: subscribers who know an event want to know its end.
    fn publish(&mut self, alert: Alert, publish: &mut Vec<Alert>) {
        self.published = self.published.saturating_add(1);
        publish.push(alert);
    }

    /// Whether the event is part of a market event. The event that completes the number of symbols is part of it, too.
    fn is_of_market(&mut self, alert: &Alert, now_us: i64, publish: &mut Vec<Alert>) -> bool {
        let least = self.config.market_symbols_min as usize;
        if least == 0 || &*alert.symbol == "*" {
            return false;
        }
        let market = self.markets.entry(key(alert)).or_default();
        let is_recent = |ts_us: i64| ts_us.abs_diff(alert.ts_us) < MARKET_US as u64;
        market.recent.retain(|(ts_us, symbol)| is_recent(*ts_us) && **symbol != *alert.symbol);
        market.recent.push_back((alert.ts_us, alert.symbol.to_string()));
        // An alert that comes when the others are long past stands for itself.
        if market.recent.len() < least {
            return false;
        }
        (market.last_us, market.seen_us) = (market.last_us.max(alert.ts_us), now_us);
        market.events.insert(alert.event.clone());
        market.symbols.extend(market.recent.iter().map(|(_, symbol)| symbol.clone()));
        // Only the minimum number must be remembered here: `symbols` counts all symbols.
        market.recent.drain(..market.recent.len() - least);
        market.suppressed += 1;
        if market.open.is_none() {
            let severity = alert.severity.max(Severity::Warning);
            let event = format!("market-{}-{}", alert.kind.as_str(), alert.direction.as_str());
            let opened = summary(&event, alert.kind, alert.direction, (alert.ts_us, now_us), least as f64);
            let opened = Alert { severity, ..opened };
            market.open = Some(opened.clone());
            self.publish(opened, publish);
        }
        true
    }

    /// Whether the limit of the minute is reached. If so, the summary counts the event.
    fn is_full(&mut self, alert: &Alert, now_us: i64, publish: &mut Vec<Alert>) -> bool {
        let most = self.config.per_minute_max;
        if most == 0 || self.published < most {
            return false;
        }
        let overflow = self.overflow.get_or_insert_with(|| {
            let opened = summary("overflow", Kind::Overflow, Direction::Up, (alert.ts_us, now_us), f64::from(most));
            publish.push(opened.clone());
            Overflow { opened, suppressed: 0 }
        });
        overflow.suppressed += 1;
        true
    }
}

impl Market {
    fn close(&mut self, now_us: i64, publish: &mut Vec<Alert>) {
        let Self { open, symbols, last_us, suppressed, .. } = std::mem::take(self);
        if let Some(opened) = open {
            publish.push(closing(opened, last_us, now_us, symbols.len() as f64, suppressed));
        }
    }
}

fn key(alert: &Alert) -> (&'static str, &'static str) {
    (alert.kind.as_str(), alert.direction.as_str())
}

/// An alert about several symbols. `count` is the number of symbols or events that it takes to raise it.
fn summary(event: &str, kind: Kind, direction: Direction, (ts_us, now_us): (i64, i64), count: f64) -> Alert {
    let event = Alert::id_of(event, "*", ts_us);
    Alert {
        id: event.clone(),
        event,
        kind,
        state: State::Open,
        severity: Severity::Warning,
        symbol: "*".into(),
        direction,
        ts_us,
        detected_at_us: now_us,
        observed: count,
        expected: count,
        scale: 1.0,
        score: 1.0,
        threshold: count,
        window: if kind == Kind::Overflow { "60 s".into() } else { "10 s".into() },
        suppressed: 0,
        ticks: Vec::new(),
    }
}

fn closing(opened: Alert, ts_us: i64, now_us: i64, observed: f64, suppressed: u64) -> Alert {
    Alert {
        id: Alert::id_of_state(&opened.event, State::Close, 1),
        state: State::Close,
        ts_us,
        detected_at_us: now_us,
        observed,
        score: observed / opened.threshold.max(1.0),
        suppressed,
        ..opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time `seconds` after a fixed time.
    fn at(seconds: i64) -> i64 {
        1_795_442_400_000_000 + seconds * 1_000_000
    }

    fn alert(kind: Kind, symbol: &str, ts_s: i64, state: State) -> Alert {
        let ts_us = at(ts_s);
        let event = Alert::id_of(kind.as_str(), symbol, if state == State::Open { ts_us } else { at(0) });
        let alert = summary("", kind, Direction::Up, (ts_us, ts_us), 1.0);
        Alert { id: event.clone(), event, symbol: symbol.into(), state, ..alert }
    }

    fn outbox(per_minute_max: u32, market_symbols_min: u32) -> Outbox {
        Outbox::new(OutboxConfig { per_minute_max, market_symbols_min })
    }

    /// The alerts that are published, by symbol, kind and state.
    fn taken(outbox: &mut Outbox, alert: &Alert, now_s: i64) -> Vec<(String, Kind, State)> {
        let mut publish = Vec::new();
        outbox.take(alert, at(now_s), &mut publish);
        publish.iter().map(|alert| (alert.symbol.to_string(), alert.kind, alert.state)).collect()
    }

    #[test]
    fn five_hundred_symbols_that_fall_together_are_one_alert_about_the_market() {
        let mut outbox = outbox(0, 10);
        let mut publish = Vec::new();
        let name = |symbol: i64| format!("S{symbol}");
        for symbol in 0..500 {
            outbox.take(&alert(Kind::Move, &name(symbol), 0, State::Open), at(200), &mut publish);
        }
        assert_eq!(publish.len(), 10, "nine alerts of single symbols, and one of the market");
        let market = publish.pop().unwrap();
        assert_eq!((&*market.symbol, market.kind, market.state, market.observed), ("*", Kind::Move, State::Open, 10.0));
        assert!(market.event.starts_with("market-move-up-"), "{}", market.event);
        publish.clear();
        for symbol in 0..500 {
            outbox.take(&alert(Kind::Move, &name(symbol), 40, State::Close), at(240), &mut publish);
        }
        assert_eq!(publish.len(), 10, "the ends of the nine, and the end of the market with the last of the others");
        let close = publish.pop().unwrap();
        assert_eq!((close.event, close.state, close.observed), (market.event, State::Close, 500.0));
        assert_eq!((close.suppressed, outbox.held_back()), (491, 2 * 491));
        assert!(outbox.held.is_empty());
    }

    #[test]
    fn what_comes_later_than_the_market_stands_for_itself_and_a_market_nobody_hears_of_ends() {
        let mut outbox = outbox(0, 3);
        let mut take =
            |symbol: &str, ts_s, now_s| taken(&mut outbox, &alert(Kind::Spike, symbol, ts_s, State::Open), now_s).len();
        assert_eq!([take("A", 0, 0), take("B", 0, 0), take("C", 0, 0), take("D", 5, 5)], [1, 1, 1, 0]);
        assert_eq!([take("E", 20, 20), take("F", 29, 29)], [1, 1]);
        let mut publish = Vec::new();
        outbox.tick(at(3_604), &mut publish);
        assert_eq!(publish, []);
        outbox.tick(at(3_605), &mut publish);
        assert_eq!(publish.iter().map(|alert| alert.observed).collect::<Vec<_>>(), [4.0]);
    }

    #[test]
    fn other_kinds_directions_and_times_are_no_market() {
        let mut outbox = outbox(0, 3);
        let alone = |outbox: &mut Outbox, alert: &Alert| assert_eq!(taken(outbox, alert, 0).len(), 1, "{alert:?}");
        for at in 0..20 {
            alone(&mut outbox, &alert(Kind::Move, &format!("S{at}"), at * 10, State::Open));
        }
        for _ in 0..20 {
            alone(&mut outbox, &alert(Kind::Spike, "A", 0, State::Open));
        }
        for kind in [Kind::Gap, Kind::Volume, Kind::Volatility] {
            alone(&mut outbox, &alert(kind, kind.as_str(), 0, State::Open));
        }
        alone(&mut outbox, &alert(Kind::Gap, "A", 0, State::Open));
        alone(&mut outbox, &Alert { direction: Direction::Down, ..alert(Kind::Gap, "B", 0, State::Open) });
    }

    #[test]
    fn more_than_a_minute_takes_are_summed_up() {
        let mut outbox = outbox(3, 0);
        let opened: Vec<_> = (0..10)
            .flat_map(|at| taken(&mut outbox, &alert(Kind::Spike, &format!("S{at}"), 0, State::Open), 5))
            .collect();
        assert_eq!(opened.len(), 4);
        assert_eq!(opened[3], ("*".to_owned(), Kind::Overflow, State::Open));
        let mut publish = Vec::new();
        outbox.tick(at(64), &mut publish);
        assert_eq!(publish, []);
        outbox.tick(at(65), &mut publish);
        let [close] = &publish[..] else { panic!("{publish:?}") };
        assert_eq!(
            (close.kind, close.state, close.observed, close.suppressed),
            (Kind::Overflow, State::Close, 10.0, 7)
        );
        assert_eq!(outbox.held_back(), 7);
        let mut ended = self::outbox(1, 0);
        (0..3).for_each(|n| ended.take(&alert(Kind::Spike, &format!("S{n}"), 0, State::Open), at(5), &mut publish));
        ended.finish(at(6), &mut publish);
        assert_eq!(publish.last().map(|alert| alert.suppressed), Some(2), "the end sums up, too");
        assert_eq!(taken(&mut outbox, &alert(Kind::Spike, "T", 0, State::Open), 66).len(), 1, "a new minute has begun");
    }

    #[test]
    fn end_of_an_event_is_published_unless_its_opening_was_held_back() {
        let mut outbox = outbox(1, 0);
        let close = |symbol| alert(Kind::Spike, symbol, 0, State::Close);
        assert_eq!(taken(&mut outbox, &alert(Kind::Spike, "A", 0, State::Open), 0).len(), 1);
        assert_eq!(taken(&mut outbox, &alert(Kind::Spike, "B", 0, State::Open), 0).len(), 1, "the overflow");
        assert_eq!(taken(&mut outbox, &close("A"), 1), [("A".to_owned(), Kind::Spike, State::Close)]);
        assert_eq!(taken(&mut outbox, &close("B"), 1), []);
        assert_eq!(taken(&mut outbox, &close("C"), 1).len(), 1, "another worker published its opening");
        assert_eq!(
            taken(&mut outbox, &alert(Kind::Spike, "D", 0, State::Open), 61).len(),
            2,
            "ends do not count: the summary, and one more"
        );
    }
}
