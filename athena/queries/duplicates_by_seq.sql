-- Did any tick get in twice: per day the ticks that carry the producer's sequence number, how many different ones there
-- are, and the surplus: what the producer or the queue sent twice, or a worker that died stored before it could delete.
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
