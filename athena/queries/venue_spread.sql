-- How far apart do venues trade the same symbol? A minute's spread is the distance between the volume-weighted prices
-- of its dearest and cheapest venue, in basis points of the lower one. The answer is each symbol's mean and widest
-- minute. Minutes with one venue are left out.
--
-- Days: yesterday and today, UTC. Widen or move them at "dt >=".
-- Scans: symbol, ts, price, volume and venue of those days; the other days are pruned by their partitions, and
-- "AND symbol = 'AAPL'" prunes row groups.
WITH venues AS (
  SELECT
    symbol,
    date_trunc('minute', ts) AS minute_start,
    venue,
    sum(price * volume) / nullif(sum(volume), 0) AS vwap
  FROM ticks
  WHERE dt >= cast(current_date - interval '1' day AS varchar) AND venue IS NOT NULL
  GROUP BY symbol, date_trunc('minute', ts), venue
),
minutes AS (
  SELECT
    symbol,
    minute_start,
    count(vwap) AS venues,
    10000 * (max(vwap) - min(vwap)) / nullif(min(vwap), 0) AS spread_bps
  FROM venues
  GROUP BY symbol, minute_start
  HAVING count(vwap) > 1
)
SELECT
  symbol,
  count(*) AS minutes,
  max(venues) AS venues,
  round(avg(spread_bps), 4) AS mean_spread_bps,
  round(max(spread_bps), 4) AS widest_spread_bps
FROM minutes
GROUP BY symbol
ORDER BY avg(spread_bps) DESC, symbol
