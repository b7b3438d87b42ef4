//! `check hot-path`: what a tick costs in CPU, from the body to Parquet, beside the parsers that others would begin with.
//!
//! Every figure is a ratio of two times that are taken in turns in one run, each the best of some: what else the machine does
//! slows both.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loadgen::market::DEFAULT_START_US;
use ticklake_core::decode::{DecodeConfig, Decoder, Message};
use ticklake_core::detect::{DetectConfig, Detectors};
use ticklake_core::encode::{EncodeConfig, Encoder};
use ticklake_core::epoch::{Decoded, EpochBuilder, EpochLimits, RollReason};
use ticklake_core::lake::EpochId;
use ticklake_core::tick::Dictionaries;

use crate::bodies;
use crate::figure::Figure;
use crate::rivals::{Canonical, Form, Parser, Rival};

/// Ticks of one measurement.
const TICKS: u64 = 200_000;

/// How often each contender runs; its best run counts.
const ROUNDS: usize = 9;

/// Ticks of an epoch of the pipeline.
const EPOCH_TICKS: usize = 1_000_000;

/// Messages that are decoded before their ticks are shown to the detectors.
const MESSAGES_PER_BATCH: usize = 10;

/// Measures every figure.
pub fn figures(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    packed(report)?;
    single(report)?;
    shuffled(report)?;
    whole(report)?;
    Ok(())
}

/// A contender: a name for nothing but errors, and its work.
type Contender<'a> = Box<dyn FnMut() -> anyhow::Result<usize> + 'a>;

/// The best time of each contender, in nanoseconds per tick; they take turns.
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

/// A decoder that has been told nothing yet, and what it decodes into; both are used again and again.
struct Warm {
    decoder: Decoder,
    decoded: Decoded<()>,
}

impl Warm {
    fn new(speculation: bool) -> Self {
        let config = DecodeConfig::default();
        let names = Dictionaries::new(config.names_max);
        let new = if speculation { Decoder::new } else { Decoder::without_speculation };
        Self { decoder: new(&config, &names), decoded: Decoded::default() }
    }

    fn decode(&mut self, bodies: &[String]) -> usize {
        self.decoded.ticks.clear();
        for body in bodies {
            self.decoder.decode(&message(body), &mut self.decoded.ticks, &mut self.decoded.rejects);
        }
        self.decoded.ticks.len()
    }
}

fn message(body: &str) -> Message<'_> {
    let received_at_us = DEFAULT_START_US;
    Message { id: "message", body: body.as_bytes(), content_encoding: None, sent_at_us: None, received_at_us }
}

fn packed(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let bodies = bodies(TICKS, 500)?;
    let (mut warm, mut tape, mut typed) = (Warm::new(true), Parser::default(), Parser::default());
    let [ours, tape, typed] = race(
        TICKS,
        [
            Box::new(|| Ok(warm.decode(&bodies))),
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
    let (mut warm, mut serde) = (Warm::new(true), Parser::default());
    let [ours, serde] = race(
        TICKS,
        [
            Box::new(|| Ok(warm.decode(&bodies))),
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

/// Keys in another order in every tick, so that no guess is ever right.
fn shuffled(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let bodies = with_shuffled_keys(&bodies(TICKS, 500)?)?;
    let (mut guessing, mut parsing) = (Warm::new(true), Warm::new(false));
    let [guessing, parsing] =
        race(TICKS, [Box::new(|| Ok(guessing.decode(&bodies))), Box::new(|| Ok(parsing.decode(&bodies)))])?;
    report(Figure {
        name: format!("decode of keys in random order ({guessing:.1} ns), beside simd-json alone ({parsing:.1} ns)")
            .into(),
        measured: guessing / parsing,
        at_most: 1.15,
    })?;
    Ok(())
}

/// The same ticks, each with its keys in an order of its own.
pub fn with_shuffled_keys(bodies: &[String]) -> anyhow::Result<Vec<String>> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut shuffled = Vec::with_capacity(bodies.len());
    for body in bodies {
        let ticks: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(body)?;
        let tick = |tick: serde_json::Map<String, serde_json::Value>| {
            let mut fields: Vec<String> = tick.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            random.shuffle(&mut fields);
            format!("{{{}}}", fields.join(","))
        };
        shuffled.push(format!("[{}]", ticks.into_iter().map(tick).collect::<Vec<_>>().join(",")));
    }
    Ok(shuffled)
}

/// Bodies to Parquet on one thread, beside nothing but simd-json's tape of the same bodies.
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

/// The CPU stages one after the other, on one thread, with the buffers that they keep.
pub struct Pipeline {
    decoder: Decoder,
    detectors: Detectors,
    epochs: EpochBuilder<()>,
    encoder: Encoder,
    names: Dictionaries,
    batch: Decoded<()>,
}

impl Pipeline {
    /// With the default configuration, but for epochs that end where they are told to.
    pub fn new() -> anyhow::Result<Self> {
        let config = DecodeConfig::default();
        let names = Dictionaries::new(config.names_max);
        Ok(Self {
            decoder: Decoder::new(&config, &names),
            detectors: Detectors::new(&DetectConfig::default()),
            epochs: EpochBuilder::new(EpochLimits { rows_max: usize::MAX, ..EpochLimits::default() }),
            encoder: Encoder::new(&EncodeConfig::default(), names.clone())?,
            names,
            batch: Decoded::default(),
        })
    }

    /// One epoch of `bodies`; how many bytes of Parquet they make.
    pub fn run(&mut self, bodies: &[String]) -> anyhow::Result<usize> {
        for messages in bodies.chunks(MESSAGES_PER_BATCH) {
            let batch = &mut self.batch;
            for body in messages {
                self.decoder.decode(&message(body), &mut batch.ticks, &mut batch.rejects);
                batch.messages.push(());
            }
            self.detectors.observe(&batch.ticks, &self.names.symbols, DEFAULT_START_US, &mut batch.alerts);
            self.epochs.add(Duration::ZERO, batch);
        }
        let Some(epoch) = self.epochs.roll(Duration::ZERO, RollReason::Flush) else { return Ok(0) };
        let files = self.encoder.encode(&EpochId::new(Arc::from("bench"), epoch.number), &epoch.contents)?;
        self.epochs.reuse(epoch.contents.ticks);
        Ok(files.iter().map(|file| file.bytes.len()).sum())
    }
}
