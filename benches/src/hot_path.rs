//! `check hot-path`: what a tick costs in CPU, from the body to Parquet, beside the parsers that others would begin
//! with.
//!
//! Every figure is a ratio of two times. Both are measured in turns in one run, and each is the best of several. Other
//! work on the machine slows both.

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use ticklake_core::decode::DecodeConfig;
use ticklake_core::detect::{DetectConfig, Detectors};

use crate::bodies;
use crate::figure::Figure;
use crate::lake;
use crate::rivals::{Canonical, Form, Parser, Rival};
use crate::stage::{Decoding, Detecting, Pipeline};

/// Ticks of one measurement.
const TICKS: u64 = 200_000;

/// How often each contender runs. Its best run counts.
const ROUNDS: usize = 9;

/// Ticks of the pipeline's epoch.
const EPOCH_TICKS: usize = 1_000_000;

/// Measures every figure. Those of recorded trades need a file of trades.
pub fn figures(trades: Option<&Path>, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    packed(report)?;
    single(report)?;
    shuffled(report)?;
    whole(report)?;
    detecting(report)?;
    lake::bytes_per_tick(lake::SPANS[0], report)?;
    if let Some(trades) = trades {
        lake::bytes_per_trade(trades, report)?;
    }
    Ok(())
}

/// A contender's work, which returns what it has counted.
type Contender<'a> = Box<dyn FnMut() -> anyhow::Result<usize> + 'a>;

/// The best time of each contender, in nanoseconds per tick. The contenders take turns.
fn race<const N: usize>(ticks: u64, mut contenders: [Contender<'_>; N]) -> anyhow::Result<[f64; N]> {
    let mut best = [Duration::MAX; N];
    for _ in 0..ROUNDS {
        for (contender, best) in contenders.iter_mut().zip(&mut best) {
            let before = Instant::now();
            black_box(contender()?);
            *best = before.elapsed().min(*best);
        }
    }
    Ok(best.map(|best| best.as_secs_f64() * 1e9 / ticks as f64))
}

fn packed(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let bodies = bodies(TICKS, 500)?;
    let (mut ours, mut tape, mut typed) =
        (Decoding::new(&DecodeConfig::default()), Parser::default(), Parser::default());
    let [ours, tape, typed] = race(
        TICKS,
        [
            Box::new(|| Ok(ours.decode(&bodies))),
            Box::new(|| tape.parse::<Canonical>(Rival::SimdJsonTape, Form::Array, &bodies)),
            Box::new(|| typed.parse::<Canonical>(Rival::SerdeJson, Form::Array, &bodies)),
        ],
    )?;
    report(Figure {
        name: format!("decode of 500 per message ({ours:.1} ns), as a share of simd-json's tape ({tape:.1} ns)").into(),
        measured: ours / tape,
        at_most: 1.0 / 2.5,
    })?;
    report(Figure {
        name: format!("the same, as a share of serde_json into structs ({typed:.1} ns)").into(),
        measured: ours / typed,
        at_most: 1.0 / 1.8,
    })?;
    Ok(())
}

fn single(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let bodies = bodies(TICKS, 1)?;
    let (mut ours, mut serde) = (Decoding::new(&DecodeConfig::default()), Parser::default());
    let [ours, serde] = race(
        TICKS,
        [
            Box::new(|| Ok(ours.decode(&bodies))),
            Box::new(|| serde.parse::<Canonical>(Rival::SimdJsonSerde, Form::Object, &bodies)),
        ],
    )?;
    report(Figure {
        name: format!(
            "decode of one tick per body ({ours:.1} ns), as a share of simd-json into structs ({serde:.1} ns)"
        )
        .into(),
        measured: ours / serde,
        at_most: 1.0 / 2.5,
    })?;
    Ok(())
}

/// Puts the keys of every tick in another order, so that the decoder's guess is never right.
fn shuffled(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let ticks = with_shuffled_keys(&bodies(TICKS, 500)?)?;
    let arrays = ticks.iter().map(|ticks| format!("[{}]", ticks.join(","))).collect();
    let lines = ticks.iter().map(|ticks| ticks.join("\n")).collect();
    for (name, bodies) in [("array", arrays), ("lines", lines)] {
        let bodies: Vec<String> = bodies;
        let config = DecodeConfig::default();
        let (mut guessing, mut parsing) = (Decoding::new(&config), Decoding::without_speculation(&config));
        let [guessing, parsing] =
            race(TICKS, [Box::new(|| Ok(guessing.decode(&bodies))), Box::new(|| Ok(parsing.decode(&bodies)))])?;
        report(Figure {
            name: format!(
                "decode of keys in random order, {name} ({guessing:.1} ns), beside simd-json alone ({parsing:.1} ns)"
            )
            .into(),
            measured: guessing / parsing,
            at_most: 1.15,
        })?;
    }
    Ok(())
}

/// The ticks of each body, each with its keys in a random order.
fn with_shuffled_keys(bodies: &[String]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut shuffled = Vec::with_capacity(bodies.len());
    for body in bodies {
        let ticks: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(body)?;
        let tick = |tick: serde_json::Map<String, serde_json::Value>| {
            let mut fields: Vec<String> = tick.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            random.shuffle(&mut fields);
            format!("{{{}}}", fields.join(","))
        };
        shuffled.push(ticks.into_iter().map(tick).collect());
    }
    Ok(shuffled)
}

/// Bodies to Parquet on one thread, beside simd-json's tape of the same bodies alone.
fn whole(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let bodies = bodies(EPOCH_TICKS as u64, 500)?;
    let (mut pipeline, mut tape) = (Pipeline::new()?, Parser::default());
    let [ours, tape] = race(
        EPOCH_TICKS as u64,
        [
            Box::new(|| pipeline.run(&bodies)),
            Box::new(|| tape.parse::<Canonical>(Rival::SimdJsonTape, Form::Array, &bodies)),
        ],
    )?;
    report(Figure {
        name: format!("bodies to Parquet on one thread ({ours:.1} ns), beside simd-json's tape alone ({tape:.1} ns)")
            .into(),
        measured: ours / tape,
        at_most: 1.8,
    })?;
    Ok(())
}

/// What the detectors keep per symbol, and what more symbols cost if all of them are equally frequent.
fn detecting(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    report(Figure {
        name: "state of a symbol that each of its ticks touches, bytes".into(),
        measured: Detectors::new(&DetectConfig::default()).hot_bytes_per_symbol() as f64,
        at_most: 1_024.0,
    })?;
    let of = |symbols| Detecting::new(symbols, TICKS as usize);
    let (mut index, mut exchange, mut options) = (of(1_024)?, of(10_000)?, of(100_000)?);
    let [index, exchange, options] = race(
        TICKS,
        [Box::new(|| Ok(index.observe())), Box::new(|| Ok(exchange.observe())), Box::new(|| Ok(options.observe()))],
    )?;
    for (symbols, ns, at_most) in [(10_000, exchange, 3.0), (100_000, options, 10.0)] {
        report(Figure {
            name: format!("detection with {symbols} symbols ({ns:.1} ns), beside 1,024 ({index:.1} ns)").into(),
            measured: ns / index,
            at_most,
        })?;
    }
    Ok(())
}
