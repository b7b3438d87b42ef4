-- One-minute bars: open, high, low and close price, volume and number of ticks of each symbol.
--
-- Days: yesterday and today, UTC. Widen or move them at "dt >=".
-- Scans: symbol, ts, price, volume and seq of those days; the other days are pruned by their partitions. Add
-- "AND symbol = 'AAPL'" beside it to read one symbol: files are sorted by symbol, so the statistics of the row groups
-- skip most of the rest.
WITH ranked AS (
  SELECT
    symbol,
    date_trunc('minute', ts) AS minute_start,
    price,
    volume,
    row_number() OVER (
      PARTITION BY symbol, date_trunc('minute', ts) ORDER BY ts, seq NULLS LAST
    ) AS from_start,
    row_number() OVER (
      PARTITION BY symbol, date_trunc('minute', ts) ORDER BY ts DESC, seq DESC NULLS FIRST
    ) AS from_end
  FROM ticks
  WHERE dt >= cast(current_date - interval '1' day AS varchar)
)
SELECT
  symbol,
  minute_start,
  max(CASE WHEN from_start = 1 THEN price END) AS open_price,
  max(price) AS high_price,
  min(price) AS low_price,
  max(CASE WHEN from_end = 1 THEN price END) AS close_price,
  sum(volume) AS volume,
  count(*) AS ticks
FROM ranked
GROUP BY symbol, minute_start
ORDER BY symbol, minute_start
