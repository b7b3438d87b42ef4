//! The way of an epoch's alerts into the table, once each.
//!
//! An alert does not depend on the message that raised it: that one may lapse, be stored by another worker, or be none.
//! An alert is *noted* in the store before it is published, so that it survives its worker. An epoch that has it
//! *claims* it when it is out, and stores its row if the claim is won. If the file of that epoch turns out to be a
//! void, the next epoch of the worker carries the alert on. The note is removed when every alert in it is in the table
//! and was published. Notes of a worker that died are adopted by others, who publish and store those alerts under the
//! same ids.
//!
//! This file owns what may happen when. Whose a row is to store is in [`super::claim`].

/// How far the alerts of one epoch have got.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AlertCommit {
    rows: Vec<Row>,
    is_noted: bool,
    is_published: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    /// It is in no table, as far as this epoch knows.
    Open,
    /// This epoch has claimed it, and is to put the file.
    Claimed,
    /// It is in the table, put by this epoch or by another one.
    Stored,
}

impl AlertCommit {
    /// An epoch of so many alerts, none of which is noted or published, unless there is none.
    #[must_use]
    pub fn new(alerts: usize) -> Self {
        Self { rows: vec![Row::Open; alerts], is_noted: alerts == 0, is_published: alerts == 0 }
    }

    /// All alerts are in notes.
    pub fn noted(&mut self) {
        self.is_noted = true;
    }

    /// All alerts are out: published, summed up in another one, or refused for good.
    pub fn published(&mut self) {
        self.is_published = true;
    }

    /// Whether the alerts may be claimed, and their file stored: only after they are out. A worker that died in between
    /// would leave a row of an alert that nobody was told of.
    #[must_use]
    pub fn may_claim(&self) -> bool {
        self.is_published
    }

    /// The claim of `alert` is decided: the row is `ours` to store, or stands in the file of another epoch.
    pub fn claimed(&mut self, alert: usize, ours: bool) {
        if self.may_claim() && self.rows[alert] == Row::Open {
            self.rows[alert] = if ours { Row::Claimed } else { Row::Stored };
        }
    }

    /// The file with the row of `alert` is in its place.
    pub fn stored(&mut self, alert: usize) {
        if self.rows[alert] == Row::Claimed {
            self.rows[alert] = Row::Stored;
        }
    }

    /// There is a void in the place of the file with the row of `alert`: another epoch of this worker, or another
    /// worker, is to store it.
    pub fn voided(&mut self, alert: usize) {
        if self.rows[alert] == Row::Claimed {
            self.rows[alert] = Row::Open;
        }
    }

    /// Whether the alerts have to be noted: some are not out or not in the table, and nothing else would survive this
    /// worker.
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
        assert_eq!(alerts.to_carry().count(), 1, "it was not out when it was claimed");
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
