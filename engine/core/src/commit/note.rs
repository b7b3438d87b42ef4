//! The note of alerts. It is put into the store before its alerts are published, so that they survive their worker.
//!
//! A note's name begins with the time at which it was put, and names its worker. The note holds one alert per line, as
//! subscribers receive it. This file owns the form of name and body, and when another worker may adopt a note.

use std::time::Duration;

use crate::alert::Alert;

/// The name of the note number `number` of `worker`, put at `now_ms`, milliseconds since the Unix epoch.
#[must_use]
pub fn note_name(now_ms: i64, worker: &str, number: u64) -> String {
    format!("{:013}-{worker}-{number}", now_ms.max(0))
}

/// Who put a note, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteName<'a> {
    /// Milliseconds since the Unix epoch, by the clock of its worker.
    pub put_ms: i64,
    /// Its worker.
    pub worker: &'a str,
}

impl<'a> NoteName<'a> {
    /// Reads the name of a note. `None` if `name` is not the name of a note.
    #[must_use]
    pub fn read(name: &'a str) -> Option<Self> {
        let mut parts = name.split('-');
        let put_ms = parts.next()?.parse().ok()?;
        Some(Self { put_ms, worker: parts.next().filter(|worker| !worker.is_empty())? })
    }

    /// The turn in which `worker` may adopt the note at `now_ms`, if it may. A note of another worker that is older
    /// than `adopt_after` most likely belongs to a dead worker. Each turn lasts as long, and in each turn one worker
    /// adopts the note, by putting an object of the note and the turn. If the owner is still alive, nothing is stored
    /// twice, because claims decide.
    #[must_use]
    pub fn turn(self, now_ms: i64, worker: &str, adopt_after: Duration) -> Option<u32> {
        let length_ms = i64::try_from(adopt_after.as_millis()).unwrap_or(i64::MAX);
        let age_ms = now_ms.saturating_sub(self.put_ms);
        let is_due = self.worker != worker && age_ms >= length_ms;
        is_due.then(|| u32::try_from(age_ms / length_ms.max(1_000)).unwrap_or(u32::MAX))
    }
}

/// The text of a note of `alerts`.
#[must_use]
pub fn note_body<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> String {
    let mut body = String::new();
    for alert in alerts {
        body.push_str(&alert.to_json());
        body.push('\n');
    }
    body
}

/// The alerts of a note. `None` if this version cannot read one of them.
#[must_use]
pub fn read_note(body: &str) -> Option<Vec<Alert>> {
    body.lines().map(Alert::from_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::alert;

    #[test]
    fn note_is_read_as_it_was_written() {
        let alerts = [alert(), Alert { id: "other\nid".to_owned(), ..alert() }];
        assert_eq!(read_note(&note_body(&alerts)).unwrap(), alerts);
        assert_eq!(read_note("no alert"), None);
    }

    #[test]
    fn note_is_adopted_by_another_worker_after_a_while_and_in_turns() {
        let name = note_name(1_795_442_400_000, "0193a", 7);
        let note = NoteName::read(&name).unwrap();
        let turn = |worker, later_ms: i64| note.turn(1_795_442_400_000 + later_ms, worker, Duration::from_secs(2));
        assert_eq!([turn("0193b", 1_999), turn("0193b", 2_000), turn("0193b", 5_000)], [None, Some(1), Some(2)]);
        assert_eq!(turn("0193a", 60_000), None, "its own");
        assert_eq!(NoteName::read("a stranger's object"), None);
    }
}
