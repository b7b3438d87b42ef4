use ticklake_core::decode::*;
use ticklake_core::detect::*;
use ticklake_core::tick::*;
fn main() {
    let f = std::env::args().nth(1).unwrap();
    let what = std::env::args().nth(2).unwrap();
    let rounds: usize = std::env::args().nth(3).unwrap().parse().unwrap();
    let text = std::fs::read_to_string(f).unwrap();
    let bodies: Vec<&str> = text.split('\u{1}').collect();
    let c = DecodeConfig::default();
    let names = Dictionaries::new(c.names_max);
    let mut d = Decoder::new(&c, &names);
    let mut t = TickBatch::default();
    let mut r = vec![];
    let now = 1_780_320_600_000_000;
    let mut dec = |t: &mut TickBatch| {
        t.truncate(0);
        for b in &bodies {
            d.decode(
                &Message { id: "m", body: b.as_bytes(), content_encoding: None, sent_at_us: None, received_at_us: now },
                t,
                &mut r,
            );
        }
    };
    dec(&mut t);
    let n = t.len() as f64;
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let s;
        if what == "decode" {
            s = std::time::Instant::now();
            dec(&mut t);
        } else {
            let mut det = Detectors::new(&DetectConfig::default());
            let mut a = vec![];
            det.observe(&t, &names.symbols, now, &mut a);
            s = std::time::Instant::now();
            det.observe(&t, &names.symbols, now, &mut a);
        }
        best = best.min(s.elapsed().as_secs_f64() * 1e9 / n);
    }
    println!("{what} {best:.1} ns {n}");
}
