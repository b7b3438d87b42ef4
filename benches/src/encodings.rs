//! `encodings`: what each way to store each column of a tick costs, in bytes and in time.
//!
//! Columns come from sorted ticks, one row group at a time, as the encoder sees them. "Positions" is the encoding of
//! [`ticklake_core::encode::chunk`]; all others are parquet's. This file owns the list of tried encodings. It does
//! *not* own the choice.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parquet::basic::{Compression, ConvertedType, Encoding, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{DeltaBinaryPackedEncoderOptions, EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{SchemaDescriptor, Type};
use ticklake_core::encode::chunk::{ChunkWriter, Presence, Values};
use ticklake_core::encode::dictionary::{NameIndex, NumberIndex};
use ticklake_core::encode::{EncodeConfig, Encoder};
use ticklake_core::lake::EpochId;
use ticklake_core::names::{NameId, Names};
use ticklake_core::tick::{Tick, TickBatch};

use crate::sample::{self, Sample};

/// Compression levels for each encoding; 0 is none.
const LEVELS: [i32; 4] = [0, 1, 2, 3];

/// Bytes and nanoseconds per tick.
#[derive(Clone, Copy)]
struct Cost {
    bytes: f64,
    ns: f64,
}

/// Prints one table for the default market at the lowest density of a full epoch, and one for the trades in a file.
pub fn print(trades: Option<&Path>, out: &mut impl Write) -> anyhow::Result<()> {
    table(&sample::market(Duration::from_secs(30))?, out)?;
    if let Some(trades) = trades {
        table(&sample::trades(trades)?, out)?;
    }
    Ok(())
}

fn table(sample: &Sample, out: &mut impl Write) -> anyhow::Result<()> {
    let ticks = sorted(sample);
    writeln!(out, "\n{}: {} ticks. Bytes per tick / ns per tick.\n", sample.name, ticks.len())?;
    writeln!(out, "| column | encoding | no zstd | zstd 1 | zstd 2 | zstd 3 |\n|---|---|---|---|---|---|")?;
    let names = &sample.names;
    names_column("symbol", &ticks.symbol, &names.symbols, out)?;
    times_column("ts", &ticks.ts_us, out)?;
    prices_column("price", &ticks.price, out)?;
    prices_column("volume", &ticks.volume, out)?;
    times_column("seq", &ticks.seq.iter().flatten().copied().collect::<Vec<_>>(), out)?;
    names_column("venue", &ticks.venue, &names.venues, out)?;
    names_column("conditions", &ticks.conditions, &names.conditions, out)?;
    times_column("received_at", &ticks.received_at_us, out)?;
    whole_row(sample, out)
}

/// The files as the encoder writes them. The time includes sorting.
fn whole_row(sample: &Sample, out: &mut impl Write) -> anyhow::Result<()> {
    write!(out, "| all | as chosen, and sorted | |")?;
    for &zstd_level in &LEVELS[1..] {
        let config = EncodeConfig { zstd_level, ..EncodeConfig::default() };
        let mut encoder = Encoder::new(&config, sample.names.clone())?;
        let epoch = EpochId::new(Arc::from("bench"), 0);
        let cost = measure(sample.contents.rows(), || {
            let files = encoder.encode(&epoch, &sample.contents)?;
            Ok(files.iter().map(|file| file.bytes.len()).sum())
        })?;
        write!(out, " {:.3} / {:.1} |", cost.bytes, cost.ns)?;
    }
    Ok(writeln!(out)?)
}

fn sorted(sample: &Sample) -> TickBatch {
    let mut ticks: Vec<Tick> = sample.contents.ticks.iter().flat_map(TickBatch::rows).collect();
    ticks.sort_by_cached_key(|tick| (sample.names.symbols.get(tick.symbol), tick.ts_us));
    let mut batch = TickBatch::default();
    batch.assign(&ticks);
    batch
}

fn names_column(name: &str, ids: &[NameId], names: &Names, out: &mut impl Write) -> anyhow::Result<()> {
    let values: Vec<ByteArray> =
        ids.iter().filter_map(|&id| names.get(id)).map(|name| ByteArray::from(&*name)).collect();
    if values.is_empty() {
        return Ok(());
    }
    for encoding in [Encoding::PLAIN, Encoding::RLE_DICTIONARY, Encoding::DELTA_BYTE_ARRAY] {
        row(name, encoding, &LEVELS, out, |level| parquets::<ByteArrayType>(&values, encoding, level))?;
    }
    let mut index = NameIndex::default();
    positions_row(name, ids, out, |ids, chunks, column| {
        index.index(ids);
        let mut dictionary = Vec::new();
        for name in index.distinct.iter().filter_map(|&id| names.get(id)) {
            dictionary.extend((name.len() as u32).to_le_bytes());
            dictionary.extend(name.as_bytes());
        }
        let values =
            Values::Positions { indices: &index.indices, dictionary: &dictionary, distinct: index.distinct.len() };
        Ok(chunks.write(column.column(0), index.indices.len(), Presence::Required, values, None)?.bytes.len())
    })
}

fn times_column(name: &str, values: &[i64], out: &mut impl Write) -> anyhow::Result<()> {
    for encoding in [Encoding::PLAIN, Encoding::RLE_DICTIONARY, Encoding::DELTA_BINARY_PACKED] {
        row(name, encoding, &LEVELS, out, |level| parquets::<Int64Type>(values, encoding, level))?;
    }
    numbers_row(name, values, |value| value as u64, out)
}

fn prices_column(name: &str, values: &[f64], out: &mut impl Write) -> anyhow::Result<()> {
    for encoding in [Encoding::PLAIN, Encoding::RLE_DICTIONARY, Encoding::BYTE_STREAM_SPLIT] {
        row(name, encoding, &LEVELS, out, |level| parquets::<DoubleType>(values, encoding, level))?;
    }
    numbers_row(name, values, f64::to_bits, out)
}

fn numbers_row<T: Copy>(name: &str, values: &[T], bits: impl Fn(T) -> u64, out: &mut impl Write) -> anyhow::Result<()> {
    let mut index = NumberIndex::default();
    positions_row(name, values, out, |values, chunks, column| {
        index.index(values.iter().map(|&value| bits(value)), values.len());
        let dictionary: Vec<u8> = index.distinct.iter().flat_map(|number| number.to_le_bytes()).collect();
        let positions =
            Values::Positions { indices: &index.indices, dictionary: &dictionary, distinct: index.distinct.len() };
        Ok(chunks.write(column.column(0), values.len(), Presence::Required, positions, None)?.bytes.len())
    })
}

/// A row of ticklake's own encoding, which always compresses.
fn positions_row<T>(
    name: &str,
    values: &[T],
    out: &mut impl Write,
    mut write: impl FnMut(&[T], &mut ChunkWriter, &SchemaDescriptor) -> Result<usize, ParquetError>,
) -> anyhow::Result<()> {
    // The pages do not name the type of their values.
    let column = SchemaDescriptor::new(Arc::new(schema(PhysicalType::INT64)?));
    let groups = EncodeConfig::default().row_group_rows;
    write!(out, "| {name} | positions | |")?;
    for level in &LEVELS[1..] {
        let mut chunks = ChunkWriter::new(ZstdLevel::try_new(*level)?)?;
        let cost = measure(values.len(), || {
            Ok(values.chunks(groups).map(|values| write(values, &mut chunks, &column)).sum::<Result<usize, _>>()?)
        })?;
        write!(out, " {:.3} / {:.1} |", cost.bytes, cost.ns)?;
    }
    Ok(writeln!(out)?)
}

fn row(
    name: &str,
    encoding: Encoding,
    levels: &[i32],
    out: &mut impl Write,
    cost: impl Fn(i32) -> anyhow::Result<Cost>,
) -> anyhow::Result<()> {
    write!(out, "| {name} | {} |", encoding.to_string().to_lowercase())?;
    for &level in levels {
        let cost = cost(level)?;
        write!(out, " {:.3} / {:.1} |", cost.bytes, cost.ns)?;
    }
    Ok(writeln!(out)?)
}

/// The size of one column as parquet's column writer stores it, without the file's footer of some hundred bytes.
fn parquets<T: DataType>(values: &[T::T], encoding: Encoding, level: i32) -> anyhow::Result<Cost> {
    let compression =
        if level == 0 { Compression::UNCOMPRESSED } else { Compression::ZSTD(ZstdLevel::try_new(level)?) };
    let mut properties = WriterProperties::builder()
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_dictionary_page_size_limit(usize::MAX)
        .set_delta_binary_packed_encoder_options(DeltaBinaryPackedEncoderOptions::try_new(128, 4)?)
        .set_dictionary_enabled(encoding == Encoding::RLE_DICTIONARY);
    if encoding != Encoding::RLE_DICTIONARY {
        properties = properties.set_encoding(encoding);
    }
    let properties = Arc::new(properties.build());
    let schema = Arc::new(schema(T::get_physical_type())?);
    measure(values.len(), || {
        let mut file = SerializedFileWriter::new(Vec::new(), schema.clone(), properties.clone())?;
        let mut bytes = 0;
        for values in values.chunks(EncodeConfig::default().row_group_rows) {
            let mut group = file.next_row_group()?;
            if let Some(mut column) = group.next_column()? {
                column.typed::<T>().write_batch(values, None, None)?;
                column.close()?;
            }
            bytes += group.close()?.compressed_size() as usize;
        }
        Ok(bytes)
    })
}

fn schema(physical: PhysicalType) -> Result<Type, ParquetError> {
    let column = Type::primitive_type_builder("column", physical)
        .with_repetition(Repetition::REQUIRED)
        .with_converted_type(ConvertedType::NONE)
        .build()?;
    Type::group_type_builder("file").with_fields(vec![Arc::new(column)]).build()
}

/// The best time of three.
fn measure(ticks: usize, mut write: impl FnMut() -> anyhow::Result<usize>) -> anyhow::Result<Cost> {
    let mut best = Duration::MAX;
    let mut bytes = 0;
    for _ in 0..3 {
        let start = Instant::now();
        bytes = write()?;
        best = best.min(start.elapsed());
    }
    let ticks = ticks.max(1) as f64;
    Ok(Cost { bytes: bytes as f64 / ticks, ns: best.as_secs_f64() * 1e9 / ticks })
}
