-- The volume-weighted average price of each symbol and hour, beside the plain average and the money that changed hands.
--
-- Days: yesterday and today, UTC. Widen or move them at "dt >=".
-- Scans: symbol, price and volume of those days. "AND hour BETWEEN 13 AND 20" prunes whole partitions; "AND symbol =
-- 'AAPL'" prunes row groups, because files are sorted by symbol.
SELECT
  symbol,
  dt,
  hour,
  round(sum(price * volume) / nullif(sum(volume), 0), 6) AS vwap,
  round(avg(price), 6) AS mean_price,
  sum(volume) AS volume,
  round(sum(price * volume), 2) AS notional,
  count(*) AS ticks
FROM ticks
WHERE dt >= cast(current_date - interval '1' day AS varchar)
GROUP BY symbol, dt, hour
ORDER BY symbol, dt, hour
