//! Encodes epochs as Parquet: one file per partition, sorted by symbol and time. Row groups are small, so that readers
//! skip many of them by their statistics.
//!
//! This file owns the properties of the files. The order of ticks is in [`sort`], their columns in [`ticks`], the
//! columns of alerts and rejects in [`columns`]. It does *not* own where files go: a [`DataFile`] has a partition, and
//! [`crate::lake`] makes the key.

pub mod sort;

pub mod dictionary;

pub mod chunk;

mod ticks;

mod columns;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{
    DeltaBinaryPackedEncoderOptions, EnabledStatistics, WriterProperties, WriterPropertiesBuilder,
};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use ticklake_schemas::Table;

use self::chunk::ChunkWriter;
use self::sort::Sorter;
use self::ticks::TickWriter;
use crate::alert::Alert;
use crate::batch::Contents;
use crate::decode::Reject;
use crate::lake::{EpochId, Partition};
use crate::tick::{Dictionaries, TickBatch};

/// The settings of Parquet files.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct EncodeConfig {
    /// Rows per row group. With small groups statistics skip more rows, large groups compress a little better.
    pub row_group_rows: usize,
    /// The zstd level, 1 to 22.
    pub zstd_level: i32,
}

impl Default for EncodeConfig {
    fn default() -> Self {
        Self { row_group_rows: 65_536, zstd_level: 3 }
    }
}

/// Why an epoch cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The configured level is not a zstd level.
    #[error("failed to set up the encoder: zstd level {0} is not within 1 to 22")]
    ZstdLevel(i32),
    /// The Parquet writer refused the rows, which is a defect in this crate.
    #[error("failed to write parquet")]
    Parquet(#[from] ParquetError),
    /// The columns did not fit the schema, which is a defect in this crate.
    #[error("failed to build columns")]
    Arrow(#[from] arrow::error::ArrowError),
}

/// One finished Parquet file of an epoch.
#[derive(Debug)]
pub struct DataFile {
    /// The partition of its rows.
    pub partition: Partition,
    /// How many rows it holds.
    pub rows: usize,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

/// Encodes epochs, and keeps its buffers between them.
#[derive(Debug)]
pub struct Encoder {
    names: Dictionaries,
    row_group_rows: usize,
    compression: Compression,
    sorter: Sorter,
    ticks: TickWriter,
}

impl Encoder {
    /// An encoder for ticks whose names are in `names`.
    pub fn new(config: &EncodeConfig, names: Dictionaries) -> Result<Self, EncodeError> {
        let level = ZstdLevel::try_new(config.zstd_level).map_err(|_| EncodeError::ZstdLevel(config.zstd_level))?;
        let schema = ArrowSchemaConverter::new().convert(&Table::Ticks.schema())?;
        let chunks = ChunkWriter::new(level)?;
        let ticks = TickWriter::new(names.clone(), schema, config.row_group_rows, chunks);
        Ok(Self {
            names,
            row_group_rows: config.row_group_rows,
            compression: Compression::ZSTD(level),
            sorter: Sorter::default(),
            ticks,
        })
    }

    /// The files of an epoch: ticks by hour, alerts and rejects by day. It holds all files in memory. The epoch's
    /// bounds keep them small (4 to 6 bytes per tick).
    pub fn encode<M>(&mut self, epoch: &EpochId, contents: &Contents<M>) -> Result<Vec<DataFile>, EncodeError> {
        self.sort(&contents.ticks);
        self.encode_sorted(epoch, &contents.alerts, &contents.rejects)
    }

    /// The first step of [`Encoder::encode`]: copies an epoch's ticks in their order. Afterwards the caller may fill
    /// their columns again.
    pub fn sort(&mut self, ticks: &[TickBatch]) {
        self.sorter.sort(ticks, &self.names.symbols);
    }

    /// The second step: the files of the ticks that were sorted last, and of the alerts and rejects of their epoch.
    pub fn encode_sorted(
        &mut self,
        epoch: &EpochId,
        alerts: &[Alert],
        rejects: &[Reject],
    ) -> Result<Vec<DataFile>, EncodeError> {
        let mut files = Vec::new();
        self.encode_ticks(epoch, &mut files)?;
        let alerts = by_partition(alerts, |alert| Partition::of(Table::Alerts, alert.ts_us), |alert| alert.ts_us);
        for (partition, rows) in alerts {
            files.push(self.alerts(epoch, partition, &rows)?);
        }
        let rejects = by_partition(rejects, Reject::partition, |reject| reject.received_at_us);
        for (partition, rows) in rejects {
            files.push(self.file(epoch, partition, &columns::quarantine(&rows)?)?);
        }
        Ok(files)
    }

    /// The file of an epoch's alerts in `partition`. `rows` are in the order of their times.
    pub fn alerts(&self, epoch: &EpochId, partition: Partition, rows: &[&Alert]) -> Result<DataFile, EncodeError> {
        self.file(epoch, partition, &columns::alerts(rows)?)
    }

    /// A file of `table` without rows. It takes the place of a file that must never be stored.
    pub fn void(&self, table: Table, epoch: &EpochId) -> Result<Vec<u8>, EncodeError> {
        let partition = Partition::of(table, 0);
        Ok(self.file(epoch, partition, &RecordBatch::new_empty(table.schema()))?.bytes)
    }

    fn encode_ticks(&mut self, epoch: &EpochId, files: &mut Vec<DataFile>) -> Result<(), EncodeError> {
        let properties = Arc::new(self.properties(Table::Ticks, epoch)?);
        for (partition, ticks) in self.sorter.partitions() {
            let bytes = self.ticks.write(ticks, properties.clone())?;
            files.push(DataFile { partition, rows: ticks.len(), bytes });
        }
        self.sorter.let_guests_go();
        Ok(())
    }

    fn file(&self, epoch: &EpochId, partition: Partition, batch: &RecordBatch) -> Result<DataFile, EncodeError> {
        let table = partition.table();
        let options =
            ArrowWriterOptions::new().with_properties(self.properties(table, epoch)?).with_skip_arrow_metadata(true);
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options)?;
        writer.write(batch)?;
        Ok(DataFile { partition, rows: batch.num_rows(), bytes: writer.into_inner()? })
    }

    fn properties(&self, table: Table, epoch: &EpochId) -> Result<WriterProperties, ParquetError> {
        let schema = table.schema();
        let properties = WriterProperties::builder()
            .set_created_by(concat!("ticklake version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new("ticklake.epoch".to_owned(), epoch.to_string())]))
            .set_compression(self.compression)
            .set_max_row_group_row_count(Some(self.row_group_rows))
            // Readers skip row groups, and these are small. An index of pages would only make the footer larger.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            // All deltas of a miniblock have the width of the largest one. 32 deltas are half of parquet's default on
            // 64 bits, and the number that parquet-java writes.
            .set_delta_binary_packed_encoder_options(DeltaBinaryPackedEncoderOptions::try_new(128, 4)?)
            .set_sorting_columns(Some(sorting_columns(table, &schema)));
        Ok(delta_columns(table).iter().fold(properties, |properties, column| delta(properties, column)).build())
    }
}

/// Columns in which neighbours differ by little after sorting. Their dictionary would be as large as the columns.
fn delta_columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::Ticks => &["ts", "seq"],
        Table::Alerts => &["ts", "detected_at"],
        Table::Quarantine => &["received_at"],
    }
}

fn delta(properties: WriterPropertiesBuilder, column: &str) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(column);
    properties
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

/// The order of rows that the file declares to readers. It is only what [`sort`] and [`by_partition`] really do.
fn sorting_columns(table: Table, schema: &Schema) -> Vec<SortingColumn> {
    let names: &[&str] = match table {
        Table::Ticks => &["symbol", "ts"],
        Table::Alerts => &["ts"],
        Table::Quarantine => &["received_at"],
    };
    let index = |name: &&str| schema.index_of(name).ok();
    names
        .iter()
        .filter_map(index)
        .map(|index| SortingColumn { column_idx: index as i32, descending: false, nulls_first: false })
        .collect()
}

/// The rows of each partition, in the order of their times.
fn by_partition<T>(
    rows: &[T],
    partition: impl Fn(&T) -> Partition,
    ts_us: impl Fn(&T) -> i64,
) -> Vec<(Partition, Vec<&T>)> {
    let mut sorted: Vec<&T> = rows.iter().collect();
    sorted.sort_by_key(|row| (partition(row), ts_us(row)));
    sorted.chunk_by(|a, b| partition(a) == partition(b)).map(|rows| (partition(rows[0]), rows.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{Array, AsArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
    use proptest::prelude::*;

    use super::*;
    use crate::names::NameId;
    use crate::tick::{Tick, TickBatch};

    /// 2026-11-23T14:00:00Z.
    const AFTERNOON_US: i64 = 1_795_442_400_000_000;
    const HOUR_US: i64 = 3_600_000_000;

    /// A tick with its names as text, as the naive twin uses it.
    type PlainTick = (String, i64, f64, f64, Option<i64>, Option<String>, Option<String>);

    fn plain_tick() -> impl Strategy<Value = PlainTick> {
        (
            "[A-E]{1,2}",
            AFTERNOON_US - HOUR_US..AFTERNOON_US + HOUR_US,
            0.0..1e6,
            0.0..1e6,
            proptest::option::of(any::<i64>()),
            proptest::option::of("[A-C]"),
            proptest::option::of("[@TI]{1,3}"),
        )
    }

    fn contents(ticks: &[PlainTick], names: &Dictionaries) -> Contents<()> {
        let mut batch = TickBatch::default();
        let intern = |names: &crate::names::Names, name: &str| names.intern(name).unwrap().0;
        for (symbol, ts_us, price, volume, seq, venue, conditions) in ticks {
            batch.push(Tick {
                symbol: intern(&names.symbols, symbol),
                ts_us: *ts_us,
                price: *price,
                volume: *volume,
                seq: *seq,
                venue: venue.as_ref().map_or(NameId::NONE, |venue| intern(&names.venues, venue)),
                conditions: conditions.as_ref().map_or(NameId::NONE, |name| intern(&names.conditions, name)),
                received_at_us: *ts_us + 1,
            });
        }
        Contents { messages: vec![()], ticks: vec![batch], ..Contents::default() }
    }

    fn epoch() -> EpochId {
        EpochId::new(Arc::from("w"), 0)
    }

    fn encode(config: &EncodeConfig, contents: &Contents<()>, names: Dictionaries) -> Vec<DataFile> {
        Encoder::new(config, names).unwrap().encode(&epoch(), contents).unwrap()
    }

    fn read(file: &DataFile) -> (RecordBatch, ArrowReaderMetadata) {
        let bytes = bytes::Bytes::from(file.bytes.clone());
        let metadata =
            ArrowReaderMetadata::load(&bytes, parquet::arrow::arrow_reader::ArrowReaderOptions::default()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let schema = reader.schema().clone();
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        (concat_batches(&schema, &batches).unwrap(), metadata)
    }

    fn plain_rows(batch: &RecordBatch) -> Vec<PlainTick> {
        let text = |name: &str, row| {
            let column = batch[name].as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let seq = batch["seq"].as_primitive::<Int64Type>();
        (0..batch.num_rows())
            .map(|row| {
                (
                    text("symbol", row).unwrap(),
                    batch["ts"].as_primitive::<TimestampMicrosecondType>().value(row),
                    batch["price"].as_primitive::<Float64Type>().value(row),
                    batch["volume"].as_primitive::<Float64Type>().value(row),
                    seq.is_valid(row).then(|| seq.value(row)),
                    text("venue", row),
                    text("conditions", row),
                )
            })
            .collect()
    }

    proptest! {
        #[test]
        fn files_hold_every_tick_in_its_partition_in_order(ticks in prop::collection::vec(plain_tick(), 0..200)) {
            let names = Dictionaries::new(100);
            let files = encode(&EncodeConfig { row_group_rows: 16, zstd_level: 1 }, &contents(&ticks, &names), names);

            let mut expected = BTreeMap::<Partition, Vec<PlainTick>>::new();
            for tick in ticks {
                expected.entry(Partition::of(Table::Ticks, tick.1)).or_default().push(tick);
            }
            for rows in expected.values_mut() {
                rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
            }
            let found: BTreeMap<_, _> = files.iter().map(|file| (file.partition, plain_rows(&read(file).0))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    /// The prices need positions of two bytes and several pages. Names and sequence numbers are sometimes missing.
    #[test]
    fn large_row_groups_come_back_whole() {
        let names = Dictionaries::new(400);
        let tick = |i: i64| {
            let name = |every: i64| (i % every != 0).then(|| format!("N{}", i % every));
            let price = 100.0 + (i * 7 % 1_000) as f64;
            ("S".to_owned(), AFTERNOON_US + i, price, (i % 300) as f64, (i % 3 > 0).then_some(i), name(5), name(300))
        };
        let ticks: Vec<PlainTick> = (0..20_000).map(tick).collect();
        let contents = contents(&ticks, &names);
        let files = encode(&EncodeConfig::default(), &contents, names);
        let (batch, metadata) = read(&files[0]);
        assert_eq!(metadata.metadata().num_row_groups(), 1);
        assert_eq!(plain_rows(&batch), ticks);
        let received_at = batch["received_at"].as_primitive::<TimestampMicrosecondType>().values();
        assert_eq!(received_at, contents.ticks[0].received_at_us.as_slice());
    }

    #[test]
    fn file_declares_what_readers_prune_by() {
        let names = Dictionaries::new(10);
        let ticks: Vec<PlainTick> =
            (0..100).map(|i| (format!("S{}", i % 4), AFTERNOON_US + i, 1.0, 1.0, Some(i), None, None)).collect();
        let config = EncodeConfig { row_group_rows: 25, zstd_level: 3 };
        let files = encode(&config, &contents(&ticks, &names), names);
        let (batch, metadata) = read(&files[0]);
        let columns = |schema: &Schema| {
            let fields = schema.fields().iter();
            fields
                .map(|field| (field.name().clone(), field.data_type().clone(), field.is_nullable()))
                .collect::<Vec<_>>()
        };
        assert_eq!(columns(&batch.schema()), columns(&Table::Ticks.schema()), "the contract, with types");
        let groups = metadata.metadata().row_groups();
        assert_eq!(groups.len(), 4);
        for group in groups {
            let sorting: Vec<_> = group.sorting_columns().unwrap().iter().map(|column| column.column_idx).collect();
            assert_eq!(sorting, [0, 1]);
            let symbol = group.column(0);
            let statistics = symbol.statistics().unwrap();
            assert_eq!(
                statistics.min_bytes_opt(),
                statistics.max_bytes_opt(),
                "one symbol per row group, and the statistics show it"
            );
            assert!(matches!(symbol.compression(), Compression::ZSTD(_)));
            assert!(symbol.dictionary_page_offset().is_some());
            assert!(group.column(1).dictionary_page_offset().is_none());
        }
        let epoch_of = metadata.metadata().file_metadata().key_value_metadata().unwrap();
        assert_eq!(epoch_of[0].value.as_deref(), Some("w-0"));
    }

    #[test]
    fn alerts_and_rejects_become_files_of_their_days() {
        use crate::alert::{Alert, Direction, Kind, Severity, State};
        use crate::decode::{Reason, Reject};
        let alert = |ts_us| Alert {
            id: format!("alert-{ts_us}"),
            event: format!("alert-{ts_us}"),
            state: State::Open,
            kind: Kind::Spike,
            severity: Severity::Critical,
            symbol: Arc::from("AAPL"),
            direction: Direction::Up,
            ts_us,
            detected_at_us: ts_us + 5,
            observed: 110.0,
            expected: 100.0,
            scale: 0.5,
            score: 20.0,
            threshold: 8.0,
            window: "50 ticks".into(),
            suppressed: 0,
            ticks: Vec::new(),
        };
        let reject = |index| Reject {
            message_id: "m".to_owned(),
            index,
            reason: Reason::BadPrice,
            detail: "price is -1".to_owned(),
            body: b"{\xff}".to_vec(),
            received_at_us: AFTERNOON_US,
            message_us: AFTERNOON_US,
        };
        let contents: Contents<()> = Contents {
            alerts: vec![alert(AFTERNOON_US), alert(AFTERNOON_US - 24 * HOUR_US), alert(AFTERNOON_US - 1)],
            rejects: vec![reject(Some(3)), reject(None)],
            ..Contents::default()
        };
        let files = encode(&EncodeConfig::default(), &contents, Dictionaries::new(1));
        let partitions: Vec<_> = files.iter().map(|file| (file.partition.to_string(), file.rows)).collect();
        let expected = [("alerts/dt=2026-11-22", 1), ("alerts/dt=2026-11-23", 2), ("quarantine/dt=2026-11-23", 2)];
        assert_eq!(partitions, expected.map(|(partition, rows)| (partition.to_owned(), rows)));
        let (alerts, _) = read(&files[1]);
        assert_eq!(alerts["ts"].as_primitive::<TimestampMicrosecondType>().values(), &[AFTERNOON_US - 1, AFTERNOON_US]);
        assert_eq!(alerts["severity"].as_string::<i32>().value(0), "critical");
        let (rejects, _) = read(&files[2]);
        assert_eq!(rejects["body"].as_binary::<i32>().value(0), b"{\xff}");
        assert_eq!(rejects["reason"].as_string::<i32>().value(1), "bad_price");
        assert!(rejects["index"].is_null(1));
    }
}
