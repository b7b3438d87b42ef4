//! `check pipeline`: the engine's CPU stages on their threads, beside the same work in one loop on one thread.
//!
//! The threads are those of the engine ([`ticklake::cpu`]), from received bodies to encoded epochs. Only the queue, the
//! store and the topic are left out. The loop calls the same code of the core with no channels and no permits between.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use ticklake::budget::Amount;
use ticklake::clock::Moment;
use ticklake::config::{Config, Settings};
use ticklake::cpu::{Channels, Cpu};
use ticklake::lease::Lease;
use ticklake::message::{Delivered, ReceivedBatch};
use ticklake::meter::Meters;
use ticklake::ports::{BATCH_MAX, Receipt, ReceivedMessage};
use ticklake::stop::Stop;
use ticklake_core::batch::Decoded;
use ticklake_core::decode::{Decoder, Message};
use ticklake_core::detect::Detectors;
use ticklake_core::encode::Encoder;
use ticklake_core::epoch::{EpochBuilder, RollReason};
use ticklake_core::lake::EpochId;
use ticklake_core::tick::Dictionaries;

use crate::bodies;
use crate::figure::Figure;

/// Different ticks. They repeat until there are enough.
const MARKET: u64 = 500_000;
const PER_MESSAGE: usize = 500;
/// Messages of one measurement: six million ticks, so that one-time costs, such as the first use of memory, weigh
/// little.
const MESSAGES: usize = 12_000;
/// Ticks of an epoch. There are several epochs, so that the end, when only one encoder has work, weighs little.
const EPOCH_ROWS: usize = 125_000;
/// Received batches that wait for the decoders. Each takes a decoder about a millisecond. The list is never empty. It
/// also never holds a whole budget of bodies, because that would measure how fast the system hands out fresh memory.
const LEAD: usize = 32;
/// Measurements of each kind, in turn. The best counts, because other work on the machine is not the engine's.
const ROUNDS: usize = 4;

/// Number of encoded ticks, and the time that it took.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Ticks, all of them in an epoch.
    pub ticks: u64,
    /// From the first body to the last epoch.
    pub took: Duration,
}

impl Measured {
    fn ns_per_tick(self) -> f64 {
        self.took.as_secs_f64() * 1e9 / self.ticks as f64
    }
}

/// Measures all contenders in turn.
pub fn figures(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let bodies = bodies(MARKET, PER_MESSAGE)?;
    let (mut inline_ns, mut one_core_ns, mut two_cores_ns) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let loops = inline(&bodies, MESSAGES)?;
        let one_core = on_one_core(|| graph(&bodies, MESSAGES, 1))?;
        let two_cores = graph(&bodies, MESSAGES, 2)?;
        anyhow::ensure!(loops.ticks == one_core.ticks && loops.ticks == two_cores.ticks, "not all ticks were encoded");
        inline_ns = inline_ns.min(loops.ns_per_tick());
        one_core_ns = one_core_ns.min(one_core.ns_per_tick());
        two_cores_ns = two_cores_ns.min(two_cores.ns_per_tick());
    }
    // All figures are bounded from above: 1.8 times as fast takes 1 / 1.8 of the time.
    report(Figure {
        name: format!(
            "the engine with two threads per stage on two cores ({two_cores_ns:.1} ns per tick), as a share of one per stage \
             on one core ({one_core_ns:.1})"
        )
        .into(),
        measured: two_cores_ns / one_core_ns,
        at_most: 1.0 / 1.8,
    })?;
    report(Figure {
        name: format!("the same, as a share of one loop on one core ({inline_ns:.1}), without channels and permits")
            .into(),
        measured: two_cores_ns / inline_ns,
        at_most: 1.0 / 1.5,
    })?;
    Ok(())
}

/// Runs `work`, and every thread that it starts, on one core.
fn on_one_core<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let pinned = || {
        let cores = sched_getaffinity(None)?;
        let first = (0..CpuSet::MAX_CPU).find(|&core| cores.is_set(core)).context("failed to find a core to run on")?;
        let mut one = CpuSet::new();
        one.set(first);
        // This sets the affinity of this thread. The other threads inherit it, and this thread ends with the work.
        sched_setaffinity(None, &one)?;
        work()
    };
    let done = std::thread::scope(|scope| scope.spawn(pinned).join());
    done.map_err(|_| anyhow::anyhow!("the thread that was to run on one core panicked"))?
}

fn config(threads: usize) -> anyhow::Result<Config> {
    let mut settings = Settings::default();
    "http://127.0.0.1/000000000000/ticks".clone_into(&mut settings.queue.url);
    "lake".clone_into(&mut settings.lake.bucket);
    (settings.threads.decode, settings.threads.detect, settings.threads.encode) = (threads, threads, threads);
    settings.epoch.rows_max = EPOCH_ROWS;
    Ok(settings.validate()?)
}

/// `messages` messages that repeat `bodies`, in batches of a receive's size. They are made before the clock starts,
/// because receiving is not measured.
fn received(bodies: &[String], messages: usize) -> Vec<Vec<ReceivedMessage>> {
    let batches = (0..messages).step_by(BATCH_MAX).map(|first| {
        let batch = first..messages.min(first + BATCH_MAX);
        let message = |number: usize| ReceivedMessage {
            id: String::from("5fea7756-0ea4-451a-a703-a558b933e274"),
            receipt: Receipt::from(number.to_string()),
            body: bodies[number % bodies.len()].clone().into(),
            content_encoding: None,
            sent_at_us: None,
            receive_count: 1,
            was_dead_lettered: false,
        };
        batch.map(message).collect()
    });
    batches.collect()
}

/// Sends `messages` messages through the engine's threads, `threads` per stage.
pub fn graph(bodies: &[String], messages: usize, threads: usize) -> anyhow::Result<Measured> {
    let config = config(threads)?;
    let meters = Meters::new(&config);
    let budget = meters.queues[0].budget.clone();
    let stop = Stop::new(config.shutdown.deadline);
    let (flush, quiet, worker) = (Arc::default(), Arc::default(), Arc::from("bench"));
    let cpu = Cpu { config: &config, stop: &stop, meters: &meters, flush: &flush, quiet: &quiet, worker: &worker };
    let Channels { to_decode, unresolved, resolved, mut epochs, carried, alerts, threads } = cpu.start()?;
    // No stage publishes or waits for anything, and no message was delivered before.
    drop((alerts, unresolved, resolved, carried));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let batches = received(bodies, messages);
    let (started, started_at) = (Instant::now(), Moment::now());
    let stored = std::thread::spawn(move || {
        let mut stored = 0;
        // Each epoch is dropped at once, and frees its messages' share of the budget.
        while let Some(epoch) = epochs.blocking_recv() {
            stored += epoch.ticks as u64;
        }
        stored
    });
    for messages in batches {
        while to_decode.len() >= LEAD {
            std::thread::sleep(Duration::from_millis(1));
        }
        let bytes = messages.iter().map(|message| message.body.len()).sum();
        let mut permit = runtime.block_on(budget.take(Amount { messages: messages.len(), bytes }));
        let share = |message: ReceivedMessage| {
            let share = permit.split(Amount { messages: 1, bytes: message.body.len() })?;
            let lease = Lease::new(message.receipt.clone(), started_at, config.queue.visibility_timeout);
            Some((message, lease, share))
        };
        let messages: Option<Vec<_>> = messages.into_iter().map(share).collect();
        let messages = messages.context("a batch is larger than its permit")?;
        let received_at_us = loadgen::market::DEFAULT_START_US;
        to_decode
            .send(ReceivedBatch { messages, queue: 0, delivery: Delivered::First, received_at_us })
            .context("the decoders are gone")?;
    }
    drop(to_decode);
    let stored = stored.join().map_err(|_| anyhow::anyhow!("the thread that takes the epochs panicked"))?;
    let took = started.elapsed();
    for thread in threads {
        let _ = thread.join();
    }
    Ok(Measured { ticks: stored, took })
}

/// Does the same work in a loop on this thread.
pub fn inline(bodies: &[String], messages: usize) -> anyhow::Result<Measured> {
    let config = config(1)?;
    let names = Dictionaries::new(config.decode.names_max);
    let mut decoder = Decoder::new(&config.decode, &names);
    let mut detectors = Detectors::new(&config.detect);
    let mut epochs = EpochBuilder::new(config.epoch.clone());
    let mut encoder = Encoder::new(&config.encode, names.clone())?;
    let mut stored = 0;
    let (mut decoded, mut raised) = (Decoded::default(), Vec::new());
    let batches = received(bodies, messages);
    let started = Instant::now();
    let mut encode = |epochs: &mut EpochBuilder<()>, reason| -> anyhow::Result<()> {
        if let Some(epoch) = epochs.roll(Duration::ZERO, reason) {
            let files = encoder.encode(&EpochId::new(Arc::from("bench"), epoch.number), &epoch.contents)?;
            std::hint::black_box(files);
            stored += epoch.contents.rows() as u64;
            epochs.reuse(epoch.contents.ticks);
        }
        Ok(())
    };
    for messages in batches {
        for message in messages {
            let received_at_us = loadgen::market::DEFAULT_START_US;
            let ReceivedMessage { id, body, content_encoding, sent_at_us, .. } = &message;
            let content_encoding = content_encoding.as_deref();
            let body = Message { id, body, content_encoding, sent_at_us: *sent_at_us, received_at_us };
            decoder.decode(&body, &mut decoded.ticks, &mut decoded.rejects);
            decoded.messages.push(());
        }
        detectors.observe(&decoded.ticks, &names, None, &mut raised);
        decoded.alerts.append(&mut raised);
        epochs.add(Duration::ZERO, &mut decoded);
        if let Some(reason) = epochs.due(Duration::ZERO) {
            encode(&mut epochs, reason)?;
        }
    }
    encode(&mut epochs, RollReason::Flush)?;
    let took = started.elapsed();
    Ok(Measured { ticks: stored, took })
}
