//! The decoder beside the parsers that people would use instead, for every form of body.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should say where")]

use std::time::Duration;

use benches::packed_bodies_of;
use benches::rivals::{Binance, Canonical, Feed, Form, Parser, Rival};
use benches::stage::{Decoding, decode_config};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loadgen::market::MarketConfig;
use loadgen::{Dialect, Layout, Packing};

const TICKS: u64 = 40_000;

/// Each form, with ticks per body.
const FORMS: [(Form, Layout, usize); 8] = [
    (Form::Object, Layout::Object, 1),
    (Form::Array, Layout::Array, 1),
    (Form::Array, Layout::Array, 10),
    (Form::Array, Layout::Array, 500),
    (Form::Array, Layout::Array, 4_000),
    (Form::Lines, Layout::Lines, 10),
    (Form::Lines, Layout::Lines, 500),
    (Form::Lines, Layout::Lines, 4_000),
];

fn decode(criterion: &mut Criterion) {
    of_feed::<Canonical>(criterion, "canonical", Dialect::Canonical);
    of_feed::<Binance>(criterion, "binance", Dialect::Binance);
}

fn of_feed<F: Feed>(criterion: &mut Criterion, feed: &str, dialect: Dialect) {
    let mut group = criterion.benchmark_group(format!("decode/{feed}"));
    group.throughput(Throughput::Elements(TICKS)).sample_size(20);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for (form, layout, per_message) in FORMS {
        let packing = Packing::new(per_message, layout, dialect).expect("the packing is valid");
        let market = MarketConfig { ticks: TICKS, ..MarketConfig::default() };
        let bodies = packed_bodies_of(market, packing).expect("the market is valid");
        let of = format!("{form:?} of {per_message}").to_lowercase();
        group.bench_function(BenchmarkId::new("ticklake", &of), |bencher| {
            let mut decoding = Decoding::new(&decode_config(dialect));
            bencher.iter(|| decoding.decode(&bodies));
            assert!(decoding.decoded.rejects.is_empty(), "{:?}", decoding.decoded.rejects.first());
        });
        for rival in Rival::ALL {
            group.bench_function(BenchmarkId::new(rival.name(), &of), |bencher| {
                let mut parser = Parser::default();
                bencher.iter(|| parser.parse::<F>(rival, form, &bodies).expect("the bodies are valid"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
