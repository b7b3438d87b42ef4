//! Takes a message over from an earlier delivery, and finds which of its elements must still be stored.
//!
//! Two deliveries may be decoded differently: by another configuration, by another version, or by a table of names that
//! was full. Then one file of an earlier epoch may hold elements that this decoding puts into another table or hour. So
//! nobody may assume that a file holds "these rows". Its entry says which elements of the message it holds, by their
//! positions in the body. The elements that no stored file holds are left to store.
//!
//! Positions can be compared only if both decodings split the body into the same elements. If they do not, and only
//! some elements are stored, nobody can tell which are missing. Then the whole body goes to quarantine.

use super::{Elements, Fate};

/// Where the elements of a message lie, by file. This is what an entry says about one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape<F> {
    /// How many elements the body was split into. `None` if some positions are not known.
    pub elements: Option<u32>,
    /// The files with rows of this message, each with the positions of those rows. If positions are not known, the sets
    /// are empty.
    pub parts: Vec<(F, Elements)>,
}

impl<F: PartialEq> Shape<F> {
    /// Whether the message has rows in `file`.
    pub fn holds(&self, file: &F) -> bool {
        self.parts.iter().any(|(of, _)| of == file)
    }
}

/// What is left to store of a message that was delivered before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Remaining {
    /// All of it: nothing is in the lake, and nothing from the earlier deliveries ever will be.
    Everything,
    /// All elements except these, which are in the lake.
    Except(Elements),
    /// Nothing: all of it is in the lake.
    Nothing,
    /// Some elements are in the lake, but nobody can tell which. The whole body belongs in quarantine.
    InDoubt,
}

/// What is left of a message that is split into `elements` now. `earlier` says what earlier epochs made of the message,
/// with the fate of each file.
///
/// An epoch takes all elements of a message that earlier epochs have not stored. So an epoch has completed the message
/// if all of its parts are stored, even if it has none.
#[must_use]
pub fn remaining(elements: Option<u32>, earlier: &[Shape<Fate>]) -> Remaining {
    let is_stored = |part: &&(Fate, Elements)| part.0 == Fate::Stored;
    if earlier.iter().any(|shape| shape.parts.iter().all(|part| is_stored(&part))) {
        return Remaining::Nothing;
    }
    let mut stored = Elements::default();
    for shape in earlier {
        for (_, held) in shape.parts.iter().filter(is_stored) {
            if shape.elements.is_none() || shape.elements != elements {
                return Remaining::InDoubt;
            }
            stored.add(held);
        }
    }
    if stored.is_empty() { Remaining::Everything } else { Remaining::Except(stored) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(elements: Option<u32>, parts: &[(Fate, &[u32])]) -> Shape<Fate> {
        let parts = parts.iter().map(|(fate, held)| (*fate, held.iter().copied().collect())).collect();
        Shape { elements, parts }
    }

    const STORED: Fate = Fate::Stored;
    const VOIDED: Fate = Fate::Voided;

    #[test]
    fn elements_of_stored_files_are_left_out_whatever_table_they_belong_to_now() {
        let first = shape(Some(3), &[(STORED, &[0, 2]), (VOIDED, &[1])]);
        assert_eq!(remaining(Some(3), &[first]), Remaining::Except([0, 2].into_iter().collect()));
    }

    #[test]
    fn several_epochs_add_up() {
        let first = shape(Some(4), &[(STORED, &[0]), (VOIDED, &[1, 2, 3])]);
        let second = shape(Some(4), &[(STORED, &[2]), (VOIDED, &[1, 3])]);
        assert_eq!(remaining(Some(4), &[first, second]), Remaining::Except([0, 2].into_iter().collect()));
    }

    #[test]
    fn epoch_that_stored_all_it_had_completes_the_message_however_it_was_split() {
        let whole_body = shape(None, &[(STORED, &[])]);
        assert_eq!(remaining(Some(3), &[whole_body]), Remaining::Nothing);
        let rest = [shape(Some(3), &[(STORED, &[0]), (VOIDED, &[1, 2])]), shape(Some(3), &[(STORED, &[1, 2])])];
        assert_eq!(remaining(Some(5), &rest), Remaining::Nothing);
        assert_eq!(remaining(Some(3), &[shape(Some(3), &[])]), Remaining::Nothing, "the epoch had nothing left");
    }

    #[test]
    fn what_never_will_be_leaves_everything() {
        let gone = shape(Some(2), &[(VOIDED, &[0]), (VOIDED, &[1])]);
        assert_eq!(remaining(Some(7), &[gone]), Remaining::Everything);
        assert_eq!(remaining(None, &[]), Remaining::Everything);
    }

    #[test]
    fn parts_of_a_body_that_was_split_differently_are_in_doubt() {
        let mixed = |elements| shape(elements, &[(STORED, &[0]), (VOIDED, &[1])]);
        for (now, then) in [(Some(3), Some(2)), (None, Some(2)), (Some(2), None), (None, None)] {
            assert_eq!(remaining(now, &[mixed(then)]), Remaining::InDoubt);
        }
    }
}
