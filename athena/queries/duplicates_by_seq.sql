-- Did any tick get in twice? For each day: the ticks with a sequence number, the different ones among them, and the
-- surplus. The producer or the queue sent the surplus twice. With at-least-once delivery, dead workers cause it, too.
--
-- Days: yesterday and today, UTC. Widen or move them at "dt >=".
-- Scans: symbol, venue and seq of those days. To list the duplicates themselves, select from copies where copies > 1.
WITH copies AS (
  SELECT dt, symbol, venue, seq, count(*) AS copies
  FROM ticks
  WHERE dt >= cast(current_date - interval '1' day AS varchar) AND seq IS NOT NULL
  GROUP BY dt, symbol, venue, seq
)
SELECT
  dt,
  sum(copies) AS ticks,
  count(*) AS distinct_ticks,
  sum(copies) - count(*) AS surplus,
  max(copies) AS most_copies
FROM copies
GROUP BY dt
ORDER BY dt
