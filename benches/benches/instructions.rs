//! Instructions of the CPU stages under valgrind, each beside a limit that it must not exceed.
//!
//! The same program with the same input takes the same number of instructions, whatever else the machine does. So a
//! regression fails CI without a clock. Limits are about 5 % above the count. If you make a stage faster, lower its
//! limit.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should say where")]
#![expect(missing_docs, reason = "the macros make items without any")]

use std::hint::black_box;

use benches::packed_bodies_of;
use benches::stage::{Decoding, Detecting, Pipeline, decode_config};
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use loadgen::market::MarketConfig;
use loadgen::{Dialect, Layout, Packing};

/// Ticks of each benchmark.
const TICKS: u64 = 20_000;

fn at_most(instructions_per_tick: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions_per_tick * TICKS)]).clone());
    config
}

fn bodies(per_message: usize, layout: Layout, dialect: Dialect) -> Vec<String> {
    let packing = Packing::new(per_message, layout, dialect).expect("the packing is valid");
    packed_bodies_of(MarketConfig { ticks: TICKS, ..MarketConfig::default() }, packing).expect("the market is valid")
}

/// Bodies, and a decoder that has seen them before.
fn warm(per_message: usize, layout: Layout, dialect: Dialect) -> (Decoding, Vec<String>) {
    let bodies = bodies(per_message, layout, dialect);
    let mut decoding = Decoding::new(&decode_config(dialect));
    assert_eq!(decoding.decode(&bodies), TICKS as usize);
    (decoding, bodies)
}

#[library_benchmark]
#[bench::array(args = (500, Layout::Array, Dialect::Canonical), setup = warm, config = at_most(945))]
#[bench::object(args = (1, Layout::Object, Dialect::Canonical), setup = warm, config = at_most(1210))]
#[bench::lines(args = (500, Layout::Lines, Dialect::Canonical), setup = warm, config = at_most(970))]
#[bench::binance(args = (500, Layout::Array, Dialect::Binance), setup = warm, config = at_most(916))]
fn decode((mut decoding, bodies): (Decoding, Vec<String>)) -> (Decoding, Vec<String>) {
    black_box(decoding.decode(black_box(&bodies)));
    // Returned, so that dropping them does not count.
    (decoding, bodies)
}

/// Detectors whose windows are full, and ticks of the symbols that they know.
fn watched() -> Detecting {
    Detecting::new(500, TICKS as usize).expect("so many symbols can be watched")
}

#[library_benchmark]
#[bench::all(setup = watched, config = at_most(1165))]
fn detect(mut detecting: Detecting) -> Detecting {
    black_box(detecting.observe());
    detecting
}

/// The stages, with buffers that an epoch before has filled.
fn used() -> (Pipeline, Vec<String>) {
    let bodies = bodies(500, Layout::Array, Dialect::Canonical);
    let mut pipeline = Pipeline::new().expect("the default configuration is valid");
    pipeline.run(&bodies).expect("ticks of a market can be encoded");
    (pipeline, bodies)
}

#[library_benchmark]
#[bench::packed(setup = used, config = at_most(3620))]
fn bodies_to_parquet((mut pipeline, bodies): (Pipeline, Vec<String>)) -> (Pipeline, Vec<String>) {
    black_box(pipeline.run(black_box(&bodies)).expect("ticks of a market can be encoded"));
    (pipeline, bodies)
}

library_benchmark_group!(name = stages, benchmarks = [decode, detect, bodies_to_parquet]);
main!(library_benchmark_groups = stages);
