//! Presets: mappings of public feeds by name.
//!
//! Each preset follows the documentation in `source`, and has a test with messages of that form. This file owns the
//! knowledge about feeds. It does *not* own what the settings mean ([`super::config`]).

/// The settings for one kind of message of a public feed.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name in `decode.preset`.
    pub name: &'static str,
    /// The feed, and the kind of its messages.
    pub title: &'static str,
    /// Where the vendor documents the form, and the date of that document.
    pub source: &'static str,
    /// The settings that differ from the defaults, as JSON.
    json: &'static str,
}

impl Preset {
    /// All of them, in the order of their names.
    pub const ALL: &[Preset] = &PRESETS;

    /// The preset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The names of all of them.
    #[must_use]
    pub fn names() -> String {
        PRESETS.map(|preset| preset.name).join(", ")
    }

    /// The settings that differ from the defaults.
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test reads every preset")]
    pub fn settings(&self) -> serde_json::Value {
        serde_json::from_str(self.json).expect("every preset is JSON")
    }
}

const PRESETS: [Preset; 26] = [
    Preset {
        name: "alpaca",
        title: "Alpaca, trades of stocks and crypto",
        source: "docs.alpaca.markets real-time-stock-pricing-data; alpaca-trade-api-go of 2026-05-08",
        json: r#"{"only":{"T":["t"]},"ts_unit":"rfc3339",
            "fields":{"symbol":"S","price":"p","volume":"s","ts":"t","seq":"i","venue":"x","conditions":"c"}}"#,
    },
    Preset {
        name: "binance",
        title: "Binance spot, raw stream <symbol>@trade",
        source: "binance-spot-api-docs web-socket-streams.md of 2026-07-21",
        json: r#"{"only":{"e":["trade"]},"ts_unit":"ms","numbers_as_strings":true,
            "fields":{"symbol":"s","price":"p","volume":"q","ts":"T","seq":"t"}}"#,
    },
    Preset {
        name: "binance-aggtrade",
        title: "Binance spot, raw stream <symbol>@aggTrade",
        source: "binance-spot-api-docs web-socket-streams.md of 2026-07-21",
        json: r#"{"only":{"e":["aggTrade"]},"ts_unit":"ms","numbers_as_strings":true,
            "fields":{"symbol":"s","price":"p","volume":"q","ts":"T","seq":"a"}}"#,
    },
    Preset {
        name: "binance-combined",
        title: "Binance spot, combined streams with <symbol>@trade",
        source: "binance-spot-api-docs web-socket-streams.md of 2026-07-21",
        json: r#"{"ticks":"data","only":{"e":["trade"]},"ts_unit":"ms","numbers_as_strings":true,
            "fields":{"symbol":"s","price":"p","volume":"q","ts":"T","seq":"t"}}"#,
    },
    Preset {
        name: "bitstamp",
        title: "Bitstamp, channels live_trades_*",
        source: "messages of 2026-03-05 in the tests of Bitstamp.Net of 2026-08-06",
        json: r#"{"ticks":"data","only":{"/event":["trade"],"/channel":["live_trades_*"]},"ts_unit":"us",
            "numbers_as_strings":true,"symbol_prefix":"live_trades_",
            "fields":{"symbol":"/channel","price":"price_str","volume":"amount_str","ts":"microtimestamp","seq":"id"}}"#,
    },
    Preset {
        name: "bybit",
        title: "Bybit v5, topics publicTrade.*, without block trades",
        source: "bybit-exchange/docs v5 websocket public trade of 2026-07-24",
        json: r#"{"ticks":"data[]","only":{"/topic":["publicTrade.*"],"BT":[false,""]},"ts_unit":"ms",
            "numbers_as_strings":true,"fields":{"symbol":"s","price":"p","volume":"v","ts":"T","seq":"i"}}"#,
    },
    Preset {
        name: "coinbase",
        title: "Coinbase Exchange, channel matches",
        source: "docs.cdp.coinbase.com exchange/websocket-feed/channels, without a date",
        json: r#"{"only":{"type":["match"]},"ts_unit":"rfc3339","numbers_as_strings":true,
            "fields":{"symbol":"product_id","volume":"size","ts":"time","seq":"trade_id"}}"#,
    },
    Preset {
        name: "coinbase-advanced",
        title: "Coinbase Advanced Trade, channel market_trades",
        source: "docs.cdp.coinbase.com advanced-trade market-trades; a message of 2026-04-07 in nautilus_trader",
        json: r#"{"ticks":"events[].trades[]","only":{"/channel":["market_trades"],"/events/type":["update"]},
            "ts_unit":"rfc3339","numbers_as_strings":true,
            "fields":{"symbol":"product_id","volume":"size","ts":"time","seq":"trade_id"}}"#,
    },
    Preset {
        name: "databento",
        title: "Databento, schema trades as JSON lines, prices and times as integers",
        source: "databento/dbn 0.54.0 of 2026-04-14",
        json: r#"{"only":{"hd/rtype":[0],"action":["T"]},"ts_unit":"ns","numbers_as_strings":true,"price_digits":9,
            "fields":{"volume":"size","ts":"hd/ts_event","seq":"sequence","venue":"hd/publisher_id"}}"#,
    },
    Preset {
        name: "databento-pretty",
        title: "Databento, schema trades as JSON lines, prices and times as text",
        source: "databento/dbn 0.54.0 of 2026-04-14",
        json: r#"{"only":{"hd/rtype":[0],"action":["T"]},"ts_unit":"rfc3339","numbers_as_strings":true,
            "fields":{"volume":"size","ts":"hd/ts_event","seq":"sequence","venue":"hd/publisher_id"}}"#,
    },
    Preset {
        name: "deribit",
        title: "Deribit, channels trades.*, without block trades",
        source: "docs.deribit.com trades channel; messages of 2025-12 in nautilus_trader",
        json: r#"{"ticks":"params.data[]","only":{"/method":["subscription"],"/params/channel":["trades.*"],
            "block_trade_id":[""]},"ts_unit":"ms",
            "fields":{"symbol":"instrument_name","volume":"amount","ts":"timestamp","seq":"trade_seq"}}"#,
    },
    Preset {
        name: "finnhub",
        title: "Finnhub, trades",
        source: "Finnhub websocket-trades of 2026-08-22; messages of 2022-12",
        json: r#"{"ticks":"data[]","only":{"/type":["trade"]},"ts_unit":"ms","skip_zero_volume":true,
            "fields":{"symbol":"s","price":"p","volume":"v","ts":"t","conditions":"c"}}"#,
    },
    Preset {
        name: "gemini",
        title: "Gemini, market data v2, without block trades",
        source: "messages of 2021-06; tardis-node of 2026-08-22",
        json: r#"{"only":{"type":["trade"],"side":["buy","sell"]},"ts_unit":"ms","numbers_as_strings":true,
            "fields":{"volume":"quantity","ts":"timestamp","seq":"event_id"}}"#,
    },
    Preset {
        name: "gemini-stream",
        title: "Gemini, streams <symbol>@trade",
        source: "gemini/developer-platform of 2026-05-18",
        json: r#"{"only":{"t":["*"]},"ts_unit":"ns","numbers_as_strings":true,
            "fields":{"symbol":"s","price":"p","volume":"q","ts":"E","seq":"t"}}"#,
    },
    Preset {
        name: "kraken",
        title: "Kraken spot v2, channel trade",
        source: "docs.kraken.com spot-websocket-v2/trade of 2026",
        json: r#"{"ticks":"data[]","only":{"/channel":["trade"],"/type":["update"]},"ts_unit":"rfc3339",
            "fields":{"volume":"qty","ts":"timestamp","seq":"trade_id"}}"#,
    },
    Preset {
        name: "kraken-futures",
        title: "Kraken futures, feed trade, without block trades",
        source: "docs.kraken.com futures-websocket/trade; nautilus_trader of 2026-07-02",
        json: r#"{"only":{"feed":["trade"],"type":["fill","liquidation","termination",""]},"ts_unit":"ms",
            "fields":{"symbol":"product_id","volume":"qty","ts":"time"}}"#,
    },
    Preset {
        name: "kraken-v1",
        title: "Kraken spot v1, channel trade",
        source: "docs.kraken.com spot-websocket-v1/trade; messages of 2021-04-17",
        json: r#"{"ticks":"[1][]","only":{"/2":["trade"]},"ts_unit":"s","numbers_as_strings":true,
            "fields":{"symbol":"/3","price":"0","volume":"1","ts":"2"}}"#,
    },
    Preset {
        name: "kucoin",
        title: "KuCoin spot, topics /market/match:*",
        source: "Kucoin/kucoin-universal-sdk spec/ws of 2025-11-04",
        json: r#"{"ticks":"data","only":{"/type":["message"],"/subject":["trade.l3match"]},"ts_unit":"ns",
            "numbers_as_strings":true,"fields":{"volume":"size","ts":"time","seq":"sequence"}}"#,
    },
    Preset {
        name: "kucoin-futures",
        title: "KuCoin futures, topics /contractMarket/execution:*",
        source: "Kucoin/kucoin-universal-sdk spec/ws of 2025-11-04",
        json: r#"{"ticks":"data","only":{"/subject":["match"]},"ts_unit":"ns","numbers_as_strings":true,
            "ts_required":true,"fields":{"volume":"size","seq":"sequence"}}"#,
    },
    Preset {
        name: "okx",
        title: "OKX, channel trades: aggregates, with the id of their last trade",
        source: "okx.com/docs-v5, without a date, 2025 or later",
        json: r#"{"ticks":"data[]","only":{"/arg/channel":["trades"],"/event":[""]},"ts_unit":"ms","ts_required":true,
            "numbers_as_strings":true,"fields":{"symbol":"instId","price":"px","volume":"sz","seq":"tradeId"}}"#,
    },
    Preset {
        name: "okx-all",
        title: "OKX, channel trades-all",
        source: "okx.com/docs-v5, without a date, 2025 or later",
        json: r#"{"ticks":"data[]","only":{"/arg/channel":["trades-all"],"/event":[""]},"ts_unit":"ms","ts_required":true,
            "numbers_as_strings":true,"fields":{"symbol":"instId","price":"px","volume":"sz","seq":"tradeId"}}"#,
    },
    Preset {
        name: "polygon",
        title: "Massive (Polygon), trades of stocks and options",
        source: "massive-com/client-python .massive/websocket.json of 2026-07-09",
        json: r#"{"only":{"ev":["T"]},"ts_unit":"ms",
            "fields":{"symbol":"sym","price":"p","volume":"s","ts":"t","seq":"q","venue":"x","conditions":"c"}}"#,
    },
    Preset {
        name: "polygon-crypto",
        title: "Massive (Polygon), trades of crypto",
        source: "massive-com/client-python .massive/websocket.json of 2026-07-09",
        json: r#"{"only":{"ev":["XT"]},"ts_unit":"ms","numbers_as_strings":true,
            "fields":{"symbol":"pair","price":"p","volume":"s","ts":"t","seq":"i","venue":"x","conditions":"c"}}"#,
    },
    Preset {
        name: "ticklake",
        title: "the canonical form, schemas/tick.schema.json",
        source: "schemas/tick.schema.json",
        json: "{}",
    },
    Preset {
        name: "tiingo-crypto",
        title: "Tiingo, trades of crypto",
        source: "tiingo.com/documentation/websockets, without a date",
        json: r#"{"ticks":"data","only":{"0":["T"]},"ts_unit":"rfc3339",
            "fields":{"symbol":"1","price":"5","volume":"4","ts":"2","venue":"3"}}"#,
    },
    Preset {
        name: "tiingo-iex",
        title: "Tiingo, trades of IEX",
        source: "tiingo.com/documentation/websockets, without a date",
        json: r#"{"ticks":"data","only":{"/messageType":["A"],"0":["T"]},"ts_unit":"ns",
            "fields":{"symbol":"3","price":"9","volume":"10","ts":"2"}}"#,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::DecodeConfig;

    #[test]
    fn every_preset_is_a_valid_configuration_with_a_name_of_its_own() {
        for preset in Preset::ALL {
            assert_eq!(DecodeConfig::of_preset(preset).validate(), Ok(()), "{}", preset.name);
            assert!(preset.settings().is_object(), "{}", preset.name);
        }
        assert!(Preset::ALL.windows(2).all(|two| two[0].name < two[1].name));
    }
}
