//! The note of alerts: what is put into the store before alerts are published, so that they survive their worker.
//!
//! A note's name begins with the time at which it was put, and names its worker. It holds one alert per line, as
//! subscribers get it. It owns the form of name and body, and when another worker may adopt a note.

use std::time::Duration;

use crate::alert::Alert;

/// The name of the note number `number` of `worker`, put at `now_ms`, milliseconds since the Unix epoch.
#[must_use]
pub fn note_name(now_ms: i64, worker: &str, number: u64) -> String {
    format!("{:013}-{worker}-{number}", now_ms.max(0))
}

/// Whether the note `name` is to be adopted at `now_ms`, milliseconds since the Unix epoch, by `worker`: it is another
/// worker's, and older than `adopt_after`, so that its worker most likely is dead. If that one lives, nothing is stored
/// twice: claims decide.
#[must_use]
pub fn is_to_adopt(name: &str, now_ms: i64, worker: &str, adopt_after: Duration) -> bool {
    let mut parts = name.split('-');
    let (Some(put_ms), Some(owner)) = (parts.next().and_then(|part| part.parse::<i64>().ok()), parts.next()) else {
        return false;
    };
    owner != worker && now_ms.saturating_sub(put_ms) >= i64::try_from(adopt_after.as_millis()).unwrap_or(i64::MAX)
}

/// What a note of `alerts` holds.
#[must_use]
pub fn note_body<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> String {
    let mut body = String::new();
    for alert in alerts {
        body.push_str(&alert.to_json());
        body.push('\n');
    }
    body
}

/// The alerts of a note; `None` if this version cannot read one of them.
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
    fn note_is_adopted_by_another_worker_after_a_while() {
        let name = note_name(1_795_442_400_000, "0193a", 7);
        let adopts =
            |worker, later_ms: i64| is_to_adopt(&name, 1_795_442_400_000 + later_ms, worker, Duration::from_secs(2));
        assert!(adopts("0193b", 2_000) && !adopts("0193b", 1_999) && !adopts("0193a", 60_000));
        assert!(!is_to_adopt("a stranger's object", i64::MAX, "0193b", Duration::ZERO));
    }
}
