//! Tests each preset with messages from the vendor's documentation, and with messages that only look like a trade.

use super::*;

/// Symbol, price, volume, microseconds of 2026-11-23, sequence number.
type Expected = (&'static str, f64, f64, i64, Option<i64>);

/// 2026-11-23T00:00:00Z.
const DAY_US: i64 = 1_795_392_000_000_000;

struct Case {
    preset: &'static str,
    body: &'static str,
    ticks: &'static [Expected],
    /// How many events are not ticks.
    left_out: usize,
}

const fn case(preset: &'static str, body: &'static str, ticks: &'static [Expected]) -> Case {
    Case { preset, body, ticks, left_out: 0 }
}

const fn none(preset: &'static str, body: &'static str) -> Case {
    Case { preset, body, ticks: &[], left_out: 1 }
}

const CASES: &[Case] = &[
    case(
        "alpaca",
        r#"[{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2026-11-23T00:00:01.5Z","c":["@","I"],"z":"C"}]"#,
        &[("AAPL", 126.55, 1.0, 1_500_000, Some(96921))],
    ),
    case(
        "alpaca",
        r#"[{"T":"t","S":"BTC/USD","p":94000.5,"s":0.0123,"t":"2026-11-23T00:00:01.123456789Z","i":7,"tks":"B"}]"#,
        &[("BTC/USD", 94000.5, 0.0123, 1_123_456, Some(7))],
    ),
    none(
        "alpaca",
        r#"[{"T":"x","S":"AAPL","i":96921,"x":"D","p":126.55,"s":1,"a":"C","z":"C","t":"2026-11-23T00:00:02Z"}]"#,
    ),
    none(
        "alpaca",
        r#"[{"T":"c","S":"AAPL","x":"D","oi":1,"op":1.5,"os":1,"oc":[" "],"ci":2,"cp":1.6,"cs":1,"cc":[" "],"z":"C","t":"2026-11-23T00:00:02Z"}]"#,
    ),
    none("alpaca", r#"[{"T":"success","msg":"authenticated"}]"#),
    case(
        "binance",
        r#"{"e":"trade","E":1795392001000,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1795392001000,"m":true,"M":true}"#,
        &[("BNBBTC", 0.001, 100.0, 1_000_000, Some(12345))],
    ),
    none(
        "binance",
        r#"{"e":"24hrTicker","E":1795392001000,"s":"BNBUSDT","p":"7.10","P":"2.5","c":"290.1","Q":"10","q":"54828000"}"#,
    ),
    none(
        "binance",
        r#"{"e":"blockTrade","E":1795392001000,"s":"BNBBTC","t":1,"p":"0.001","q":"100","T":1795392001000}"#,
    ),
    none("binance", r#"{"result":null,"id":1}"#),
    case(
        "binance-aggtrade",
        r#"{"e":"aggTrade","E":1795392001000,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1795392001000,"m":true,"M":true}"#,
        &[("BNBBTC", 0.001, 100.0, 1_000_000, Some(12345))],
    ),
    case(
        "binance-combined",
        r#"{"stream":"bnbbtc@trade","data":{"e":"trade","E":1795392001000,"s":"BNBBTC","t":5,"p":"0.001","q":"100","T":1795392001000,"m":true,"M":true}}"#,
        &[("BNBBTC", 0.001, 100.0, 1_000_000, Some(5))],
    ),
    none("binance-combined", r#"{"stream":"bnbbtc@kline_1m","data":{"e":"kline","s":"BNBBTC","k":{}}}"#),
    case(
        "bitstamp",
        r#"{"data":{"id":502,"timestamp":"1795392001","amount":0.014140160000000001,"amount_str":"0.01414016","price":72500,"price_str":"72500","type":0,"microtimestamp":"1795392001255000","buy_order_id":1,"sell_order_id":2},"channel":"live_trades_btcusd","event":"trade"}"#,
        &[("btcusd", 72500.0, 0.014_140_16, 1_255_000, Some(502))],
    ),
    none("bitstamp", r#"{"event":"bts:subscription_succeeded","channel":"live_trades_btcusd","data":{}}"#),
    case(
        "bybit",
        r#"{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1795392001100,"data":[{"T":1795392001000,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"2290000000067834112","BT":false},{"T":1795392001001,"s":"BTCUSDT","S":"Sell","v":"2","p":"16578.00","L":"MinusTick","i":"2290000000067834113","BT":true}]}"#,
        &[("BTCUSDT", 16578.5, 0.001, 1_000_000, Some(2_290_000_000_067_834_112))],
    ),
    none("bybit", r#"{"success":true,"ret_msg":"","op":"subscribe","conn_id":"x"}"#),
    case(
        "coinbase",
        r#"{"type":"match","trade_id":10,"sequence":50,"maker_order_id":"ac928c66-ca53-498f-9c13-a110027a60e8","taker_order_id":"132fb6ae-456b-4654-b4e0-d681ac05cea1","time":"2026-11-23T00:00:01.028459Z","product_id":"BTC-USD","size":"5.23512","price":"400.23","side":"sell"}"#,
        &[("BTC-USD", 400.23, 5.23512, 1_028_459, Some(10))],
    ),
    none(
        "coinbase",
        r#"{"type":"last_match","trade_id":10,"sequence":50,"time":"2026-11-23T00:00:01.028459Z","product_id":"BTC-USD","size":"5.23512","price":"400.23","side":"sell"}"#,
    ),
    case(
        "coinbase-advanced",
        r#"{"channel":"market_trades","client_id":"","timestamp":"2026-11-23T00:00:02Z","sequence_num":0,"events":[{"type":"update","trades":[{"trade_id":"11","product_id":"ETH-USD","price":"1260.01","size":"0.3","side":"BUY","time":"2026-11-23T00:00:01.348797Z"},{"trade_id":"12","product_id":"ETH-USD","price":"1260.02","size":"0.4","side":"SELL","time":"2026-11-23T00:00:01.5Z"}]}]}"#,
        &[("ETH-USD", 1260.01, 0.3, 1_348_797, Some(11)), ("ETH-USD", 1260.02, 0.4, 1_500_000, Some(12))],
    ),
    none(
        "coinbase-advanced",
        r#"{"channel":"market_trades","timestamp":"2026-11-23T00:00:02Z","sequence_num":0,"events":[{"type":"snapshot","trades":[{"trade_id":"11","product_id":"ETH-USD","price":"1260.01","size":"0.3","side":"BUY","time":"2026-11-23T00:00:01.348797Z"}]}]}"#,
    ),
    none("coinbase-advanced", r#"{"channel":"heartbeats","events":[{"current_time":"x","heartbeat_counter":3}]}"#),
    case(
        "databento",
        r#"{"ts_recv":"1795392001000000999","hd":{"ts_event":"1795392001000000500","rtype":0,"publisher_id":1,"instrument_id":5482},"action":"T","side":"A","depth":0,"price":"3720250000000","size":5,"flags":129,"ts_in_delta":19251,"sequence":1170380,"symbol":"ESH1"}"#,
        &[("ESH1", 3720.25, 5.0, 1_000_000, Some(1_170_380))],
    ),
    none(
        "databento",
        r#"{"hd":{"ts_event":"1795392001000000500","rtype":23,"publisher_id":1,"instrument_id":0},"msg":"x"}"#,
    ),
    case(
        "databento-pretty",
        r#"{"ts_recv":"2026-11-23T00:00:01.000000999Z","hd":{"ts_event":"2026-11-23T00:00:01.000000500Z","rtype":0,"publisher_id":1,"instrument_id":5482},"action":"T","side":"A","depth":0,"price":"3720.250000000","size":5,"flags":129,"ts_in_delta":19251,"sequence":1170380,"symbol":"ESH1"}"#,
        &[("ESH1", 3720.25, 5.0, 1_000_000, Some(1_170_380))],
    ),
    case(
        "deribit",
        r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.raw","data":[{"trade_seq":30289442,"trade_id":"48079269","timestamp":1795392001522,"tick_direction":2,"price":8950.0,"mark_price":8948.9,"instrument_name":"BTC-PERPETUAL","index_price":8955.88,"direction":"sell","amount":5e-1}]}}"#,
        &[("BTC-PERPETUAL", 8950.0, 0.5, 1_522_000, Some(30_289_442))],
    ),
    none("deribit", r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#),
    case(
        "finnhub",
        r#"{"data":[{"p":7296.89,"s":"BINANCE:BTCUSDT","t":1795392001336,"v":0.011467,"c":null},{"p":7296.9,"s":"BINANCE:BTCUSDT","t":1795392001337,"v":0}],"type":"trade"}"#,
        &[("BINANCE:BTCUSDT", 7296.89, 0.011_467, 1_336_000, None)],
    ),
    none("finnhub", r#"{"type":"ping"}"#),
    case(
        "gemini",
        r#"{"type":"trade","symbol":"BTCUSD","event_id":169841458,"timestamp":1795392001336,"price":"35979.98","quantity":"0.0073","side":"sell"}"#,
        &[("BTCUSD", 35979.98, 0.0073, 1_336_000, Some(169_841_458))],
    ),
    none(
        "gemini",
        r#"{"type":"trade","symbol":"BTCUSD","event_id":1,"timestamp":1795392001336,"price":"35979.98","quantity":"100","side":"block"}"#,
    ),
    none(
        "gemini",
        r#"{"type":"l2_updates","symbol":"BTCUSD","changes":[],"trades":[{"type":"trade","symbol":"BTCUSD","price":"1"}]}"#,
    ),
    case(
        "gemini-stream",
        r#"{"E":1795392001336000123,"s":"BTCUSD","t":2840140956529623,"p":"50000.00","q":"0.5","m":false}"#,
        &[("BTCUSD", 50000.0, 0.5, 1_336_000, Some(2_840_140_956_529_623))],
    ),
    none("gemini-stream", r#"{"id":1,"status":200}"#),
    case(
        "kraken",
        r#"{"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,"ord_type":"market","trade_id":4665906,"timestamp":"2026-11-23T00:00:01.123456Z"}]}"#,
        &[("MATIC/USD", 0.5117, 40.0, 1_123_456, Some(4_665_906))],
    ),
    none(
        "kraken",
        r#"{"channel":"trade","type":"snapshot","data":[{"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,"ord_type":"market","trade_id":4665906,"timestamp":"2026-11-23T00:00:01.123456Z"}]}"#,
    ),
    none("kraken", r#"{"channel":"heartbeat"}"#),
    case(
        "kraken-futures",
        r#"{"feed":"trade","product_id":"PI_XBTUSD","uid":"05af78ac-a774-478c-a50c-8b9c234e071e","side":"sell","type":"fill","seq":653355,"time":1795392001516,"qty":15000,"price":34969.5}"#,
        &[("PI_XBTUSD", 34969.5, 15000.0, 1_516_000, Some(653_355))],
    ),
    none(
        "kraken-futures",
        r#"{"feed":"trade_snapshot","product_id":"PI_XBTUSD","trades":[{"feed":"trade","price":1,"qty":2}]}"#,
    ),
    case(
        "kraken-v1",
        r#"[0,[["5541.20000","0.15850568","1795392001.321597","s","l",""],["6060.00000","0.02455000","1795392001.324998","b","l",""]],"trade","XBT/USD"]"#,
        &[("XBT/USD", 5541.2, 0.158_505_68, 1_321_597, None), ("XBT/USD", 6060.0, 0.024_55, 1_324_998, None)],
    ),
    none("kraken-v1", r#"{"event":"heartbeat"}"#),
    none("kraken-v1", r#"[0,{"a":["5525.4","1","1.0"]},"ticker","XBT/USD"]"#),
    case(
        "kucoin",
        r#"{"type":"message","topic":"/market/match:BTC-USDT","subject":"trade.l3match","data":{"makerOrderId":"1","price":"67523","sequence":"11067996711960577","side":"buy","size":"0.003","symbol":"BTC-USDT","takerOrderId":"2","time":"1795392001616000000","tradeId":"11067996711960577","type":"match"}}"#,
        &[("BTC-USDT", 67523.0, 0.003, 1_616_000, Some(11_067_996_711_960_577))],
    ),
    none("kucoin", r#"{"id":"x","type":"welcome"}"#),
    case(
        "kucoin-futures",
        r#"{"topic":"/contractMarket/execution:XBTUSDTM","type":"message","subject":"match","sn":1,"data":{"symbol":"XBTUSDTM","sequence":1794100537695,"side":"buy","size":2,"price":"90503.9","takerOrderId":"1","makerOrderId":"2","tradeId":"1794100537695","ts":1795392001822000000}}"#,
        &[("XBTUSDTM", 90503.9, 2.0, 1_822_000, Some(1_794_100_537_695))],
    ),
    case(
        "okx",
        r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy","ts":"1795392001630","count":"3"}]}"#,
        &[("BTC-USDT", 42219.9, 0.120_603_06, 1_630_000, Some(130_639_474))],
    ),
    none("okx", r#"{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"a4d3ae55"}"#),
    case(
        "okx-all",
        r#"{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"1","px":"42219.9","sz":"1","side":"buy","ts":"1795392001630","source":"0"}]}"#,
        &[("BTC-USDT", 42219.9, 1.0, 1_630_000, Some(1))],
    ),
    case(
        "polygon",
        r#"[{"ev":"T","sym":"MSFT","x":4,"i":"12345","z":3,"p":114.125,"s":100,"c":[0,12],"t":1795392001784,"q":3681328}]"#,
        &[("MSFT", 114.125, 100.0, 1_784_000, Some(3_681_328))],
    ),
    none("polygon", r#"[{"ev":"status","status":"connected","message":"Connected Successfully"}]"#),
    none("polygon", r#"[{"ev":"A","sym":"MSFT","v":1,"o":1.0,"c":1.1,"s":1795392001000,"e":1795392002000}]"#),
    case(
        "polygon-crypto",
        r#"[{"ev":"XT","pair":"BTC-USD","p":33021.9,"t":1795392001784,"s":0.01616617,"c":[2],"i":14272084,"x":3,"r":1795392001785}]"#,
        &[("BTC-USD", 33021.9, 0.016_166_17, 1_784_000, Some(14_272_084))],
    ),
    case(
        "ticklake",
        r#"{"symbol":"AAPL","price":187.25,"volume":100,"ts":1795392001000000,"seq":42}"#,
        &[("AAPL", 187.25, 100.0, 1_000_000, Some(42))],
    ),
    case(
        "tiingo-crypto",
        r#"{"service":"crypto_data","messageType":"A","data":["T","evxbtc","2026-11-23T00:00:01.948000+00:00","bitfinex",405.00,0.00003867]}"#,
        &[("evxbtc", 0.000_038_67, 405.0, 1_948_000, None)],
    ),
    none(
        "tiingo-crypto",
        r#"{"service":"crypto_data","messageType":"A","data":["Q","btcusd","2026-11-23T00:00:01.948000+00:00","gdax",1.0,2.0,1.5,3.0,2.5]}"#,
    ),
    case(
        "tiingo-iex",
        r#"{"messageType":"A","service":"iex","data":["T","2026-11-23T00:00:01.787928-05:00",1795392001787928315,"vym",null,null,null,null,null,81.5,200,null,0,0,0,0]}"#,
        &[("vym", 81.5, 200.0, 1_787_928, None)],
    ),
    none(
        "tiingo-iex",
        r#"{"messageType":"A","service":"iex","data":["B","2026-11-23T00:00:01.787928-05:00",1795392001787928315,"vym",null,null,null,null,null,81.5,200,null,0,0,0,0]}"#,
    ),
    none("tiingo-iex", r#"{"messageType":"H","response":{"code":200,"message":"HeartBeat"}}"#),
];

#[test]
fn every_documented_message_is_read_right_and_no_other_event_is_a_tick() {
    for Case { preset, body, ticks, left_out } in CASES {
        let config = DecodeConfig::of_preset(Preset::named(preset).unwrap());
        let names = Dictionaries::new(100);
        let mut decoder = Decoder::new(&config, &names);
        // The second time, the message may be read by the shape of the first.
        for _ in 0..2 {
            let (mut batch, mut rejects) = (TickBatch::default(), Vec::new());
            decoder.decode(&message(body.as_bytes()), &mut batch, &mut rejects);
            let found: Vec<_> = (0..batch.len())
                .map(|row| {
                    let symbol = names.symbols.get(batch.symbol[row]).unwrap().to_string();
                    (symbol, batch.price[row], batch.volume[row], batch.ts_us[row] - DAY_US, batch.seq[row])
                })
                .collect();
            let expected: Vec<_> = ticks
                .iter()
                .map(|(symbol, price, volume, us, seq)| ((*symbol).to_owned(), *price, *volume, *us, *seq))
                .collect();
            assert_eq!((found, rejects), (expected, vec![]), "{preset}: {body}");
            // If a message has several events, some may be left out.
            assert!(decoder.left_out().len() >= *left_out, "{preset}: {body}");
        }
    }
}

#[test]
fn preset_of_a_documented_message_is_guessed() {
    for Case { preset, body, ticks, .. } in CASES.iter().filter(|case| !case.ticks.is_empty()) {
        let guess = guess(&message(body.as_bytes())).unwrap_or_else(|| panic!("{preset}: {body}"));
        assert_eq!((guess.preset, guess.ticks), (Some(*preset), ticks.len()), "{body}");
    }
}

#[test]
fn every_preset_has_a_documented_message() {
    for preset in Preset::ALL {
        assert!(CASES.iter().any(|case| case.preset == preset.name && !case.ticks.is_empty()), "{}", preset.name);
    }
}

#[test]
fn undefined_price_is_no_price() {
    let config = DecodeConfig::of_preset(Preset::named("databento").unwrap());
    let body = r#"{"hd":{"ts_event":"1795392001000000500","rtype":0,"publisher_id":1},"action":"T","price":"9223372036854775807","size":5,"symbol":"ESH1"}"#;
    let outcome = decode_message(&config, &message(body.as_bytes()));
    assert_eq!(outcome.refused(), [(Some(0), Reason::BadPrice, body.as_bytes())]);
}

#[test]
fn message_without_a_time_is_rejected_under_every_preset_that_names_one() {
    let okx = DecodeConfig::of_preset(Preset::named("okx").unwrap());
    let body = r#"{"arg":{"channel":"trades"},"data":[{"instId":"A","px":"1","sz":"2"}]}"#;
    assert_eq!(decode_message(&okx, &message(body.as_bytes())).rejects[0].reason, Reason::MissingTs);
}
