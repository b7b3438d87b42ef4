//! The walk through a parsed message to its ticks, and the same walk through its text.
//!
//! Each tick, and each message without ticks, takes one position, no matter what the filter decides. Deliveries that
//! are decoded by other settings must number them alike. This file owns that numbering. It does *not* judge values.

use simd_json::Node;

use super::fields::{Fields, gather};
use super::filter::{Filter, LeftOutId};
use super::mapping::Mapping;
use super::nodes::{child, values};
use super::path::Hop;
use super::reject::{Reason, Refusal};
use super::split::{elements, fields};

/// What the walk meets.
pub(super) enum Met<'n, 't> {
    /// The fields of a tick.
    Tick(Fields<'n, 't>),
    /// An event that is not meant to be a tick, or a message without ticks.
    LeftOut(Option<LeftOutId>),
    /// There is no tick in a place that should have one.
    Refused(Refusal),
}

/// Walks through the message `nodes` in its order, and reports to `meet`.
pub(super) fn walk<'n, 't>(
    mapping: &Mapping,
    filter: &mut Filter,
    nodes: &'n [Node<'t>],
    meet: &mut dyn FnMut(Met<'n, 't>),
) {
    let before = Fields::default();
    let mut walk = Walk { mapping, filter, met: 0, meet };
    walk.descend(nodes, 0, before);
    if walk.met == 0 {
        (walk.meet)(Met::LeftOut(None));
    }
}

struct Walk<'w, 'n, 't> {
    mapping: &'w Mapping,
    filter: &'w mut Filter,
    met: usize,
    meet: &'w mut dyn FnMut(Met<'n, 't>),
}

impl<'n, 't> Walk<'_, 'n, 't> {
    fn descend(&mut self, nodes: &'n [Node<'t>], level: usize, mut fields: Fields<'n, 't>) {
        let Mapping { hops, layers } = self.mapping;
        let is_tick = level == hops.len();
        if let Err(refusal) = gather(nodes, &layers[level], is_tick, &mut fields) {
            return self.refuse(nodes, level, &refusal);
        }
        if let Err(id) = self.filter.admit(&layers[level], &fields.only) {
            let ticks = ticks_below(nodes, &hops[level..]).max(1);
            (0..ticks).for_each(|_| self.meet(Met::LeftOut(Some(id))));
            return;
        }
        match hops.get(level) {
            None => self.meet(Met::Tick(fields)),
            Some(Hop::Each) => match nodes.first() {
                Some(Node::Array { .. }) => {
                    values(nodes).for_each(|element| self.descend(element, level + 1, fields));
                }
                _ => self.refuse(nodes, level, &no_ticks("is not an array")),
            },
            Some(hop) => match child(nodes, hop) {
                Some(value) => self.descend(value, level + 1, fields),
                None => self.refuse(nodes, level, &no_ticks("is missing")),
            },
        }
    }

    /// Refuses all ticks below `nodes`, or the message itself if there are none.
    fn refuse(&mut self, nodes: &'n [Node<'t>], level: usize, refusal: &Refusal) {
        let ticks = ticks_below(nodes, &self.mapping.hops[level..]).max(1);
        for _ in 0..ticks {
            self.meet(Met::Refused(Refusal::new(refusal.reason, refusal.detail.clone())));
        }
    }

    fn meet(&mut self, met: Met<'n, 't>) {
        self.met += 1;
        (self.meet)(met);
    }
}

fn no_ticks(what: &str) -> Refusal {
    Refusal::new(Reason::NoTicks, format!("message has no ticks: a part of the path decode.ticks {what}"))
}

/// How many ticks are below `nodes` along `hops`, no matter what is in them.
fn ticks_below(nodes: &[Node<'_>], hops: &[Hop]) -> usize {
    let Some((hop, hops)) = hops.split_first() else { return 1 };
    match (hop, nodes.first()) {
        (Hop::Each, Some(Node::Array { .. })) => values(nodes).map(|value| ticks_below(value, hops)).sum(),
        (Hop::Each, _) => 0,
        (hop, _) => child(nodes, hop).map_or(0, |value| ticks_below(value, hops)),
    }
}

/// The text of a message with only one of its ticks, the one at `position`, and the fields around it. `None` if there
/// is no such tick.
pub(super) fn isolated(text: &[u8], hops: &[Hop], position: usize) -> Option<Vec<u8>> {
    let mut isolated = Vec::with_capacity(256);
    let mut position = position;
    isolate(text.trim_ascii(), hops, &mut position, &mut isolated).then_some(isolated)
}

/// Writes `text` with only the tick at `position`. If `text` does not have that tick, subtracts the number of its ticks
/// from `position`, and returns false.
fn isolate(text: &[u8], hops: &[Hop], position: &mut usize, to: &mut Vec<u8>) -> bool {
    let Some((hop, rest)) = hops.split_first() else {
        if *position == 0 {
            to.extend_from_slice(text);
            return true;
        }
        *position -= 1;
        return false;
    };
    let len = to.len();
    if *hop == Hop::Each {
        to.push(b'[');
        if elements(text).any(|element| isolate(element, rest, position, to)) {
            to.push(b']');
            return true;
        }
        to.truncate(len);
        return false;
    }
    let Some(value) = child_text(text, hop) else { return false };
    let start = value.as_ptr() as usize - text.as_ptr() as usize;
    to.extend_from_slice(&text[..start]);
    if isolate(value, rest, position, to) {
        to.extend_from_slice(&text[start + value.len()..]);
        return true;
    }
    to.truncate(len);
    false
}

fn child_text<'t>(text: &'t [u8], hop: &Hop) -> Option<&'t [u8]> {
    match hop {
        Hop::Each => None,
        Hop::At(position) => elements(text).nth(*position),
        Hop::Key(wanted) => {
            fields(text).find(|(key, _)| *key == wanted.as_bytes() || is_escaped(key, wanted)).map(|(_, value)| value)
        }
    }
}

/// Whether `key`, as written in JSON, is `wanted` with escapes.
fn is_escaped(key: &[u8], wanted: &str) -> bool {
    key.contains(&b'\\')
        && serde_json::from_slice::<String>(&[b"\"", key, b"\""].concat()).is_ok_and(|key| key == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::path::TicksPath;

    #[test]
    fn isolated_tick_keeps_what_is_around_it() {
        let text = br#"{"channel":"c","events":[{"type":"update","trades":[{"p":1},{"p":2}]},{"type":"x","trades":[{"p":3}]}],"n":1}"#;
        let path = TicksPath::try_from("events[].trades[]".to_owned()).unwrap();
        let alone = |position| isolated(text, path.hops(), position).map(|text| String::from_utf8(text).unwrap());
        let expected = r#"{"channel":"c","events":[{"type":"update","trades":[{"p":2}]}],"n":1}"#;
        assert_eq!(alone(1).as_deref(), Some(expected));
        assert_eq!(alone(2).as_deref(), Some(r#"{"channel":"c","events":[{"type":"x","trades":[{"p":3}]}],"n":1}"#));
        assert_eq!(alone(3), None);
    }

    #[test]
    fn isolated_row_keeps_the_array_around_it() {
        let path = TicksPath::try_from("[1][]".to_owned()).unwrap();
        let text = br#"[0,[["5541.2","0.1"],["5542.0","0.2"]],"trade","XBT/USD"]"#;
        let alone = isolated(text, path.hops(), 1).unwrap();
        assert_eq!(String::from_utf8(alone).unwrap(), r#"[0,[["5542.0","0.2"]],"trade","XBT/USD"]"#);
    }
}
