//! Claims and stores the alerts of an epoch, as `engine/src/committer/files.rs` and `ledger.rs` do it.

use std::collections::BTreeMap;
use std::rc::Rc;

use ticklake_core::alert::Alert;
use ticklake_core::commit::{AlertCommit, Claim, ClaimStep, Claimant, Fate, Look};
use ticklake_core::lake::Partition;
use ticklake_schemas::Table;

use super::kernel::{Millis, Slot};
use super::network::{Services, To};
use super::plan::Broken;
use super::store::{Epoch, Place, Row};
use super::worker::{GaveUp, Worker};

/// How long a worker waits for an epoch that has claimed an alert, and how often it looks. Both are the engine's
/// values.
const CLAIMANT_WAIT: Millis = 5_000;
const CLAIMANT_LOOK: Millis = 250;

impl Worker {
    /// Stores the alerts of an epoch that no other epoch stores.
    pub(super) async fn put_alerts(self: &Rc<Self>, commit: &mut AlertCommit, epoch: Epoch, raised: &[Alert]) {
        let mut files: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
        for (at, alert) in raised.iter().enumerate() {
            files.entry(Partition::of(Table::Alerts, alert.ts_us)).or_default().push(at);
        }
        for (partition, own) in files {
            // Alerts without a decision are carried on to a later epoch.
            let _ = self.put_alerts_of(commit, (epoch, partition), raised, own).await;
        }
    }

    async fn put_alerts_of(
        self: &Rc<Self>,
        commit: &mut AlertCommit,
        place: Place,
        raised: &[Alert],
        own: Vec<usize>,
    ) -> Result<(), GaveUp> {
        let claim = |alert: usize| {
            let id: Rc<str> = Rc::from(&*raised[alert].id);
            (alert, self.clone().spawn(|worker| async move { worker.claim(&id, place).await }))
        };
        let claims: Vec<(usize, Slot<Result<bool, GaveUp>>)> = own.into_iter().map(claim).collect();
        let mut ours = Vec::new();
        for (alert, claim) in claims {
            let is_ours = claim.await?;
            commit.claimed(alert, is_ours);
            if is_ours {
                ours.push(alert);
            }
        }
        if ours.is_empty() {
            return Ok(());
        }
        let rows = ours.iter().map(|&alert| Row::Alert(Rc::from(&*raised[alert].id))).collect();
        match self.put_file(place, rows).await? {
            Fate::Stored => ours.into_iter().for_each(|alert| commit.stored(alert)),
            Fate::Voided => ours.into_iter().for_each(|alert| commit.voided(alert)),
        }
        Ok(())
    }

    /// Whether the row of the alert `id` belongs into our file at `place`.
    async fn claim(&self, id: &Rc<str>, place: Place) -> Result<bool, GaveUp> {
        if self.world.plan.is(Broken::NoClaims) {
            return Ok(true);
        }
        let (mut claim, mut other) = (Claim::default(), None);
        loop {
            match claim.step() {
                ClaimStep::Put(turn) => {
                    let put = || {
                        let id = id.clone();
                        move |services: &mut Services, _| services.store.put_claim(&id, turn, place)
                    };
                    claim.put(self.retry(To::Store, put).await?);
                }
                ClaimStep::Read(turn) => {
                    let read = || {
                        let id = id.clone();
                        move |services: &mut Services, _| services.store.claim(&id, turn)
                    };
                    other = self.retry(To::Store, read).await?;
                    claim.read(match other {
                        None => Claimant::Nobody,
                        Some(file) if file == place => Claimant::Us,
                        Some(_) => Claimant::Other,
                    });
                }
                ClaimStep::Decide(_) => {
                    let Some(file) = other else { return Err(GaveUp) };
                    claim.decided(self.fate_of_claimant(file).await?);
                }
                ClaimStep::Done(is_ours) => {
                    self.tell(|| format!("claim of {id}: {is_ours}"));
                    return Ok(is_ours);
                }
                ClaimStep::Contradicted(_) => return Err(GaveUp),
            }
        }
    }

    async fn fate_of_claimant(&self, place: Place) -> Result<Fate, GaveUp> {
        let until = self.now() + CLAIMANT_WAIT;
        let look = || move |services: &mut Services, _| services.store.look(place);
        while self.retry(To::Store, look).await? == Look::Nothing && self.now() < until {
            self.sleep(CLAIMANT_LOOK).await;
        }
        self.fate(place).await
    }
}
