-- The last tick of each symbol: its price, when and where it was traded, and how many ticks came before it.
--
-- Days: yesterday and today, UTC. Widen or move them at "dt >=".
-- Scans: symbol, ts, price, volume, seq and venue of those days; the other days are pruned by their partitions, and
-- "AND symbol = 'AAPL'" prunes row groups.
WITH ranked AS (
  SELECT
    symbol,
    ts,
    price,
    volume,
    venue,
    row_number() OVER (PARTITION BY symbol ORDER BY ts DESC, seq DESC NULLS FIRST) AS from_end,
    count(*) OVER (PARTITION BY symbol) AS ticks
  FROM ticks
  WHERE dt >= cast(current_date - interval '1' day AS varchar)
)
SELECT symbol, ts, price, volume, venue, ticks
FROM ranked
WHERE from_end = 1
ORDER BY symbol
