//! `check lake`: how small the lake is, and how much of it a query for one symbol has to read.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;
use ticklake_core::encode::{DataFile, EncodeError};
use ticklake_core::names::{NameId, Names};
use ticklake_schemas::Table;

use crate::figure::Figure;
use crate::sample::{self, Sample};

/// Spans of event time, in seconds, that a full epoch of the default market covers, and the largest allowed number of
/// bytes per tick for each.
///
/// The denser the ticks, the fewer bits a time has. Within its share of the span a time is random, and no encoding can
/// shorten that. Over the whole trading day, a tick's time and symbol have 2.82 bytes of entropy, its volume 0.66, its
/// venue 0.38. That is 3.86 before any price, so 4 bytes are out of reach there. But an epoch is 30 s long at most, so
/// a full one has at least 33,333 ticks per second.
/// full one has 33,333 ticks per second at least.
pub(crate) const SPANS: [(u64, f64); 3] = [(10, 4.0), (30, 4.2), (TRADING_DAY, 5.8)];

/// The length of the default market, in seconds.
const TRADING_DAY: u64 = 23_400;

/// The largest share of arrow's size that ticklake may take for recorded trades.
const ARROW_SHARE: f64 = 0.85;

/// Measures epochs of the default market, and the trades recorded in `trades`.
pub fn figures(trades: Option<&Path>, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    for span in SPANS {
        bytes_per_tick(span, report)?;
    }
    pruning(report)?;
    if let Some(trades) = trades {
        bytes_per_trade(trades, report)?;
    }
    Ok(())
}

/// Encodes a million ticks of the default market, spread over `span` seconds, as one epoch, and adds up the file sizes.
pub(crate) fn bytes_per_tick(
    (span, at_most): (u64, f64),
    report: &mut impl FnMut(Figure) -> io::Result<()>,
) -> anyhow::Result<()> {
    let sample = sample::market(Duration::from_secs(span))?;
    let measured = size(&encode(&sample)?) as f64 / sample.contents.rows() as f64;
    Ok(report(Figure { name: format!("bytes per tick, {}", sample.name).into(), measured, at_most })?)
}

/// What a query for one symbol has to read of a trading day.
fn pruning(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let files = encode(&sample::market(Duration::from_secs(TRADING_DAY))?)?;
    let (bytes, mut one_symbol) = (size(&files), 0);
    for file in files {
        one_symbol += bytes_of_groups_with("MSFT", &SerializedFileReader::new(Bytes::from(file.bytes))?);
    }
    Ok(report(Figure {
        name: "share of the bytes in row groups that may hold one symbol".into(),
        measured: one_symbol as f64 / bytes as f64,
        at_most: 0.6,
    })?)
}

/// Encodes recorded trades as one epoch, and compares the file sizes with arrow's.
pub(crate) fn bytes_per_trade(trades: &Path, report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let sample = sample::trades(trades)?;
    let ticks = sample.contents.rows() as f64;
    let (ours, arrows) = (size(&encode(&sample)?) as f64, arrow_bytes(&sample)? as f64);
    let name = format!(
        "bytes per recorded trade, {:.2}, as a share of the {:.2} that arrow's defaults with zstd take",
        ours / ticks,
        arrows / ticks
    );
    Ok(report(Figure { name: name.into(), measured: ours / arrows, at_most: ARROW_SHARE })?)
}

fn encode(sample: &Sample) -> Result<Vec<DataFile>, EncodeError> {
    crate::encode(&sample.contents, &sample.names)
}

fn size(files: &[DataFile]) -> usize {
    files.iter().map(|file| file.bytes.len()).sum()
}

/// The size of the same ticks in one file that arrow writes by default, with zstd. The ticks are in the order of
/// arrival, and names are plain strings.
fn arrow_bytes(sample: &Sample) -> anyhow::Result<usize> {
    let names = &sample.names;
    let text = |ids: &[NameId], names: &Names| -> ArrayRef {
        Arc::new(ids.iter().map(|&id| names.get(id)).collect::<StringArray>())
    };
    let time =
        |times: &[i64]| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")) };
    let schema = Table::Ticks.schema();
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
    for ticks in &sample.contents.ticks {
        let columns = vec![
            text(&ticks.symbol, &names.symbols),
            time(&ticks.ts_us),
            Arc::new(Float64Array::from(ticks.price.clone())),
            Arc::new(Float64Array::from(ticks.volume.clone())),
            Arc::new(Int64Array::from(ticks.seq.clone())),
            text(&ticks.venue, &names.venues),
            text(&ticks.conditions, &names.conditions),
            time(&ticks.received_at_us),
        ];
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
    }
    Ok(writer.into_inner()?.len())
}

/// Compressed bytes of the row groups whose statistics admit `symbol`. A reader that prunes has to fetch these.
fn bytes_of_groups_with(symbol: &str, file: &SerializedFileReader<Bytes>) -> i64 {
    let groups = file.metadata().row_groups().iter();
    let admits = groups.filter(|group| {
        let statistics = group.column(0).statistics();
        let (min, max) = statistics.map_or((None, None), |found| (found.min_bytes_opt(), found.max_bytes_opt()));
        min.is_none_or(|min| min <= symbol.as_bytes()) && max.is_none_or(|max| symbol.as_bytes() <= max)
    });
    admits.map(RowGroupMetaData::compressed_size).sum()
}
