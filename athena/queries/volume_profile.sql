-- At which prices was a symbol traded? Its price range is cut into 20 equal bands, each with its volume and share.
--
-- Days: yesterday and today, UTC. Widen or move them at "dt >=".
-- Scans: symbol, price and volume of those days. Add "AND symbol = 'AAPL'" beside it for one profile: files are sorted
-- by symbol, so the statistics of the row groups skip most of the rest. The range comes from a window and not from a
-- join, because Athena would read the ticks twice for a join.
WITH ranged AS (
  SELECT
    symbol,
    price,
    volume,
    min(price) OVER (PARTITION BY symbol) AS low_price,
    max(price) OVER (PARTITION BY symbol) AS high_price
  FROM ticks
  WHERE dt >= cast(current_date - interval '1' day AS varchar)
),
banded AS (
  SELECT
    symbol,
    volume,
    low_price,
    (high_price - low_price) / 20 AS band_width,
    -- The highest price belongs to the last band; a symbol that never moved has one band.
    coalesce(least(floor(20 * (price - low_price) / nullif(high_price - low_price, 0)), 19), 0) AS band
  FROM ranged
),
profile AS (
  SELECT
    symbol,
    low_price,
    band_width,
    band,
    sum(volume) AS volume,
    count(*) AS ticks
  FROM banded
  GROUP BY symbol, low_price, band_width, band
)
SELECT
  symbol,
  round(low_price + band * band_width, 6) AS price_from,
  round(low_price + (band + 1) * band_width, 6) AS price_to,
  volume,
  ticks,
  round(100 * volume / nullif(sum(volume) OVER (PARTITION BY symbol), 0), 4) AS volume_percent
FROM profile
ORDER BY symbol, price_from
