//! The CPU stages for measurements, each with the state that it keeps between calls: one thread, no channels.

use std::sync::Arc;
use std::time::Duration;

use loadgen::Dialect;
use loadgen::market::DEFAULT_START_US;
use ticklake_core::batch::Decoded;
use ticklake_core::decode::{DecodeConfig, Decoder, FieldNames, Message, TsUnit};
use ticklake_core::detect::{DetectConfig, Detectors, Raised};
use ticklake_core::encode::{EncodeConfig, Encoder};
use ticklake_core::epoch::{EpochBuilder, EpochLimits, RollReason};
use ticklake_core::lake::EpochId;
use ticklake_core::names::{NameId, NamesFull};
use ticklake_core::tick::{Dictionaries, Tick, TickBatch};

/// Messages that are decoded before the detectors see their ticks: those of one receive.
const MESSAGES_PER_BATCH: usize = 10;

/// The configuration for bodies of a dialect.
#[must_use]
pub fn decode_config(dialect: Dialect) -> DecodeConfig {
    match dialect {
        Dialect::Canonical => DecodeConfig::default(),
        Dialect::Binance => DecodeConfig {
            numbers_as_strings: true,
            ts_unit: TsUnit::Ms,
            fields: FieldNames {
                symbol: "s".to_owned(),
                price: "p".to_owned(),
                volume: "q".to_owned(),
                ts: "T".to_owned(),
                seq: "t".to_owned(),
                ..FieldNames::default()
            },
            ..DecodeConfig::default()
        },
    }
}

/// A decoder with reused columns.
pub struct Decoding {
    decoder: Decoder,
    /// The names of the ticks.
    pub names: Dictionaries,
    /// The ticks and rejects of the last call.
    pub decoded: Decoded<()>,
}

impl Decoding {
    /// Decodes as the engine does.
    #[must_use]
    pub fn new(config: &DecodeConfig) -> Self {
        Self::of(config, Decoder::new)
    }

    /// Decodes with simd-json alone.
    #[must_use]
    pub fn without_speculation(config: &DecodeConfig) -> Self {
        Self::of(config, Decoder::without_speculation)
    }

    fn of(config: &DecodeConfig, decoder: impl Fn(&DecodeConfig, &Dictionaries) -> Decoder) -> Self {
        let names = Dictionaries::new(config.names_max);
        Self { decoder: decoder(config, &names), names, decoded: Decoded::default() }
    }

    /// Replaces the decoded ticks with those of `bodies`. Returns their number.
    pub fn decode(&mut self, bodies: &[String]) -> usize {
        self.decoded.ticks.clear();
        self.decoded.rejects.clear();
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

/// The stages one after the other, from bodies to Parquet.
pub struct Pipeline {
    decoder: Decoder,
    detectors: Detectors,
    epochs: EpochBuilder<()>,
    encoder: Encoder,
    names: Dictionaries,
    batch: Decoded<()>,
    raised: Vec<Raised>,
    /// When the detectors see the first tick of the next run, so that time continues from one run to the next.
    start_us: i64,
    /// Holds the stored event times while the detectors look.
    ts_us: Vec<i64>,
}

impl Pipeline {
    /// Uses the default configuration, except that epochs end where the caller says.
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
            raised: Vec::new(),
            start_us: DEFAULT_START_US,
            ts_us: Vec::new(),
        })
    }

    /// Encodes one epoch of `bodies`. Returns its bytes of Parquet.
    ///
    /// The detectors see the market's day pass 2,048 times as fast. Under load a symbol has ticks each second, and not
    /// one in minutes.
    pub fn run(&mut self, bodies: &[String]) -> anyhow::Result<usize> {
        let mut latest_us = self.start_us;
        for messages in bodies.chunks(MESSAGES_PER_BATCH) {
            let batch = &mut self.batch;
            for body in messages {
                self.decoder.decode(&message(body), &mut batch.ticks, &mut batch.rejects);
                batch.messages.push(());
            }
            self.ts_us.clone_from(&batch.ticks.ts_us);
            let fast = |ts_us: &mut i64| *ts_us = self.start_us + ((*ts_us - DEFAULT_START_US) >> 11);
            batch.ticks.ts_us.iter_mut().for_each(fast);
            latest_us = batch.ticks.ts_us.iter().copied().fold(latest_us, i64::max);
            self.detectors.observe(&batch.ticks, &self.names, None, &mut self.raised);
            batch.alerts.append(&mut self.raised);
            std::mem::swap(&mut self.ts_us, &mut batch.ticks.ts_us);
            self.epochs.add(Duration::ZERO, batch);
        }
        self.start_us = latest_us;
        let Some(epoch) = self.epochs.roll(Duration::ZERO, RollReason::Flush) else { return Ok(0) };
        let files = self.encoder.encode(&EpochId::new(Arc::from("bench"), epoch.number), &epoch.contents)?;
        self.epochs.reuse(epoch.contents.ticks);
        Ok(files.iter().map(|file| file.bytes.len()).sum())
    }
}

/// Detectors that know a number of symbols, and a batch of these symbols' ticks.
pub struct Detecting {
    detectors: Detectors,
    names: Dictionaries,
    ticks: TickBatch,
    raised: Vec<Raised>,
    now_us: i64,
}

/// Event time that passes in a batch.
const BATCH_US: i64 = 10_000_000;

impl Detecting {
    /// Detectors with windows full of prices of `symbols` symbols, and `ticks` ticks. All symbols are equally frequent,
    /// which is the worst case for caches.
    pub fn new(symbols: usize, ticks: usize) -> anyhow::Result<Self> {
        let names = Dictionaries::new(symbols);
        let ids = (0..symbols).map(|symbol| Ok(names.symbols.intern(&format!("S{symbol}"))?.0));
        let ids = ids.collect::<Result<Vec<_>, NamesFull>>()?;
        let config = DetectConfig { symbols_max: symbols, ..DetectConfig::default() };
        let window = config.spike.window;
        let mut this = Self {
            detectors: Detectors::new(&config),
            names,
            ticks: TickBatch::default(),
            raised: Vec::new(),
            now_us: DEFAULT_START_US,
        };
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..=window {
            for ids in ids.chunks(ticks) {
                this.fill(ids.iter().copied(), &mut random);
                this.observe();
            }
        }
        let any: Vec<_> = (0..ticks).map(|_| ids[random.usize(..symbols)]).collect();
        this.fill(any.into_iter(), &mut random);
        Ok(this)
    }

    /// Fills the batch with prices within a few cents of one price. As with real ticks, the cheap part of the scale
    /// judges most of them.
    fn fill(&mut self, symbols: impl Iterator<Item = NameId>, random: &mut fastrand::Rng) {
        self.ticks.clear();
        for symbol in symbols {
            let price = 100.0 + f64::from(random.u8(..8)) / 100.0;
            self.ticks.push(Tick {
                symbol,
                ts_us: DEFAULT_START_US,
                price,
                volume: 100.0,
                seq: None,
                venue: NameId::NONE,
                conditions: NameId::NONE,
                received_at_us: DEFAULT_START_US,
            });
        }
    }

    /// Shows the batch to the detectors. Returns how many alerts it raised, which is none.
    pub fn observe(&mut self) -> usize {
        self.raised.clear();
        let rows = self.ticks.len() as i64;
        for (ts_us, row) in self.ticks.ts_us.iter_mut().zip(0_i64..) {
            *ts_us = self.now_us + row * BATCH_US / rows;
        }
        self.now_us += BATCH_US;
        self.detectors.observe(&self.ticks, &self.names, Some(self.now_us), &mut self.raised);
        self.raised.len()
    }
}
