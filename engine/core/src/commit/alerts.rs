//! How the alerts of an epoch get into the table, once each.
//!
//! An alert does not depend on the message that raised it. That message may lapse, or another worker may store it, or
//! there may be no message. An alert is *noted* in the store before it is published, so that it survives its worker.
//! When the alert is out, the epoch *claims* it, and stores its row if it wins the claim. If the file of that epoch
//! becomes a void, the worker's next epoch carries the alert on. The note is removed when every alert in it was
//! published and is in the table. If a worker dies, others adopt its notes, and publish and store those alerts under
//! the same ids.
//!
//! This file owns what may happen when. It does *not* own which epoch stores a row ([`super::claim`]).

/// How far the alerts of one epoch have got.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AlertCommit {
    rows: Vec<Row>,
    is_noted: bool,
    is_published: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    /// As far as this epoch knows, it is not in the table.
    Open,
    /// This epoch has claimed it, and must store the file.
    Claimed,
    /// It is in the table. This epoch or another one has stored it.
    Stored,
}

impl AlertCommit {
    /// The state of this many alerts. They are neither noted nor published yet.
    #[must_use]
    pub fn new(alerts: usize) -> Self {
        Self { rows: vec![Row::Open; alerts], is_noted: alerts == 0, is_published: alerts == 0 }
    }

    /// All alerts are in notes.
    pub fn noted(&mut self) {
        self.is_noted = true;
    }

    /// All alerts are out: published, summed up in another alert, or refused for good.
    pub fn published(&mut self) {
        self.is_published = true;
    }

    /// Whether the alerts may be claimed and their file may be stored. They must be out before. Otherwise a worker that
    /// dies in between would leave the row of an alert that nobody received.
    #[must_use]
    pub fn may_claim(&self) -> bool {
        self.is_published
    }

    /// The claim of `alert` is decided: the row is `ours` to store, or it is in the file of another epoch.
    pub fn claimed(&mut self, alert: usize, ours: bool) {
        if self.may_claim() && self.rows[alert] == Row::Open {
            self.rows[alert] = if ours { Row::Claimed } else { Row::Stored };
        }
    }

    /// The file with the row of `alert` is stored.
    pub fn stored(&mut self, alert: usize) {
        if self.rows[alert] == Row::Claimed {
            self.rows[alert] = Row::Stored;
        }
    }

    /// There is a void in the place of the file with the row of `alert`. Another epoch of this worker, or another
    /// worker, must store the row.
    pub fn voided(&mut self, alert: usize) {
        if self.rows[alert] == Row::Claimed {
            self.rows[alert] = Row::Open;
        }
    }

    /// Whether the alerts must be noted: some are not out or not in the table, and without a note they would not
    /// survive this worker.
    #[must_use]
    pub fn is_to_note(&self) -> bool {
        !self.is_noted && !self.may_remove_notes()
    }

    /// Whether the messages of the epoch may be deleted: every alert is out, and would survive this worker.
    #[must_use]
    pub fn may_delete_messages(&self) -> bool {
        self.is_published && !self.is_to_note()
    }

    /// Whether the notes may be removed: every alert is out, and in the table.
    #[must_use]
    pub fn may_remove_notes(&self) -> bool {
        self.is_published && self.to_carry().next().is_none()
    }

    /// The alerts that the next epoch of this worker has to store.
    pub fn to_carry(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().enumerate().filter(|(_, row)| **row != Row::Stored).map(|(alert, _)| alert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alert_of_a_voided_file_is_carried_on_and_keeps_its_note() {
        let mut alerts = AlertCommit::new(2);
        alerts.published();
        alerts.claimed(0, true);
        alerts.claimed(1, false);
        alerts.voided(0);
        assert_eq!(alerts.to_carry().collect::<Vec<_>>(), [0]);
        assert!(alerts.is_to_note() && !alerts.may_delete_messages() && !alerts.may_remove_notes());
        alerts.noted();
        assert!(alerts.may_delete_messages() && !alerts.may_remove_notes());
    }

    #[test]
    fn alert_is_stored_after_it_is_out_and_then_needs_no_note() {
        let mut alerts = AlertCommit::new(1);
        alerts.claimed(0, true);
        alerts.stored(0);
        assert!(!alerts.may_claim() && alerts.is_to_note() && !alerts.may_delete_messages());
        alerts.published();
        assert_eq!(alerts.to_carry().count(), 1, "the claim came before the alert was out");
        alerts.claimed(0, true);
        assert!(alerts.is_to_note(), "the file is not there yet");
        alerts.stored(0);
        assert!(!alerts.is_to_note() && alerts.may_delete_messages() && alerts.may_remove_notes());
    }

    #[test]
    fn epoch_without_alerts_waits_for_nothing() {
        let none = AlertCommit::new(0);
        assert!(none.may_delete_messages() && none.may_remove_notes());
    }
}
