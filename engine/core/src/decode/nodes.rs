//! Steps over simd-json's nodes: from one value to the next, into an array, and into an object.
//!
//! This file does *not* know what the values mean.

use simd_json::Node;

use super::path::Hop;

/// Splits `nodes` after the first value. `None` if there is no more value.
pub(super) fn split_value<'n, 't>(nodes: &'n [Node<'t>]) -> Option<(&'n [Node<'t>], &'n [Node<'t>])> {
    match nodes.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => nodes.split_at_checked(count + 1),
        Node::String(_) | Node::Static(_) => nodes.split_at_checked(1),
    }
}

/// The elements of an array.
pub(super) fn values<'n, 't>(nodes: &'n [Node<'t>]) -> impl Iterator<Item = &'n [Node<'t>]> {
    let mut rest = nodes.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (value, tail) = split_value(rest)?;
        rest = tail;
        Some(value)
    })
}

/// The keys of an object.
pub(super) fn keys<'n, 't>(nodes: &'n [Node<'t>]) -> impl Iterator<Item = &'t str> + use<'n, 't> {
    let mut rest = match nodes.first() {
        Some(Node::Object { .. }) => &nodes[1..],
        _ => &[],
    };
    std::iter::from_fn(move || {
        let (Node::String(key), tail) = rest.split_first()? else { return None };
        rest = split_value(tail)?.1;
        Some(*key)
    })
}

/// The value to which `hop` leads from `nodes`.
pub(super) fn child<'n, 't>(nodes: &'n [Node<'t>], hop: &Hop) -> Option<&'n [Node<'t>]> {
    match (hop, nodes.first()?) {
        (Hop::At(position), Node::Array { .. }) => values(nodes).nth(*position),
        (Hop::Key(wanted), Node::Object { .. }) => {
            let mut rest = &nodes[1..];
            while let Some((Node::String(key), tail)) = rest.split_first() {
                let (value, tail) = split_value(tail)?;
                if key == wanted {
                    return Some(value);
                }
                rest = tail;
            }
            None
        }
        _ => None,
    }
}
