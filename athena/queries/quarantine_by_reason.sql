-- What was rejected and why: per day and reason the number of rejects, of messages, of bodies rejected as a whole, when
-- it began and ended, and one example of the detail.
--
-- Days: yesterday and today, UTC, by the time of receiving. Widen or move them at "dt >=".
-- Scans: every column of those days but body, which is by far the largest. To see the bytes of one reject, select body
-- by its message_id.
SELECT
  dt,
  reason,
  count(*) AS rejects,
  count(DISTINCT message_id) AS messages,
  -- "index" is null where the whole body was rejected; the quotes are needed because INDEX is a keyword.
  count(*) - count("index") AS whole_bodies,
  min(received_at) AS first_received_at,
  max(received_at) AS last_received_at,
  min(detail) AS example_detail
FROM quarantine
WHERE dt >= cast(current_date - interval '1' day AS varchar)
GROUP BY dt, reason
ORDER BY dt DESC, rejects DESC, reason
