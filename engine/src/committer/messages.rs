//! Deletes the messages of an epoch, and gives messages back. [`ticklake_core::commit`] decides which may be deleted.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use ticklake_core::commit::Commit;
use tracing::warn;

use super::{Committer, Messages};
use crate::clock::Moment;
use crate::message::HeldMessage;
use crate::ports::{EntryFailure, PortError, Queue, Receipt};
use crate::retry::{Settled, settle};

/// Delete or release batches under way at once.
const BATCHES: usize = 32;

/// Why a message can be neither deleted nor released.
const QUEUE_GONE: &str = "QueueGone";

impl Committer {
    /// Deletes the messages that may be deleted, and takes them out of `messages`.
    pub(super) async fn delete(&self, commit: &mut Commit, messages: &mut Messages) {
        let deletable: Vec<usize> = commit.to_delete().collect();
        let items: Vec<Numbered> =
            deletable.iter().filter_map(|&index| Some(Numbered { index, message: messages[index].take()? })).collect();
        let answered = Mutex::new(Vec::with_capacity(items.len()));
        let deletes = by_queue(&self.queues, items).map(|(queue, items)| {
            let answered = &answered;
            let delete = move |batch: &[Numbered]| {
                let receipts: Vec<Receipt> = batch.iter().map(|item| item.message.lease.receipt().clone()).collect();
                let leases: Vec<_> = batch
                    .iter()
                    .map(|Numbered { index, message: HeldMessage { lease, .. } }| (*index, lease.term()))
                    .collect();
                async move {
                    let failures = match queue.delete(&receipts).await {
                        // Their rows are stored. The entry stays, in case the queue comes back with its messages.
                        Err(PortError::NotFound(_)) => return Ok(unanswered(receipts.len(), QUEUE_GONE)),
                        answer => answer?,
                    };
                    let now = Moment::now();
                    let is_done = |at: &usize| !failures.iter().any(|failure| failure.index == *at);
                    let done = (0..leases.len()).filter(is_done).map(|at| {
                        let (index, term) = &leases[at];
                        // From now on, a copy of the message is looked up in the ledger.
                        let was_copied = term.let_go();
                        (*index, term.deadline(now).is_some() && !was_copied)
                    });
                    answered.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
                    Ok(failures)
                }
                .boxed()
            };
            settle(items, BATCHES, || self.stop.release_by().boxed(), delete)
        });
        for settled in join_all(deletes).await {
            self.stats.messages_deleted.add(settled.done);
            self.count_lapsed(settled, "delete");
        }
        for (index, in_time) in answered.into_inner().unwrap_or_else(PoisonError::into_inner) {
            commit.deleted(index, in_time);
        }
        for index in deletable {
            commit.not_deleted(index);
        }
    }

    /// Gives back the messages that are still ours. To release another one could take it from its new worker.
    pub(super) async fn release(&self, messages: Vec<HeldMessage>) {
        let ends = Moment::now().after(self.release_margin);
        let (ours, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| message.lease.is_ours(ends));
        self.stats.messages_lapsed.add(others.len());
        if ours.is_empty() {
            return;
        }
        // Their leases end now: an extension after the release would hide a message again. A message is held until its
        // release is answered: if this worker took a copy before, the release would show it to others.
        for message in &ours {
            message.lease.end();
        }
        if self.stop.has_begun() {
            self.stop.polls_closed().await;
        }
        let ours = ours.into_iter().enumerate().map(|(index, message)| Numbered { index, message }).collect();
        let releases = by_queue(&self.queues, ours).map(|(queue, items)| {
            let release = move |batch: &[Numbered]| {
                let receipts: Vec<Receipt> = batch.iter().map(|item| item.message.lease.receipt().clone()).collect();
                let terms: Vec<_> = batch.iter().map(|item| item.message.lease.term()).collect();
                async move {
                    // If no answer comes, the release may still arrive for as long as the request may take.
                    let given_up = Moment::now().after(self.release_margin);
                    for term in &terms {
                        term.released(given_up);
                    }
                    let answer = queue.release(&receipts).await;
                    if answer.is_ok() {
                        let answered = Moment::now();
                        for term in &terms {
                            term.released(answered);
                        }
                    }
                    match answer {
                        // The release may have arrived. A second one could take the messages from another worker.
                        Err(PortError::Retry(_) | PortError::OverLimit(_)) => {
                            Ok(unanswered(receipts.len(), "NoAnswer"))
                        }
                        Err(PortError::NotFound(_)) => Ok(unanswered(receipts.len(), QUEUE_GONE)),
                        answer => answer,
                    }
                }
                .boxed()
            };
            settle(items, BATCHES, || self.stop.release_by().boxed(), release)
        });
        for settled in join_all(releases).await {
            self.stats.messages_released.add(settled.done);
            self.count_lapsed(settled, "release");
        }
    }

    /// Counts the messages that could be neither deleted nor released. They come back when their visibility times out.
    fn count_lapsed(&self, settled: Settled<Numbered>, action: &'static str) {
        let (refused, undecided) = (settled.refused.len(), settled.undecided.len());
        if refused + undecided > 0 {
            let code = settled.refused.first().map(|(_, code)| code.as_str());
            if code == Some(QUEUE_GONE) {
                warn!(action, refused, undecided, "the queue is gone, and its messages with it");
            } else {
                warn!(action, refused, undecided, code, "messages will be delivered again");
            }
        }
        self.stats.messages_lapsed.add(refused + undecided);
        if let Some(error) = settled.error {
            self.stop.fail(error);
        }
    }
}

/// A message, and its position in its epoch.
struct Numbered {
    index: usize,
    message: HeldMessage,
}

/// The messages of each queue, in their order.
fn by_queue(queues: &[Arc<dyn Queue>], items: Vec<Numbered>) -> impl Iterator<Item = (&Arc<dyn Queue>, Vec<Numbered>)> {
    let mut of_queue: Vec<Vec<Numbered>> = queues.iter().map(|_| Vec::new()).collect();
    for item in items {
        of_queue[item.message.queue].push(item);
    }
    queues.iter().zip(of_queue)
}

/// Failures of so many entries, none of which is tried again.
fn unanswered(entries: usize, code: &str) -> Vec<EntryFailure> {
    (0..entries).map(|index| EntryFailure { index, retryable: false, code: code.to_owned() }).collect()
}
