CREATE EXTERNAL TABLE IF NOT EXISTS ticks (
  symbol string COMMENT 'the instrument; files are sorted by symbol, then ts',
  ts timestamp COMMENT 'event time, UTC',
  price double COMMENT 'in the quote currency of the instrument',
  volume double COMMENT 'units traded',
  seq bigint COMMENT 'sequence number of the producer, or null',
  venue string COMMENT 'where the trade took place, or null',
  conditions string COMMENT 'sale conditions in the codes of the venue, or null',
  received_at timestamp COMMENT 'when the engine received the message, UTC'
)
PARTITIONED BY (
  dt string COMMENT 'UTC date of ts, yyyy-MM-dd',
  hour int COMMENT 'UTC hour of ts, 0 to 23'
)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/ticks/'
TBLPROPERTIES (
  'comment' = 'one row per tick',
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2000-01-01,NOW+1DAYS',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://BUCKET/PREFIX/ticks/dt=${dt}/hour=${hour}/'
)
