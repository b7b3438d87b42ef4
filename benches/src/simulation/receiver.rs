//! Receives messages, decodes them, and looks up earlier deliveries, as `engine/src/receiver.rs` and `resolver.rs` do
//! it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ticklake_core::batch::{Decoded, Yield};
use ticklake_core::commit::{
    Arrival, Decision, Entry, Fate, Layout, Remaining, Shape, Step, is_first_delivery, may_take, remaining,
};
use ticklake_core::decode::Reason;

use super::kernel::Millis;
use super::lease::{HeldMessage, Hold, Term, TickRow};
use super::load::reject;
use super::network::{Services, To};
use super::plan::Broken;
use super::sqs::Received;
use super::store::{Epoch, Object, Place};
use super::worker::{GaveUp, Worker};

/// How long a worker waits when its budget is used up.
const NO_ROOM: Millis = 100;

/// Messages that were decoded together.
type Batch = Decoded<HeldMessage>;

impl Worker {
    /// Polls one queue until a stop begins.
    pub(super) async fn poll(self: Rc<Self>, queue: usize) {
        while self.stop_by.get().is_none() {
            if self.held.get() >= self.world.plan.held_max {
                self.sleep(NO_ROOM).await;
                continue;
            }
            let (asked_at, id) = (self.now(), self.id);
            let received = self.call(To::Sqs, move |services, now| services.sqs.receive(queue, id, now)).await;
            match received {
                None => self.sleep(NO_ROOM).await,
                Some(received) if received.is_empty() => self.sleep(self.world.plan.poll_wait).await,
                Some(received) => self.clone().take_in(&received, asked_at),
            }
        }
    }

    fn take_in(self: Rc<Self>, received: &[Received], asked_at: Millis) {
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for one in received {
            let message = one.receipt.message;
            let id = self.world.load.messages[message].id;
            let was_dead_lettered = one.was_dead_lettered && !self.world.plan.is(Broken::DeadLettersBelieved);
            let is_careless = self.world.plan.is(Broken::ReleasedTakenAgain);
            if !is_careless && self.may_be_released(message, asked_at) {
                self.tell(|| format!("leaves message {message} alone"));
                continue;
            }
            let is_known = !self.received.borrow_mut().insert(message);
            let count = if is_known { one.count } else { one.honest_count };
            let is_first = is_first_delivery(count, was_dead_lettered);
            let mut arrival = self.holdings.borrow_mut().arrive(id, is_first);
            self.tell(|| format!("receives message {message}, count {count}: {arrival:?}"));
            if self.world.plan.is(Broken::HoldingsIgnored) && arrival == Arrival::Held {
                arrival = if is_first { Arrival::First } else { Arrival::Again { is_seen: false } };
            }
            if arrival == Arrival::Held {
                continue;
            }
            let held = self.hold(one, asked_at);
            if arrival != (Arrival::Again { is_seen: true })
                && let Some(alert) = self.world.load.alert_of(message)
            {
                self.raise(vec![alert], Vec::new());
            }
            if arrival == Arrival::First {
                first.push(held);
            } else {
                again.push(held);
            }
        }
        for (message, batch) in first {
            self.join(message, batch);
        }
        if !again.is_empty() {
            self.spawn(|worker| async move {
                // A message that cannot be looked up comes back when its visibility ends.
                let _ = worker.resolve(again).await;
            });
        }
    }

    /// Whether a release that was still open after `asked_at` may take back the received message.
    fn may_be_released(&self, message: usize, asked_at: Millis) -> bool {
        !may_take(self.released.borrow().get(&message).copied(), |until| asked_at >= until)
    }

    /// Takes a message, and decodes it.
    fn hold(&self, received: &Received, asked_at: Millis) -> (HeldMessage, Batch) {
        let message = received.receipt.message;
        let term = Term::new(received.receipt, asked_at, self.world.plan.visibility_timeout);
        self.terms.borrow_mut().push(term.clone());
        self.held.set(self.held.get() + 1);
        let id = self.world.load.messages[message].id;
        let (holdings, held, is_over) = (self.holdings.clone(), self.held.clone(), Cell::new(false));
        let hold = Hold { id, term, holdings, held, is_over };
        let (ticks, rejects) = self.world.load.decode(message, self.variant);
        let held = HeldMessage {
            hold,
            layout: Layout::of(&ticks.ts_us, &rejects, &[]),
            yielded: Yield { ticks: ticks.len(), rejects: rejects.len(), left_out: 0 },
            ticks: Vec::new(),
            rejects: Vec::new(),
        };
        (held, Batch { ticks, rejects, ..Batch::default() })
    }

    /// Adds a message with its rows to the open epoch.
    fn join(&self, mut message: HeldMessage, batch: Batch) {
        let rows = batch.ticks.rows();
        message.ticks = rows
            .map(|tick| TickRow { ts_us: tick.ts_us, seq: tick.seq.unwrap_or_default(), price: tick.price })
            .collect();
        message.rejects = batch.rejects;
        self.opened().messages.push(message);
    }

    /// Drops the rows that the lake already holds, and adds the rest to the open epoch.
    async fn resolve(&self, again: Vec<(HeldMessage, Batch)>) -> Result<(), GaveUp> {
        let ids: Vec<_> = again.iter().map(|(message, _)| message.hold.id).collect();
        let list = || {
            let ids = ids.clone();
            move |services: &mut Services, _| ids.iter().map(|id| services.store.naming(*id)).collect::<Vec<_>>()
        };
        let named: Vec<Vec<(Epoch, u32)>> = self.retry(To::Store, list).await?;
        for ((message, mut batch), named) in again.into_iter().zip(named) {
            let number = message.receipt().message;
            let mut earlier = Vec::with_capacity(named.len());
            for (epoch, at) in named {
                let get = || move |services: &mut Services, _| services.store.entry(epoch);
                // If the entry is gone by now, its owner removed it.
                if let Some(entry) = self.retry(To::Store, get).await? {
                    earlier.extend(self.decided(epoch, &entry, at).await?);
                }
            }
            let left = remaining(message.layout.elements(), &earlier);
            self.tell(|| format!("message {number}: {} entries, remaining {left:?}", earlier.len()));
            if left != Remaining::Everything {
                self.world.count(|counts| counts.takeovers += 1);
            }
            batch.messages.push(message);
            batch.take_over(
                &[left],
                |message| message.yielded,
                |_| reject(number, None, Reason::DecodedDifferently),
                |message, yielded, layout| (message.yielded, message.layout) = (yielded, layout),
            );
            if let Some(message) = batch.messages.pop() {
                self.join(message, batch);
            }
        }
        Ok(())
    }

    /// What an entry says about a message, with the fate of each file.
    async fn decided(&self, epoch: Epoch, entry: &Entry, at: u32) -> Result<Option<Shape<Fate>>, GaveUp> {
        let mut fates = BTreeMap::new();
        for partition in entry.files_of(at) {
            fates.insert(partition, self.fate((epoch, partition)).await?);
        }
        Ok(entry.shape_of(at, |partition| fates.get(&partition).copied()))
    }

    /// The fate of a file. If the file is missing, this makes sure that it never appears.
    pub(super) async fn fate(&self, place: Place) -> Result<Fate, GaveUp> {
        if let Some(fate) = self.fates.borrow().get(&place) {
            return Ok(*fate);
        }
        let mut decision = Decision::default();
        let fate = loop {
            match decision.step() {
                Step::Look if self.world.plan.is(Broken::EntryTrusted) => break Fate::Stored,
                Step::Look => {
                    let look = || move |services: &mut Services, _| services.store.look(place);
                    decision.looked(self.retry(To::Store, look).await?);
                }
                Step::PutVoid if self.world.plan.is(Broken::NoVoids) => break Fate::Voided,
                Step::PutVoid => {
                    let put = || move |services: &mut Services, _| services.store.put_file(place, Object::Void);
                    decision.void_put(self.retry(To::Store, put).await?);
                }
                Step::Done(fate) => break fate,
                Step::Contradicted => return Err(GaveUp),
            }
        };
        if fate == Fate::Voided {
            self.world.count(|counts| counts.voids += 1);
            self.tell(|| format!("{} of worker {} epoch {} is a void", place.1, place.0.worker, place.0.number));
        }
        self.fates.borrow_mut().insert(place, fate);
        Ok(fate)
    }
}
