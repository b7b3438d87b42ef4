//! The steps of an epoch, from its opening until its messages are deleted or given back.

use super::{
    BTreeMap, BTreeSet, Broken, Commit, Delivery, Held, Named, Open, Phase, Row, Rows, State, TWICE, World, id,
};

impl State {
    pub(super) fn open(&mut self, world: &World, worker: usize) {
        let own = &mut self.workers[worker];
        let decided = own.held.iter().filter(|(delivery, _)| !own.returning.contains(delivery));
        let (mut deliveries, mut shapes) = (Vec::new(), Vec::new());
        let mut files: BTreeMap<u8, BTreeSet<Row>> = BTreeMap::new();
        for (&delivery, held) in decided {
            let Rows::Decided(remaining) = &held.rows else { continue };
            let (shape, rows) = world.decoded(delivery).left(delivery.0, remaining);
            // If two deliveries have the same row, a further file of the epoch stands for the second one.
            for (file, row) in rows {
                let is_new = files.entry(file).or_default().insert(row);
                if !is_new {
                    files.entry(file + TWICE).or_default().insert(row);
                }
            }
            deliveries.push(delivery);
            shapes.push(shape);
        }
        let mut commit = Commit::new(deliveries.len(), files.len());
        commit.published();
        own.open = Some(Open { number: own.epochs, commit, deliveries, shapes, files });
        own.epochs += 1;
    }

    pub(super) fn put_entry(&mut self, world: &World, worker: usize, answered: bool) {
        let own = &mut self.workers[worker];
        let Some(open) = &mut own.open else { return };
        let messages = open.deliveries.iter().map(|(message, _)| *message);
        let named = Named { messages: messages.zip(open.shapes.iter().cloned()).collect() };
        self.ledger.insert((worker, open.number), named);
        if answered {
            let held = &mut own.held;
            let ours: Vec<bool> = open
                .deliveries
                .iter()
                .map(|delivery| held.get_mut(delivery).is_some_and(Held::is_ours) || world.is(Broken::NoCheck))
                .collect();
            open.commit.announced(|index| ours[index]);
        }
    }

    pub(super) fn put_file(&mut self, world: &World, worker: usize, file: usize, answered: bool) {
        let Some(open) = &mut self.workers[worker].open else { return };
        let Some((&partition, rows)) = open.files.iter().nth(file) else { return };
        let place = (worker, open.number, partition);
        if world.is(Broken::PlainPut) {
            self.voids.remove(&place);
        }
        let is_void = self.voids.contains(&place);
        if !is_void {
            self.files.entry(place).or_insert_with(|| rows.clone());
        }
        if answered {
            let shapes = open.shapes.clone();
            if is_void {
                open.commit.voided(file, |index| shapes[index].holds(&partition));
            } else {
                open.commit.stored(file);
            }
            // Alerts have their own model. Here they are out at once.
            open.commit.published();
        }
    }

    pub(super) fn delete(&mut self, world: &World, worker: usize, index: usize, honoured: bool, answered: bool) {
        let own = &mut self.workers[worker];
        let Some(open) = &mut own.open else { return };
        let delivery = open.deliveries[index];
        if honoured {
            self.queue[delivery.0].is_deleted = true;
        }
        if answered {
            // The worker lets go of the delivery when its epoch ends.
            let was_copied = own.holdings.clone().let_go(id(delivery.0)) && !world.is(Broken::CopiesIgnored);
            let in_time = own.held.get_mut(&delivery).is_some_and(Held::is_ours) && !was_copied;
            open.commit.deleted(index, in_time);
        }
    }

    /// A stop: the worker leaves everything that it could not do in time to others. The entry stays.
    pub(super) fn give_up(&mut self, worker: usize) {
        let own = &mut self.workers[worker];
        let Some(open) = &mut own.open else { return };
        open.commit.abort();
        if open.commit.phase() == Phase::Aborted {
            return;
        }
        let mut left: BTreeSet<usize> = open.commit.to_delete().chain(open.commit.to_give_back()).collect();
        if open.commit.phase() != Phase::Deleting {
            left = (0..open.deliveries.len()).collect();
        }
        self.close(worker, &left);
    }

    pub(super) fn end(&mut self, worker: usize, remove_entry: bool) {
        let Some(open) = &self.workers[worker].open else { return };
        if remove_entry {
            self.ledger.remove(&(worker, open.number));
        }
        let left = open.commit.to_give_back().collect();
        self.close(worker, &left);
    }

    /// Ends the epoch. Its messages `left` are to be released.
    pub(super) fn close(&mut self, worker: usize, left: &BTreeSet<usize>) {
        let own = &mut self.workers[worker];
        let Some(open) = own.open.take() else { return };
        for (index, delivery) in open.deliveries.into_iter().enumerate() {
            if left.contains(&index) {
                own.returning.insert(delivery);
            } else {
                own.let_go(delivery);
            }
        }
    }

    pub(super) fn release(&mut self, world: &World, worker: usize, delivery: Delivery, honoured: bool) {
        let own = &mut self.workers[worker];
        own.returning.remove(&delivery);
        // If the message is not ours any more, another worker holds it. A release would take it away from that worker.
        let mut held = own.let_go(delivery);
        let may = held.as_mut().is_some_and(Held::is_ours) || world.is(Broken::LateRelease);
        if may && honoured {
            self.queue[delivery.0].holder = None;
        }
    }
}
