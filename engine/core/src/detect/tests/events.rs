//! The alerts about an event, and when they come: opened, worse, over. And what far prices turn out to be.

use super::*;

impl Desk {
    /// The alerts about AAPL for these prices, one a second, from `at_s` seconds after the start: kind, state, and
    /// after how many seconds.
    fn said(&mut self, at_s: i64, prices: impl IntoIterator<Item = f64>) -> Vec<(Kind, State, i64)> {
        let alerts = (at_s..).zip(prices).flat_map(|(at_s, price)| self.all("AAPL", at_s * SECOND_US, price));
        alerts.map(|alert| (alert.kind, alert.state, (alert.ts_us - START_US) / SECOND_US)).collect()
    }
}

/// Only spikes and level shifts.
fn shifts() -> DetectConfig {
    DetectConfig { level_shift: LevelShiftConfig::default(), ..only_spikes(SpikeConfig::default()) }
}

fn above(count: usize, by: f64) -> impl Iterator<Item = f64> {
    calm(count).map(move |price| price + by)
}

#[test]
fn event_opens_and_is_over_when_nothing_was_unusual_for_the_cool_down() {
    let mut desk = Desk::usual();
    desk.said(0, calm(200));
    let spikes = [110.0, 111.0].into_iter().chain(calm(40));
    assert_eq!(desk.said(200, spikes), [(Kind::Spike, State::Open, 200), (Kind::Spike, State::Close, 201)]);
    assert_eq!(desk.said(242, calm(100)), [], "said once");
}

#[test]
fn alerts_of_an_event_share_its_id_and_the_last_one_sums_it_up() {
    let mut desk = Desk::usual();
    desk.said(0, calm(200));
    let mut alerts = Vec::new();
    for (at_s, price) in (200..).zip([110.0, 112.0, 111.0].into_iter().chain(calm(40))) {
        alerts.extend(desk.all("AAPL", at_s * SECOND_US, price));
    }
    let [open, close] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((open.id.as_str(), open.suppressed), (open.event.as_str(), 0));
    assert_eq!((close.id.clone(), &close.event), (format!("{}/close", open.event), &open.event));
    assert_eq!((close.observed, close.suppressed), (112.0, 2), "the worst of them, and how many were held back");
    assert_eq!(open.window, "50 ticks");
    let shown: Vec<_> = open.ticks.iter().map(|tick| ((tick.ts_us - START_US) / SECOND_US, tick.price)).collect();
    let before: Vec<f64> = calm(200).skip(196).collect();
    assert_eq!(shown[..4], [196, 197, 198, 199].map(|at| (at, before[at as usize - 196])));
    assert_eq!(shown[4], (200, 110.0));
}

#[test]
fn bad_print_that_is_twice_as_bad_is_another_event_and_what_lasts_is_an_update() {
    let mut desk = Desk::usual();
    desk.said(0, calm(200));
    let opened = desk.said(200, [110.0, 130.0]);
    assert_eq!(opened, [(Kind::Spike, State::Open, 200), (Kind::Spike, State::Open, 201)]);
    let volatility = VolatilityConfig { enabled: true, threshold: 1.0 };
    let mut desk = Desk::new(&DetectConfig {
        volatility,
        ..only_spikes(SpikeConfig { enabled: false, ..SpikeConfig::default() })
    });
    let swing =
        |at: i64| 100.0 + 0.01 * if at < 1_000 { 1.0 } else { 1.2_f64.powi((at - 1_000) as i32 / 5) } * (at % 2) as f64;
    let said = desk.said(0, (0..1_060).map(swing));
    let states: Vec<State> = said.iter().map(|(_, state, _)| *state).collect();
    assert_eq!(states[..2], [State::Open, State::Update], "{said:?}");
}

#[test]
fn bad_print_is_a_spike_as_soon_as_the_next_price_is_back() {
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200));
    assert_eq!(desk.said(200, [110.0]), []);
    assert_eq!(desk.said(201, calm(1)), [(Kind::Spike, State::Open, 200)]);
}

#[test]
fn price_that_stays_is_one_level_shift_and_then_usual() {
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200));
    assert_eq!(desk.said(200, above(8, 1.0)), [(Kind::LevelShift, State::Open, 200)]);
    assert_eq!(desk.said(208, above(200, 1.0)), []);
    let alert = desk.said(408, [101.9].into_iter().chain(above(1, 1.0)));
    assert_eq!(alert, [(Kind::Spike, State::Open, 408)], "far from the new level");
    assert_eq!(
        desk.said(600, above(30, 1.0)),
        [(Kind::LevelShift, State::Close, 200), (Kind::Spike, State::Close, 408)]
    );
}

#[test]
fn return_to_the_old_level_is_the_end_of_the_shift() {
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200).chain(above(100, 1.0)));
    assert_eq!(desk.said(300, calm(20)), [(Kind::LevelShift, State::Close, 300)]);
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200).chain(above(100, 1.0)));
    assert_eq!(desk.said(300, above(20, -1.0)), [(Kind::LevelShift, State::Open, 300)], "further down than it was");
}

#[test]
fn small_level_shift_is_adopted_and_not_alerted() {
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200));
    assert_eq!(desk.said(200, above(100, 0.24)), []);
    assert!(desk.detectors.suppressed() > 0);
}

#[test]
fn far_price_is_decided_by_time_or_at_the_end_where_no_other_follows() {
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200));
    assert_eq!(desk.said(200, [110.0]), []);
    let others = |desk: &mut Desk, seconds: std::ops::Range<i64>| -> Vec<String> {
        seconds.flat_map(|at_s| desk.all("MSFT", at_s * SECOND_US, 1.0)).map(|alert| alert.id).collect()
    };
    assert_eq!(others(&mut desk, 200..210), Vec::<String>::new());
    assert_eq!(others(&mut desk, 210..212), ["spike-up-AAPL-1795442600000000"]);
    desk.said(212, [80.0]);
    let mut raised = Vec::new();
    desk.detectors.finish(None, &mut raised);
    let alerts = alerts_of(raised);
    assert_eq!(alerts.iter().map(|alert| alert.id.as_str()).collect::<Vec<_>>(), ["spike-down-AAPL-1795442612000000"]);
    assert_eq!(alerts[0].ticks.last().map(|tick| tick.price), Some(80.0));
}

#[test]
fn line_that_was_crossed_is_over_some_time_after_the_price_came_back() {
    let mut desk = Desk::new(&lines(&[line("AAPL", 10.0)]));
    let prices = [9.0, 10.5].into_iter().chain([10.4; 100]).chain([9.0; 40]);
    assert_eq!(desk.said(0, prices), [(Kind::Threshold, State::Open, 1), (Kind::Threshold, State::Close, 102)]);
}

#[test]
fn prices_beyond_the_band_are_one_event_and_a_single_one_is_none() {
    let limit_band = LimitBandConfig::default();
    let mut desk = Desk::new(&DetectConfig {
        limit_band,
        ..only_spikes(SpikeConfig { enabled: false, ..SpikeConfig::default() })
    });
    let prices = calm(100).chain([120.0]).chain(calm(10)).chain([106.0; 20]).chain(calm(60));
    assert_eq!(desk.said(0, prices), [(Kind::LimitBand, State::Open, 112), (Kind::LimitBand, State::Close, 131)]);
}

#[test]
fn event_times_that_cannot_be_right_are_told_once() {
    let clock = ClockConfig::default();
    let mut desk =
        Desk::new(&DetectConfig { clock, ..only_spikes(SpikeConfig { enabled: false, ..SpikeConfig::default() }) });
    let symbols = ["AAPL", "MSFT"].map(|symbol| desk.names.symbols.intern(symbol).unwrap().0);
    let mut show = |symbol, at_s: i64, decoded_s: i64| -> Vec<(Direction, f64)> {
        let decoded_at_us = Some(START_US + decoded_s * SECOND_US);
        let alerts = desk.show(tick(symbol, START_US + at_s * SECOND_US, 1.0), decoded_at_us);
        alerts.into_iter().map(|alert| (alert.direction, alert.observed)).collect()
    };
    assert_eq!(show(symbols[0], 4, 0), [], "a clock may be a little ahead");
    assert_eq!(show(symbols[0], 60, 1), [(Direction::Up, 59.0)]);
    assert_eq!(show(symbols[0], 600, 2), [], "the same clock");
    assert_eq!(show(symbols[1], -3_500, 3), [], "late");
    assert_eq!(show(symbols[1], -5_000, 4), [(Direction::Down, 5_002.0)]);
}

#[test]
fn ticks_that_are_too_late_for_the_windows_are_counted() {
    let mut desk = Desk::new(&DetectConfig::default());
    desk.said(0, calm(200));
    desk.said(140, [100.0]);
    assert_eq!(desk.detectors.late(), 0, "within a minute");
    desk.said(100, [100.0]);
    assert_eq!(desk.detectors.late(), 1);
}

#[test]
fn ticks_with_skipped_conditions_are_not_judged() {
    let config = DetectConfig { skip_conditions: vec!["20*".to_owned()], ..only_spikes(SpikeConfig::default()) };
    let mut desk = Desk::new(&config);
    desk.said(0, calm(200));
    let symbol = desk.names.symbols.intern("AAPL").unwrap().0;
    let [skipped, judged] = ["2010", "0010"].map(|text| desk.names.conditions.intern(text).unwrap().0);
    let far = |conditions, at_s| Tick { conditions, ..tick(symbol, START_US + at_s * SECOND_US, 110.0) };
    assert_eq!(desk.show(far(skipped, 200), None), []);
    assert_eq!(desk.show(far(judged, 201), None).len(), 1);
    assert_eq!(desk.detectors.skipped(), 1);
}

#[test]
fn override_is_about_its_symbols_only() {
    let overrides = r#"[{"symbol":"A*","spike":{"enabled":false}},{"symbol":"AB*","spike":{"enabled":true}}]"#;
    let r#override = serde_json::from_str(overrides).unwrap();
    let mut desk = Desk::new(&DetectConfig { r#override, ..only_spikes(SpikeConfig::default()) });
    let mut spikes = |symbol: &str| {
        let prices = calm(100).chain([110.0]).zip(0..);
        prices.map(|(price, at_s)| desk.see(symbol, at_s * SECOND_US, price).len()).sum::<usize>()
    };
    assert_eq!(["AAPL", "ABC", "MSFT"].map(&mut spikes), [0, 1, 1]);
}

#[test]
fn tick_size_is_learnt_where_none_is_given() {
    let coin = |count: usize| calm(count).map(|price| (price - 99.0) / 1_000.0);
    let far = [0.001_9];
    let mut desk = Desk::usual();
    assert_eq!(desk.said(0, coin(60)), []);
    assert_eq!(desk.said(60, far).len(), 1);
    let mut desk = Desk::new(&only_spikes(SpikeConfig { tick_size: Some(0.01), ..SpikeConfig::default() }));
    desk.said(0, coin(60));
    assert_eq!(desk.said(60, far), [], "cents are coarse for it");
}

/// Shows a tick of each of `symbols` in each of `seconds`, decoded 50 ms later.
fn feed(desk: &mut Desk, symbols: &[&str], seconds: std::ops::Range<i64>) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for at_s in seconds {
        for symbol in symbols {
            let symbol = desk.names.symbols.intern(symbol).unwrap().0;
            let at_us = START_US + at_s * SECOND_US;
            alerts.extend(desk.show(tick(symbol, at_us, 100.0), Some(at_us + 50_000)));
        }
    }
    alerts
}

#[test]
fn feed_that_falls_silent_is_told_by_time_alone_and_over_when_it_is_back() {
    for (symbols, of) in [(&["A", "B"][..], "*"), (&["A"], "A")] {
        let gap = GapConfig::default();
        let mut desk =
            Desk::new(&DetectConfig { gap, ..only_spikes(SpikeConfig { enabled: false, ..SpikeConfig::default() }) });
        assert_eq!(feed(&mut desk, symbols, 0..400), []);
        let mut raised = Vec::new();
        let idle = |desk: &mut Desk, at_s: i64, raised: &mut Vec<Raised>| {
            desk.detectors.idle(START_US + at_s * SECOND_US, raised);
        };
        idle(&mut desk, 410, &mut raised);
        assert_eq!(raised, []);
        (411..500).for_each(|at_s| idle(&mut desk, at_s, &mut raised));
        let alerts = alerts_of(raised);
        let [alert] = &alerts[..] else { panic!("{alerts:?}") };
        assert_eq!((&*alert.symbol, alert.kind, alert.state), (of, Kind::Gap, State::Open));
        let back = feed(&mut desk, symbols, 500..600);
        let [close] = &back[..] else { panic!("{back:?}") };
        assert_eq!((&close.event, close.state, close.observed), (&alert.event, State::Close, 100.0));
    }
}

#[test]
fn far_price_is_decided_while_nothing_comes() {
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200).chain([110.0]));
    let mut raised = Vec::new();
    desk.detectors.idle(START_US + 209 * SECOND_US, &mut raised);
    assert_eq!(raised, []);
    desk.detectors.idle(START_US + 210 * SECOND_US, &mut raised);
    assert_eq!(raised.len(), 1);
}

#[test]
fn market_that_calms_down_at_the_same_time_each_day_has_no_gap_then() {
    let gap = GapConfig::default();
    let mut desk =
        Desk::new(&DetectConfig { gap, ..only_spikes(SpikeConfig { enabled: false, ..SpikeConfig::default() }) });
    let day_s = 86_400;
    // A is busy for an hour, until the full hour, and then has a tick every 40 seconds. B has a tick every second.
    let gaps = |desk: &mut Desk, day: i64| -> usize {
        let mut gaps = 0;
        let mut see = |symbol, at_s: i64| {
            let alerts = desk.see(symbol, at_s * SECOND_US, 100.0);
            gaps += alerts.iter().filter(|alert| *alert.symbol == *"A").count();
        };
        for at_s in day * day_s..day * day_s + 7_200 {
            let is_busy = at_s % day_s < 3_600;
            if is_busy || at_s % 40 == 0 {
                see("A", at_s);
            }
            see("B", at_s);
        }
        gaps
    };
    let days = [0, 1, 2].map(|day| gaps(&mut desk, day));
    assert_eq!(days, [1, 0, 0], "the first day learns that less comes then, and the other days know it");
}

/// Ticks come in another order, within a second or two. The sums of panes stay the same (see `panes`), so volume finds
/// the same. Detectors that use the order of prices may see other ways. On a calm market neither finds anything, and a
/// bad print is found whatever comes around it.
#[test]
fn order_of_arrival_within_the_lateness_changes_no_event_of_a_calm_market_with_bad_prints() {
    let mut random = 7_u64;
    let mut below = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    // Three ticks a second for 20 minutes, some of them bad prints.
    let mut ticks: Vec<(i64, f64)> = (0..3_600_i64)
        .map(|at| {
            let cents = 10_000 + below(6) as i64 + if at > 600 && at % 397 == 0 { 300 } else { 0 };
            (at * SECOND_US / 3, cents as f64 / 100.0)
        })
        .collect();
    let opened = |ticks: &[(i64, f64)]| -> Vec<(Kind, i64)> {
        let mut desk = Desk::new(&DetectConfig::default());
        let mut opened: Vec<_> = ticks
            .iter()
            .flat_map(|&(at_us, price)| desk.see("AAPL", at_us, price))
            .map(|alert| (alert.kind, alert.ts_us))
            .collect();
        opened.sort_by_key(|&(_, ts_us)| ts_us);
        opened
    };
    let in_order = opened(&ticks);
    assert!(in_order.len() >= 7 && in_order.iter().all(|(kind, _)| *kind == Kind::Spike), "{in_order:?}");
    for at in 0..ticks.len() {
        let other = (at + below(6) as usize).min(ticks.len() - 1);
        ticks.swap(at, other);
    }
    assert_eq!(opened(&ticks), in_order);
}

#[test]
fn second_silence_right_behind_the_first_is_told_as_well() {
    let gap = GapConfig::default();
    let spikes = SpikeConfig { enabled: false, ..SpikeConfig::default() };
    let mut desk = Desk::new(&DetectConfig { gap, ..only_spikes(spikes) });
    let mut said = Vec::new();
    for at_s in 0..560 {
        for symbol in ["A", "B"] {
            // A has one tick after 450 s, between two silences.
            if symbol == "B" || at_s < 400 || at_s == 450 {
                let alerts = desk.all(symbol, at_s * SECOND_US, 100.0);
                said.extend(alerts.into_iter().map(|alert| (alert.state, (alert.ts_us - START_US) / SECOND_US)));
            }
        }
    }
    let [(State::Open, 415), (State::Close, 450), (State::Open, again)] = said[..] else { panic!("{said:?}") };
    assert!((465..510).contains(&again), "{again}");
}

#[test]
fn events_of_a_symbol_that_is_forgotten_are_over() {
    let config = DetectConfig { idle_max: Duration::from_secs(100), ..lines(&[line("AAPL", 10.0)]) };
    let mut desk = Desk::new(&config);
    assert_eq!(desk.said(0, [9.0, 10.5]), [(Kind::Threshold, State::Open, 1)]);
    let alerts = desk.all("MSFT", 1_000 * SECOND_US, 1.0);
    assert_eq!(alerts.iter().map(|alert| (&*alert.symbol, alert.state)).collect::<Vec<_>>(), [("AAPL", State::Close)]);
}

#[test]
fn price_that_is_far_from_the_old_level_only_is_no_second_shift() {
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200));
    let said = desk.said(200, above(4, 1.0).chain([102.3]).chain(above(60, 1.15)));
    assert_eq!(said.iter().filter(|(kind, ..)| *kind == Kind::LevelShift).count(), 1, "{said:?}");
    let mut desk = Desk::new(&shifts());
    desk.said(0, calm(200));
    let spikes = desk.said(200, above(5, 1.0).chain([99.5]).chain(calm(20)));
    let expected = [(Kind::Spike, State::Open, 200), (Kind::Spike, State::Open, 205)];
    assert_eq!(spikes, expected, "five bad prints and another one right behind are no level");
}
