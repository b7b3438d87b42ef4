CREATE EXTERNAL TABLE IF NOT EXISTS alerts (
  id string COMMENT 'the event, followed by a number for an update or close for a closing; a repeat has the same id',
  event string COMMENT 'detector, symbol and start of the event; the same from its opening to its closing',
  kind string COMMENT 'the detector: spike, level_shift, move and others; see alert.schema.json',
  state string COMMENT 'open, update or close',
  severity string COMMENT 'info, warning or critical',
  symbol string COMMENT 'the instrument, as in ticks',
  direction string COMMENT 'up or down',
  ts timestamp COMMENT 'event time of the tick that raised the alert, or for a closing of the last anomaly, UTC',
  detected_at timestamp COMMENT 'when the engine had decoded the tick that made it certain, UTC',
  observed double COMMENT 'the value that raised the alert: a price, or as alert.schema.json says for the kind',
  expected double COMMENT 'the value against which observed was judged',
  scale double COMMENT 'the size of one usual step',
  score double COMMENT 'distance of observed from expected in units of scale',
  threshold double COMMENT 'the score or price to which the detector is configured to react',
  `window` string COMMENT 'what the detector looked at, such as 50 ticks or 60 s',
  suppressed bigint COMMENT 'further anomalies of the event that raised no alert'
)
PARTITIONED BY (
  dt string COMMENT 'UTC date of ts, yyyy-MM-dd'
)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/alerts/'
TBLPROPERTIES (
  'comment' = 'one row per alert; an event has an alert when it begins, when it gets worse and when it is over',
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2000-01-01,NOW+1DAYS',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://BUCKET/PREFIX/alerts/dt=${dt}/'
)
