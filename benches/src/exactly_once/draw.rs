//! Draws scenarios. It owns how often each thing happens. The kinds take turns, so that a few rounds have all of them.

use fastrand::Rng;

use super::VISIBILITY;
use super::scenario::{Copies, Decoding, Event, Kind, Place, Scenario, What};

/// In the order in which they take turns.
const KINDS: [Kind; 8] = [
    Kind::Fleet,
    Kind::Mixed,
    Kind::Alone,
    Kind::Copies,
    Kind::DeadLetters,
    Kind::Names,
    Kind::SlowStore,
    Kind::DeletedQueue,
];

/// Messages of a round, and malformed messages among them.
const MESSAGES: usize = 2_000;
const MALFORMED: usize = 200;

/// When events happen, milliseconds after the first message. Sending takes four seconds.
const FROM_MS: u64 = 300;
const TO_MS: u64 = 6_000;

impl Scenario {
    /// Draws the scenario of a round. The same seed and round always give the same scenario.
    pub(super) fn draw(seed: u64, round: u64) -> Self {
        // Neighbouring rounds of neighbouring seeds must have nothing in common.
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round);
        let kind = KINDS[(round % KINDS.len() as u64) as usize];
        let mut one = Self {
            seed,
            round,
            kind,
            workers: 1,
            queues: 1,
            messages: MESSAGES,
            malformed: MALFORMED,
            age_max_ms: rng.u64(200..1_000),
            decodings: vec![Decoding::Default],
            copies: None,
            receives_max: None,
            old_receipts: rng.bool(),
            events: Vec::new(),
        };
        one.draw_kind(&mut rng);
        one.events.sort_by_key(|event| event.at_ms);
        one
    }

    fn draw_kind(&mut self, rng: &mut Rng) {
        match self.kind {
            Kind::Fleet => {
                self.workers = rng.usize(2..=4);
                self.add(rng, 4, |_| What::Kill);
                self.add(rng, 1, freeze(true));
                self.add(rng, 1, |rng| What::Restart { overlap: rng.bool() });
                self.add(rng, 1, cut);
            }
            Kind::Mixed => {
                self.workers = rng.usize(1..=3);
                self.decodings = decodings(rng);
                let kills = rng.usize(2..=3);
                self.add(rng, kills, |_| What::Kill);
                self.add(rng, 1, freeze(true));
                self.add(rng, 1, |rng| What::Restart { overlap: rng.bool() });
                // With a slow store, there is more time in which some files of an epoch are stored and others are not.
                self.add(rng, 1, slow);
            }
            Kind::Names => {
                self.workers = rng.usize(2..=3);
                self.decodings = vec![Decoding::NamesMax(rng.usize(5..=40))];
                self.add(rng, 3, |_| What::Kill);
                self.sometimes(rng, freeze(true));
                self.add(rng, 2, slow);
            }
            Kind::Alone => {
                let freezes = rng.usize(1..=2);
                self.add(rng, freezes, freeze(false));
                self.sometimes(rng, |rng| What::Cut { for_ms: rng.u64(100..2_000), place: Place::Store });
                self.sometimes(rng, slow);
            }
            Kind::Copies => self.draw_copies(rng),
            Kind::DeadLetters => {
                self.workers = rng.usize(1..=3);
                self.receives_max = Some(rng.u32(1..=2));
                if rng.bool() {
                    self.decodings = decodings(rng);
                }
                self.add(rng, 3, |_| What::Kill);
                self.add(rng, 1, freeze(true));
            }
            Kind::SlowStore => {
                self.workers = rng.usize(1..=3);
                self.add(rng, 2, slow);
                self.add(rng, 3, |_| What::Kill);
                self.sometimes(rng, freeze(true));
            }
            Kind::DeletedQueue => {
                self.workers = rng.usize(1..=3);
                self.queues = 2;
                self.add(rng, 1, |_| What::DeleteQueue);
                let kills = rng.usize(0..=2);
                self.add(rng, kills, |_| What::Kill);
                self.sometimes(rng, cut);
            }
        }
    }

    /// A copy may look like a first delivery. Only the memory of the process that got the message before tells the
    /// difference. So such a scenario has no other process.
    fn draw_copies(&mut self, rng: &mut Rng) {
        let copies = Copies {
            every: rng.u64(3..=20),
            count: rng.u32(1..=4),
            within_ms: rng.u64(100..2_000),
            deleted: rng.u8(..3) == 0,
        };
        self.copies = Some(copies);
        let kills = if copies.deleted && copies.count > 1 { rng.usize(0..=2) } else { 0 };
        self.add(rng, kills, |_| What::Kill);
        self.sometimes(rng, freeze(false));
        self.sometimes(rng, cut);
        self.sometimes(rng, slow);
    }

    fn add(&mut self, rng: &mut Rng, times: usize, mut what: impl FnMut(&mut Rng) -> What) {
        for _ in 0..times {
            let (at_ms, worker) = (rng.u64(FROM_MS..TO_MS), rng.usize(..4));
            self.events.push(Event { at_ms, worker, what: what(rng) });
        }
    }

    fn sometimes(&mut self, rng: &mut Rng, what: impl FnMut(&mut Rng) -> What) {
        let times = rng.usize(0..=1);
        self.add(rng, times, what);
    }
}

/// Two or three ways to decode that are not all the same.
fn decodings(rng: &mut Rng) -> Vec<Decoding> {
    let mut all = [
        Decoding::Default,
        Decoding::NamesMax(rng.usize(5..=40)),
        Decoding::NumbersAsStrings,
        Decoding::SymbolMaxBytes(rng.usize(2..=3)),
        Decoding::OtherTs,
    ];
    rng.shuffle(&mut all);
    all[..rng.usize(2..=3)].to_vec()
}

/// A freeze that is longer than the visibility timeout.
fn freeze(replaced: bool) -> impl Fn(&mut Rng) -> What {
    move |rng| What::Freeze { for_ms: VISIBILITY.as_millis() as u64 + rng.u64(500..3_000), replaced }
}

fn cut(rng: &mut Rng) -> What {
    let place = [Place::Queue, Place::Store, Place::Everything][rng.usize(..3)];
    What::Cut { for_ms: rng.u64(100..2_000), place }
}

fn slow(rng: &mut Rng) -> What {
    What::Slow { for_ms: rng.u64(1_000..5_000), bytes_per_s: rng.u64(1_000..20_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn() -> impl Iterator<Item = Scenario> {
        (0..2_000).map(|round| Scenario::draw(round * 31, round))
    }

    #[test]
    fn scenario_is_the_same_for_the_same_seed_and_round_and_another_for_others() {
        assert_eq!(Scenario::draw(7, 3), Scenario::draw(7, 3));
        assert_ne!(Scenario::draw(7, 3).events, Scenario::draw(8, 3).events);
        assert_ne!(Scenario::draw(7, 3).events, Scenario::draw(7, 11).events);
        assert_ne!(Scenario::draw(7, 11).events, Scenario::draw(15, 3).events);
    }

    #[test]
    fn scenario_is_read_back_from_its_line() {
        for scenario in drawn() {
            let line = scenario.to_string();
            assert_eq!(line.lines().count(), 1);
            assert_eq!(line.parse::<Scenario>().unwrap(), scenario);
        }
    }

    #[test]
    fn what_is_drawn_and_what_is_left_of_it_is_something_that_is_promised() {
        for scenario in drawn() {
            assert!(scenario.is_valid(), "{scenario}");
            for smaller in scenario.smaller() {
                assert!(smaller.is_valid(), "{smaller}");
                assert_ne!(smaller, scenario);
            }
        }
    }

    #[test]
    fn copy_that_nobody_can_recognise_is_not_promised() {
        let is_copies = |one: &Scenario| one.copies.is_some_and(|copies| copies.count == 1);
        let mut one = drawn().find(is_copies).unwrap();
        one.events.push(Event { at_ms: 1, worker: 0, what: What::Kill });
        assert!(!one.is_valid());
        one.copies = one.copies.map(|copies| Copies { count: 2, deleted: true, ..copies });
        assert!(one.is_valid());
        one.workers = 2;
        assert!(!one.is_valid());
    }

    #[test]
    fn eight_rounds_have_all_kinds_and_all_kinds_have_their_events() {
        let kinds: std::collections::BTreeSet<Kind> = (0..8).map(|round| Scenario::draw(5, round).kind).collect();
        assert_eq!(kinds.len(), 8);
        for scenario in drawn() {
            let (kind, kills) = (scenario.kind, scenario.count(|what| matches!(what, What::Kill)));
            match kind {
                Kind::Fleet => assert_eq!(kills, 4),
                Kind::Mixed => assert!(scenario.may_reject() && kills >= 2),
                Kind::Alone => assert!(scenario.workers == 1 && kills == 0),
                Kind::Copies => assert!(kills == 0 || !scenario.has_certain_alerts()),
                Kind::DeadLetters => assert!(scenario.receives_max.is_some()),
                Kind::Names => assert!(scenario.may_reject() && !scenario.has_certain_alerts()),
                Kind::SlowStore => assert!(scenario.has(|what| matches!(what, What::Slow { .. }))),
                Kind::DeletedQueue => assert!(scenario.has(|what| matches!(what, What::DeleteQueue))),
            }
        }
    }
}
