//! The result of a world: the audit of its elements, and its alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use loadgen::audit::{Row as AuditRow, audit_rows};
use loadgen::manifest::Sent;
use loadgen::tick::{Number, SymbolHash, Tick};

use super::load::{Load, Message};
use super::network::{Counts, World};
use super::store::{Object, Row};

/// The verdict on a world, or the sum of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages that were sent, and their elements.
    pub messages: u64,
    /// See `messages`.
    pub elements: u64,
    pub(super) counts: Counts,
    /// Copies handed out, messages moved to dead-letter queues, and deliveries beyond the first.
    pub copies: u64,
    /// See `copies`.
    pub moves: u64,
    /// See `copies`.
    pub redeliveries: u64,
    /// Elements that are in no file, elements in more than one row, and queues whose rows differ from what was sent.
    pub lost: u64,
    /// See `lost`.
    pub doubled: u64,
    /// See `lost`.
    pub altered: u64,
    /// Bodies in quarantine because two workers decoded them differently.
    pub in_doubt: u64,
    /// Alerts in the table.
    pub alerts: u64,
    /// Alerts that were published but are in no file, alerts that are stored twice, and alerts that are stored but were
    /// not published.
    pub alerts_unstored: u64,
    /// See `alerts_unstored`.
    pub alerts_doubled: u64,
    /// See `alerts_unstored`.
    pub alerts_untold: u64,
    /// Alerts that were published without a note, because the store did not take it in time, and were lost with their
    /// worker.
    pub alerts_unnoted: u64,
    /// Messages that are left in queues.
    pub left: u64,
    /// The hash that tells two different runs apart.
    pub hash: u64,
}

impl Verdict {
    /// The number of rule violations.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.lost
            + self.doubled
            + self.altered
            + self.alerts_unstored
            + self.alerts_doubled
            + self.alerts_untold
            + self.left
    }

    /// Workers killed, workers frozen, and stops.
    #[must_use]
    pub fn faults(&self) -> (u64, u64, u64) {
        (self.counts.kills, self.counts.freezes, self.counts.stops)
    }

    /// Adds the verdict on another world.
    pub fn add(&mut self, other: &Self) {
        let counts = &mut self.counts;
        counts.kills += other.counts.kills;
        counts.freezes += other.counts.freezes;
        counts.stops += other.counts.stops;
        counts.takeovers += other.counts.takeovers;
        counts.voids += other.counts.voids;
        counts.aborts += other.counts.aborts;
        for (sum, one) in self.fields().into_iter().zip(other.clone().fields()) {
            *sum += *one;
        }
        self.hash = self.hash.rotate_left(7) ^ other.hash;
    }

    fn fields(&mut self) -> [&mut u64; 15] {
        [
            &mut self.messages,
            &mut self.elements,
            &mut self.copies,
            &mut self.moves,
            &mut self.redeliveries,
            &mut self.lost,
            &mut self.doubled,
            &mut self.altered,
            &mut self.in_doubt,
            &mut self.alerts,
            &mut self.alerts_unstored,
            &mut self.alerts_doubled,
            &mut self.alerts_untold,
            &mut self.alerts_unnoted,
            &mut self.left,
        ]
    }

    /// The verdict on a world that has ended.
    pub(super) fn on(world: &World) -> Self {
        let sent = sent(&world.load);
        let services = world.services.borrow();
        let mut rows = Rows::default();
        let mut files: Vec<_> = services.store.files.iter().collect();
        files.sort_unstable_by_key(|(place, _)| **place);
        for (_, object) in files {
            if let Object::Data(data) = object {
                data.iter().for_each(|row| rows.take(row, &world.load));
            }
        }
        let in_doubt = rows.in_doubt.len() as u64;
        let report = audit_rows(&sent, rows.all(&world.load).iter().map(|element| element.row(&world.load)));
        world.tell(|| rows.odd(&world.load));
        let published = &services.topic.published;
        let unstored = |is_excused| {
            let unstored = published.iter().filter(|(id, _)| !rows.alerts.contains_key(*id));
            unstored.filter(|(_, without_note)| **without_note == is_excused).count() as u64
        };
        let hash = rows.elements.iter().fold(world.kernel.hash(), |hash, element| {
            (hash ^ element.seq as u64).wrapping_mul(0x0100_0000_01b3).rotate_left(5) ^ element.queue as u64
        });
        Self {
            messages: world.load.messages.len() as u64,
            elements: sent.ticks,
            counts: world.counts.get(),
            copies: services.sqs.copies,
            moves: services.sqs.moves,
            redeliveries: services.sqs.redeliveries,
            lost: report.lost,
            doubled: report.duplicate,
            altered: report.altered + report.unknown,
            in_doubt,
            alerts: rows.alerts.len() as u64,
            alerts_unstored: unstored(false),
            alerts_unnoted: unstored(true),
            alerts_doubled: rows.alerts.values().filter(|rows| **rows > 1).count() as u64,
            alerts_untold: rows.alerts.keys().filter(|id| !published.contains_key(*id)).count() as u64,
            left: services.sqs.left as u64,
            hash,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kills, freezes, stops) = self.faults();
        writeln!(f, "{} messages of {} elements, {} redeliveries", self.messages, self.elements, self.redeliveries)?;
        writeln!(f, "{kills} kills, {freezes} freezes, {stops} stops")?;
        writeln!(f, "{} copies, {} moved to dead-letter queues", self.copies, self.moves)?;
        let Counts { takeovers, voids, aborts, .. } = self.counts;
        writeln!(
            f,
            "{takeovers} takeovers, {voids} voids, {aborts} epochs given up, {} bodies in doubt",
            self.in_doubt
        )?;
        writeln!(f, "elements: {} lost, {} doubled, {} altered", self.lost, self.doubled, self.altered)?;
        let Self { alerts, alerts_unstored, alerts_doubled, alerts_untold, alerts_unnoted, .. } = self;
        writeln!(
            f,
            "alerts: {alerts}, {alerts_unstored} published and not stored, {alerts_doubled} doubled, \
             {alerts_untold} not published; {alerts_unnoted} that the store did not note in time went with their worker"
        )?;
        write!(f, "{} messages left", self.left)
    }
}

/// An element as it is stored.
#[derive(Debug, Clone, Copy)]
struct Element {
    queue: usize,
    seq: i64,
    price: f64,
}

/// What all files hold.
#[derive(Default)]
struct Rows {
    elements: Vec<Element>,
    /// Messages in doubt: their body is in quarantine.
    in_doubt: BTreeSet<u32>,
    alerts: BTreeMap<Rc<str>, u64>,
}

impl Element {
    fn sent(queue: usize, seq: i64) -> Self {
        Self { queue, seq, price: Load::price(seq) }
    }

    /// The event time is the sent one, because workers may read different event times from one element.
    fn row<'a>(&self, load: &'a Load) -> AuditRow<'a> {
        let (symbol, ts_us) = (&*load.symbols[self.queue], Load::ts_us(self.seq));
        AuditRow { symbol, ts_us, price: self.price, volume: 1.0, seq: Some(self.seq) }
    }
}

impl Rows {
    fn take(&mut self, row: &Row, load: &Load) {
        match row {
            Row::Tick { message, seq, price } => {
                let queue = load.messages[*message as usize].queue;
                self.elements.push(Element { queue, seq: *seq, price: *price });
            }
            Row::Reject { message, is_in_doubt: true, .. } => {
                self.in_doubt.insert(*message);
            }
            Row::Reject { message, index, .. } => {
                let of = &load.messages[*message as usize];
                let positions = index.map_or(0..of.elements, |index| index..index + 1);
                self.elements.extend(positions.map(|at| Element::sent(of.queue, of.first + i64::from(at))));
            }
            Row::Alert(id) => *self.alerts.entry(id.clone()).or_default() += 1,
        }
    }

    /// Lists for the trace the messages whose elements are not stored exactly once.
    fn odd(&self, load: &Load) -> String {
        let mut stored: BTreeMap<(usize, i64), u64> = BTreeMap::new();
        for element in self.all(load) {
            *stored.entry((element.queue, element.seq)).or_default() += 1;
        }
        let count = |of: &Message, at: u32| stored.get(&(of.queue, of.first + i64::from(at))).copied();
        let is_odd = |of: &Message| (0..of.elements).any(|at| count(of, at) != Some(1));
        let odd: Vec<usize> = (0..load.messages.len()).filter(|at| is_odd(&load.messages[*at])).collect();
        format!("messages with elements that are lost or doubled: {odd:?}")
    }

    /// All elements. An element that is only in a body in doubt counts as stored once.
    fn all(&self, load: &Load) -> Vec<Element> {
        let of_doubt = self.in_doubt.iter().flat_map(|message| {
            let of = &load.messages[*message as usize];
            (0..of.elements).map(|at| Element::sent(of.queue, of.first + i64::from(at)))
        });
        let doubted: BTreeSet<(usize, i64)> = of_doubt.map(|element| (element.queue, element.seq)).collect();
        let sure = self.elements.iter().map(|element| (element.queue, element.seq));
        let sure: BTreeSet<(usize, i64)> = sure.filter(|key| doubted.contains(key)).collect();
        let only_doubted = doubted.difference(&sure).map(|(queue, seq)| Element::sent(*queue, *seq));
        self.elements.iter().copied().chain(only_doubted).collect()
    }
}

/// What was sent, for the audit.
fn sent(load: &Load) -> Sent {
    let mut sent = Sent::nothing();
    for (queue, &elements) in load.elements.iter().enumerate() {
        let symbol = &load.symbols[queue];
        let hash = SymbolHash::of(symbol);
        let tally = sent.symbols.entry(symbol.clone()).or_default();
        for seq in 0..elements {
            let (price, volume) = (Number::Float(Load::price(seq)), Number::Whole(1));
            let tick = Tick { symbol, ts_us: Load::ts_us(seq), price, volume, seq, venue: None, conditions: None };
            sent.ticks += u64::from(tally.add(hash, &tick));
        }
    }
    sent
}
