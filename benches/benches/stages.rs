//! The CPU stages after the decoder, first one by one and then all together.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should say where")]

use std::time::Duration;

use benches::pipeline::graph;
use benches::stage::{Detecting, Pipeline};
use benches::{bodies, encode, sample};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ticklake_core::encode::sort::Sorter;

/// Numbers of symbols that detection is measured with: an index, an exchange, and all options on that exchange.
const SYMBOLS: [usize; 3] = [1_024, 10_000, 100_000];

/// Ticks that the detectors get in one measurement.
const DETECTED: usize = 200_000;

/// Messages of 500 ticks that go through the pipeline in one measurement.
const MESSAGES: usize = 2_000;

fn detect(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("detect");
    group.sample_size(10);
    for symbols in SYMBOLS {
        let mut detecting = Detecting::new(symbols, DETECTED).expect("so many symbols can be watched");
        group.throughput(Throughput::Elements(DETECTED as u64));
        group.bench_function(BenchmarkId::from_parameter(symbols), |bencher| bencher.iter(|| detecting.observe()));
    }
    group.finish();
}

fn store(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("epoch of a million ticks");
    group.throughput(Throughput::Elements(sample::EPOCH_TICKS)).sample_size(10);
    let epoch = sample::market(Duration::from_secs(30)).expect("the market is valid");
    group.bench_function("sort", |bencher| {
        let mut sorter = Sorter::default();
        bencher.iter(|| sorter.sort(&epoch.contents.ticks, &epoch.names.symbols));
    });
    group.bench_function("sort and encode", |bencher| {
        bencher.iter(|| encode(&epoch.contents, &epoch.names).expect("the default configuration is valid").len());
    });
    group.finish();
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bodies to Parquet");
    let bodies = bodies(500 * MESSAGES as u64, 500).expect("the default market is valid");
    group.throughput(Throughput::Elements(500 * MESSAGES as u64)).sample_size(10);
    group.bench_function("1 thread", |bencher| {
        let mut pipeline = Pipeline::new().expect("the default configuration is valid");
        bencher.iter(|| pipeline.run(&bodies).expect("ticks of a market can be encoded"));
    });
    group.bench_function("2 threads per stage", |bencher| {
        bencher.iter(|| graph(&bodies, MESSAGES, 2).expect("the threads can be started").ticks);
    });
    group.finish();
}

criterion_group!(benches, detect, store, pipeline);
criterion_main!(benches);
