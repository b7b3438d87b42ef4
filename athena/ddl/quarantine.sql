CREATE EXTERNAL TABLE IF NOT EXISTS quarantine (
  message_id string COMMENT 'id of the message that held the bytes',
  `index` int COMMENT 'position of the tick in its message from 0, or null if the whole body was rejected',
  reason string COMMENT 'why it was rejected, as one of a few fixed words',
  detail string COMMENT 'why it was rejected, as a sentence',
  body binary COMMENT 'the rejected bytes',
  received_at timestamp COMMENT 'when the engine received the message, UTC'
)
PARTITIONED BY (
  dt string COMMENT 'UTC date on which the message was sent, yyyy-MM-dd'
)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/quarantine/'
TBLPROPERTIES (
  'comment' = 'one row per rejected tick or message body',
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2000-01-01,NOW+1DAYS',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/quarantine/dt=${dt}/'
)
