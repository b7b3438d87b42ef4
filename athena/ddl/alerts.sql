CREATE EXTERNAL TABLE IF NOT EXISTS alerts (
  id string COMMENT 'follows from what the alert is about: a repeat has the same id',
  kind string COMMENT 'spike, threshold, move, volatility, volume or gap',
  severity string COMMENT 'info, warning or critical',
  symbol string COMMENT 'the instrument, as in ticks',
  direction string COMMENT 'up or down',
  ts timestamp COMMENT 'event time of the tick that raised the alert, UTC',
  detected_at timestamp COMMENT 'when the engine had decoded the tick and was about to judge it, UTC',
  observed double COMMENT 'what raised the alert: a price, or what alert.schema.json says of the kind',
  expected double COMMENT 'what it was judged against',
  scale double COMMENT 'one usual step',
  score double COMMENT 'distance of observed from expected in units of scale',
  threshold double COMMENT 'what the detector is configured to react to'
)
PARTITIONED BY (
  dt string COMMENT 'UTC date of ts, yyyy-MM-dd'
)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/alerts/'
TBLPROPERTIES (
  'comment' = 'one row per alert',
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2000-01-01,NOW+1DAYS',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/alerts/dt=${dt}/'
)
