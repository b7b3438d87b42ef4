-- The 20 symbols whose price moved the most between their first and their last tick, in percent, with their range.
--
-- Days: yesterday and today, UTC. Widen or move them at "dt >=".
-- Scans: symbol, ts, price, volume and seq of those days; the other days are pruned by their partitions.
WITH ranked AS (
  SELECT
    symbol,
    price,
    volume,
    row_number() OVER (PARTITION BY symbol ORDER BY ts, seq NULLS LAST) AS from_start,
    row_number() OVER (PARTITION BY symbol ORDER BY ts DESC, seq DESC NULLS FIRST) AS from_end
  FROM ticks
  WHERE dt >= cast(current_date - interval '1' day AS varchar)
),
moves AS (
  SELECT
    symbol,
    max(CASE WHEN from_start = 1 THEN price END) AS first_price,
    max(CASE WHEN from_end = 1 THEN price END) AS last_price,
    min(price) AS low_price,
    max(price) AS high_price,
    sum(volume) AS volume
  FROM ranked
  GROUP BY symbol
),
changes AS (
  SELECT
    symbol,
    first_price,
    last_price,
    100 * (last_price - first_price) / nullif(first_price, 0) AS percent,
    abs(100 * (last_price - first_price) / nullif(first_price, 0)) AS distance,
    low_price,
    high_price,
    volume
  FROM moves
)
SELECT
  symbol,
  first_price,
  last_price,
  round(percent, 4) AS change_percent,
  low_price,
  high_price,
  volume
FROM changes
-- distance is a column because DataFusion 55 refuses its own plan if it sorts by abs() of other columns.
ORDER BY distance DESC NULLS LAST, symbol
LIMIT 20
