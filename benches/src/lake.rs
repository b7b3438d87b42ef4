//! `check lake`: how small the lake is, and how much of it a question about one symbol has to read.

use std::io;

use bytes::Bytes;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;

use crate::figure::Figure;
use crate::{bodies, decode, decoder, encode};

const TICKS: u64 = 1_000_000;

/// Encodes a million ticks of the default market as one epoch, and looks at the files.
pub fn figures(report: &mut impl FnMut(Figure) -> io::Result<()>) -> anyhow::Result<()> {
    let (mut decoder, names) = decoder();
    let decoded = decode(&mut decoder, &bodies(TICKS, 500)?);
    anyhow::ensure!(decoded.ticks.len() as u64 == TICKS, "{} ticks were decoded", decoded.ticks.len());
    let files = encode(&decoded, &names)?;
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    let mut one_symbol = 0;
    for file in files {
        one_symbol += bytes_of_groups_with("MSFT", &SerializedFileReader::new(Bytes::from(file.bytes))?);
    }
    report(Figure { name: "bytes per tick".into(), measured: bytes as f64 / TICKS as f64, at_most: 6.0 })?;
    report(Figure {
        name: "share of the bytes in row groups that may hold one symbol".into(),
        measured: one_symbol as f64 / bytes as f64,
        at_most: 0.6,
    })?;
    Ok(())
}

/// Compressed bytes of the row groups whose statistics admit `symbol`: what a reader that prunes has to fetch.
fn bytes_of_groups_with(symbol: &str, file: &SerializedFileReader<Bytes>) -> i64 {
    let groups = file.metadata().row_groups().iter();
    let admits = groups.filter(|group| {
        let statistics = group.column(0).statistics();
        let (min, max) = statistics.map_or((None, None), |found| (found.min_bytes_opt(), found.max_bytes_opt()));
        min.is_none_or(|min| min <= symbol.as_bytes()) && max.is_none_or(|max| symbol.as_bytes() <= max)
    });
    admits.map(RowGroupMetaData::compressed_size).sum()
}
