CREATE EXTERNAL TABLE IF NOT EXISTS alerts (
  id string COMMENT 'that of the event, of an update with its number behind, of the closing with close: a repeat has the same id',
  event string COMMENT 'detector, symbol and beginning: the same from opening to closing',
  kind string COMMENT 'the detector: spike, level_shift, move and others, see alert.schema.json',
  state string COMMENT 'open, update or close',
  severity string COMMENT 'info, warning or critical',
  symbol string COMMENT 'the instrument, as in ticks',
  direction string COMMENT 'up or down',
  ts timestamp COMMENT 'event time of the tick that raised the alert, of a closing that of the last anomaly, UTC',
  detected_at timestamp COMMENT 'when the engine had decoded the tick with which it was certain, UTC',
  observed double COMMENT 'what raised the alert: a price, or what alert.schema.json says of the kind',
  expected double COMMENT 'what it was judged against',
  scale double COMMENT 'one usual step',
  score double COMMENT 'distance of observed from expected in units of scale',
  threshold double COMMENT 'what the detector is configured to react to',
  `window` string COMMENT 'what was looked at: 50 ticks, 60 s',
  suppressed bigint COMMENT 'anomalies of the event of which nothing was said'
)
PARTITIONED BY (
  dt string COMMENT 'UTC date of ts, yyyy-MM-dd'
)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/alerts/'
TBLPROPERTIES (
  'comment' = 'one row per alert: an event has one when it begins, when it gets worse and when it is over',
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2000-01-01,NOW+1DAYS',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/alerts/dt=${dt}/'
)
