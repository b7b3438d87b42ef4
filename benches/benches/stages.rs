//! The CPU stages one by one, and simd-json's tape of the same bytes beside the decoder.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should say where")]

use std::time::Duration;

use benches::{bodies, decode, decoder, encode};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ticklake_core::detect::{DetectConfig, Detectors};

const TICKS: u64 = 100_000;

fn stages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Elements(TICKS)).sample_size(20).measurement_time(Duration::from_secs(4));
    for per_message in [1, 10, 500] {
        let bodies = bodies(TICKS, per_message).expect("the default market is valid");
        group.bench_function(format!("decode/{per_message} per message"), |bencher| {
            let (mut decoder, _) = decoder();
            bencher.iter(|| decode(&mut decoder, &bodies).ticks.len());
        });
        group.bench_function(format!("simd-json tape/{per_message} per message"), |bencher| {
            let mut copies: Vec<Vec<u8>> = bodies.iter().map(|body| body.clone().into_bytes()).collect();
            let mut buffers = simd_json::Buffers::default();
            bencher.iter(|| {
                let mut nodes = 0;
                for (copy, body) in copies.iter_mut().zip(&bodies) {
                    copy.copy_from_slice(body.as_bytes());
                    nodes += simd_json::to_tape_with_buffers(copy, &mut buffers).map_or(0, |tape| tape.0.len());
                }
                nodes
            });
        });
    }
    let (mut decoder, names) = decoder();
    let decoded = decode(&mut decoder, &bodies(TICKS, 500).expect("the default market is valid"));
    group.bench_function("detect", |bencher| {
        bencher.iter_batched(
            || Detectors::new(&DetectConfig::default()),
            |mut detectors| {
                let mut alerts = Vec::new();
                detectors.observe(&decoded.ticks, &names.symbols, 0, &mut alerts);
                alerts.len()
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("encode", |bencher| {
        bencher.iter(|| encode(&decoded, &names).expect("the default configuration is valid").len());
    });
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
