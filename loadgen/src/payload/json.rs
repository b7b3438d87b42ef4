//! The JSON of one tick, written straight into a byte buffer.

use std::io::Write;

use super::Dialect;
use crate::tick::{Number, Tick};

/// Appends `tick` as a JSON object.
pub(super) fn write_tick(out: &mut Vec<u8>, tick: &Tick<'_>, dialect: Dialect) {
    match dialect {
        Dialect::Canonical => write_canonical(out, tick),
        Dialect::Binance => write_binance(out, tick),
    }
}

fn write_canonical(out: &mut Vec<u8>, tick: &Tick<'_>) {
    out.extend_from_slice(b"{\"symbol\":");
    write_string(out, tick.symbol);
    out.extend_from_slice(b",\"price\":");
    write_number(out, tick.price);
    out.extend_from_slice(b",\"volume\":");
    write_number(out, tick.volume);
    out.extend_from_slice(b",\"ts\":");
    write_integer(out, tick.ts_us);
    out.extend_from_slice(b",\"seq\":");
    write_integer(out, tick.seq);
    if let Some(venue) = tick.venue {
        out.extend_from_slice(b",\"venue\":");
        write_string(out, venue);
    }
    if let Some(conditions) = tick.conditions {
        out.extend_from_slice(b",\"conditions\":");
        write_string(out, conditions);
    }
    out.push(b'}');
}

fn write_binance(out: &mut Vec<u8>, tick: &Tick<'_>) {
    out.extend_from_slice(b"{\"e\":\"trade\",\"s\":");
    write_string(out, tick.symbol);
    out.extend_from_slice(b",\"p\":\"");
    write_number(out, tick.price);
    out.extend_from_slice(b"\",\"q\":\"");
    write_number(out, tick.volume);
    out.extend_from_slice(b"\",\"T\":");
    write_integer(out, tick.ts_us.div_euclid(1_000));
    out.extend_from_slice(b",\"t\":");
    write_integer(out, tick.seq);
    out.push(b'}');
}

fn write_number(out: &mut Vec<u8>, number: Number<'_>) {
    match number {
        Number::Cents(cents) => {
            if cents < 0 {
                out.push(b'-');
            }
            let cents = cents.unsigned_abs();
            write_digits(out, cents / 100);
            let rest = (cents % 100) as u8;
            out.extend_from_slice(&[b'.', b'0' + rest / 10, b'0' + rest % 10]);
        }
        Number::Whole(whole) => write_integer(out, whole),
        Number::Float(value) => {
            let written = write!(out, "{value:?}");
            debug_assert!(written.is_ok(), "a Vec takes all bytes");
        }
        Number::Text { text, .. } => out.extend_from_slice(text.as_bytes()),
    }
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_digits(out, value.unsigned_abs());
}

fn write_digits(out: &mut Vec<u8>, mut value: u64) {
    // 2^64 has 20 digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
