-- What was rejected, and why? For each day and reason: the rejects, the messages, the bodies that were rejected as a
-- whole, the first and the last time of receiving, and one example of the detail.
--
-- Days: yesterday and today, UTC, by the time of sending. Widen or move them at "dt >=".
-- Scans: all columns of those days except body, which is by far the largest. To see the bytes of one reject, select
-- body by its message_id.
SELECT
  dt,
  reason,
  count(*) AS rejects,
  count(DISTINCT message_id) AS messages,
  -- "index" is null if the whole body was rejected; the quotes are needed because INDEX is a keyword.
  count(*) - count("index") AS whole_bodies,
  min(received_at) AS first_received_at,
  max(received_at) AS last_received_at,
  min(detail) AS example_detail
FROM quarantine
WHERE dt >= cast(current_date - interval '1' day AS varchar)
GROUP BY dt, reason
ORDER BY dt DESC, rejects DESC, reason
