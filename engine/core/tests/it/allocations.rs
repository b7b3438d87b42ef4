//! From body to Parquet page nothing is allocated per tick: the counted allocations are proportional to files, row
//! groups and pages, or zero.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use ticklake_core::batch::Decoded;
use ticklake_core::decode::{DecodeConfig, Decoder, Message};
use ticklake_core::detect::{DetectConfig, Detectors, Raised};
use ticklake_core::encode::{EncodeConfig, Encoder};
use ticklake_core::epoch::{EpochBuilder, EpochLimits, RollReason};
use ticklake_core::lake::EpochId;
use ticklake_core::tick::Dictionaries;

/// 2026-11-23T14:00:00Z.
const AFTERNOON_US: i64 = 1_795_442_400_000_000;

const TICKS: usize = 1_000_000;
const PER_MESSAGE: usize = 500;
const SYMBOLS: usize = 500;

/// Bodies of a calm market. Prices move by single ticks around a level, so that no detector finds an anomaly.
fn bodies() -> Vec<String> {
    let mut bodies = Vec::new();
    // A linear congruential generator (Knuth's MMIX), so that every run has the same bodies.
    let mut state = 1_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for message in 0..TICKS / PER_MESSAGE {
        let mut body = String::from("[");
        for row in 0..PER_MESSAGE {
            let seq = message * PER_MESSAGE + row;
            let (symbol, cents, volume) = (random(SYMBOLS as u64), random(4), 1 + random(100));
            let ts = AFTERNOON_US + seq as i64;
            let comma = if row == 0 { "" } else { "," };
            write!(
                body,
                r#"{comma}{{"symbol":"S{symbol}","price":{}.0{cents},"volume":{volume}00,"ts":{ts},"seq":{seq},"venue":"V{}"}}"#,
                10 + symbol,
                symbol % 7
            )
            .unwrap();
        }
        body.push(']');
        bodies.push(body);
    }
    bodies
}

/// The stages, one after the other, with the buffers that they keep between epochs.
struct Stages {
    names: Dictionaries,
    decoder: Decoder,
    detectors: Detectors,
    epochs: EpochBuilder<()>,
    encoder: Encoder,
    batch: Decoded<()>,
    raised: Vec<Raised>,
}

/// Allocations of one epoch, by stage.
#[derive(Debug, Default)]
struct Allocations {
    decode: u64,
    detect: u64,
    build: u64,
    encode: u64,
}

impl Stages {
    fn new() -> Self {
        let names = Dictionaries::new(1_000);
        Self {
            decoder: Decoder::new(&DecodeConfig::default(), &names),
            detectors: Detectors::new(&DetectConfig::default()),
            epochs: EpochBuilder::new(EpochLimits::default()),
            encoder: Encoder::new(&EncodeConfig::default(), names.clone()).unwrap(),
            batch: Decoded::default(),
            raised: Vec::new(),
            names,
        }
    }

    fn epoch(&mut self, bodies: &[String]) -> Allocations {
        let mut counts = Allocations::default();
        for body in bodies {
            let body = body.as_bytes();
            let message =
                Message { id: "", body, content_encoding: None, sent_at_us: None, received_at_us: AFTERNOON_US };
            let Self { decoder, detectors, epochs, batch, raised, names, .. } = self;
            counts.decode += measure(|| decoder.decode(&message, &mut batch.ticks, &mut batch.rejects)).count_total;
            batch.messages.push(());
            counts.detect += measure(|| {
                detectors.observe(&batch.ticks, names, Some(AFTERNOON_US), raised);
            })
            .count_total;
            counts.build += measure(|| epochs.add(Duration::ZERO, batch)).count_total;
        }
        let epoch = self.epochs.roll(Duration::ZERO, RollReason::Flush).unwrap();
        assert_eq!((epoch.contents.rows(), self.raised.len()), (TICKS, 0));
        let id = EpochId::new(Arc::from("w"), epoch.number);
        let mut files = Vec::new();
        counts.encode += measure(|| files = self.encoder.encode(&id, &epoch.contents).unwrap()).count_total;
        assert_eq!(files.iter().map(|file| file.rows).sum::<usize>(), TICKS);
        self.epochs.reuse(epoch.contents.ticks);
        counts
    }
}

#[test]
fn a_million_ticks_from_body_to_page_allocate_nothing_per_tick() {
    let bodies = bodies();
    let mut stages = Stages::new();
    stages.epoch(&bodies);
    let warm = stages.epoch(&bodies);
    println!("allocations of {TICKS} warm ticks: {warm:?}");
    assert_eq!((warm.decode, warm.detect), (0, 0));
    // The lists of messages and batches of an epoch grow by doubling.
    assert!(warm.build <= u64::from(4 * TICKS.ilog2()), "{} allocations to gather an epoch", warm.build);
    // A million ticks have eight columns in 16 row groups. Each of these column chunks needs a few allocations.
    let row_groups = TICKS.div_ceil(EncodeConfig::default().row_group_rows) as u64;
    let columns = 8 * row_groups;
    assert!(warm.encode <= 40 * columns, "{} allocations for {columns} column chunks", warm.encode);
}
