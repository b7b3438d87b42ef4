//! Stores the files of an epoch: those of its messages, and those of its alerts, which it claims first.

use ticklake_core::alert::Alert;
use ticklake_core::commit::{AlertCommit, Commit, Fate};
use ticklake_core::encode::DataFile;
use ticklake_core::lake::{EpochId, Partition};
use ticklake_schemas::Table;
use tracing::{info, warn};

use super::{Committer, Messages};
use crate::config::Delivery;
use crate::message::HeldMessage;
use crate::ports::{NewObject, ObjectKind, PortError};
use crate::put::put_own;
use crate::retry::{GaveUp, bounded};

/// PUTs under way at once.
const PUTS: usize = 8;
/// Claims of one file's alerts under way at once.
const CLAIMS: usize = 32;

impl Committer {
    /// PUTs every file with rows of messages. Files stay undecided if the time of a stop is over before.
    pub(super) async fn put_all(&self, commit: &mut Commit, id: &EpochId, files: Vec<DataFile>, messages: &Messages) {
        let partitions: Vec<Partition> = files.iter().map(|file| file.partition).collect();
        let puts = files.into_iter().enumerate().map(|(file, data)| async move { (file, self.put(id, data).await) });
        for (file, outcome) in bounded(puts, PUTS).await {
            match outcome {
                Ok(Fate::Stored) => commit.stored(file),
                Ok(Fate::Voided) => {
                    warn!(epoch = %id, partition = %partitions[file], "another worker has taken over messages of this epoch");
                    let holds = |message: &HeldMessage| message.layout.holds(partitions[file]);
                    commit.voided(file, |index| messages[index].as_ref().is_some_and(holds));
                }
                Err(gave_up) => self.give_up(gave_up),
            }
        }
    }

    /// Stores the alerts of an epoch that no other epoch stores.
    pub(super) async fn put_alerts(
        &self,
        commit: &mut AlertCommit,
        id: &EpochId,
        files: Vec<DataFile>,
        raised: &[Alert],
    ) {
        for file in files {
            let of_file = |alert: &Alert| Partition::of(Table::Alerts, alert.ts_us) == file.partition;
            let own: Vec<usize> = (0..raised.len()).filter(|&alert| of_file(&raised[alert])).collect();
            if let Err(gave_up) = self.put_alerts_of(commit, id, file, raised, own).await {
                self.give_up(gave_up);
            }
        }
    }

    /// Stores one file, which holds the alerts `own`, as far as no other epoch stores them.
    async fn put_alerts_of(
        &self,
        commit: &mut AlertCommit,
        id: &EpochId,
        file: DataFile,
        raised: &[Alert],
        own: Vec<usize>,
    ) -> Result<(), GaveUp> {
        let count = own.len();
        let mut ours = self.claimed(commit, id, file.partition, raised, own).await?;
        if ours.is_empty() {
            return Ok(());
        }
        let file = if ours.len() == count { file } else { self.alerts_file(id, file.partition, raised, &mut ours)? };
        let partition = file.partition;
        match self.put(id, file).await? {
            Fate::Stored => {
                for alert in ours {
                    commit.stored(alert);
                }
            }
            Fate::Voided => {
                warn!(epoch = %id, %partition, "another worker gave up waiting for these alerts, the next epoch stores them");
                for alert in ours {
                    commit.voided(alert);
                }
            }
        }
        Ok(())
    }

    /// Claims the alerts `own`, and returns those that this epoch has to store.
    async fn claimed(
        &self,
        commit: &mut AlertCommit,
        id: &EpochId,
        partition: Partition,
        raised: &[Alert],
        own: Vec<usize>,
    ) -> Result<Vec<usize>, GaveUp> {
        let (key, owner) = (&partition.key(&self.prefix, id), &id.to_string());
        let is_exact = self.delivery == Delivery::ExactlyOnce;
        let claims = own.into_iter().map(|alert| async move {
            let is_ours = !is_exact || self.ledger.claim(&raised[alert].id, owner, key).await?;
            Ok((alert, is_ours))
        });
        let (mut ours, mut others) = (Vec::new(), 0);
        for claim in bounded(claims, CLAIMS).await {
            let (alert, is_ours) = claim?;
            commit.claimed(alert, is_ours);
            if is_ours {
                ours.push(alert);
            } else {
                others += 1;
            }
        }
        if others > 0 {
            info!(epoch = owner, alerts = others, "alerts that another epoch has stored are left out");
            self.stats.rows_found_stored.add(others);
        }
        Ok(ours)
    }

    /// Encodes a file with some of an epoch's alerts.
    fn alerts_file(
        &self,
        id: &EpochId,
        partition: Partition,
        raised: &[Alert],
        ours: &mut [usize],
    ) -> Result<DataFile, GaveUp> {
        ours.sort_by(|&one, &other| {
            (raised[one].ts_us, &raised[one].id).cmp(&(raised[other].ts_us, &raised[other].id))
        });
        let rows: Vec<&Alert> = ours.iter().map(|&alert| &raised[alert]).collect();
        self.encoder
            .alerts(id, partition, &rows)
            .map_err(|error| GaveUp::Stop(PortError::stop("encode alerts", error.to_string())))
    }

    /// PUTs a file, unless there is a void in its place.
    async fn put(&self, epoch: &EpochId, file: DataFile) -> Result<Fate, GaveUp> {
        let (key, owner) = (file.partition.key(&self.prefix, epoch), epoch.to_string());
        let bytes = file.bytes.len();
        let body = bytes::Bytes::from(file.bytes);
        let object = NewObject { key: &key, body, epoch: &owner, kind: ObjectKind::Data };
        if put_own(&*self.store, object, &self.stop).await? == Fate::Voided {
            return Ok(Fate::Voided);
        }
        self.stats.files_stored.add(1);
        if file.partition.table() == Table::Ticks {
            self.stats.tick_bytes_stored.add(bytes);
        }
        Ok(Fate::Stored)
    }
}
