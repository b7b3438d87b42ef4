//! What a broken producer sends: bodies and elements that are no ticks, of every kind that a consumer has to tell
//! apart.
//!
//! It does *not* own how often they are sent.

use super::{Dialect, Layout, json};
use crate::{random::Random, tick::Tick};

/// What is wrong with an element of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It has no symbol.
    NoSymbol,
    /// It has no price.
    NoPrice,
    /// Its price is a text that is no number.
    PriceText,
    /// Its price is below zero.
    PriceNegative,
    /// It is JSON, but no object.
    NoObject,
    /// It ends in the middle. Only where it does not take the others of its message with it.
    Truncated,
}

impl Malformed {
    const ALL: [Self; 6] =
        [Self::NoSymbol, Self::NoPrice, Self::PriceText, Self::PriceNegative, Self::NoObject, Self::Truncated];

    /// One of those that spoil nothing but themselves in messages of that layout.
    pub(crate) fn draw(layout: Layout, random: &mut Random) -> Self {
        let choices = Self::ALL.len() - usize::from(layout == Layout::Array);
        Self::ALL[random.below(choices as u64) as usize]
    }
}

/// Appends `tick`, spoiled.
pub(super) fn write(out: &mut Vec<u8>, how: Malformed, tick: &Tick<'_>, dialect: Dialect) {
    let start = out.len();
    let (symbol, price) = match dialect {
        Dialect::Canonical => ("symbol", "price"),
        Dialect::Binance => ("s", "p"),
    };
    match how {
        Malformed::NoObject => out.extend_from_slice(b"42"),
        Malformed::NoSymbol => {
            out.push(b'{');
            write_member(out, price, "1.5");
            out.push(b'}');
        }
        Malformed::NoPrice | Malformed::PriceText | Malformed::PriceNegative => {
            out.extend_from_slice(b"{\"");
            out.extend_from_slice(symbol.as_bytes());
            out.extend_from_slice(b"\":");
            json::write_string(out, tick.symbol);
            if how != Malformed::NoPrice {
                out.push(b',');
                write_member(out, price, if how == Malformed::PriceText { "\"n/a\"" } else { "-1.5" });
            }
            out.push(b'}');
        }
        Malformed::Truncated => {
            json::write_tick(out, tick, dialect);
            // Of a tick's JSON only the brackets are single bytes at its ends; half of it may end within a character.
            let half = start + (out.len() - start) / 2;
            let end = (start + 1..=half).rev().find(|&at| (out[at] as i8) >= -0x40).unwrap_or(start + 1);
            out.truncate(end);
        }
    }
}

fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(format!("\"{name}\":{value}").as_bytes());
}
