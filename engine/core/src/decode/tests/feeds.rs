//! The public feeds in the documentation of [`DecodeConfig`], each with a message from the vendor's documentation.

use super::*;

fn config(json: &str) -> DecodeConfig {
    serde_json::from_str(json).unwrap()
}

fn only_tick(config: &DecodeConfig, body: &str) -> NamedTick {
    let outcome = decode_message(config, &Message { received_at_us: NOW_US, ..message(body.as_bytes()) });
    assert_eq!(outcome.refused(), []);
    assert_eq!(outcome.ticks.len(), 1);
    outcome.ticks[0].clone()
}

#[test]
fn canonical_form_needs_no_mapping() {
    let body = r#"{"symbol":"AAPL","price":187.25,"volume":100,"ts":1795442399123456,"seq":42,"venue":"XNAS","conditions":"@ I"}"#;
    let expected = NamedTick {
        symbol: "AAPL".to_owned(),
        ts_us: 1_795_442_399_123_456,
        price: 187.25,
        volume: 100.0,
        seq: Some(42),
        venue: Some("XNAS".to_owned()),
        conditions: Some("@ I".to_owned()),
    };
    assert_eq!(only_tick(&DecodeConfig::default(), body), expected);
}

#[test]
fn three_fields_are_a_tick() {
    let tick = only_tick(&DecodeConfig::default(), r#"{"symbol":"AAPL","price":187.25,"volume":100}"#);
    assert_eq!((tick.price, tick.volume, tick.ts_us, tick.seq), (187.25, 100.0, NOW_US - 500, None));
}

#[test]
fn binance_trades_decode() {
    let config = config(
        r#"{"numbers_as_strings":true,"ts_unit":"ms",
            "fields":{"symbol":"s","price":"p","volume":"q","ts":"T","seq":"t"}}"#,
    );
    let body = r#"{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}"#;
    let tick = only_tick(&config, body);
    assert_eq!((tick.symbol.as_str(), tick.price, tick.volume), ("BNBBTC", 0.001, 100.0));
    assert_eq!((tick.ts_us, tick.seq), (1_672_515_782_136_000, Some(12345)));
}

#[test]
fn coinbase_matches_decode() {
    let config = config(
        r#"{"numbers_as_strings":true,"ts_unit":"rfc3339",
            "fields":{"symbol":"product_id","volume":"size","ts":"time","seq":"trade_id"}}"#,
    );
    let body = r#"{"type":"match","trade_id":10,"sequence":50,"maker_order_id":"ac928c66-ca53-498f-9c13-a110027a60e8",
        "taker_order_id":"132fb6ae-456b-4654-b4e0-d681ac05cea1","time":"2014-11-07T08:19:27.028459Z",
        "product_id":"BTC-USD","size":"5.23512","price":"400.23","side":"sell"}"#;
    let tick = only_tick(&config, body);
    assert_eq!((tick.symbol.as_str(), tick.price, tick.volume), ("BTC-USD", 400.23, 5.23512));
    assert_eq!((tick.ts_us, tick.seq), (1_415_348_367_028_459, Some(10)));
}

#[test]
fn polygon_trades_decode() {
    let config = config(
        r#"{"ts_unit":"ms","fields":{"symbol":"sym","price":"p","volume":"s","ts":"t","seq":"q","venue":"x","conditions":"c"}}"#,
    );
    let body = r#"[{"ev":"T","sym":"MSFT","x":4,"i":"12345","z":3,"p":114.125,"s":100,"c":[0,12],"t":1536036818784,"q":3681328}]"#;
    let tick = only_tick(&config, body);
    assert_eq!((tick.symbol.as_str(), tick.price, tick.volume), ("MSFT", 114.125, 100.0));
    assert_eq!((tick.ts_us, tick.seq), (1_536_036_818_784_000, Some(3_681_328)));
    assert_eq!((tick.venue.as_deref(), tick.conditions.as_deref()), (Some("4"), Some("0 12")));
}

#[test]
fn alpaca_trades_decode() {
    let config = config(
        r#"{"ts_unit":"rfc3339",
            "fields":{"symbol":"S","price":"p","volume":"s","ts":"t","seq":"i","venue":"x","conditions":"c"}}"#,
    );
    let body = r#"[{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@","I"],"z":"C"}]"#;
    let tick = only_tick(&config, body);
    assert_eq!((tick.symbol.as_str(), tick.price, tick.volume), ("AAPL", 126.55, 1.0));
    assert_eq!((tick.ts_us, tick.seq), (1_614_009_104_208_000, Some(96921)));
    assert_eq!((tick.venue.as_deref(), tick.conditions.as_deref()), (Some("D"), Some("@ I")));
}

#[test]
fn strings_are_numbers_only_where_the_config_says_so() {
    let body = r#"{"symbol":"A","price":"1.5","volume":"100","ts":"1795442399123456","seq":"7"}"#;
    assert_eq!(decode(body).refused(), [(Some(0), Reason::BadPrice, body.as_bytes())]);
    let config = DecodeConfig { numbers_as_strings: true, ..DecodeConfig::default() };
    let tick = only_tick(&config, body);
    assert_eq!((tick.price, tick.volume, tick.ts_us, tick.seq), (1.5, 100.0, 1_795_442_399_123_456, Some(7)));
    assert_eq!(only_tick(&config, &super::tick("A")).price, 1.5);
}
