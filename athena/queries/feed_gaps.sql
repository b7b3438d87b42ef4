-- Where did the feed fall silent? The query shows each symbol's longest time without a tick and mean time between
-- ticks, the longest first. Gaps are in whole seconds. A closed market is a gap, too.
--
-- Days: yesterday and today, UTC. Widen or move them at "dt >=".
-- Scans: symbol and ts of those days, the two columns that compress best; "AND symbol = 'AAPL'" prunes row groups.
WITH steps AS (
  SELECT
    symbol,
    ts,
    lag(ts) OVER (PARTITION BY symbol ORDER BY ts) AS previous_ts
  FROM ticks
  WHERE dt >= cast(current_date - interval '1' day AS varchar)
),
gaps AS (
  SELECT
    symbol,
    previous_ts,
    ts,
    -- Times are truncated first, because to_unixtime keeps the fraction on Athena and drops it on DataFusion.
    to_unixtime(date_trunc('second', ts)) - to_unixtime(date_trunc('second', previous_ts)) AS gap_seconds
  FROM steps
  WHERE previous_ts IS NOT NULL
),
ranked AS (
  SELECT
    symbol,
    previous_ts,
    ts,
    gap_seconds,
    avg(gap_seconds) OVER (PARTITION BY symbol) AS mean_seconds,
    row_number() OVER (PARTITION BY symbol ORDER BY gap_seconds DESC, ts) AS place
  FROM gaps
)
SELECT
  symbol,
  previous_ts AS silent_from,
  ts AS silent_until,
  gap_seconds,
  round(mean_seconds, 3) AS mean_seconds
FROM ranked
WHERE place = 1
ORDER BY gap_seconds DESC, symbol
