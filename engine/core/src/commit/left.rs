//! The list of entries that a worker leaves when it ends.
//!
//! SQS may ignore a delete, and deliver the message again after its visibility timeout. An entry therefore outlives the
//! delete of its messages by a while. A worker that ends sooner leaves a list of such entries beside them. Other
//! workers remove the entries and the list when the time in the list's name has come. This file owns the form of name
//! and list.

/// The name of a list whose entries may go at `due_ms`, milliseconds since the Unix epoch. `id` makes it unique.
#[must_use]
pub fn left_name(due_ms: i64, id: &str) -> String {
    format!(".left-{:013}-{id}", due_ms.max(0))
}

/// When the entries of the list `name` may go, milliseconds since the Unix epoch. `None` if it is not a list's name.
#[must_use]
pub fn left_due_ms(name: &str) -> Option<i64> {
    name.strip_prefix(".left-")?.split('-').next()?.parse().ok()
}

/// The text of a list of the entries of `epochs`: one name per line.
#[must_use]
pub fn left_body(epochs: &[String]) -> String {
    epochs.iter().flat_map(|epoch| [epoch, "\n"]).collect()
}

/// The epochs that a list names. Lines that cannot be an epoch's name are left out.
pub fn read_left(body: &str) -> impl Iterator<Item = &str> {
    body.lines().filter(|line| !line.is_empty() && !line.starts_with('.') && !line.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_left_entries_is_read_as_it_was_written() {
        let epochs = ["w-1".to_owned(), "w-12".to_owned()];
        let body = left_body(&epochs);
        assert_eq!(read_left(&body).collect::<Vec<_>>(), epochs);
        assert_eq!(left_due_ms(&left_name(1_795_442_400_000, "0193a-7")), Some(1_795_442_400_000));
    }

    #[test]
    fn strangers_are_no_lists_and_name_no_entries() {
        assert_eq!(["w-1", ".proof-12", ".left-", ".left-x-1"].map(left_due_ms), [None; 4]);
        assert_eq!(read_left("\n../ticks/a.parquet\n.left-1-a\n\n").next(), None);
    }
}
