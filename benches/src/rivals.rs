//! The same bytes through the parsers that people would use instead.
//!
//! Each returns the number of ticks (for the tape: of nodes) that it has seen, so that the compiler cannot leave out
//! any of its work.

use serde::Deserialize;

/// The type that the ticks of a feed are read into.
pub trait Feed {
    /// One tick.
    type Row<'a>: Deserialize<'a>;
}

/// Canonical ticks.
#[derive(Debug, Clone, Copy)]
pub struct Canonical;

/// Trades like those of Binance.
#[derive(Debug, Clone, Copy)]
pub struct Binance;

impl Feed for Canonical {
    type Row<'a> = Row<'a>;
}

impl Feed for Binance {
    type Row<'a> = BinanceRow<'a>;
}

/// A canonical tick, as a typed parser reads it. Fields are borrowed where possible.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what counts is that the fields are filled")]
pub struct Row<'a> {
    #[serde(borrow)]
    symbol: &'a str,
    price: f64,
    volume: f64,
    ts: i64,
    seq: Option<i64>,
    #[serde(borrow)]
    venue: Option<&'a str>,
    #[serde(borrow)]
    conditions: Option<&'a str>,
}

/// A Binance trade, as a typed parser reads it.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "what counts is that the fields are filled")]
pub struct BinanceRow<'a> {
    #[serde(borrow)]
    s: &'a str,
    p: &'a str,
    q: &'a str,
    #[serde(rename = "T")]
    ts_ms: i64,
    t: i64,
}

/// A parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// simd-json's tape with reused buffers. It writes into a copy of the bytes.
    SimdJsonTape,
    /// simd-json into structs, by serde.
    SimdJsonSerde,
    /// `serde_json` into structs.
    SerdeJson,
    /// sonic-rs into structs.
    SonicRs,
}

impl Rival {
    /// All parsers.
    pub const ALL: [Rival; 4] = [Rival::SimdJsonTape, Rival::SimdJsonSerde, Rival::SerdeJson, Rival::SonicRs];

    /// Its name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rival::SimdJsonTape => "simd-json tape",
            Rival::SimdJsonSerde => "simd-json serde",
            Rival::SerdeJson => "serde_json typed",
            Rival::SonicRs => "sonic-rs typed",
        }
    }
}

/// How the ticks of a body are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One tick.
    Object,
    /// A JSON array.
    Array,
    /// One tick per line.
    Lines,
}

/// A rival, with the buffers that it reuses.
#[derive(Default)]
pub struct Parser {
    copy: Vec<u8>,
    buffers: simd_json::Buffers,
}

impl Parser {
    /// Parses all `bodies`, which are bodies of the feed `F`.
    pub fn parse<F: Feed>(&mut self, rival: Rival, form: Form, bodies: &[String]) -> anyhow::Result<usize> {
        let mut count = 0;
        for body in bodies {
            count += match form {
                Form::Object => self.document::<F>(rival, false, body)?,
                Form::Array => self.document::<F>(rival, true, body)?,
                Form::Lines => {
                    body.lines().map(|line| self.document::<F>(rival, false, line)).sum::<anyhow::Result<_>>()?
                }
            };
        }
        Ok(count)
    }

    fn document<F: Feed>(&mut self, rival: Rival, is_array: bool, text: &str) -> anyhow::Result<usize> {
        self.copy.clear();
        if matches!(rival, Rival::SimdJsonTape | Rival::SimdJsonSerde) {
            self.copy.extend_from_slice(text.as_bytes());
        }
        let (copy, buffers) = (&mut self.copy, &mut self.buffers);
        Ok(match (rival, is_array) {
            (Rival::SimdJsonTape, _) => simd_json::to_tape_with_buffers(copy, buffers)?.0.len(),
            (Rival::SimdJsonSerde, true) => {
                simd_json::serde::from_slice_with_buffers::<Vec<F::Row<'_>>>(copy, buffers)?.len()
            }
            (Rival::SimdJsonSerde, false) => {
                one(&simd_json::serde::from_slice_with_buffers::<F::Row<'_>>(copy, buffers)?)
            }
            (Rival::SerdeJson, true) => serde_json::from_str::<Vec<F::Row<'_>>>(text)?.len(),
            (Rival::SerdeJson, false) => one(&serde_json::from_str::<F::Row<'_>>(text)?),
            (Rival::SonicRs, true) => sonic_rs::from_str::<Vec<F::Row<'_>>>(text)?.len(),
            (Rival::SonicRs, false) => one(&sonic_rs::from_str::<F::Row<'_>>(text)?),
        })
    }
}

/// Counts one tick. The compiler must not leave out its fields.
fn one<R>(row: &R) -> usize {
    std::hint::black_box(row);
    1
}
