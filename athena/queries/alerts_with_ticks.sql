-- What did the market do when each event began? The query shows mean price and volume of the symbol's ticks: in the 30
-- seconds before the alert, and from the alert to 30 seconds after it. A spike was one tick if price_after is back at
-- expected.
--
-- Days: yesterday and today, UTC. Widen or move them at both "dt >=": each of them prunes one of the two tables.
-- Scans: the alerts of those days, and symbol, ts, price and volume of their ticks. A join does not prune row groups,
-- but "AND symbol = 'AAPL'" in both places does.
WITH raised AS (
  SELECT
    id, ts, symbol, kind, severity, direction, observed, expected, score,
    -- With at-least-once delivery, an alert may be stored twice, under the same id.
    row_number() OVER (PARTITION BY id ORDER BY detected_at) AS occurrence
  FROM alerts
  WHERE dt >= cast(current_date - interval '1' day AS varchar)
  AND state = 'open'
),
nearby AS (
  SELECT symbol, ts, price, volume
  FROM ticks
  WHERE dt >= cast(current_date - interval '1' day AS varchar)
)
SELECT
  a.ts,
  a.symbol,
  a.kind,
  a.severity,
  a.direction,
  a.observed,
  round(a.expected, 6) AS expected,
  round(a.score, 2) AS score,
  count(CASE WHEN t.ts < a.ts THEN 1 END) AS ticks_before,
  count(CASE WHEN t.ts >= a.ts THEN 1 END) AS ticks_after,
  round(avg(CASE WHEN t.ts < a.ts THEN t.price END), 6) AS price_before,
  round(avg(CASE WHEN t.ts >= a.ts THEN t.price END), 6) AS price_after,
  sum(CASE WHEN t.ts < a.ts THEN t.volume END) AS volume_before,
  sum(CASE WHEN t.ts >= a.ts THEN t.volume END) AS volume_after
FROM raised a
LEFT JOIN nearby t
  ON t.symbol = a.symbol
  AND t.ts >= a.ts - interval '30' second
  AND t.ts <= a.ts + interval '30' second
WHERE a.occurrence = 1
GROUP BY a.id, a.ts, a.symbol, a.kind, a.severity, a.direction, a.observed, a.expected, a.score
ORDER BY a.ts, a.id
